"""Validation of a baseline as a user would meet it: verdicts and masks by its own threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.data.sample import Sample
from pixelsleuth.evaluation.metrics.detection import auroc, balanced_accuracy, binary, confusion_matrix
from pixelsleuth.evaluation.metrics.localization import iou, mask_counts
from pixelsleuth.models.baseline import Baseline, BaselineDetector
from pixelsleuth.training.run.validation import opened

TAMPERED = 2


def validate(
    network: Baseline, samples: Sequence[Sample], *, device: str, raw: bool, batch: int
) -> dict[str, float]:
    """Judge pictures and score the verdicts; the network is left in the mode in which it came.

    Args:
        network: what is trained.
        samples: pictures of real and at least one class of fakes.
        device: where it runs.
        raw: take files as they are; else equalised by the fixed draw.
        batch: pictures at once.

    Returns:
        `balanced_accuracy` (of three classes where the network tells three apart, else of fake and real); `auroc` of
        fake against real; for localizers `iou`, the mean over tampered pictures, 0 where none was drawn; `score`, the
        mean of balanced accuracy and IoU. All in 0..1.
    """
    training = network.training
    detector = BaselineDetector(network, device=device)
    labels, predicted, chances, overlaps = [], [], [], []
    for first in range(0, len(samples), batch):
        loaded = opened(samples[first : first + batch], raw=raw)
        verdicts = detector.judge([picture for _, picture, _ in loaded], explain=False) if loaded else []
        for (sample, _, truth), verdict in zip(loaded, verdicts, strict=True):
            labels.append(LABELS.index(sample.label))
            predicted.append(LABELS.index(verdict.label))
            assert verdict.probabilities is not None
            chances.append(1 - verdict.probabilities[Label.REAL])
            if network.facts.localizes and labels[-1] == TAMPERED and truth is not None and truth.any():
                overlaps.append(0.0 if verdict.mask is None else iou(mask_counts(verdict.mask, truth)))
    network.train(training)
    matrix = confusion_matrix(labels, predicted, len(LABELS))
    found = {
        "balanced_accuracy": float(
            balanced_accuracy(matrix if network.three_classes else binary(matrix, (1, 2)))
        ),
        "auroc": float(auroc(np.array(labels) > 0, chances)),
    }
    if overlaps:
        found["iou"] = float(np.mean(overlaps))
    return found | {"score": (found["balanced_accuracy"] + found.get("iou", found["balanced_accuracy"])) / 2}
