"""The log as a picture: total loss, its parts, the rate and the gradient's norm, validation figures.

Run: `python -m pixelsleuth.training.run.plots OUT` draws `OUT/log.png` anew.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.training.run.log import read_log

OTHERS = (
    "step", "loss", "correct", "gradient_norm", "learning_rate", "pictures_per_second", "seconds", "alarms",
)  # fmt: skip
"""Keys of a line of the log that are no parts of the loss."""


def plot_log(folder: Path) -> Path | None:
    """Draw `folder/log.png` out of log.jsonl and validation.jsonl; None where nothing was logged."""
    from matplotlib.figure import Figure

    lines, checked = read_log(folder / "log.jsonl"), read_log(folder / "validation.jsonl")
    if not lines:
        return None
    steps = [line["step"] for line in lines]
    figure = Figure(figsize=(11, 7), layout="constrained")
    total, parts, pace, scores = figure.subplots(2, 2).flat
    curves(total, steps, {"loss": [line["loss"] for line in lines]})
    total.set_title("weighted loss")
    named = [name for name in lines[0] if name not in OTHERS]
    if named:
        curves(parts, steps, {name: [line[name] for line in lines] for name in named})
    parts.set_title("parts, unweighted")
    parts.set_visible(bool(named))
    pace.plot(
        steps, [line["gradient_norm"] for line in lines], color="tab:grey", lw=0.8, label="gradient norm"
    )
    pace.legend(loc="upper left", frameon=False)
    rate = pace.twinx()
    rate.plot(steps, [line["learning_rate"] for line in lines], color="tab:red", lw=1, label="learning rate")
    rate.legend(loc="upper right", frameon=False)
    pace.set_title("gradient norm and learning rate")
    if checked:
        for name in ("balanced_accuracy", "auroc", "iou", "located_iou", "text_agrees"):
            points = [(line["step"], line[name]) for line in checked if name in line]
            if points:
                scores.plot(*zip(*points, strict=True), marker="o", ms=3, lw=1, label=name.replace("_", " "))
        scores.set_ylim(0, 1)
        scores.legend(frameon=False)
    else:
        scores.set_axis_off()
    scores.set_title("validation, free-running" if checked else "no validation")
    for axis in (total, parts, pace, scores):
        axis.set_xlabel("step")
        axis.grid(alpha=0.25)
    figure.savefig(folder / "log.png", dpi=90)
    return folder / "log.png"


def curves(axis: Any, steps: Sequence[int], values: dict[str, list[float]]) -> None:
    """Draw each curve twice: thin as it is, thick as its running mean."""
    for name, points in values.items():
        width = max(1, len(points) // 40)
        smooth = np.convolve(
            np.pad(points, (width - 1, 0), mode="edge"), np.ones(width) / width, mode="valid"
        )
        (line,) = axis.plot(steps, smooth, lw=1.4, label=name)
        if width > 1:
            axis.plot(steps, points, lw=0.5, alpha=0.35, color=line.get_color())
    axis.legend(frameon=False)


if __name__ == "__main__":
    print(plot_log(Path(sys.argv[1])))
