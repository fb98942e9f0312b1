"""Stand-in detectors for evaluation: one with heat maps in steps, one that errs more, one that cannot localize."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from forge_work import die_once

from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.region import Region
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.pictures.images import Picture


def _region(mask: np.ndarray) -> Region:
    """What the mask marks, as one region."""
    rows, columns = np.nonzero(mask)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return Region(box, len(rows), 0.9)


class Soft(Detector):
    """Sees magenta paint and flat pictures; its heat map is smooth and coarse, its probabilities follow what it saw."""

    name = "fake"
    version = "1"
    capabilities = frozenset(Capability)
    noise = 0.0
    die_after = int(os.environ.get("PIXELSLEUTH_TEST_DIE_AFTER", "0"))
    judged = 0

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        return [self._one(picture, explain) for picture in pictures]

    def _one(self, picture: Picture, explain: bool) -> Verdict:
        if self.die_after and self.judged >= self.die_after:
            os._exit(9)  # as a kill does: nothing is flushed, nothing is cleaned up
        die_once()
        self.judged += 1
        pixels = picture.pixels.astype(int)
        if tuple(picture.pixels[0, 0]) == (1, 2, 3):
            raise RuntimeError("a fault of the detector")
        paint = (pixels[..., 0] > 160) & (pixels[..., 1] < 110) & (pixels[..., 2] > 160)
        share, flat = paint.mean(), pixels.std()
        digit = int(picture.pixels[::7, ::7].sum()) % 97 / 97
        weight = (
            np.array([0.2 + 0.02 * min(flat, 40), 2.0 / (1 + flat), 20 * share + 0.1]) + self.noise * digit
        )
        p = weight / weight.sum()
        heat = paint[: paint.shape[0] // 4 * 4, : paint.shape[1] // 4 * 4]
        heat = heat.reshape(heat.shape[0] // 4, 4, -1, 4).mean(axis=(1, 3)).astype(np.float32) * 0.9
        label = list(Label)[int(p.argmax())]
        mask = paint if label is Label.TAMPERED and paint.any() else None
        text = "In the centre, 10 to 20 % of the picture was pasted from another picture; its pixels were resampled."
        return Verdict.of(
            picture,
            dict(zip(Label, map(float, p), strict=True)),
            model=self.model,
            inconclusive=bool(p.max() < 0.5),
            mask=mask if Capability.LOCALIZE in self.capabilities else None,
            regions=[] if mask is None else [_region(mask)],
            heatmap=heat if Capability.LOCALIZE in self.capabilities else None,
            explanation=(text if label is Label.TAMPERED else f"This is a {label} image.")
            if explain
            else None,
        )


class Other(Soft):
    name = "other"
    noise = 1.5


class Blind(Soft):
    name = "blind"
    capabilities = frozenset({Capability.DETECT})


class Forced(Soft):
    """Takes the true answer where a protocol gives it."""

    name = "forced"

    def judge_teacher_forced(
        self, pictures: Sequence[Picture], labels: Sequence[Label], *, explain: bool
    ) -> list[Verdict]:
        verdicts = self.judge(pictures, explain=explain)
        return [dataclasses.replace(v, label=truth) for v, truth in zip(verdicts, labels, strict=True)]


def load(device: str = "auto") -> Detector:
    return Soft()


def load_other(device: str = "auto") -> Detector:
    return Other()


def load_blind(device: str = "auto") -> Detector:
    return Blind()


def load_forced(device: str = "auto") -> Detector:
    return Forced()
