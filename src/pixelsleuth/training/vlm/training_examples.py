"""Pictures with the truth about them, from any reader of this project.

A picture is decoded when its item is used; one that cannot be read is replaced by the next.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.data.equalise import draw_for, equalise, random_for
from pixelsleuth.data.left_out import ABSENT, LeftOut
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import Sample, for_training
from pixelsleuth.errors import PictureError, UsageError
from pixelsleuth.models.so_fake_r1.answers import FRAME, Box, to_frame
from pixelsleuth.models.so_fake_r1.rewards import Truth

log = logging.getLogger("pixelsleuth")
MOST_KEPT = 128
"""Sets of up to so many pictures keep their training items (a megabyte or so each) in memory."""


@dataclass(frozen=True)
class Example:
    """Pixels (H, W, 3) uint8 and the truth of a picture; `name` stands for it in logs."""

    name: str
    pixels: np.ndarray
    truth: Truth


def read_samples(
    data: str | Path,
    *,
    reader: str | None = None,
    split: str | None = None,
    most: int = 0,
    seed: int = 0,
    allow_outside: bool = False,
) -> list[Sample]:
    """The samples of a data set; with `most`, that many, balanced over the classes and the same at each run.

    What cannot be used is counted on standard error.

    Raises:
        UsageError: there are none.
    """
    opened = open_data(data, reader, split, allow_outside=allow_outside)
    samples, left_out = [], opened.left_out
    for sample in opened:
        if sample.data is not None or os.path.exists(str(sample.path)):
            samples.append(sample)
        else:
            left_out.add(ABSENT, str(sample.path))
    aside = LeftOut()
    if split is None:
        learnt = for_training(samples)
        if len(learnt) < len(samples):
            aside.add("not of the split train", count=len(samples) - len(learnt))
        samples = learnt
    if not samples:
        why = f" {left_out.sentence()}" if left_out else ""
        raise UsageError(f"{data} holds no labelled picture{f' in split {split}' if split else ''}.{why}")
    if os.environ.get("RANK", "0") == "0":
        left_out.tell()
        aside.tell("Not learnt from")
    if not most:
        return samples
    queues = []
    for label in LABELS:
        members = [sample for sample in samples if sample.label is label]
        order = random_for(f"{label}", seed).permutation(len(members))
        queues.append([members[i] for i in order])
    chosen: list[Sample] = []
    while len(chosen) < most and any(queues):
        for queue in queues:
            if queue and len(chosen) < most:
                chosen.append(queue.pop(0))
    return chosen


def load_example(sample: Sample, *, equal: bool = True) -> Example:
    """Decode a sample; its true box is the box around its mask in the 224 px frame.

    With `equal` every picture gets one JPEG pass whose draw does not depend on the label. Raises PictureError.
    """
    picture, mask = sample.load()
    box = None
    name = sample.path.as_posix()
    if sample.label is Label.TAMPERED and mask is not None:
        if mask.pixels.any():
            box = box_of(mask.pixels)
        else:
            log.warning(
                "%s: the mask of this tampered picture marks nothing, so no box is learnt from it", name
            )
    pixels = equalise(picture.pixels, draw_for(sample.unit)) if equal else picture.pixels
    return Example(name, pixels, Truth(sample.label, box, sample.description))


def box_of(mask: np.ndarray, frame: int = FRAME) -> Box:
    """The box around a non-empty mask (H, W) bool, in the frame, corners inclusive."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    inside = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return to_frame(inside, width, height, frame)


class Examples:
    """A sequence of training items; each is made when it is used.

    Args:
        samples: at least one of them must be readable.
        make: turns an example into an item.
    """

    def __init__(
        self, samples: Iterable[Sample], make: Callable[[Example], Any], *, equal: bool = True
    ) -> None:
        self.samples, self.make, self.equal = list(samples), make, equal
        self.kept: dict[int, Any] | None = {} if len(self.samples) <= MOST_KEPT else None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        if self.kept is None:
            return self._made(index)
        if index not in self.kept:
            self.kept[index] = self._made(index)
        return self.kept[index]

    def _made(self, index: int) -> Any:
        for step in range(min(len(self.samples), 16)):
            sample = self.samples[(index + step) % len(self.samples)]
            try:
                return self.make(load_example(sample, equal=self.equal))
            except PictureError as error:
                log.warning("%s cannot be read (%s); the next picture replaces it", sample.path, error)
        raise UsageError(
            "Sixteen pictures in a row cannot be read: check the data set (pixelsleuth datasets verify)."
        )
