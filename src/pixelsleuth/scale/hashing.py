"""The perceptual hash of a picture: equal for copies of one picture that look alike, whatever their files are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.verdict import Label, Verdict

if TYPE_CHECKING:
    from pixelsleuth.pictures.images import Picture

SIDE = 32
"""Pixels of a side of the grey picture that is transformed."""
KEPT = 8
"""Lowest frequencies of each direction that are kept: KEPT x KEPT bits."""
FIELD = "phash"
"""Where `Hasher` puts the hash, 16 hex digits, in a verdict's metadata."""
_UNDECIDED = {Label.REAL: 1.0, Label.FULL_SYNTHETIC: 0.0, Label.TAMPERED: 0.0}


def phash(pixels: NDArray[np.uint8]) -> int:
    """The 64-bit hash of (H, W, 3) uint8 pixels.

    The picture is made grey and 32 x 32; of its discrete cosine transform the 8 x 8 lowest frequencies are compared
    with their median, a bit each, row by row from the highest bit.
    Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010), the DCT-based hash.
    """
    from PIL import Image

    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    basis = _cosines()
    low = basis @ np.asarray(grey, np.float64) @ basis.T
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _cosines() -> NDArray[np.float64]:
    """(KEPT, SIDE): the lowest rows of the matrix of the discrete cosine transform, type II, unscaled."""
    places = (np.arange(SIDE) + 0.5) * np.pi / SIDE
    return np.cos(np.outer(np.arange(KEPT), places))


class Hasher(Detector):
    """Hashes pictures where a detector judges them, so that a pipeline reads and decodes them within its bounds."""

    name = "phash"

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        del explain
        verdicts = [Verdict.of(picture, _UNDECIDED, model=self.model) for picture in pictures]
        for verdict, picture in zip(verdicts, pictures, strict=True):
            verdict.metadata = {FIELD: f"{phash(picture.pixels):016x}"}
        return verdicts
