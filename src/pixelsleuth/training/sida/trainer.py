"""SIDA's training as `pixelsleuth train` calls it; the heavy parts are imported once the recipe was found sound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelsleuth.training.sida.config import from_recipe


def run(content: Mapping[str, Any], *, resume: bool) -> Path:
    """Train as a recipe says; the folder of the model. Raises UsageError, TrainingError."""
    config = from_recipe(content)
    from pixelsleuth.training.sida.loop import train

    return train(config, resume=resume)


def plan(content: Mapping[str, Any]) -> str:
    """Parameters by module, memory, steps and disk. Raises UsageError."""
    config = from_recipe(content)
    from pixelsleuth.training.sida.plan import plan

    return plan(config)
