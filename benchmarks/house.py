"""The house in figures: files, lines, twin names, circles, inner arrows, and what is too long to be read at once.

    python benchmarks/house.py [PATH/TO/src/pixelsleuth]

`tests/test_house.py` holds the walls with the same functions. Nothing is imported to be measured.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "pixelsleuth"
LONGEST_FILE = 320
LONGEST_FUNCTION = 60
WALLED = ("models", "training")
"""Rooms whose folders do not use their neighbours."""
SHARED = {"models": ("backbones", "light", "fetching"), "training": ("run",)}
"""Folders that the others of such a room may use."""


def sources(package: Path = PACKAGE) -> list[Path]:
    """Every source file, sorted."""
    return sorted(package.rglob("*.py"))


def module_of(path: Path, package: Path = PACKAGE) -> str:
    """The dotted name of a file inside the package, "" for the package itself."""
    return ".".join(path.relative_to(package).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def imports(path: Path, *, inside: bool = True, package: Path = PACKAGE) -> Iterator[tuple[str, int]]:
    """Absolute names of the modules that a file imports, with line numbers; not those for types alone.

    `inside`: also imports in functions. `from a import b` yields both `a` and `a.b`.
    """
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"), filename=str(path))]
    folder = ("pixelsleuth", *path.relative_to(package).parts[:-1])
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        if not inside and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else ()
            module = ".".join((*base, node.module) if node.module else base)
            yield module, node.lineno
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))


def graph(package: Path = PACKAGE) -> dict[str, dict[str, int]]:
    """Module -> the modules of the house that it imports, each with a line number."""
    known = {module_of(path, package): path for path in sources(package)}
    arrows: dict[str, dict[str, int]] = {}
    for module, path in known.items():
        arrows[module] = {}
        for name, line in imports(path, package=package):
            target = name.removeprefix("pixelsleuth.")
            if name.startswith("pixelsleuth.") and target in known and target != module:
                arrows[module].setdefault(target, line)
    return arrows


def circles(arrows: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Sets of modules that reach each other (strongly connected components of more than one; Tarjan 1972).

    >>> circles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})
    [['a', 'b', 'c']]
    """
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    rings: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for target in arrows[module]:
            if target not in order:
                visit(target)
            if target in stack:
                lowest[module] = min(lowest[module], lowest[target])
        if lowest[module] == order[module]:
            start = stack.index(module)
            if len(stack) - start > 1:
                rings.append(sorted(stack[start:]))
            del stack[start:]

    for module in arrows:
        if module not in order:
            visit(module)
    return rings


def inner_arrows(arrows: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Imports from one folder of a walled room into its neighbour, as "models.x.y:LINE -> models.z.w"."""
    wrong = []
    for module, targets in arrows.items():
        here = module.split(".")
        if here[0] not in WALLED or len(here) < 3:
            continue
        for target, line in targets.items():
            there = target.split(".")
            neighbour = there[0] == here[0] and len(there) >= 3 and there[1] != here[1]
            if neighbour and there[1] not in SHARED[here[0]]:
                wrong.append(f"{module}:{line} -> {target}")
    return sorted(wrong)


def twins(package: Path = PACKAGE) -> dict[str, list[str]]:
    """File names that occur twice or more, with where."""
    places = defaultdict(list)
    for path in sources(package):
        if path.name != "__init__.py":
            places[path.name].append(str(path.relative_to(package).parent))
    return {name: where for name, where in sorted(places.items()) if len(where) > 1}


def long_files(package: Path = PACKAGE, most: int = LONGEST_FILE) -> dict[str, int]:
    """Files of more than `most` lines."""
    counted = {str(path.relative_to(package)): _lines(path) for path in sources(package)}
    return {name: count for name, count in counted.items() if count > most}


def long_functions(package: Path = PACKAGE, most: int = LONGEST_FUNCTION) -> dict[str, int]:
    """Functions of more than `most` lines, as "file:name"."""
    long = {}
    for path in sources(package):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                count = node.end_lineno - node.lineno + 1
                if count > most:
                    long[f"{path.relative_to(package)}:{node.name}"] = count
    return long


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def main() -> None:
    package = Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE
    arrows = graph(package)
    rows: list[tuple[str, int, Iterable[str]]] = [
        ("files", len(sources(package)), ()),
        ("lines", sum(map(_lines, sources(package))), ()),
        (
            "twin names",
            len(pairs := twins(package)),
            (f"{name}: {', '.join(at)}" for name, at in pairs.items()),
        ),
        ("circles", len(rings := circles(arrows)), map(" <-> ".join, rings)),
        ("inner arrows", len(wrong := inner_arrows(arrows)), wrong),
        (
            f"files over {LONGEST_FILE}",
            len(files := long_files(package)),
            (f"{k} {v}" for k, v in files.items()),
        ),
        (
            f"functions over {LONGEST_FUNCTION}",
            len(functions := long_functions(package)),
            (f"{k} {v}" for k, v in functions.items()),
        ),
    ]
    for title, count, details in rows:
        print(f"{title:20} {count:>7,}")
        for detail in details:
            print(f"    {detail}")


if __name__ == "__main__":
    main()
