"""SIDA's training at any size: both stages, one process or many, resumable to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelsleuth.training.sida.settings import from_recipe


def run(content: Mapping[str, Any], *, resume: bool) -> Path:
    """Train as a recipe says; the folder of the model. Raises UsageError, TrainingError."""
    settings = from_recipe(content)
    from pixelsleuth.training.sida.step import train

    return train(settings, resume=resume)


def plan(content: Mapping[str, Any]) -> str:
    """Parameters by module, memory, steps and disk. Raises UsageError."""
    settings = from_recipe(content)
    from pixelsleuth.training.sida.dry_run import report

    return report(settings)
