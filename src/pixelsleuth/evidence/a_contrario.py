"""What the finders of odd regions share: a bound of the binomial tail, connected cells."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def log_tail(samples: float, hits: float, chance: float) -> float:
    """Return log10 of a bound on the probability of at least `hits` among independent `samples`, each with `chance`.

    Chernoff's bound of the binomial tail (Hoeffding 1963, theorem 1): never below the tail itself.

    >>> round(log_tail(10, 10, 0.1), 6), log_tail(10, 1, 0.1)
    (-10.0, 0.0)
    """
    share = min(hits / samples, 1.0) if samples > 0 else 0.0
    if share <= chance:
        return 0.0
    divergence = share * math.log(share / chance)
    if share < 1:
        divergence += (1 - share) * math.log((1 - share) / (1 - chance))
    return -samples * divergence / math.log(10)


def components(active: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return the connected groups of True cells, (n, 2) rows and columns each; a gap of one cell still connects."""
    pending = set(map(tuple, np.argwhere(active).tolist()))
    near = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if dy or dx]
    groups: list[NDArray[np.int64]] = []
    while pending:
        group = [pending.pop()]
        for y, x in group:  # grows while it is walked
            for dy, dx in near:
                cell = (y + dy, x + dx)
                if cell in pending:
                    pending.remove(cell)
                    group.append(cell)
        groups.append(np.array(group, np.int64))
    return groups
