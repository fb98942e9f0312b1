"""Balanced accuracy of one detector on labelled pictures, in its own classes: what a conversion may not cost."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import PictureError, UsageError
from pixelsleuth.evaluation.metrics.detection import balanced_accuracy, confusion_matrix
from pixelsleuth.evaluation.pictures import choose, load
from pixelsleuth.evaluation.protocols import get_protocol

if TYPE_CHECKING:
    from pixelsleuth.models.light.detector import LightDetector

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


def quantise_if_cheap(fp32: LightDetector, folder: Path, data: str, split: str | None, limit: int) -> str:
    """Replace the fp32 graph in `folder` by int8 and return the measured figures, a phrase.

    `limit` pictures of `data` are judged by both; further ones set the ranges of the activations.

    Raises:
        UsageError: int8 costs too much balanced accuracy, or the data are too few to tell; the folder stays as it was.
    """
    from pixelsleuth.models.light.quantise import CALIBRATION_PICTURES, LARGEST_LOSS, quantise

    protocol = get_protocol("standard")
    samples = [
        sample for _, sample in choose(data, protocol, split=split, limit=limit + CALIBRATION_PICTURES)
    ]
    ranges = _some_of_each(samples, CALIBRATION_PICTURES)
    judged = [sample for sample in samples if sample not in ranges]
    trial = folder.with_name(f"{folder.name}.int8.part")
    try:
        int8 = quantise(folder, trial, [load(sample, protocol).picture.pixels for sample in ranges])
        measured = measure([fp32, int8], judged, fp32.made_for)
        before, after = measured.balanced
        count = sum(measured.counts.values())
        figures = f"balanced accuracy {after:.3f} in int8, {before:.3f} in fp32, on {count} pictures"
        if before - after >= LARGEST_LOSS:
            raise UsageError(
                f"int8 costs {before - after:.3f} ({figures}), and {LARGEST_LOSS} is the most: {folder} keeps fp32."
            )
        shutil.copyfile(trial / "model.onnx", folder / "model.onnx.part")
        (folder / "model.onnx.part").replace(folder / "model.onnx")
        shutil.copyfile(trial / "detector.json", folder / "detector.json")
        return figures
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _some_of_each(samples: Sequence[Sample], count: int) -> list[Sample]:
    """About `count` samples, evenly over the classes, and never more than a third of a class."""
    classes: dict[str, list[Sample]] = {}
    for sample in samples:
        classes.setdefault(str(sample.label), []).append(sample)
    chosen: list[Sample] = []
    for members in classes.values():
        number = max(1, min(count // len(classes), len(members) // 3))
        chosen += members[:: max(1, len(members) // number)][:number]
    return chosen
