"""Balanced accuracy of one detector on labelled pictures, in its own classes: what a conversion may not cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import PictureError, UsageError
from pixelsleuth.evaluation.metrics.detection import balanced_accuracy, confusion_matrix
from pixelsleuth.evaluation.pictures import load
from pixelsleuth.evaluation.protocols import get_protocol

LEAST_A_CLASS = 20
"""Pictures of each class below which half a point of balanced accuracy means nothing."""


@dataclass(frozen=True)
class Measured:
    """Balanced accuracy of several detectors on the same pictures, and how many of each class there were."""

    balanced: tuple[float, ...]
    counts: dict[str, int]


def measure(detectors: Iterable[Detector], samples: Iterable[Sample], made_for: Label | None) -> Measured:
    """Each detector on every sample of its classes: real and `made_for`, or all three where that is None.

    Raises:
        UsageError: a class has too few pictures.
    """
    every, protocol = list(detectors), get_protocol("standard")
    counted = [Label.REAL, made_for] if made_for is not None else list(LABELS)
    truth: list[int] = []
    named: list[list[int]] = []
    for sample in samples:
        if sample.label not in counted:
            continue
        try:
            picture = load(sample, protocol).picture
        except PictureError:
            continue  # a picture that cannot be read is the same loss for all
        verdicts = [detector.judge([picture], explain=False)[0] for detector in every]
        truth.append(LABELS.index(sample.label))
        named.append([LABELS.index(verdict.label) for verdict in verdicts if verdict.label is not None])
    counts = {str(label): truth.count(LABELS.index(label)) for label in counted}
    poorest = min(counts, key=lambda label: counts[label])
    if counts[poorest] < LEAST_A_CLASS:
        raise UsageError(
            f"--data has {counts[poorest]} pictures of the class {poorest} and {LEAST_A_CLASS} are the least by which "
            "half a point of balanced accuracy can be judged: name a larger set."
        )
    columns = np.array(named).T
    return Measured(
        tuple(
            float(balanced_accuracy(confusion_matrix(np.array(truth), column, len(LABELS))))
            for column in columns
        ),
        counts,
    )
