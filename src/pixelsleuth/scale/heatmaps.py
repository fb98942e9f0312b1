"""Heat maps in a row of a scan: 8-bit grey PNG at the detector's own resolution, 255 where tampering is certain."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 256
"""Longer side of a stored map in pixels, at most: the bundled detector's have a quarter of the picture's side."""
MOST_BYTES = 1 << 17
"""Bytes of a stored map; one of SIDE by SIDE that does not compress at all has half of that."""
MOST_INPUTS = 10_000
"""Inputs of a shard with heat maps: its rows are in memory until its part is written."""


def encode(heatmap: NDArray[np.float32]) -> bytes:
    """Return a map (h, w) in 0..1 as PNG, averaged over areas where it is larger than SIDE. NaN counts as 0."""
    from PIL import Image

    image = Image.fromarray(np.nan_to_num(heatmap.astype(np.float32), nan=0.0).clip(0, 1))
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    stream = io.BytesIO()
    Image.fromarray((np.asarray(image) * 255).round().astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def decode(data: bytes) -> NDArray[np.float32]:
    """Return the map (h, w) in 0..1 of a PNG. Raises ValueError for what `encode` does not write."""
    from PIL import Image

    if len(data) > MOST_BYTES:
        raise ValueError("a heat map of too many bytes")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.mode != "L" or max(image.size) > SIDE:
                raise ValueError("no grey picture of a heat map's size")
            return np.asarray(image, np.float32) / np.float32(255)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("a damaged heat map") from error
