"""The training of a baseline as `pixelsleuth train` calls it.

Run: `pixelsleuth train recipes/baselines/npr.yaml data=MANIFEST.csv out=runs/npr`
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelsleuth.training.baselines.config import RANDOM, classes_of, data_of, kind_of, sound
from pixelsleuth.training.recipe import ensure_new

ASIDE = "Not learnt from"


def run(content: Mapping[str, Any], *, resume: bool) -> Path:
    """Train, and leave `out/model`, which `check --model` takes.

    Raises:
        UsageError: the recipe, the data or the start do not fit. TrainingError: the loss is not finite.
    """
    config = sound(content)
    ensure_new(Path(config.out), resume=resume)
    from pixelsleuth.training.baselines.loop import Training

    return Training(config, resume=resume).run()


def plan(content: Mapping[str, Any]) -> str:
    """What would be trained, on how many pictures. Raises UsageError as `run` does."""
    from pixelsleuth.training.run.data import gather

    config = sound(content)
    kind = kind_of(config)
    learns = ""
    if config.start == RANDOM:
        network = kind.fresh(**config.options)
        network.begin_training()
        learns = (
            f"{sum(one.numel() for one in network.parameters() if one.requires_grad):,} parameters learn, "
        )
    material = gather(data_of(config), classes_of(config))
    counts = [material.count(label) for label in range(3)]
    held = f"; {len(material.validation)} held out for validation" if material.validation else ""
    chosen = "".join(f", {name}={value}" for name, value in config.options.items())
    start = "random weights" if config.start == RANDOM else config.start
    return (
        f"{kind.facts.title}{chosen}, from {start}: {learns}{config.steps:,} steps of {config.batch} pictures.\n"
        f"Pictures: {counts[0]} real, {counts[1]} full synthetic, {counts[2]} tampered; {material.masks} masks{held}."
        + "".join(
            f"\n{line}" for line in (material.left_out.sentence(), material.set_aside.sentence(ASIDE)) if line
        )
    )
