"""Validation as a user would meet the model: free-running, never shown the true answer, the standard metrics.

A picture that is not judged tampered gets no mask, so its IoU is 0 where the truth is tampered. (The release validates
with the true class in the input and draws the mask whatever was predicted.)
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelsleuth.core.verdict import LABELS
from pixelsleuth.data.equalise import equalise
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import PictureError
from pixelsleuth.evaluation.metrics.detection import balanced_accuracy, confusion_matrix
from pixelsleuth.evaluation.metrics.localization import iou, mask_counts
from pixelsleuth.models.sida.inference import SidaEngine
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.sida.prompts import ANSWERS, QUESTION, QUESTION_WHY, plain
from pixelsleuth.pictures.images import Picture

log = logging.getLogger("pixelsleuth")
TAMPERED = 2
SHOWN = 6
"""Pictures of the sample sheet."""


@dataclass
class Seen:
    """One judged picture: true and predicted class, IoU of the mask (None without a true mask), the answer's text."""

    name: str
    label: int
    predicted: int
    iou: float | None = None
    located: float | None = None
    text: str = ""
    pixels: np.ndarray | None = field(default=None, repr=False)
    mask: np.ndarray | None = field(default=None, repr=False)
    predicted_mask: np.ndarray | None = field(default=None, repr=False)


def choose(samples: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """At most `count` samples, classes alike as far as they go, the same ones every time."""
    random = np.random.default_rng([seed, 3])
    classes = [[s for s in samples if s.label == label] for label in LABELS]
    shuffled = [[rows[i] for i in random.permutation(len(rows))] for rows in classes]
    return [s for rows in shuffled for s in rows[: -(-count // 3)]][:count]


def judge(
    model: LargeSida,
    processor: SidaProcessor,
    samples: Sequence[Sample],
    *,
    stage: int,
    raw: bool = False,
    texts: int = 0,
    batch: int = 4,
) -> list[Seen]:
    """Judge pictures, equalised by the fixed draw; `texts` of them also answer in their own words."""
    engine = SidaEngine(model, processor)
    seen: list[Seen] = []
    for first in range(0, len(samples), batch):
        loaded = [
            (sample, picture.pixels, truth)
            for sample, picture, truth in opened(samples[first : first + batch], raw=raw)
        ]
        if loaded:
            seen += _judged(
                engine, loaded, QUESTION if stage == 1 else QUESTION_WHY, max(0, texts - len(seen))
            )
    return seen


def opened(samples: Sequence[Sample], *, raw: bool) -> list[tuple[Sample, Picture, np.ndarray | None]]:
    """Pictures, equalised by the fixed draw unless `raw`, and their masks (H, W) bool; unreadable ones are left out,
    and each is told once.
    """
    found = []
    for sample in samples:
        try:
            picture, reading = sample.load()
        except PictureError as error:
            _tell(str(sample.path), str(error))
            continue
        if not raw:
            picture = replace(picture, pixels=np.ascontiguousarray(equalise(picture.pixels)))
        found.append((sample, picture, reading.pixels if reading is not None else None))
    return found


@functools.cache
def _tell(name: str, why: str) -> None:
    log.warning("%s is left out of the validation: %s", name, why)


def _judged(
    engine: SidaEngine, loaded: list[tuple[Sample, np.ndarray, np.ndarray | None]], question: str, texts: int
) -> list[Seen]:
    pictures = [pixels for _, pixels, _ in loaded]
    replies = engine.locate(pictures, question, threshold=0.0)
    said = engine.generate(pictures[:texts], question, max_new_tokens=96, masks=False) if texts else []
    seen = []
    for i, ((sample, pixels, truth), reply) in enumerate(zip(loaded, replies, strict=True)):
        one = Seen(sample.path.name, LABELS.index(sample.label), reply.label, pixels=pixels)
        assert reply.masks is not None
        drawn = (reply.masks[-1] > 0).numpy()
        one.predicted_mask = drawn if reply.label == TAMPERED else np.zeros_like(drawn)
        if one.label == TAMPERED and truth is not None and truth.any():
            one.mask, one.iou = truth, iou(mask_counts(one.predicted_mask, truth))
            one.located = iou(mask_counts(drawn, truth))
        if i < len(said):
            one.text = said[i].text
        seen.append(one)
    return seen


def metrics(seen: Sequence[Seen]) -> dict[str, float]:
    """Balanced accuracy, mean IoU (0 where tampered was not recognised), their mean as `score`; `located_iou` is the
    IoU if every picture were judged tampered; `text_agrees` the share of texts that begin with the true class."""
    matrix = confusion_matrix([s.label for s in seen], [s.predicted for s in seen], len(LABELS))
    found = {"balanced_accuracy": float(balanced_accuracy(matrix))}
    masked = [s for s in seen if s.iou is not None]
    if masked:
        found["iou"] = float(np.mean([s.iou for s in masked if s.iou is not None]))
        found["located_iou"] = float(np.mean([s.located for s in masked if s.located is not None]))
    found["score"] = (found["balanced_accuracy"] + found.get("iou", found["balanced_accuracy"])) / 2
    texts = [s for s in seen if s.text]
    if texts:
        right = [plain(s.text).startswith(plain(ANSWERS[s.label])) for s in texts]
        found["text_agrees"] = float(np.mean(right))
    return found


def validate(
    accelerator: Any, model: LargeSida, processor: SidaProcessor, samples: Sequence[Sample], **how: Any
) -> tuple[dict[str, float], list[Seen]]:
    """Judge the samples, shared between all processes; every process gets the metrics, each its own pictures."""
    from accelerate.utils import gather_object

    was_training = model.training
    model.eval()
    with torch.no_grad(), accelerator.autocast():
        own = list(samples[accelerator.process_index :: accelerator.num_processes])
        seen = judge(model, processor, own, **how)
    model.train(was_training)
    model.clip.eval()
    model.sam.eval()
    light = [Seen(s.name, s.label, s.predicted, s.iou, s.located, s.text) for s in seen]
    return metrics(gather_object(light)), seen


def sheet(seen: Sequence[Seen], path: Path) -> None:
    """Sample predictions as a picture (truth and prediction drawn over each) and their texts beside it as JSON."""
    from matplotlib.figure import Figure

    tampered = [s for s in seen if s.label == TAMPERED]
    others = [s for s in seen if s.label != TAMPERED]
    shown = [*tampered[: SHOWN // 2], *others[: SHOWN - min(len(tampered), SHOWN // 2)]]
    figure = Figure(figsize=(2.6 * max(1, len(shown)), 5.6), layout="constrained")
    axes = figure.subplots(2, max(1, len(shown)), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for column, one in enumerate(shown):
        assert one.pixels is not None
        for row, mask, title in (
            (0, one.mask, f"truth: {LABELS[one.label]}"),
            (1, one.predicted_mask, f"judged: {LABELS[one.predicted]}"),
        ):
            axes[row, column].imshow(_over(one.pixels, mask))
            axes[row, column].set_title(title, fontsize=9)
    figure.savefig(path.with_suffix(".png"), dpi=80)
    said = [{"name": s.name, "truth": LABELS[s.label], "text": s.text} for s in seen if s.text]
    if said:
        path.with_suffix(".json").write_text(json.dumps(said, indent=1) + "\n")


def _over(pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    if mask is None or not mask.any():
        return pixels
    tinted = pixels.astype(np.float32)
    tinted[mask] = 0.5 * tinted[mask] + 0.5 * np.array([255, 30, 30], np.float32)
    return tinted.astype(np.uint8)
