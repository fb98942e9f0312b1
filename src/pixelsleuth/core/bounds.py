"""The two bounds of a decision, and the statistical tests that find the thresholds at which they hold.

Learn-then-Test (Angelopoulos, Bates, Candes, Jordan, Lei 2021): thresholds are walked from strict to loose in an order
that does not depend on the labels, each is a null hypothesis ("the bound is broken here"), and only thresholds whose
null is rejected are used. The unit is the *source*, never the picture: pictures of one source are wrong together. A
one-sided t test over sources is used because exact bounds for so few units certify nothing
(docs/background/decision.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.settings import Range

Floats = NDArray[np.float64]
DELTA = 0.10
"""The accepted chance of choosing a threshold at which a bound does not hold."""
LEVEL = 0.05
"""Level of each t test, half of DELTA: rates near zero are skewed, and a t test errs more often than its level says."""
FEWEST = 8
"""Sources that a class needs: fewer do not show how sources differ."""
STARTS = (0.01, 0.05)
"""Shares of the pictures at which a walk starts; the level is divided among them, and carried on where they meet."""


@dataclass(frozen=True)
class Bounds:
    """At most the share `accused` of authentic pictures is accused; at least `right` of conclusive verdicts are right.

    Raises UsageError for a share out of range.
    """

    accused: float = 0.03
    right: float = 0.90

    def __post_init__(self) -> None:
        Range(above=0, below=1).check("--accuse-at-most", self.accused)
        Range(0.5, below=1).check("--right-at-least", self.right)


@dataclass(frozen=True)
class Cells:
    """The (source, label) pairs that occur: source index, label index and number of pictures, each (C,)."""

    source: NDArray[np.int64]
    label: NDArray[np.int64]
    size: NDArray[np.int64]

    @classmethod
    def of(cls, source: NDArray[np.int64], label: NDArray[np.int64]) -> tuple[Cells, NDArray[np.int64]]:
        """The cells, and for each picture (N,) the number of its cell."""
        pairs, cell, size = np.unique(
            np.stack([source, label], 1), axis=0, return_inverse=True, return_counts=True
        )
        return cls(pairs[:, 0], pairs[:, 1], size), cell.reshape(-1)


def accused_p(shares: Floats, size: NDArray[np.int64], accused: float) -> Floats:
    """p-values (T,) of "more than `accused` of authentic pictures are accused".

    `shares` (S, T): of each source's authentic pictures, the share accused at each of T settings; sources weigh alike.
    So that a few spotless sources do not pass for certainty, the worst source (with at least one picture of the median
    source accused) is counted twice; fewer than FEWEST sources certify nothing.
    """
    if len(shares) < FEWEST:
        return np.ones(shares.shape[1])
    worst = np.maximum(shares.max(0), 1 / np.median(size))
    values = np.concatenate([shares, worst[None]])
    spread = np.sqrt(values.var(0, ddof=1) / len(values))
    excess = values.mean(0) - accused
    # Where all sources have the same share, nothing shows how sources differ: not certified.
    t = np.divide(excess, spread, out=np.full_like(excess, np.inf), where=spread > 0)
    return tail(t, len(values) - 1)


def wrong_p(shares: Floats, cells: Cells, label: int, right: float) -> Floats:
    """p-values (T,) of "less than `right` of the conclusive verdicts `label` are right".

    `shares` (C, T): of each cell's pictures, the share that gets this verdict at each of T thresholds. The claim is
    made linear: the mean of wrong - (1 - right) * conclusive is above 0, where classes weigh alike, and sources alike
    within their class. Its variance is taken over sources, so that a source with several classes counts as the one unit
    that it is. In every class the worst source (where verdicts can be wrong: at least one picture of the median source)
    is counted twice. A class that is missing, or has fewer than FEWEST sources, certifies nothing.
    """
    classes = np.unique(cells.label)
    if label not in classes or len(classes) < 2:
        return np.ones(shares.shape[1])
    mean, fewest = np.zeros(shares.shape[1]), len(cells.size)
    parts = np.zeros((int(cells.source.max()) + 1 + len(classes), shares.shape[1]))
    for number, other in enumerate(classes):
        mine = cells.label == other
        cost = right if other != label else right - 1
        values = cost * shares[mine]
        worst = values.max(0)
        if other != label:
            worst = np.maximum(worst, cost / np.median(cells.size[mine]))
        values = np.concatenate([values, worst[None]])
        units = len(values)
        own = np.append(cells.source[mine], len(parts) - 1 - number)
        mean += values.mean(0) / len(classes)
        parts[own] += (values - values.mean(0)) / units / len(classes) * math.sqrt(units / (units - 1))
        fewest = min(fewest, units - 1)
    if fewest < FEWEST:
        return np.ones(shares.shape[1])
    spread = np.sqrt((parts**2).sum(0))
    return tail(np.divide(mean, spread, out=np.full_like(mean, np.inf), where=spread > 0), fewest)


def walk(p: Floats, starts: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Which of T hypotheses, in their order, are rejected at LEVEL together (fallback procedure, Wiens 2003).

    The level is divided among the `starts` (T,), the first alone where none are given; what a chain of rejections
    carries is added where it meets the next start, and is lost with the first hypothesis that is not rejected.
    """
    if starts is None:
        starts = np.arange(len(p)) == 0
    share = LEVEL / max(1, int(starts.sum()))
    budget, rejected = 0.0, np.zeros(len(p), bool)
    for place, value in enumerate(p):
        budget += share * bool(starts[place])
        rejected[place] = budget > 0 and value <= budget
        budget = budget if rejected[place] else 0.0
    return rejected


def tail(t: Floats, freedom: int) -> Floats:
    """P(T <= t) of Student's t with `freedom` degrees of freedom.

    >>> [round(float(x), 3) for x in tail(np.array([-1.725, 0.0, 2.086]), 20)]
    [0.05, 0.5, 0.975]
    """
    places, below = _student(int(freedom))
    return np.interp(t, places, below)


@lru_cache(maxsize=256)
def _student(freedom: int) -> tuple[Floats, Floats]:
    """Places and P(T <= place): the density summed on a grid that is fine near 0 and reaches far out."""
    half = np.sinh(np.linspace(0, 9, 4001))
    log = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    density = np.exp(log - (freedom + 1) / 2 * np.log1p(half**2 / freedom))
    area = np.concatenate([[0.0], np.cumsum(np.diff(half) * (density[1:] + density[:-1]) / 2)])
    upper = np.minimum(0.5 + area, 1.0)
    return np.concatenate([-half[:0:-1], half]), np.concatenate([1 - upper[:0:-1], upper])
