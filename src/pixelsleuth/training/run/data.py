"""Labelled pictures for a training: any reader, several sets, a part held out for validation.

`gather` lists the pictures and refuses sets that cannot be learnt from. `validation_pictures` chooses those that a
validation judges, `opened` reads them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pixelsleuth.core.io import write_bytes
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.data.equalise import equalise
from pixelsleuth.data.left_out import ABSENT, LeftOut
from pixelsleuth.data.masks import Mask
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import Sample, for_training, hold_out
from pixelsleuth.errors import PictureError, UsageError
from pixelsleuth.evaluation.metrics.detection import balanced_accuracy, binary, confusion_matrix
from pixelsleuth.pictures.images import Picture
from pixelsleuth.training.run.settings import RunSettings, Source, fingerprint

log = logging.getLogger("pixelsleuth")
TAMPERED = 2
CLASSES = (0, 1, TAMPERED)


@dataclass
class Material:
    """Samples of each data set, by class; and those held out for validation.

    `left_out` counts what cannot be used, `set_aside` what this training does not learn from (another split or class,
    no description).
    """

    sets: list[list[list[Sample]]]
    validation: list[Sample]
    left_out: LeftOut = field(default_factory=LeftOut)
    set_aside: LeftOut = field(default_factory=LeftOut)

    def count(self, label: int) -> int:
        """Pictures of one class, over all sets."""
        return sum(len(classes[label]) for classes in self.sets)

    @property
    def masks(self) -> int:
        """Tampered pictures that have a mask."""
        return sum(sample.mask is not None for classes in self.sets for sample in classes[TAMPERED])

    @property
    def digest(self) -> str:
        """A digest of names, classes and texts; the contents of files do not enter it."""
        return fingerprint(
            [[[(s.path.name, s.description) for s in rows] for rows in classes] for classes in self.sets]
        )

    def unused(self) -> list[str]:
        """Sentences about what is left out and what is set aside; none where everything is used."""
        return [
            text for text in (self.left_out.sentence(), self.set_aside.sentence("Not learnt from")) if text
        ]


def gather(settings: RunSettings, classes: Sequence[int] | None = CLASSES) -> Material:
    """Open all data sets of a training.

    Args:
        settings: what to open.
        classes: those that must be there; pictures of others are left out. None: real, and fakes of whatever kind.

    Raises:
        UsageError: a class is missing, or a loss needs masks and no tampered picture has one.
    """
    material = Material([], [])
    validation = settings.validation
    for source in settings.data:
        samples = _samples(source, settings, material, classes)
        if validation.every and validation.hold_out and not validation.data:
            path = Path(source.path)
            root = path if path.is_dir() else path.parent
            samples, held = hold_out(samples, share=validation.hold_out, root=root)
            material.validation += held
        material.sets.append([[s for s in samples if s.label == label] for label in LABELS])
    for source in validation.data:
        material.validation += _samples(source, settings, material, classes, learnt=False)
    _ensure_learnable(material, settings, classes)
    return material


def _ensure_learnable(material: Material, settings: RunSettings, classes: Sequence[int] | None) -> None:
    unused = "".join(f" {sentence}" for sentence in material.unused())
    for label in (0,) if classes is None else classes:
        if not material.count(label):
            needed = "all three classes" if classes == CLASSES else "it"
            raise UsageError(
                f"The data have no usable picture of the class {LABELS[label]}: this training needs {needed}.{unused}"
            )
    if classes is None and not material.count(1) + material.count(TAMPERED):
        raise UsageError(f"The data have no fake picture, neither full_synthetic nor tampered.{unused}")
    if settings.learns_masks and not material.masks:
        raise UsageError(
            "No tampered picture of the data has a mask: add the column mask. SIDA also trains without masks, with "
            "weights.mask=0."
        )
    learnt = {str(name) for label, name in enumerate(LABELS) if material.count(label)}
    if settings.validation.every and not learnt <= {str(sample.label) for sample in material.validation}:
        raise UsageError(
            "The validation pictures lack a class: hold out more, or name other validation.data."
        )


def _samples(
    source: Source,
    settings: RunSettings,
    material: Material,
    classes: Sequence[int] | None,
    *,
    learnt: bool = True,
) -> list[Sample]:
    """The usable samples of one set; the others are counted in `material`. `learnt`: they are trained on."""
    data = open_data(
        source.path, source.reader, source.split, allow_outside=settings.allow_outside, **source.settings
    )
    samples = [sample for sample in data if _is_there(sample, material)]
    material.left_out.join(data.left_out)
    aside = material.set_aside
    chosen = for_training(samples) if learnt and source.split is None else samples
    if len(chosen) < len(samples):
        aside.add("not of the split train", count=len(samples) - len(chosen))
    kept = []
    for sample in chosen:
        objection = settings.objection(sample) if learnt else ""
        if classes is not None and LABELS.index(sample.label) not in classes:
            objection = "of no class that is learnt"
        if objection:
            aside.add(objection, str(sample.path))
        else:
            kept.append(_on_disk(sample, Path(settings.out) / "pictures") if sample.data else sample)
    return kept


def _is_there(sample: Sample, material: Material) -> bool:
    """True where its file exists or its bytes are at hand; a missing picture is counted as left out."""
    if sample.data is not None or os.path.exists(str(sample.path)):
        return True
    material.left_out.add(ABSENT, str(sample.path))
    return False


def _on_disk(sample: Sample, folder: Path) -> Sample:
    """The sample with picture and mask written to files: a training draws in any order, a shard is read in one."""
    mask = sample.mask
    if isinstance(mask, Mask) and isinstance(mask.file, bytes):
        mask = dataclasses.replace(mask, file=_stored(mask.file, folder))
    elif isinstance(mask, bytes):
        mask = _stored(mask, folder)
    assert sample.data is not None
    return dataclasses.replace(sample, path=_stored(sample.data, folder), data=None, mask=mask)


def _stored(data: bytes, folder: Path) -> Path:
    name = hashlib.sha256(data).hexdigest()
    path = folder / name[:2] / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data, kind="picture")
    return path


def validation_pictures(samples: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """At most `count` samples, as many of each class as there are, the same ones every time."""
    random = np.random.default_rng([seed, 3])
    classes = [[s for s in samples if s.label == label] for label in LABELS]
    shuffled = [[rows[i] for i in random.permutation(len(rows))] for rows in classes]
    return [s for rows in shuffled for s in rows[: -(-count // 3)]][:count]


def opened(samples: Sequence[Sample], *, raw: bool) -> list[tuple[Sample, Picture, np.ndarray | None]]:
    """Pictures, equalised by the fixed draw unless `raw`, and their masks (H, W) bool or None.

    A picture that cannot be read is left out, with one warning for each.
    """
    readable = []
    for sample in samples:
        try:
            picture, reading = sample.load()
        except PictureError as error:
            _warn(str(sample.path), str(error))
            continue
        if not raw:
            picture = dataclasses.replace(picture, pixels=np.ascontiguousarray(equalise(picture.pixels)))
        readable.append((sample, picture, reading.pixels if reading is not None else None))
    return readable


@functools.cache
def _warn(name: str, why: str) -> None:
    log.warning("%s is left out of the validation: %s", name, why)


def scores(
    labels: Sequence[int], predicted: Sequence[int], overlaps: Sequence[float], *, three_classes: bool = True
) -> dict[str, float]:
    """Figures of a validation.

    Args:
        labels: true classes, 0..2.
        predicted: classes of the verdicts, 0..2.
        overlaps: IoU of every tampered picture that has a mask; 0 where none was drawn.
        three_classes: tell three classes apart, else real and fake.

    Returns:
        `balanced_accuracy`; `iou`, the mean of `overlaps`, where there are some; `score`, the mean of both. All 0..1.
    """
    matrix = confusion_matrix(labels, predicted, len(LABELS))
    accuracy = float(balanced_accuracy(matrix if three_classes else binary(matrix, (1, TAMPERED))))
    figures = {"balanced_accuracy": accuracy}
    if overlaps:
        figures["iou"] = float(np.mean(overlaps))
    return figures | {"score": (accuracy + figures.get("iou", accuracy)) / 2}
