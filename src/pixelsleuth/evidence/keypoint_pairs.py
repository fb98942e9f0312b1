"""Pairs of keypoints with the same patch, and the shifts, turns and scalings that many pairs agree on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.evidence.keypoints import Keypoints

Points = NDArray[np.float64]

ROWS = 500
"""Keypoints that are compared with all others at once: bounds the memory."""
SMALLEST_CORRELATION = 0.9
"""Of two patches that are taken for the same."""
MOST_COPIES = 3
"""Other places at which a patch may stand; a patch that stands at more is texture."""
RATIO = 0.7
"""The distance to a copy is at most so much of the distance to the next patch that is none (Lowe 2004, section 7.1; for
several copies: I. Amerini et al., "A SIFT-based forensic method for copy-move attack detection and transformation
recovery", IEEE TIFS 6, 2011, section III-A)."""
SMALLEST_DISTANCE = 0.1
"""Distances below are taken for this one: which of several patches is the most equal is chance."""
LEAST_DISTANCE = 16.0
"""Pixels between the two patches of a pair, and twice those between two copies."""
MOST_PAIRS = 500
"""The most alike are kept: time grows with their square."""
LEAST_PAIRS = 3
"""That agree on a transform before its parts are compared, and lie in them afterwards."""
TOLERANCE = 2.5
"""Pixels between the place where a transform puts a keypoint and the place of its pair."""
TURN = 0.35
"""Radians by which the turns of two pairs may differ."""
GROWTH = 0.51
"""Binary orders by which the scalings of two pairs may differ: one level of the scale space."""
SLACK = 0.12
"""Further tolerance of a transform that one pair gives, for each pixel away from it: its angle is not exact."""
FAR = 150.0
"""Pixels from a pair up to which the transform that it gives is trusted."""
MOST_TRANSFORMS = 4
"""Whose parts are compared, those with the most pairs: bounds the time."""


@dataclass(frozen=True)
class Agreement:
    """`matrix` (2, 3) takes points `start` (n, 2) to `end` (n, 2), x and y, within the tolerance."""

    matrix: Points
    start: Points
    end: Points


def pairs_of(keypoints: Keypoints, unit: float) -> NDArray[np.int64]:
    """Return the keypoints that show the same patch, (M, 2) indices, MOST_PAIRS at most, the most alike first.

    `unit`: how many pixels of the keypoints' picture are one of the picture that distances are meant for.
    """
    points, patches = keypoints.points.astype(np.float32), keypoints.patches
    found, values = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for top in range(0, len(points), ROWS):
        alike = patches[top : top + ROWS] @ patches.T
        alike[_near(points[top : top + ROWS], points, LEAST_DISTANCE * unit)] = -1
        active = np.flatnonzero(alike.max(axis=1) >= SMALLEST_CORRELATION)
        alike = alike[active]
        others, scores = [], []
        for _ in range(MOST_COPIES + 1):
            best = alike.argmax(axis=1)
            others.append(best)
            scores.append(np.take_along_axis(alike, best[:, None], axis=1)[:, 0])
            alike[_near(points[best], points, LEAST_DISTANCE * unit / 2)] = -1
        distances = np.sqrt(np.maximum(2 - 2 * np.array(scores), SMALLEST_DISTANCE**2))
        # Column r: the copies end at rank r, what follows is clearly less alike.
        ends = distances[:-1] < RATIO * distances[1:]
        for rank in range(MOST_COPIES):
            kept = ends[rank:].any(axis=0) & (scores[rank] >= SMALLEST_CORRELATION)
            found.append(np.stack([active[kept] + top, others[rank][kept]], axis=1))
            values.append(scores[rank][kept])
    pairs = np.sort(np.concatenate(found), axis=1)[np.argsort(-np.concatenate(values), kind="stable")]
    _, first = np.unique(pairs, axis=0, return_index=True)
    return np.asarray(pairs[np.sort(first)][:MOST_PAIRS])


def agreements_of(keypoints: Keypoints, pairs: NDArray[np.int64], unit: float) -> list[Agreement]:
    """Return the transforms that at least LEAST_PAIRS pairs (M, 2) agree on, the one with the most pairs first.

    A pair is tried in both directions: which of two parts is the copy is not known.
    """
    results: list[Agreement] = []
    for _ in range(MOST_TRANSFORMS):
        if len(pairs) < LEAST_PAIRS:
            break
        from_, to = np.concatenate([pairs, pairs[:, ::-1]]).T
        start, end = keypoints.points[from_], keypoints.points[to]
        turn = keypoints.angles[to] - keypoints.angles[from_]
        growth = np.log2(keypoints.scales[to] / keypoints.scales[from_])
        shifted = _best_shift(start, end, len(pairs), unit)
        turned = _best_turn(start, end, turn, growth, len(pairs), unit)
        # A shift needs two numbers and a turn four: where both explain the same pairs it is a shift.
        upright = shifted.sum() >= turned.sum()
        agree = shifted if upright else turned
        if agree.sum() < LEAST_PAIRS:
            break
        matrix, close = _fitted(start, end, agree, upright, unit)
        if close.sum() >= LEAST_PAIRS:
            results.append(Agreement(matrix, start[close], end[close]))
        used = np.flatnonzero(agree | close) % len(pairs)
        pairs = np.delete(pairs, used, axis=0)
    return results


def similarity(start: Points, end: Points) -> Points:
    """Return the similarity (2, 3) that takes points (n, 2) to others with the least squared distance.

    >>> similarity(np.array([[0, 0], [2, 0.0]]), np.array([[1, 1], [1, 5.0]])).round(6).tolist()
    [[0.0, -2.0, 1.0], [2.0, 0.0, 1.0]]
    """
    a, b = start - start.mean(axis=0), end - end.mean(axis=0)
    size = max(float((a**2).sum()), 1e-9)
    along, across = (a * b).sum() / size, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / size
    linear = np.array([[along, -across], [across, along]])
    return np.column_stack([linear, end.mean(axis=0) - linear @ start.mean(axis=0)])


def transformed(matrix: Points, points: Points) -> Points:
    """Return points (n, 2) as a matrix (2, 3) moves them."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def _near(some: NDArray[np.floating], others: NDArray[np.floating], limit: float) -> NDArray[np.bool_]:
    """(n, m): which of points (n, 2) and (m, 2) lie closer to each other than `limit`."""
    squares = (some**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * some @ others.T
    return np.asarray(squares < limit**2)


def _best_shift(start: Points, end: Points, count: int, unit: float) -> NDArray[np.bool_]:
    """Which of the directed pairs (2 * count) have the shift that most of them have."""
    shifts = end - start
    agree = _near(shifts[:count], shifts, TOLERANCE * unit)
    return np.asarray(agree[agree.sum(axis=1).argmax()])


def _best_turn(
    start: Points, end: Points, turn: Points, growth: Points, count: int, unit: float
) -> NDArray[np.bool_]:
    """Which of the directed pairs have the turn and scaling that most of them have."""
    size, angle = np.exp2(growth[:count]), turn[:count]
    along, across = (size * np.cos(angle))[:, None], (size * np.sin(angle))[:, None]
    x = start[None, :, 0] - start[:count, :1]
    y = start[None, :, 1] - start[:count, 1:]
    wrong_x = along * x - across * y - (end[None, :, 0] - end[:count, :1])
    wrong_y = across * x + along * y - (end[None, :, 1] - end[:count, 1:])
    far = np.hypot(x, y)
    agree = np.hypot(wrong_x, wrong_y) < TOLERANCE * unit + SLACK * far
    agree &= (far < FAR * unit) & (np.abs(growth - growth[:count, None]) <= GROWTH)
    agree &= np.abs((turn - turn[:count, None] + np.pi) % (2 * np.pi) - np.pi) < TURN
    return np.asarray(agree[agree.sum(axis=1).argmax()])


def _fitted(
    start: Points, end: Points, agree: NDArray[np.bool_], upright: np.bool_, unit: float
) -> tuple[Points, NDArray[np.bool_]]:
    """The matrix (2, 3) that fits the pairs that agree, and which pairs agree with it."""
    matrix = np.eye(2, 3)
    for _ in range(4):
        if agree.sum() < LEAST_PAIRS:
            break
        if upright:
            matrix = np.column_stack([np.eye(2), np.median(end[agree] - start[agree], axis=0)])
        else:
            matrix = similarity(start[agree], end[agree])
        agree = np.linalg.norm(transformed(matrix, start) - end, axis=1) < TOLERANCE * unit
    return matrix, agree
