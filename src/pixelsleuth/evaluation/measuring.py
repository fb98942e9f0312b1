"""Measurements of a detector outside `evaluate`.

`measure_decision` serves `models calibrate`: it judges pictures of sources that the detector never saw, and gives the
rows from which `core.decision` fits its decision. The unit is the source, not the picture: pictures of one source are
alike, and a hundred of them predict the next source hardly better than ten.

`quantise_if_cheap` serves `models convert --int8`: it keeps int8 only where that costs little balanced accuracy.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.resaves import RESAVES, resave
from pixelsleuth.core.scores import SCALE, SCHEMA
from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import PictureError, UsageError
from pixelsleuth.evaluation import perturbations
from pixelsleuth.evaluation.metrics.detection import balanced_accuracy, confusion_matrix
from pixelsleuth.evaluation.pictures import choose, load
from pixelsleuth.evaluation.protocols import get_protocol
from pixelsleuth.pictures.images import Picture

if TYPE_CHECKING:
    from pixelsleuth.models.light.detector import LightDetector

LEAST_AUTHENTIC, LEAST_CLAIMED = 10, 5
"""Sources of authentic pictures, and of the class that the detector was made for: with fewer, no bound can be held."""
KINDS = {"photograph": None, "recompressed": "jpeg:70", "reduced": "resize:0.5"}
"""What is done to a picture before it is judged: nothing, or what sharing does."""
LEAST_A_CLASS = 20
"""Pictures of each class below which half a point of balanced accuracy means nothing."""


@dataclass
class DecisionRows:
    """What a detector answered. Of each row: source, label and kind by index, and the scores of all views in
    thousandths (views x classes)."""

    sources: dict[str, int] = field(default_factory=dict)
    source: list[int] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    scores: list[list[int]] = field(default_factory=list)
    unreadable: int = 0

    def sources_of(self, label: Label) -> int:
        """How many sources have pictures of a class."""
        index = LABELS.index(label)
        return len({source for source, own in zip(self.source, self.label, strict=True) if own == index})

    def to_dict(self, model: Mapping[str, str], kinds: Iterable[str]) -> dict[str, Any]:
        """As `core.decision` reads it. `model`: name and weights of the detector that was measured."""
        return {
            "schema": SCHEMA,
            "how": "measured by `pixelsleuth models calibrate` on pictures of sources named by its user",
            "classes": [str(label) for label in LABELS],
            "resaves": list(RESAVES),
            "sources": list(self.sources),
            "kinds": list(kinds),
            "rows": {"source": self.source, "label": self.label, "kind": self.kind, "scores": self.scores},
            "claims": {},
            "model": dict(model),
        }


def measure_decision(
    detector: Detector,
    samples: Iterable[Sample],
    made_for: Label,
    *,
    kinds: Iterable[str] = ("photograph",),
    step: Callable[[], None] = lambda: None,
) -> DecisionRows:
    """Judge every sample, as it is and after two mild re-saves, under each kind; `step` is called once a sample.

    Raises UsageError where a sample has no source, or where there are too few sources to certify anything.
    """
    rows, protocol = DecisionRows(), get_protocol("standard")
    specs = [KINDS[kind] for kind in kinds]
    chains = [None if spec is None else perturbations.parse(spec) for spec in specs]
    for sample in samples:
        if not sample.source:
            raise UsageError(
                f"{sample.path} has no source: the unit of this measurement is the source, so the manifest needs a "
                "column 'source' that is filled in every row."
            )
        step()
        try:
            picture = load(sample, protocol).picture
        except PictureError:
            rows.unreadable += 1
            continue
        for number, chain in enumerate(chains):
            changed = picture
            if chain is not None:
                changed = replace(picture, pixels=chain.apply(picture.pixels, key=sample.path.as_posix())[0])
            rows.source.append(rows.sources.setdefault(sample.source, len(rows.sources)))
            rows.label.append(LABELS.index(sample.label))
            rows.kind.append(number)
            rows.scores.append(_thousandths(detector, changed))
    _ensure_enough(rows, made_for)
    return rows


def _thousandths(detector: Detector, picture: Picture) -> list[int]:
    """The scores of the picture and of its re-saves, one after the other, in whole thousandths."""
    scores: list[int] = []
    for pixels in (picture.pixels, *(resave(picture.pixels, spec) for spec in RESAVES)):
        (verdict,) = detector.judge([replace(picture, pixels=pixels)], explain=False)
        assert verdict.probabilities is not None
        scores += [round(SCALE * verdict.probabilities[label]) for label in LABELS]
    return scores


def _ensure_enough(rows: DecisionRows, made_for: Label) -> None:
    for label, least in ((Label.REAL, LEAST_AUTHENTIC), (made_for, LEAST_CLAIMED)):
        count = rows.sources_of(label)
        if count < least:
            raise UsageError(
                f"The data have {count} sources with pictures labelled {label}; fewer than {least} certify nothing, "
                "whatever the number of pictures: name data of more sources."
            )


def balanced_accuracies(
    detectors: Sequence[Detector], samples: Iterable[Sample], made_for: Label | None
) -> tuple[list[float], int]:
    """(balanced accuracy of each detector, number of pictures), on the pictures of its classes.

    The classes are real and `made_for`, or all three where that is None. Raises UsageError where a class has too few
    pictures.
    """
    protocol = get_protocol("standard")
    classes = [Label.REAL, made_for] if made_for is not None else list(LABELS)
    truth: list[int] = []
    predicted: list[list[int]] = []
    for sample in samples:
        if sample.label not in classes:
            continue
        try:
            picture = load(sample, protocol).picture
        except PictureError:
            continue  # a picture that cannot be read is the same loss for all
        verdicts = [detector.judge([picture], explain=False)[0] for detector in detectors]
        truth.append(LABELS.index(sample.label))
        predicted.append([LABELS.index(verdict.label) for verdict in verdicts if verdict.label is not None])
    counts = {str(label): truth.count(LABELS.index(label)) for label in classes}
    poorest = min(counts, key=lambda label: counts[label])
    if counts[poorest] < LEAST_A_CLASS:
        raise UsageError(
            f"--data has {counts[poorest]} pictures of the class {poorest}, and half a point of balanced accuracy "
            f"cannot be judged by fewer than {LEAST_A_CLASS}: name a larger set."
        )
    matrices = [confusion_matrix(truth, column, len(LABELS)) for column in np.array(predicted).T]
    return [float(balanced_accuracy(matrix)) for matrix in matrices], len(truth)


def quantise_if_cheap(fp32: LightDetector, folder: Path, data: str, split: str | None, limit: int) -> str:
    """Replace the fp32 graph in `folder` by int8 and return the measured figures as a phrase.

    `limit` pictures of `data` are judged by both; further ones set the ranges of the activations.

    Raises UsageError where int8 costs too much balanced accuracy, or where the data are too few; the folder then stays
    as it was.
    """
    from pixelsleuth.models.convert import CALIBRATION_PICTURES, LARGEST_LOSS, quantise

    protocol = get_protocol("standard")
    chosen = choose(data, protocol, split=split, limit=limit + CALIBRATION_PICTURES)
    samples = [sample for _, sample in chosen]
    ranges = _some_of_each(samples, CALIBRATION_PICTURES)
    judged = [sample for sample in samples if sample not in ranges]
    trial = folder.with_name(f"{folder.name}.int8.part")
    try:
        int8 = quantise(folder, trial, [load(sample, protocol).picture.pixels for sample in ranges])
        (before, after), count = balanced_accuracies([fp32, int8], judged, fp32.made_for)
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
