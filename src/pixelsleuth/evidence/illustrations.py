"""Makes the small pictures that stand beside findings in a report."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from pixelsleuth.evidence.finding import Illustration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST = 320
"""Longest side, in pixels."""
QUALITY = 80
"""JPEG quality: what is shown is for the eye alone."""


def illustration(caption: str, pixels: NDArray[np.uint8]) -> Illustration:
    """Return a reduced JPEG of (H, W) or (H, W, 3) uint8 with its caption, one line of plain text."""
    from PIL import Image

    image = Image.fromarray(pixels)
    factor = max(image.size) // (2 * LARGEST)
    if factor > 1:  # a cheap box filter first: a large picture would take long
        image = image.reduce(factor)
    image.thumbnail((LARGEST, LARGEST))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return Illustration(caption, stream.getvalue(), "image/jpeg")
