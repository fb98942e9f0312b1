"""Training recipes: which kind a YAML file is of, and who carries it out.

`kind:` names one of `KINDS`; a recipe without it is SIDA's. A trainer is a module with two functions:
`run(content, *, resume) -> Path` trains and returns the folder of the model, `plan(content) -> str` describes the
training and loads no weights. Both get the recipe's values with the `key=value` of the command put in, and refuse
unknown ones before anything is trained.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pixelsleuth.core.names import suggestion
from pixelsleuth.core.settings import read_yaml
from pixelsleuth.errors import OutputError, UsageError

KINDS = {
    "sida": "pixelsleuth.training.sida",
    "compact": "pixelsleuth.training.compact.all_stages",
    "baseline": "pixelsleuth.training.baselines",
    "fakevlm": "pixelsleuth.training.vlm.fakevlm",
    "so_fake_r1": "pixelsleuth.training.vlm.so_fake_r1",
}
"""`kind:` of a recipe, and the module that trains it."""


ALONE = ("compact", "baseline")
"""Kinds that train in one process; the others also train in those that torchrun starts."""


def carry_out(path: Path, overrides: Sequence[str] = (), *, resume: bool = False) -> Path:
    """Carry out a recipe and return the folder of the model.

    Raises:
        UsageError: the recipe is wrong, its folder holds a training and `resume` is not set, or torchrun started
            several processes for a training that runs in one.
    """
    trainer, content = _trainer(path, overrides)
    _ensure_alone(content.get("kind", "sida"))
    folder: Path = trainer.run(content, resume=resume)
    return folder


def _ensure_alone(kind: str) -> None:
    """Refuse several processes of a training that knows of one. Raises UsageError."""
    started = os.environ.get("WORLD_SIZE", "1")
    if kind in ALONE and started != "1":
        raise UsageError(
            f"A training of kind {kind} runs in one process, not in {started}: start it without torchrun."
        )


def plan(path: Path, overrides: Sequence[str] = ()) -> str:
    """Describe the training of a recipe. Raises UsageError as `carry_out` does."""
    trainer, content = _trainer(path, overrides)
    return str(trainer.plan(content))


def ensure_new(out: Path, *, resume: bool) -> Path:
    """Make the folder `out`; one that holds a training is refused unless that is resumed.

    Raises:
        UsageError: it holds a training. OutputError: it cannot be made.
    """
    if not resume and ((out / "log.jsonl").exists() or any(out.glob("checkpoints/step-*"))):
        raise UsageError(f"{out} holds a training: go on with --resume, or name another out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make {out} ({error.strerror}): name another out.") from None
    return out


def _trainer(path: Path, overrides: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    content = read_yaml(path, overrides)
    kind = content.get("kind", "sida")
    if kind not in KINDS:
        raise UsageError(f"{path}: there is no training of kind {kind!r}{suggestion(str(kind), KINDS)}.")
    return import_module(KINDS[kind]), content
