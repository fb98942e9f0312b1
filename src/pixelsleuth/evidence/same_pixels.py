"""Whether two parts of a picture show the same pixels, and how far these parts reach.

A copied part differs from its source by compression and resampling alone: its fine structure agrees, and so do its
means over a few pixels. An object that was photographed twice, a second window of a house, agrees in one of both at
most: light and perspective change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.evidence.a_contrario import components
from pixelsleuth.evidence.keypoint_pairs import Agreement, transformed
from pixelsleuth.evidence.keypoints import Floats, binomial, sampled

WINDOW = 9
"""Pixels along each side of the windows that are compared."""
SMALLEST_CORRELATION = 0.8
"""Of two windows that belong to a copied part."""
SMALLEST_CONTRAST = 2.0
"""Standard deviation, in grey levels, of a window that can be compared: flatter ones all look the same."""
LARGEST_GAP = 4.0
"""Grey levels between the means of two windows that belong to a copied part."""
MARGIN = 24
"""Pixels around the pairs, at least, in which a part is searched; half of its size where that is more."""
REFINED_ON = 8_000
"""Pixels on which a transform is refined, at most."""
ROUNDS = 6
"""In which a transform is refined."""
LARGEST_STEP = 6.0
"""Pixels by which one round may move a part; more means that it does not converge."""
LARGEST_DEPARTURE = 3.0
"""Pixels between the pairs and a refined transform, in the mean."""
SCALES = (0.5, 2.0)
"""Sizes of a copy as shares of its source, along either axis."""
LARGEST_SKEW = 0.06
"""Cosine of the angle between the axes after the transform, at most: editors turn and scale, they seldom shear."""
MOST_CELLS = 4_096
"""Cells in which a part's connection is searched."""


@dataclass(frozen=True)
class SameParts:
    """Two parts with the same pixels, in pixels of the planes.

    `matrix` (2, 3) takes the first part to the second; `first` and `second` are half-open boxes (x0, y0, x1, y1);
    `inside` marks the pairs that lie in the first. `area`: its pixels that could be compared and agree; `correlation`
    of its windows in the mean, 0..1; `fine`: correlation of what a window's 5 x 5 mean leaves; `gap`: root mean square
    of the differences between the windows' means, in grey levels, `colour` in levels of Cb and Cr; `overlap`: share
    of the first that the second covers. `roundness`: how much weaker the gradients of the first part are along its
    weakest direction, 0 (stripes, one edge) to 1.
    """

    matrix: NDArray[np.float64]
    first: tuple[int, int, int, int]
    second: tuple[int, int, int, int]
    inside: NDArray[np.bool_]
    area: int
    correlation: float
    fine: float
    gap: float
    colour: float
    overlap: float
    roundness: float


def same_parts(planes: Floats, agreement: Agreement) -> SameParts | None:
    """Return the parts around pairs of keypoints that show the same pixels; None where nothing holds.

    `planes` (3, H, W): luminance 0..255, Cb and Cr around 0. The first part should be the smaller: sampling it from
    the larger invents no detail.
    """
    start, grey = agreement.start, planes[0]
    matrix = _refined(grey, agreement.matrix, start, agreement.end)
    if not is_plain(matrix):
        return None
    size = np.array(grey.shape[::-1])
    margin = max(MARGIN, int(np.ptp(start, axis=0).max() / 2))
    x0, y0 = np.maximum(start.min(axis=0) - margin, 0).astype(int)
    x1, y1 = np.minimum(start.max(axis=0) + margin + 1, size).astype(int)
    y, x = np.mgrid[y0:y1, x0:x1]
    u, v = _moved_to(matrix, x, y)
    # A reduced copy has no finer detail than its size allows.
    grown = np.sqrt(np.linalg.det(matrix[:, :2])) > 1.25
    here, there = grey[y0:y1, x0:x1], sampled(binomial(grey, 1) if grown else grey, u, v)
    correlation, contrast, gap = _compared(here, there)
    valid = (contrast > SMALLEST_CONTRAST) & (u >= 0) & (v >= 0) & (u <= size[0] - 1) & (v <= size[1] - 1)
    agreeing = valid & (correlation > SMALLEST_CORRELATION) & (np.abs(gap) < LARGEST_GAP)
    at = np.clip(np.rint(start).astype(int) - (x0, y0), 0, (x1 - x0 - 1, y1 - y0 - 1))
    part = _around(agreeing, at)
    if not part.any():
        return None
    rows, columns = np.nonzero(part)
    first = (columns.min() + x0, rows.min() + y0, columns.max() + x0 + 1, rows.max() + y0 + 1)
    to = np.stack([u[part], v[part]], axis=1)
    second = (*np.maximum(np.rint(to.min(axis=0)), 0), *np.minimum(np.rint(to.max(axis=0)) + 1, size))
    chroma = [_mean(plane[y0:y1, x0:x1]) - _mean(sampled(plane, u, v)) for plane in planes[1:]]
    return SameParts(
        matrix,
        (int(first[0]), int(first[1]), int(first[2]), int(first[3])),
        (int(second[0]), int(second[1]), int(second[2]), int(second[3])),
        part[at[:, 1], at[:, 0]],
        int(part.sum()),
        float(correlation[part].mean()),
        correlation_of((here - _mean(here, 5))[part], (there - _mean(there, 5))[part]),
        float(np.sqrt(np.mean(gap[part] ** 2))),
        float(np.sqrt(sum(np.mean(plane[part] ** 2) for plane in chroma))),
        _overlap(part, np.rint(to).astype(int) - (x0, y0)),
        _roundness(here, part),
    )


def is_plain(matrix: NDArray[np.float64]) -> bool:
    """True where a matrix (2, 3) turns, scales along both axes within SCALES and does not mirror or shear.

    >>> is_plain(np.array([[1.0, 0, 5], [0, 0.8, 7]])), is_plain(np.array([[1.0, 0.3, 5], [0, 1, 7]]))
    (True, False)
    """
    across, down = matrix[:, 0], matrix[:, 1]
    lengths = np.hypot(*across), np.hypot(*down)
    if np.linalg.det(matrix[:, :2]) <= 0 or not all(SCALES[0] <= length <= SCALES[1] for length in lengths):
        return False
    return bool(abs(across @ down) / (lengths[0] * lengths[1]) <= LARGEST_SKEW)


def inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix (2, 3) that undoes another."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def correlation_of(some: NDArray[Any], others: NDArray[Any]) -> float:
    """Return the correlation of two arrays of one shape, -1..1; 0 where one is constant."""
    a, b = some - some.mean(), others - others.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1e-6 else 0.0


def _moved_to(
    matrix: NDArray[np.float64], x: NDArray[Any], y: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a matrix (2, 3) takes places x and y of one shape."""
    (a, b, c), (d, e, f) = matrix
    return a * x + b * y + c, d * x + e * y + f


def _refined(
    grey: Floats, matrix: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The best of the matrix (2, 3), a whole shift, and an affine transform fitted to the pixels around the pairs."""
    near = np.zeros(grey.shape, bool)
    for column, row in start.astype(int):
        near[max(0, row - 8) : row + 9, max(0, column - 8) : column + 9] = True
    y, x = np.nonzero(near)
    if len(x) > REFINED_ON:
        chosen = np.linspace(0, len(x) - 1, REFINED_ON).astype(int)
        x, y = x[chosen], y[chosen]
    here = sampled(grey, x, y)
    shift = np.column_stack([np.eye(2), np.rint(np.median(end - start, axis=0))])
    options = [matrix, shift, _aligned(grey, here, matrix, x, y)]
    # What moved away from the pairs found something else: the part itself, at worst.
    options = [
        option
        for option in options
        if np.linalg.norm(transformed(option, start) - end, axis=1).mean() <= LARGEST_DEPARTURE
    ] or [matrix]
    scores = [correlation_of(here, sampled(grey, *_moved_to(option, x, y))) for option in options]
    return options[int(np.argmax(scores))]


def _aligned(
    grey: Floats, here: Floats, matrix: NDArray[np.float64], x: NDArray[Any], y: NDArray[Any]
) -> NDArray[np.float64]:
    """The affine matrix (2, 3) with the least differences, gain and offset free (B. Lucas and T. Kanade, IJCAI 1981).

    `here`: the values at places x and y (n,). The matrix itself where it does not converge.
    """
    x0, x1, y0, y1 = max(x.min() - 64, 0), x.max() + 64, max(y.min() - 64, 0), y.max() + 64
    corners = _moved_to(matrix, np.array([x0, x0, x1, x1]), np.array([y0, y1, y0, y1]))
    left, top = (max(int(values.min()), 0) for values in corners)
    right, bottom = (
        max(int(values.max()) + 1, low + 3) for values, low in zip(corners, (left, top), strict=True)
    )
    window = grey[top:bottom, left:right]
    if min(window.shape) < 3:
        return matrix
    slope_y, slope_x = _slopes(window)
    unit = max(float(np.hypot(x.std(), y.std())), 1.0)
    places = np.stack([(x - x.mean()) / unit, (y - y.mean()) / unit, np.ones(len(x))], axis=1)
    to_places = np.array([[1 / unit, 0, -x.mean() / unit], [0, 1 / unit, -y.mean() / unit], [0, 0, 1]])
    result = matrix.copy()
    for _ in range(ROUNDS):
        u, v = _moved_to(result, x, y)
        at = u - left, v - top
        there, along, down = sampled(window, *at), sampled(slope_x, *at), sampled(slope_y, *at)
        gain = (there - there.mean())[:, None]
        design = np.column_stack([along[:, None] * places, down[:, None] * places, gain, places[:, 2:]])
        wrong = (here - there).astype(np.float64)
        weighted = design * (1 / (1 + (wrong / 10) ** 2))[:, None]
        step = np.linalg.lstsq(weighted.T @ design, weighted.T @ wrong, rcond=None)[0][:6].reshape(2, 3)
        if not np.abs(step).max() < LARGEST_STEP:
            return matrix
        result += step @ to_places
        if np.abs(step).max() < 0.02:
            break
    return result


def _mean(values: Floats, side: int = WINDOW) -> Floats:
    """The mean of the window around each pixel, the same shape; the edge is repeated."""
    before = side // 2
    sums = np.pad(values, (before + 1, before), mode="edge").astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return np.asarray(total / side**2, np.float32)


def _compared(here: Floats, there: Floats) -> tuple[Floats, Floats, Floats]:
    """For the window around each pixel: correlation, the smaller standard deviation, difference of the means."""
    a, b = _mean(here), _mean(there)
    variances = [np.maximum(_mean(p * p) - m * m, 0) for p, m in ((here, a), (there, b))]
    correlation = (_mean(here * there) - a * b) / (np.sqrt(variances[0] * variances[1]) + 1e-3)
    return correlation, np.sqrt(np.minimum(*variances)), a - b


def _around(agreeing: NDArray[np.bool_], places: NDArray[Any]) -> NDArray[np.bool_]:
    """What agrees and is connected with one of the places (n, 2), x and y."""
    height, width = agreeing.shape
    side = max(4, int(np.ceil(np.sqrt(height * width / MOST_CELLS))))
    padded = np.pad(agreeing, ((0, -height % side), (0, -width % side)))
    cells = padded.reshape(-(-height // side), side, -(-width // side), side).mean(axis=(1, 3)) >= 0.5
    seeds = set(map(tuple, (places[:, ::-1] // side).tolist()))
    kept = np.zeros_like(cells)
    for group in components(cells):
        if not seeds.isdisjoint(map(tuple, group.tolist())):
            kept[group[:, 0], group[:, 1]] = True
    return agreeing & np.kron(kept, np.ones((side, side), bool))[:height, :width]


def _overlap(part: NDArray[np.bool_], places: NDArray[Any]) -> float:
    """The share of the places (n, 2), x and y, that lie in the part."""
    height, width = part.shape
    inside = ((places >= 0) & (places < (width, height))).all(axis=1)
    columns, rows = places[inside].T
    return float(part[rows, columns].sum() / len(places))


def _roundness(values: Floats, part: NDArray[np.bool_]) -> float:
    """The smaller eigenvalue of the structure tensor of a part as a share of the larger (W. Foerstner, 1986)."""
    down, across = (slope[part] for slope in _slopes(values))
    tensor = np.array([[across @ across, across @ down], [across @ down, down @ down]], np.float64)
    smaller, larger = np.linalg.eigvalsh(tensor)
    return float(max(smaller, 0) / max(larger, 1e-9))


def _slopes(values: Floats) -> tuple[Floats, Floats]:
    """How values (H, W) grow per pixel down and across, the same shape."""
    return np.asarray(np.gradient(values, axis=0)), np.asarray(np.gradient(values, axis=1))
