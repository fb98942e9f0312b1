"""Validation as a user would meet the model: free-running, never shown the true answer, the standard metrics.

A picture that is not judged tampered gets no mask, so its IoU is 0 where the truth is tampered. (The release validates
with the true class in the input and draws the mask whatever was predicted.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelsleuth.core.verdict import LABELS
from pixelsleuth.data.sample import Sample
from pixelsleuth.evaluation.metrics.localization import iou, mask_counts
from pixelsleuth.models.sida.inference import SidaEngine
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.sida.prompts import ANSWERS, QUESTION, QUESTION_WHY, plain
from pixelsleuth.pictures.images import Picture
from pixelsleuth.training.run.data import TAMPERED, opened, scores

SHOWN = 6
"""Pictures of the sample sheet."""


@dataclass
class Judged:
    """One judged picture.

    Attributes:
        name: of its file.
        label, predicted: true and predicted class, 0..2.
        iou: of the mask, 0 where the picture was not judged tampered; None without a true mask.
        located: the IoU if it were judged tampered.
        text: the model's own words, where it was asked for them.
        pixels, mask, predicted_mask: (H, W, 3) uint8, and (H, W) bool.
    """

    name: str
    label: int
    predicted: int
    iou: float | None = None
    located: float | None = None
    text: str = ""
    pixels: np.ndarray | None = field(default=None, repr=False)
    mask: np.ndarray | None = field(default=None, repr=False)
    predicted_mask: np.ndarray | None = field(default=None, repr=False)


def judge(
    model: LargeSida,
    processor: SidaProcessor,
    samples: Sequence[Sample],
    *,
    stage: int,
    raw: bool = False,
    texts: int = 0,
    batch: int = 4,
) -> list[Judged]:
    """Judge pictures, equalised by the fixed draw unless `raw`; the first `texts` also answer in their own words."""
    engine, question = SidaEngine(model, processor), QUESTION if stage == 1 else QUESTION_WHY
    judged: list[Judged] = []
    for first in range(0, len(samples), batch):
        loaded = opened(samples[first : first + batch], raw=raw)
        if loaded:
            judged += _judged(engine, loaded, question, max(0, texts - len(judged)))
    return judged


def _judged(
    engine: SidaEngine, loaded: list[tuple[Sample, Picture, np.ndarray | None]], question: str, texts: int
) -> list[Judged]:
    pictures = [picture.pixels for _, picture, _ in loaded]
    replies = engine.locate(pictures, question, threshold=0.0)
    answers = engine.generate(pictures[:texts], question, max_new_tokens=96, masks=False) if texts else []
    judged = []
    for i, ((sample, picture, truth), reply) in enumerate(zip(loaded, replies, strict=True)):
        entry = Judged(sample.path.name, LABELS.index(sample.label), reply.label, pixels=picture.pixels)
        assert reply.masks is not None
        drawn = (reply.masks[-1] > 0).numpy()
        entry.predicted_mask = drawn if reply.label == TAMPERED else np.zeros_like(drawn)
        if entry.label == TAMPERED and truth is not None and truth.any():
            entry.mask, entry.iou = truth, iou(mask_counts(entry.predicted_mask, truth))
            entry.located = iou(mask_counts(drawn, truth))
        if i < len(answers):
            entry.text = answers[i].text
        judged.append(entry)
    return judged


def metrics(judged: Sequence[Judged]) -> dict[str, float]:
    """Figures of `run.data.scores`, and where there are masks or texts: `located_iou`, the IoU if every picture were
    judged tampered; `text_agrees`, the share of texts that begin with the true class."""
    masked = [entry for entry in judged if entry.iou is not None]
    figures = scores(
        [entry.label for entry in judged], [entry.predicted for entry in judged],
        [entry.iou for entry in masked if entry.iou is not None],
    )  # fmt: skip
    if masked:
        figures["located_iou"] = float(np.mean([e.located for e in masked if e.located is not None]))
    texts = [entry for entry in judged if entry.text]
    if texts:
        right = [plain(entry.text).startswith(plain(ANSWERS[entry.label])) for entry in texts]
        figures["text_agrees"] = float(np.mean(right))
    return figures


def validate(
    accelerator: Any, model: LargeSida, processor: SidaProcessor, samples: Sequence[Sample], **how: Any
) -> tuple[dict[str, float], list[Judged]]:
    """Judge the samples, shared between all processes; `how` goes to `judge`.

    Returns:
        The metrics, the same in every process; and what this process judged.
    """
    from accelerate.utils import gather_object

    was_training = model.training
    model.eval()
    with torch.no_grad(), accelerator.autocast():
        own = list(samples[accelerator.process_index :: accelerator.num_processes])
        judged = judge(model, processor, own, **how)
    model.train(was_training)
    model.clip.eval()
    model.sam.eval()
    light = [replace(entry, pixels=None, mask=None, predicted_mask=None) for entry in judged]
    return metrics(gather_object(light)), judged


def sheet(judged: Sequence[Judged], path: Path) -> None:
    """Write sample predictions as a picture, truth above prediction, and the texts beside it as JSON."""
    from matplotlib.figure import Figure

    tampered = [entry for entry in judged if entry.label == TAMPERED]
    others = [entry for entry in judged if entry.label != TAMPERED]
    shown = [*tampered[: SHOWN // 2], *others[: SHOWN - min(len(tampered), SHOWN // 2)]]
    figure = Figure(figsize=(2.6 * max(1, len(shown)), 5.6), layout="constrained")
    axes = figure.subplots(2, max(1, len(shown)), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for column, entry in enumerate(shown):
        assert entry.pixels is not None
        for row, mask, title in (
            (0, entry.mask, f"truth: {LABELS[entry.label]}"),
            (1, entry.predicted_mask, f"judged: {LABELS[entry.predicted]}"),
        ):
            axes[row, column].imshow(_tinted(entry.pixels, mask))
            axes[row, column].set_title(title, fontsize=9)
    figure.savefig(path.with_suffix(".png"), dpi=80)
    texts = [{"name": e.name, "truth": LABELS[e.label], "text": e.text} for e in judged if e.text]
    if texts:
        path.with_suffix(".json").write_text(json.dumps(texts, indent=1) + "\n")


def _tinted(pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The picture, red where the mask is."""
    if mask is None or not mask.any():
        return pixels
    tinted = pixels.astype(np.float32)
    tinted[mask] = 0.5 * tinted[mask] + 0.5 * np.array([255, 30, 30], np.float32)
    return tinted.astype(np.uint8)
