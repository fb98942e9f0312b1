"""Calibration: is a probability of 0.8 right four times in five, and what is gained by staying silent.

Source: Naeini et al. 2015 (expected calibration error, equal-width bins of the top probability); El-Yaniv and Wiener
2010 (risk against coverage).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 15


def calibration_bins(confidence: Any, right: Any, bins: int = BINS, weights: Any = None) -> Floats:
    """(..., bins, 3): weight, sum of confidences and weight of right answers, in equal bins [i/bins, (i+1)/bins).

    >>> calibration_bins([0.95, 0.9, 0.8, 0.4], [True, True, False, False], bins=2).round(3).tolist()
    [[1.0, 0.4, 0.0], [3.0, 2.65, 2.0]]
    """
    c, r = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if c.size and not (c.min() >= 0 and c.max() <= 1):
        raise ValueError("a confidence must lie in 0..1")
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, c, side="right") - 1, 0, bins - 1)
    member = np.zeros((len(c), bins))
    member[np.arange(len(c)), place] = 1
    w = np.ones(c.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    return np.stack([w @ member, (w * c) @ member, (w * r) @ member], axis=-1)


def expected_calibration_error(confidence: Any, right: Any, bins: int = BINS, weights: Any = None) -> Any:
    """Mean over pictures of |accuracy - confidence| of their bin, 0..1; NaN without a picture.

    >>> round(expected_calibration_error([0.95, 0.9, 0.8, 0.55], [True, True, False, False], bins=2), 3)
    0.3
    """
    filled = calibration_bins(confidence, right, bins, weights)
    total = filled[..., 0].sum(-1)
    gap = np.abs(filled[..., 2] - filled[..., 1]).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(total > 0, gap / total, np.nan)
    return float(value) if value.ndim == 0 else value


def risk_coverage(confidence: Any, right: Any) -> tuple[Floats, Floats]:
    """(coverage, risk): judging only the surest share of the pictures, the share of wrong answers among them.

    Equal confidences enter together, so the curve does not depend on the order of the pictures.

    >>> coverage, risk = risk_coverage([0.95, 0.9, 0.8, 0.55], [True, True, False, False])
    >>> coverage.tolist(), risk.round(3).tolist()
    ([0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.333, 0.5])
    """
    c, r = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if not c.size:
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-c, kind="stable")
    c, wrong = c[order], np.cumsum(1 - r[order])
    last = np.flatnonzero(np.concatenate([c[1:] != c[:-1], [True]]))
    taken = last + 1
    return taken / len(c), wrong[last] / taken


def area_under_risk_coverage(confidence: Any, right: Any) -> float:
    """Mean risk over coverages 1/N, 2/N, ..., 1; NaN without a picture. A step holds between two distinct
    confidences.

    >>> round(area_under_risk_coverage([0.95, 0.9, 0.8, 0.55], [True, True, False, False]), 3)
    0.208
    """
    coverage, risk = risk_coverage(confidence, right)
    if not coverage.size:
        return float("nan")
    return float((np.diff(coverage, prepend=0.0) * risk).sum())
