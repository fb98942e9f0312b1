"""Change single operators and numbers in metrics and parsers and run their tests: what survives, no test checks.

    python tools/mutants.py [--number 200] [--seed 0] [--only evaluation/metrics/detection]

Prints every change that no test noticed and, at the end, the share that was noticed ("killed"). Some changes alter
nothing that can be observed (a limit one larger, `<` for `<=` on a real number): a survivor is a question, not always
a gap. Each change runs in a process forked from one that has the libraries loaded; the package is imported after that.
"""

from __future__ import annotations

import argparse
import ast
import copy
import doctest
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 180
"""After so much processor time a change counts as noticed: it made a loop endless."""
METRICS = ("tests/evaluation/test_detection_metrics.py", "tests/evaluation/test_localization_metrics.py")
TARGETS: dict[str, tuple[str, ...]] = {
    "evaluation/metrics/detection": METRICS,
    "evaluation/metrics/localization": METRICS[1:],
    "evaluation/metrics/calibration": METRICS[:1],
    "evaluation/metrics/resampling": METRICS[:1],
    "evaluation/metrics/claims": ("tests/evaluation/test_explanation_metrics.py",),
    "evaluation/metrics/explanation": ("tests/evaluation/test_explanation_metrics.py",),
    "evaluation/perturbations": ("tests/evaluation/test_perturbations.py",),
    "core/rle": ("tests/core/test_rle.py",),
    "core/region": ("tests/core/test_region.py", "tests/compact/test_grammar.py"),
    "core/settings": ("tests/core/test_settings.py",),
    "evidence/xmp": ("tests/evidence/test_metadata.py",),
    "evidence/texts": ("tests/evidence/test_metadata.py",),
    "evidence/metadata": ("tests/evidence/test_metadata.py",),
    "pictures/exif": ("tests/pictures/test_images.py", "tests/pictures/test_frames.py"),
    "pictures/formats/png": ("tests/pictures/test_png_meaning.py", "tests/pictures/test_images.py"),
    "pictures/formats/jpeg": ("tests/pictures/test_jpeg_kinds.py", "tests/pictures/test_images.py"),
    "pictures/formats/tiff_layout": ("tests/pictures/test_tiff_layouts.py", "tests/pictures/test_images.py"),
    "scale/where": ("tests/scale/test_sources.py",),
    "models/so_fake_r1/answers": ("tests/vlm/test_so_fake_answers.py",),
    "models/fakevlm/answers": ("tests/vlm/test_fakevlm_answers.py",),
    "compact/grammar": ("tests/compact/test_grammar.py",),
}
"""Module -> the tests nearest to it. Its own doctests run before them."""

SWAPS: dict[type[Any], Any] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def sites(tree: ast.Module) -> Iterator[tuple[int, int, int, str]]:
    """(line, number of the node, position in it, what is changed): operators, numbers, truth values in functions."""
    nodes = list(ast.walk(tree))
    hints = {id(part) for node in nodes for hint in _annotations(node) for part in ast.walk(hint)}
    inside = {id(part) for node in nodes if isinstance(node, ast.FunctionDef) for part in ast.walk(node)}
    for number, node in enumerate(nodes):
        if id(node) in hints or id(node) not in inside:
            continue
        for position in range(len(node.ops) if isinstance(node, ast.Compare) else 1):
            tried = copy.copy(node)
            if isinstance(tried, ast.Compare):
                tried.ops = list(tried.ops)
            if text := _change(tried, position):
                yield getattr(node, "lineno", 0), number, position, text


def changed(tree: ast.Module, number: int, position: int) -> ast.Module:
    """A copy of a tree with one site changed."""
    other = copy.deepcopy(tree)
    _change(list(ast.walk(other))[number], position)
    return ast.fix_missing_locations(other)


def _annotations(node: ast.AST) -> list[ast.AST]:
    hints = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    return [hint for hint in hints if hint is not None]


def _change(node: ast.AST, position: int) -> str | None:
    """Change a node in place; returns what was done, None where there is nothing to change."""
    if isinstance(node, ast.Compare):
        before: ast.AST = node.ops[position]
        node.ops[position] = SWAPS[type(before)]()
        return f"{type(before).__name__} -> {type(node.ops[position]).__name__}"
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
        before = node.op
        node.op = SWAPS[type(before)]()
        return f"{type(before).__name__} -> {type(node.op).__name__}"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
        return "not removed"
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
        return f"{not node.value} -> {node.value}"
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value = node.value + 1
        return f"{node.value - 1} -> {node.value}"
    return None


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module from a changed tree; all others come from where they are."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


def killed(target: str, tree: ast.Module) -> bool:
    """True where the tests of a module fail with a changed tree, do not end, or cannot even load it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = _judge(target, tree)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return status != 0


def _judge(target: str, tree: ast.Module) -> int:
    import resource

    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    name = f"pixelsleuth.{target.replace('/', '.')}"
    sys.meta_path.insert(0, Changed(name, ROOT / "src" / "pixelsleuth" / f"{target}.py", tree))
    sys.path.insert(0, str(ROOT / "src"))
    if doctest.testmod(importlib.import_module(name)).failed:
        return 1
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow and not thorough"]
    return int(pytest.main([*options, *(str(ROOT / test) for test in TARGETS[target])]))


def read(target: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse((ROOT / f"src/pixelsleuth/{target}.py").read_text(encoding="utf-8"))


def sample(targets: Sequence[str], number: int, seed: int) -> list[tuple[str, int, int, int, str]]:
    """At most `number` sites, drawn evenly from all of the modules; sorted by place."""
    every = [(target, *site) for target in targets for site in sites(read(target))]
    return sorted(random.Random(seed).sample(every, min(number, len(every))))


def main() -> None:
    parser = argparse.ArgumentParser(description="Which changes of metrics and parsers does no test notice?")
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=TARGETS, help="Repeatable.")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process with threads cannot be forked
    os.chdir(ROOT)
    for name in ("hypothesis", "numpy", "PIL.Image", "pytest"):
        importlib.import_module(name)
    targets = [target for target in arguments.only or TARGETS if not killed(target, read(target))]
    for target in set(arguments.only or TARGETS) - set(targets):
        print(
            f"left out, its tests fail without any change: {target}: {' '.join(TARGETS[target])}", flush=True
        )
    drawn, survivors, begun = sample(targets, arguments.number, arguments.seed), 0, time.monotonic()
    for target, line, node, position, text in drawn:
        if not killed(target, changed(read(target), node, position)):
            survivors += 1
            print(f"src/pixelsleuth/{target}.py:{line}: {text}", flush=True)
    share = 100 * (len(drawn) - survivors) / max(len(drawn), 1)
    print(
        f"{len(drawn) - survivors} of {len(drawn)} killed ({share:.0f} %), {time.monotonic() - begun:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
