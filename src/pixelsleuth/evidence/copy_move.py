"""Parts of a picture that stand in it twice (copy-move): the same pixels, moved, turned or scaled.

Keypoints with the same patch are paired, many pairs must agree on one transform, and the parts around them must show
the same pixels under it. Which part is the source and which the copy cannot be told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelsleuth.evidence.finding import Finding
from pixelsleuth.evidence.keypoint_pairs import LEAST_PAIRS, Agreement, agreements_of, pairs_of, transformed
from pixelsleuth.evidence.keypoints import Floats, keypoints_of
from pixelsleuth.evidence.same_pixels import SameParts, inverse, is_plain, same_parts

Box = tuple[int, int, int, int]

MOST_PIXELS = 1_000_000
"""Of the picture that is searched: larger ones are reduced."""
BAND = 64
"""Rows of the reduced picture that are made at once."""
ENLARGED = 262_144
"""Pixels up to which keypoints are searched at twice the size: small pictures have small objects."""
SMALLEST_SIDE = 48
"""Pixels of the shorter side of a picture that is searched."""
SMALLEST_AREA = 300
"""Pixels of a part, in the picture that is searched, that have structure and agree."""
LARGEST_OVERLAP = 0.05
"""Share of one part that the other may cover: a texture agrees with itself nearby."""
SMALLEST_CORRELATION = 0.84
"""Of the windows of both parts, in the mean."""
SMALLEST_FINE = 0.6
"""Correlation of the fine structure of both parts."""
LARGEST_GAP = 1.5
"""Grey levels between the windows' means, root mean square: compression moves them less, light moves them more."""
LARGEST_COLOUR = 3.0
"""Levels of Cb and Cr between the windows' means, root mean square."""
SMALLEST_ROUNDNESS = 0.04
"""Of the structure of a part: stripes and a straight edge agree with themselves wherever they are moved."""
MOST_FINDINGS = 3
"""Stated of one picture."""
MOST_LINES = 40
"""Pairs of places in a finding's detail, for drawing."""
FALSE_ALARMS = 0.0016
"""Share of 1,829 authentic pictures on which it speaks, measured by `benchmarks/evidence.py`: three of them."""


@dataclass(frozen=True)
class Copy:
    """Two parts that show the same pixels, in pixels of the picture.

    `boxes`: both, half open (x0, y0, x1, y1). `matrix` (2, 3) takes the first to the second. `pairs` (n, 4): places
    x, y of the first and of the second that show the same. `parts`: how alike, measured on the reduced picture.
    """

    boxes: tuple[Box, Box]
    matrix: NDArray[np.float64]
    pairs: NDArray[np.float64]
    parts: SameParts


def copy_move_findings(pixels: NDArray[np.uint8]) -> list[Finding]:
    """Return a finding for each two parts of an upright picture (H, W, 3) uint8 that show the same pixels."""
    return [_finding(copy) for copy in copies_of(pixels)]


def copies_of(pixels: NDArray[np.uint8]) -> list[Copy]:
    """Return the parts of a picture (H, W, 3) uint8 that stand in it twice, at most MOST_FINDINGS, largest first."""
    copies: list[Copy] = []
    for copy in candidates_of(pixels):
        if is_copy(copy.parts) and not any(_same_places(copy, other) for other in copies):
            copies.append(copy)
        if len(copies) == MOST_FINDINGS:
            break
    return sorted(copies, key=lambda copy: -copy.parts.area)


def is_copy(parts: SameParts) -> bool:
    """True where two parts agree as only copies were seen to do."""
    return bool(
        parts.inside.sum() >= LEAST_PAIRS
        and parts.area >= SMALLEST_AREA
        and parts.overlap <= LARGEST_OVERLAP
        and parts.correlation >= SMALLEST_CORRELATION
        and parts.fine >= SMALLEST_FINE
        and parts.gap <= LARGEST_GAP
        and parts.colour <= LARGEST_COLOUR
        and parts.roundness >= SMALLEST_ROUNDNESS
    )


def candidates_of(pixels: NDArray[np.uint8]) -> Iterator[Copy]:
    """Yield what pairs of keypoints agree on, the most pairs first, with how well the pixels around them agree."""
    if min(pixels.shape[:2]) < SMALLEST_SIDE:
        return
    planes, ratio = _planes(pixels)
    unit = 2 if planes[0].size <= ENLARGED else 1
    grey = planes[0]
    if unit == 2:
        size = (2 * grey.shape[1], 2 * grey.shape[0])
        grey = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))
    keypoints = keypoints_of(grey)
    for agreement in agreements_of(keypoints, pairs_of(keypoints, unit), unit):
        if not is_plain(agreement.matrix):
            continue
        agreement = _from_smaller(_rescaled(agreement, 1 / unit))
        parts = same_parts(planes, agreement)
        if parts is not None:
            yield _copy(agreement, parts, ratio, pixels.shape)


def _planes(pixels: NDArray[np.uint8]) -> tuple[Floats, float]:
    """Luminance, Cb and Cr (ITU-T T.871) of the picture, reduced to MOST_PIXELS; the share of the width kept."""
    height, width = pixels.shape[:2]
    ratio = min(1.0, math.sqrt(MOST_PIXELS / (height * width)))
    if ratio < 1:
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        pixels = reduced(pixels, size)
    weights = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32)
    return np.ascontiguousarray((pixels.astype(np.float32) @ weights.T).transpose(2, 0, 1)), ratio


def reduced(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) uint8 reduced to a size (width, height), each pixel the mean of an area.

    A band of rows at a time: Pillow copies what it reduces.
    """
    height, width = pixels.shape[:2]
    step = height / size[1]
    bands = []
    for top in range(0, size[1], BAND):
        bottom = min(top + BAND, size[1])
        first, last = int(top * step), min(math.ceil(bottom * step), height)
        area = (0, top * step - first, width, min(bottom * step, height) - first)
        band = Image.fromarray(pixels[first:last])
        bands.append(np.asarray(band.resize((size[0], bottom - top), Image.Resampling.BOX, box=area)))
    return np.concatenate(bands)


def _rescaled(agreement: Agreement, ratio: float) -> Agreement:
    """The same in a picture that is `ratio` times as large; coordinates are those of the pixels' centres."""
    aside = (ratio - 1) / 2
    linear = agreement.matrix[:, :2]
    offset = ratio * agreement.matrix[:, 2] + aside - linear.sum(axis=1) * aside
    matrix = np.column_stack([linear, offset])
    return Agreement(matrix, ratio * agreement.start + aside, ratio * agreement.end + aside)


def _from_smaller(agreement: Agreement) -> Agreement:
    """The same from the smaller of both parts to the larger."""
    if np.linalg.det(agreement.matrix[:, :2]) >= 0.98:
        return agreement
    return Agreement(inverse(agreement.matrix), agreement.end, agreement.start)


def _copy(agreement: Agreement, parts: SameParts, ratio: float, shape: tuple[int, ...]) -> Copy:
    """What was found in the reduced picture, in pixels of the picture of `shape` (H, W, 3)."""
    start = agreement.start[parts.inside]
    whole = _rescaled(Agreement(parts.matrix, start, transformed(parts.matrix, start)), 1 / ratio)
    height, width = shape[:2]
    boxes: list[Box] = []
    for x0, y0, x1, y1 in (parts.first, parts.second):
        boxes.append(
            (
                int(x0 / ratio),
                int(y0 / ratio),
                min(math.ceil(x1 / ratio), width),
                min(math.ceil(y1 / ratio), height),
            )
        )
    return Copy((boxes[0], boxes[1]), whole.matrix, np.concatenate([whole.start, whole.end], axis=1), parts)


def _same_places(copy: Copy, other: Copy) -> bool:
    """True where two copies name the same two places, in either order."""
    pairs = (copy.boxes, other.boxes), (copy.boxes, other.boxes[::-1])
    return any(all(_shared(a, b) > 0.5 for a, b in zip(*boxes, strict=True)) for boxes in pairs)


def _shared(some: Box, other: Box) -> float:
    """The share of the smaller box that lies in the larger."""
    width = min(some[2], other[2]) - max(some[0], other[0])
    height = min(some[3], other[3]) - max(some[1], other[1])
    smaller = min((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (some, other))
    return max(width, 0) * max(height, 0) / smaller


def _finding(copy: Copy) -> Finding:
    (across_x, down_x, _), (across_y, down_y, _) = copy.matrix
    turn = math.degrees(math.atan2(across_y, across_x))
    scales = (math.hypot(across_x, across_y), math.hypot(down_x, down_y))
    x0, y0, x1, y1 = copy.boxes[0]
    middle = np.array([[(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2]])
    shift = [round(float(value)) for value in (transformed(copy.matrix, middle) - middle)[0]]
    how = f"moved by ({shift[0]}, {shift[1]}) pixels"
    if abs(turn) >= 1:
        how += f", turned by {abs(turn):.0f} degrees"
    if max(abs(scale - 1) for scale in scales) >= 0.02:
        sides = " by ".join(f"{100 * scale:.0f} %" for scale in scales)
        how += f", scaled to {sides}"
    statement = (
        f"Two parts of the picture, {copy.boxes[0]} and {copy.boxes[1]}, show the same pixels ({how}): one was "
        "probably copied from the other. Which of the two is the copy cannot be told, and repeated objects and "
        "textures (prints, tiles, windows) can look the same."
    )
    chosen = np.linspace(0, len(copy.pairs) - 1, min(len(copy.pairs), MOST_LINES)).astype(int)
    detail: dict[str, Any] = {
        "boxes": [list(box) for box in copy.boxes],
        "shift": shift,
        "turn_degrees": round(turn, 1),
        "scale": [round(scale, 3) for scale in scales],
        "matrix": copy.matrix.round(4).tolist(),
        "pairs": len(copy.pairs),
        "lines": copy.pairs[chosen].round(1).tolist(),
        "correlation": round(copy.parts.correlation, 3),
    }
    return Finding("copy_move", statement, "shows", FALSE_ALARMS, copy.boxes[0], detail)
