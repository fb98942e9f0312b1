"""Verdicts of every kind, made without a detector."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pixelsleuth.core.region import Region
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.errors import CorruptPicture
from pixelsleuth.pictures.images import open_picture

MODEL = {"name": "stand-in", "version": "1"}


@pytest.fixture
def verdict() -> Callable[..., Verdict]:
    """Make a verdict on a picture of noise; keywords replace what `Verdict.of` is given."""

    def make(
        label: str = "real", *, source: str = "photo.jpg", size: tuple[int, int] = (160, 120), **more
    ) -> Verdict:
        width, height = size
        pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
        picture = open_picture(pixels, name=source)
        mask = np.zeros((height, width), dtype=bool)
        regions = []
        if label == "tampered":
            mask[height // 2 :, : width // 4] = True
            regions = [Region((0, height // 2, width // 4, height), int(mask.sum()), 0.9)]
        values = {
            "model": MODEL,
            "mask": mask if mask.any() else None,
            "heatmap": np.where(mask, 0.9, 0.05).astype(np.float32)[::4, ::4],
            "regions": regions,
            "explanation": "A part was pasted.",
            "evidence": [{"kind": "noise", "statement": "Its noise is finer."}],
        } | more
        share = {each: 0.9 if each == label else 0.05 for each in Label}
        return Verdict.of(picture, share, **values)

    return make


@pytest.fixture
def failure() -> Verdict:
    return Verdict.failed(
        "folder/broken.jpg", CorruptPicture("broken.jpg is cut off; ask for the whole file."), MODEL
    )
