"""What a user may rely on: numbers of false alarms are never understated; neighbouring cells are one region."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from pixelsleuth.evidence.a_contrario import components, log_tail


@pytest.mark.parametrize("samples, hits", [(16, 4), (100, 10), (100, 100), (4096, 200)])
def test_the_bound_of_false_alarms_is_never_below_the_binomial_tail(samples: int, hits: int) -> None:
    exact = binom.logsf(hits - 1, samples, 1 / 64) / np.log(10)
    assert exact <= log_tail(samples, hits, 1 / 64) + 1e-9
    assert log_tail(samples, hits, 1 / 64) <= exact + 2.5


def test_groups_bridge_a_gap_of_one_cell_and_no_more() -> None:
    active = np.zeros((3, 9), bool)
    active[1, [0, 2, 5, 6]] = True
    assert sorted(len(group) for group in components(active)) == [2, 2]
