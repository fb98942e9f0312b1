"""Connected regions of a mask, from its row runs: numpy and a union-find, no image library."""

from __future__ import annotations

import numpy as np

from pixelsleuth.core.verdict import Region

MOST_REGIONS = 16
SMALLEST_SHARE = 0.0005
"""Regions below this share of the picture are left out of the list (the mask keeps them)."""


def row_runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, start and stop (half open) of every horizontal run of a bool mask (H, W), in reading order."""
    edges = np.zeros((mask.shape[0], mask.shape[1] + 1), np.int8)
    edges[:, :-1] += mask
    edges[:, 1:] -= mask
    rows, starts = np.nonzero(edges == 1)
    _, stops = np.nonzero(edges == -1)
    return rows, starts, stops


def regions(mask: np.ndarray, probability: np.ndarray) -> list[Region]:
    """Connected regions (4-neighbours), largest first; the score is the mean of `probability` (H, W) uint8
    over the region."""
    rows, starts, stops = row_runs(mask)
    parent = list(range(len(rows)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first_of_row = np.searchsorted(rows, np.arange(mask.shape[0] + 1)).tolist()
    begin, end = starts.tolist(), stops.tolist()
    for row in range(1, mask.shape[0]):
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
    found = [_region(np.array(ids), rows, starts, stops, probability) for ids in members.values()]
    kept = [region for region in found if region.area >= SMALLEST_SHARE * mask.size]
    return sorted(kept, key=lambda region: -region.area)[:MOST_REGIONS]


def _region(
    ids: np.ndarray, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray, probability: np.ndarray
) -> Region:
    area = int((stops[ids] - starts[ids]).sum())
    box = (int(starts[ids].min()), int(rows[ids].min()), int(stops[ids].max()), int(rows[ids].max()) + 1)
    total = sum(int(probability[rows[i], starts[i] : stops[i]].sum(dtype=np.int64)) for i in ids)
    return Region(box=box, area=area, score=round(total / 255 / area, 4))
