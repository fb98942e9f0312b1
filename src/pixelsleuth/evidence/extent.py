"""How much of a large picture is examined, and where findings in that part lie in the whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.evidence.finding import Finding

MOST_EXAMINED = 24_000_000
"""Pixels whose traces are examined: a larger picture would take longer than its model."""
_BLOCK = 8
"""The part begins and ends at whole JPEG blocks of the picture, so that its grid counts from the same corners."""


def examined_part(
    pixels: NDArray[np.uint8], most: int = MOST_EXAMINED
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return the part of a picture (H, W, 3) that is examined, and where it begins: (x, y) in pixels.

    The whole picture up to `most` pixels; else its middle, with the picture's own proportions, as a view.

    >>> part, at = examined_part(np.zeros((1000, 2004, 3), np.uint8), 500_000)
    >>> part.shape, at
    ((496, 996, 3), (504, 248))
    """
    height, width = pixels.shape[:2]
    if height * width <= most:
        return pixels, (0, 0)
    share = math.sqrt(most / (height * width))
    (top, rows), (left, columns) = (_span(side, int(share * side)) for side in (height, width))
    return pixels[top : top + rows, left : left + columns], (left, top)


def _span(side: int, most: int) -> tuple[int, int]:
    """(first pixel, number of pixels) of the examined part of a side: whole blocks are left out at both ends."""
    blocks = math.ceil((side - most) / _BLOCK)
    return blocks // 2 * _BLOCK, side - blocks * _BLOCK


def moved(finding: Finding, offset: tuple[int, int]) -> Finding:
    """Return a finding of a part of a picture with its region in pixels of the whole."""
    if finding.region is None:
        return finding
    (x, y), (x0, y0, x1, y1) = offset, finding.region
    return replace(finding, region=(x0 + x, y0 + y, x1 + x, y1 + y))
