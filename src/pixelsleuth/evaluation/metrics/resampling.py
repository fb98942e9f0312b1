"""Confidence intervals by a bootstrap over groups: what belongs together is drawn together.

Pictures of one scene, product or prompt are not independent, so groups are drawn, not pictures (Efron and
Tibshirani 1993, percentile interval). A statistic takes weights (..., N), one for each picture, and gives (...):
all resamples are one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Any]
RESAMPLES = 1000
LEVEL = 0.95
BLOCK = 4_000_000
"""Weights held at a time: 32 MB."""


class Bootstrap:
    """Resamples of `groups` (one name a picture), drawn once and used for every statistic.

    >>> import numpy as np
    >>> draws = Bootstrap(["a", "a", "b", "c"], resamples=200, seed=0)
    >>> low, high = draws.interval(lambda w: w @ np.array([1.0, 1.0, 0.0, 0.0]) / w.sum(-1))
    >>> low <= 0.5 <= high
    True
    """

    def __init__(self, groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        _, self.member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        self.groups = int(self.member.max()) + 1 if len(self.member) else 0
        self.resamples, self.seed = resamples, seed

    def weights(self) -> Iterator[Floats]:
        """Blocks (b, N) of weights: how often each picture's group was drawn."""
        random = np.random.default_rng(self.seed)
        left = self.resamples
        while left:
            size = min(left, max(1, BLOCK // max(1, len(self.member))))
            drawn = random.multinomial(self.groups, np.full(self.groups, 1 / self.groups), size=size)
            yield drawn[:, self.member].astype(np.float64)
            left -= size

    def values(self, statistic: Statistic) -> Floats:
        """(resamples,) of a statistic; empty where there is no picture."""
        if self.groups == 0:
            return np.zeros(0)
        return np.concatenate([np.atleast_1d(statistic(block)) for block in self.weights()])

    def table(self, statistics: Mapping[str, Statistic]) -> dict[str, Floats]:
        """(resamples,) of every statistic, all on the same draws; empty where there are not two groups."""
        if self.groups < 2 or not statistics:
            return {name: np.zeros(0) for name in statistics}
        drawn: dict[str, list[Floats]] = {name: [] for name in statistics}
        for block in self.weights():
            for name, statistic in statistics.items():
                drawn[name].append(np.atleast_1d(statistic(block)))
        return {name: np.concatenate(parts) for name, parts in drawn.items()}

    def interval(self, statistic: Statistic, level: float = LEVEL) -> tuple[float, float]:
        """(low, high) percentiles; NaN where fewer than two groups or only undefined resamples exist."""
        return interval_of(self.values(statistic) if self.groups > 1 else np.zeros(0), level)


def interval_of(values: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of resampled values; undefined ones (NaN) are left out.

    >>> low, high = interval_of(np.arange(101.0))
    >>> round(low, 3), round(high, 3)
    (2.5, 97.5)
    """
    defined = values[~np.isnan(values)]
    if not defined.size:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def weighted_mean(values: Any) -> Statistic:
    """The statistic "mean of `values`" over the pictures where it is defined (not NaN).

    >>> float(weighted_mean([1.0, float("nan"), 0.0])(np.array([1.0, 1.0, 3.0])))
    0.25
    """
    v = np.asarray(values, dtype=np.float64)
    defined = ~np.isnan(v)
    filled = np.where(defined, v, 0.0)

    def statistic(weights: Floats) -> Any:
        return quotient(weights @ filled, weights @ defined.astype(np.float64))

    return statistic


def quotient(above: Any, below: Any) -> Any:
    """above / below; NaN where below is not positive.

    >>> quotient([1.0, 1.0], [2.0, 0.0]).tolist()
    [0.5, nan]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(below) > 0, np.asarray(above) / below, np.nan)
