"""Training of baselines (`kind: baseline`): the author's loss and augmentation, this project's data and checkpoints.

Run: `pixelsleuth train recipes/baselines/npr.yaml data=MANIFEST.csv out=runs/npr`
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelsleuth.training.baselines.settings import from_recipe
from pixelsleuth.training.recipe import ensure_new
from pixelsleuth.training.run.settings import RANDOM


def run(content: Mapping[str, Any], *, resume: bool) -> Path:
    """Train, and leave `out/model`, which `check --model` takes.

    Raises:
        UsageError: the recipe, the data or the start do not fit. TrainingError: the loss is not finite.
    """
    settings = from_recipe(content)
    ensure_new(Path(settings.out), resume=resume)
    from pixelsleuth.training.baselines.step import train

    return train(settings, resume=resume)


def plan(content: Mapping[str, Any]) -> str:
    """What would be trained, on how many pictures. Raises UsageError as `run` does."""
    from pixelsleuth.training.run.data import gather

    settings = from_recipe(content)
    facts, learning = settings.network_class.facts, ""
    if settings.start == RANDOM:
        network = settings.network_class.fresh(**settings.options)
        network.begin_training()
        count = sum(value.numel() for value in network.parameters() if value.requires_grad)
        learning = f"{count:,} parameters learn, "
    material = gather(settings, settings.learnt_classes)
    counts = [material.count(label) for label in range(3)]
    held = f"; {len(material.validation)} held out for validation" if material.validation else ""
    options = "".join(f", {name}={value}" for name, value in settings.options.items())
    start = "random weights" if settings.start == RANDOM else settings.start
    lines = [
        f"{facts.title}{options}, from {start}: {learning}{settings.steps:,} steps of {settings.batch} pictures.",
        f"Pictures: {counts[0]} real, {counts[1]} full synthetic, {counts[2]} tampered; {material.masks} masks{held}.",
    ]
    return "\n".join([*lines, *material.unused()])
