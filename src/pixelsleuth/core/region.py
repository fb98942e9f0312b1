"""Regions, boxes and heat maps, for all models. The regions of a mask are found from its row runs, by union-find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_REGIONS = 16
SMALLEST_SHARE = 0.0005
"""Regions below this share of the picture are left out of the list (the mask keeps them)."""
LOOKED_AT = 256
"""Blocks along the longer side in which `middle_of_strongest` looks at a mask."""
HEATMAP_SIDE = 512
"""Pixels of a heat map's longer side, at most."""


@dataclass(frozen=True)
class Region:
    """One connected piece of the mask.

    `box` is (x0, y0, x1, y1) in pixels, half open; `area` the number of its mask pixels; `score` in 0..1 its
    mean tampering probability.
    """

    box: tuple[int, int, int, int]
    area: int
    score: float

    def to_dict(self) -> dict[str, Any]:
        return {"box": list(self.box), "area": self.area, "score": round(self.score, 4)}


def row_runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, start and stop (half open) of every horizontal run of a bool mask (H, W), in reading order."""
    edges = np.zeros((mask.shape[0], mask.shape[1] + 1), np.int8)
    edges[:, :-1] += mask
    edges[:, 1:] -= mask
    rows, starts = np.nonzero(edges == 1)
    _, stops = np.nonzero(edges == -1)
    return rows, starts, stops


def regions(mask: np.ndarray, probability: np.ndarray) -> list[Region]:
    """Return the connected regions (4-neighbours) of a bool mask (H, W), largest first.

    A region's score is the mean of `probability` (H, W) uint8 over it, in 0..1.
    """
    runs = row_runs(mask)
    every = [_region(ids, *runs, probability) for ids in _pieces(*runs, mask.shape[0])]
    kept = [region for region in every if region.area >= SMALLEST_SHARE * mask.size]
    return sorted(kept, key=lambda region: -region.area)[:MOST_REGIONS]


def middle_of_strongest(mask: np.ndarray, scores: np.ndarray | None = None) -> tuple[float, float]:
    """Return (row, column) of the middle of the strongest connected region of a bool mask (H, W) that is not empty.

    The strongest region has the largest sum of `scores` (H, W), or without them the largest area. Its middle is its
    centre of mass, or the nearest place inside it where that lies outside (a ring, a crescent).
    """
    step = -(-max(mask.shape) // LOOKED_AT)
    counts = _blocks(mask, step)
    strength = counts if scores is None else _blocks(np.where(mask, scores, 0), step)
    rows, starts, stops = row_runs(counts > 0)
    before = np.pad(np.cumsum(strength, axis=1), ((0, 0), (1, 0)))
    weights = before[rows, stops] - before[rows, starts]
    ids = max(_pieces(rows, starts, stops, counts.shape[0]), key=lambda piece: float(weights[piece].sum()))
    inside = np.zeros(counts.shape, bool)
    for i in ids.tolist():
        inside[rows[i], starts[i] : stops[i]] = True
    down, across = np.nonzero(inside)
    share = counts[down, across]
    row, column = float((down * share).sum() / share.sum()), float((across * share).sum() / share.sum())
    if not inside[round(row), round(column)]:
        nearest = int(np.argmin((down - row) ** 2 + (across - column) ** 2))
        row, column = float(down[nearest]), float(across[nearest])
    return (row + 0.5) * step - 0.5, (column + 0.5) * step - 0.5


def _blocks(values: np.ndarray, step: int) -> np.ndarray:
    """Sums (h, w) float64 of `values` (H, W) over blocks of `step` by `step`."""
    if step == 1:
        return values.astype(np.float64)
    height, width = values.shape
    sums = np.add.reduceat(values.astype(np.float32), np.arange(0, height, step), axis=0)
    return np.add.reduceat(sums, np.arange(0, width, step), axis=1).astype(np.float64)


def _pieces(rows: np.ndarray, starts: np.ndarray, stops: np.ndarray, height: int) -> list[np.ndarray]:
    """The runs of every connected region, as indices."""
    parent = list(range(len(rows)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first_of_row = np.searchsorted(rows, np.arange(height + 1)).tolist()
    begin, end = starts.tolist(), stops.tolist()
    for row in range(1, height):
        i, j = first_of_row[row - 1], first_of_row[row]
        while i < first_of_row[row] and j < first_of_row[row + 1]:
            if begin[i] < end[j] and begin[j] < end[i]:
                parent[find(j)] = find(i)
            if end[i] < end[j]:
                i += 1
            else:
                j += 1
    members: dict[int, list[int]] = {}
    for i in range(len(rows)):
        members.setdefault(find(i), []).append(i)
    return [np.array(ids) for ids in members.values()]


def _region(
    ids: np.ndarray, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray, probability: np.ndarray
) -> Region:
    area = int((stops[ids] - starts[ids]).sum())
    box = (int(starts[ids].min()), int(rows[ids].min()), int(stops[ids].max()), int(rows[ids].max()) + 1)
    total = sum(int(probability[rows[i], starts[i] : stops[i]].sum(dtype=np.int64)) for i in ids)
    return Region(box=box, area=area, score=round(total / 255 / area, 4))


def sigmoid(x: NDArray) -> NDArray:
    """Return 1 / (1 + exp(-x)) in the type of `x`, without overflow."""
    power = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + power), power / (1 + power)).astype(x.dtype)


def small_heatmap(chance: NDArray) -> NDArray[np.float32]:
    """Return a map (H, W) in 0..1, averaged over areas so that its longer side is at most HEATMAP_SIDE."""
    from PIL import Image

    height, width = chance.shape
    scale = min(1.0, HEATMAP_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(Image.fromarray(chance.astype(np.float32)).resize(size, Image.Resampling.BOX))


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection over union of two half-open boxes (x0, y0, x1, y1); 0 where neither has an area.

    >>> round(box_iou((0, 0, 10, 10), (0, 5, 10, 10)), 3)
    0.5
    """
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = sum(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) for box in (a, b))
    return across * down / (areas - across * down) if areas else 0.0
