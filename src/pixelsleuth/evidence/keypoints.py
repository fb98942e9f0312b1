"""Keypoints of a picture and the patch around each, for finding parts that show the same pixels.

Extrema of differences of Gaussians with a dominant direction, as in D. Lowe, "Distinctive image features from
scale-invariant keypoints", International Journal of Computer Vision 60, 2004, sections 3 and 5. The descriptor is the
patch itself, turned to its direction and normalised: a copied part shows the same pixels, not another view of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LADDER = ((1, 4), (2, 1), (2, 2), (4, 1), (4, 2))
"""Each level of an octave: distance of the taps of `binomial`, how often it runs. The variances are 2, 4, 8, 16 and 32:
sigma grows by the square root of 2. Every second pixel of the third level begins the next octave."""
INNER = ((1, 2.0), (2, 8**0.5))
"""Levels of an octave whose extrema are taken, with their sigma in pixels of the octave."""
OCTAVES = 4
"""Halvings of the picture that are searched, with the picture itself."""
SMALLEST_OCTAVE = 24
"""Pixels of the shorter side below which no octave is searched."""
CELL = 16
"""Side of the squares that yield keypoints in turn, the strongest of each first: weak texture has some, too."""
MOST_KEYPOINTS = 2_500
"""Places that are described: time grows with their square."""
MOST_DIRECTIONS = 3_200
"""A keypoint with two directions counts twice: so many at most."""
SMALLEST_CONTRAST = 0.6
"""Grey levels by which an extremum stands out at least: below are rounding and compression."""
SIDE = 10
"""Samples along each side of a patch."""
SPACING = 1.2
"""Distance of the samples of a patch, in sigmas of the keypoint."""
BINS = 36
"""Directions in the histogram of gradients (Lowe 2004, section 5)."""
SECOND_PEAK = 0.8
"""Share of the first direction from which on a second one counts (Lowe 2004, section 5)."""


@dataclass(frozen=True)
class Keypoints:
    """`points` (N, 2): x and y in pixels of the picture; `scales` (N,): sigma in pixels; `angles` (N,): radians;
    `patches` (N, SIDE ** 2): mean 0 and norm 1, so that the product of two is their correlation."""

    points: NDArray[np.float64]
    scales: NDArray[np.float64]
    angles: NDArray[np.float64]
    patches: Floats


@dataclass(frozen=True)
class _Level:
    """A level of the scale space, (h, w) each: differences to its neighbours, the blurred picture, its pixel size."""

    differences: tuple[Floats, Floats, Floats]
    blurred: Floats
    step: int
    sigma: float


def keypoints_of(grey: Floats) -> Keypoints:
    """Return the keypoints of a grey picture (H, W), values 0..255: MOST_DIRECTIONS at most."""
    levels = _scale_space(grey)
    extrema = [_extrema(level) for level in levels]
    counts = [len(places) for places, _ in extrema]
    if not sum(counts):
        return Keypoints(np.empty((0, 2)), np.empty(0), np.empty(0), np.empty((0, SIDE * SIDE), np.float32))
    owners = np.repeat(np.arange(len(levels)), counts)
    steps = np.array([level.step for level in levels])
    places = np.concatenate([places for places, _ in extrema])
    strengths = np.concatenate([strengths for _, strengths in extrema])
    chosen = _spread(places * steps[owners, None], strengths, grey.shape[1])
    parts = [
        _described(level, places[chosen[owners[chosen] == index]])
        for index, level in enumerate(levels)
        if (owners[chosen] == index).any()
    ]
    points, scales, angles, patches = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    kept = slice(MOST_DIRECTIONS)
    return Keypoints(points[kept], scales[kept], angles[kept], patches[kept])


def binomial(values: Floats, step: int) -> Floats:
    """Return values (H, W) blurred by (1, 2, 1) / 4 with taps `step` apart, along both axes: the variance grows by
    step ** 2 / 2 pixels. The edge is repeated."""
    rows = np.pad(values, ((step, step), (0, 0)), mode="edge")
    values = 0.25 * (rows[: -2 * step] + rows[2 * step :]) + 0.5 * values
    columns = np.pad(values, ((0, 0), (step, step)), mode="edge")
    return 0.25 * (columns[:, : -2 * step] + columns[:, 2 * step :]) + 0.5 * values


def sampled(values: Floats, x: NDArray[Any], y: NDArray[Any]) -> Floats:
    """Return values (H, W) at places x and y, of one shape, interpolated bilinearly; outside, those of the edge."""
    height, width = values.shape
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    dx, dy = (x - left).astype(np.float32), (y - top).astype(np.float32)
    flat, at = values.ravel(), top * width + left
    upper = flat[at] * (1 - dx) + flat[at + 1] * dx
    lower = flat[at + width] * (1 - dx) + flat[at + width + 1] * dx
    return np.asarray(upper * (1 - dy) + lower * dy, np.float32)


def _scale_space(grey: Floats) -> list[_Level]:
    levels: list[_Level] = []
    current = grey
    for octave in range(OCTAVES):
        if min(current.shape) < SMALLEST_OCTAVE:
            break
        stack = []
        for number, (step, times) in enumerate(LADDER):
            # The first level of a later octave comes blurred from the one before.
            for _ in range(0 if octave and not number else times):
                current = binomial(current, step)
            stack.append(current)
        steps = [after - before for before, after in pairwise(stack)]
        for number, sigma in INNER:
            around = (steps[number - 1], steps[number], steps[number + 1])
            levels.append(_Level(around, stack[number], 2**octave, sigma))
        current = np.ascontiguousarray(stack[2][::2, ::2])
    return levels


def _extrema(level: _Level) -> tuple[NDArray[np.int64], Floats]:
    """Places (n, 2) as x and y in pixels of the level, and how far each stands out, for the patches that lie inside."""
    below, here, above = level.differences
    places, strengths = [], []
    for sign in (1, -1):
        values = here if sign > 0 else -here
        rows = np.maximum(np.maximum(values[:-2], values[1:-1]), values[2:])
        largest = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
        inner = values[1:-1, 1:-1]
        y, x = np.nonzero((inner >= largest) & (inner > SMALLEST_CONTRAST))
        y, x = y + 1, x + 1
        strength = values[y, x]
        beside = np.full(len(y), -np.inf, np.float32)
        for dy, dx in np.ndindex(3, 3):
            for other in (below, above):
                beside = np.maximum(beside, sign * other[y + dy - 1, x + dx - 1])
        kept = strength >= beside
        places.append(np.stack([x[kept], y[kept]], axis=1))
        strengths.append(strength[kept])
    found, strong = np.concatenate(places), np.concatenate(strengths)
    reach = level.sigma * SPACING * SIDE / 2
    height, width = here.shape
    inside = ((found >= reach) & (found <= np.array([width, height]) - 1 - reach)).all(axis=1)
    return found[inside], strong[inside]


def _spread(points: NDArray[np.int64], strengths: Floats, width: int) -> NDArray[np.int64]:
    """Indices of MOST_KEYPOINTS points (n, 2) at most: the strongest of each cell, then the second of each, ..."""
    cells = points[:, 1] // CELL * (width // CELL + 1) + points[:, 0] // CELL
    order = np.lexsort((-strengths, cells))
    rank = np.arange(len(order)) - np.searchsorted(cells[order], cells[order])
    return np.asarray(order[np.lexsort((-strengths[order], rank))][:MOST_KEYPOINTS])


def _described(level: _Level, places: NDArray[np.int64]) -> tuple[Any, Any, Any, Any]:
    """The columns of `Keypoints` for places (n, 2) of a level."""
    points = _between_pixels(level.differences[1], places)
    owners, angles = _directions(level, places)
    points = points[owners]
    patches = _patches(level, points, angles)
    return points * level.step, np.full(len(points), level.sigma * level.step), angles, patches


def _between_pixels(values: Floats, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """The places (n, 2) moved to the top of the parabola through each and its neighbours, half a pixel at most."""
    x, y = places[:, 0], places[:, 1]
    result = places.astype(np.float64)
    for axis, (dx, dy) in enumerate(((1, 0), (0, 1))):
        before, here, after = values[y - dy, x - dx], values[y, x], values[y + dy, x + dx]
        bend = 2 * (before + after - 2 * here)
        offset = np.divide(before - after, bend, out=np.zeros_like(here), where=np.abs(bend) > 1e-6)
        result[:, axis] += np.clip(offset, -0.5, 0.5)
    return result


def _directions(level: _Level, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each dominant direction the index of its place, and the angle in radians."""
    reach = round(2 * level.sigma)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    weight = np.exp(-(dx**2 + dy**2) / (2 * (1.5 * level.sigma) ** 2)).astype(np.float32)
    height, width = level.blurred.shape
    x = np.clip(places[:, :1] + dx, 1, width - 2)
    y = np.clip(places[:, 1:] + dy, 1, height - 2)
    flat, at = level.blurred.ravel(), y * width + x
    gx, gy = flat[at + 1] - flat[at - 1], flat[at + width] - flat[at - width]
    strength = np.hypot(gx, gy) * weight
    place = np.arctan2(gy, gx) * np.float32(BINS / (2 * np.pi)) % BINS
    low = place.astype(np.int64)
    part = place - low
    first = np.arange(len(places))[:, None] * BINS
    size = len(places) * BINS
    sums = np.bincount((first + low % BINS).ravel(), (strength * (1 - part)).ravel(), size)
    sums += np.bincount((first + (low + 1) % BINS).ravel(), (strength * part).ravel(), size)
    histogram = sums.astype(np.float64).reshape(-1, BINS)
    for _ in range(3):
        histogram = (np.roll(histogram, 1, axis=1) + histogram + np.roll(histogram, -1, axis=1)) / 3
    before, after = np.roll(histogram, 1, axis=1), np.roll(histogram, -1, axis=1)
    peaks = (histogram > before) & (histogram >= after)
    peaks &= histogram >= SECOND_PEAK * histogram.max(axis=1, keepdims=True)
    owners, bins = np.nonzero(peaks)
    left, top, right = before[owners, bins], histogram[owners, bins], after[owners, bins]
    offset = (left - right) / (2 * (left + right - 2 * top) - 1e-12)
    return np.asarray(owners), np.asarray((bins + np.clip(offset, -0.5, 0.5)) * (2 * np.pi / BINS))


def _patches(level: _Level, points: NDArray[np.float64], angles: NDArray[np.float64]) -> Floats:
    grid = (np.arange(SIDE) - (SIDE - 1) / 2) * SPACING * level.sigma
    v, u = (plane.ravel() for plane in np.meshgrid(grid, grid, indexing="ij"))
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    patches = sampled(
        level.blurred, points[:, :1] + cosine * u - sine * v, points[:, 1:] + sine * u + cosine * v
    )
    patches -= patches.mean(axis=1, keepdims=True)
    patches /= np.linalg.norm(patches, axis=1, keepdims=True) + 1e-6
    return patches
