"""Localization: a score map against a mask, one picture at a time in constant memory.

A score map is (H, W) uint8 (probability times 255) or floats in 0..1. Everything comes from two histograms of 256
levels, one of the tampered pixels and one of the others, so a picture of any size costs one pass. For uint8 maps
that is exact, ties at half weight; for floats `auc_bound` limits how far the exact area can lie from it.

Empty masks: where nothing was tampered with, F1, IoU and AUC are not defined. `Empty.SKIP` (the default) leaves such
pictures out, `ONE` counts F1 and IoU as 1 where nothing was marked either and 0 otherwise, `ZERO` counts 0.
Pictures that are authentic are measured by the share of their area that was marked (false-alarm area).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 256
HALF = 128
"""First level that counts as marked: 0.5 of 255, rounded up."""
Counts = NDArray[np.int64]


class Empty(StrEnum):
    """What a picture without a tampered pixel counts as."""

    SKIP = "skip"
    ONE = "one"
    ZERO = "zero"


def as_levels(score: Any) -> NDArray[np.uint8]:
    """(H, W) uint8 of a map: uint8 as it is, bool as 0 and 255, floats in 0..1 rounded to 255ths.

    Raises ValueError for floats outside 0..1 and for NaN.

    >>> as_levels([[0.0, 0.5, 1.0]]).tolist()
    [[0, 128, 255]]
    """
    s = np.asarray(score)
    if s.dtype == np.uint8:
        return s
    if s.dtype == bool:
        return s.view(np.uint8) * np.uint8(255)
    if s.size and not (s.min() >= 0 and s.max() <= 1):
        raise ValueError("a score map must lie in 0..1")
    return (s * 255 + 0.5).astype(np.uint8)


def histograms(score: Any, truth: Any) -> Counts:
    """(2, 256): pixels at each level outside the mask (row 0) and inside (row 1).

    Pillow counts in C, without a copy of the picture: about a millisecond a megapixel.

    >>> histograms([[0.9, 0.6], [0.2, 0.4]], [[True, True], [False, True]]).sum(axis=1).tolist()
    [1, 3]
    """
    from PIL import Image

    levels, mask = as_levels(score), np.asarray(truth, dtype=bool)
    if levels.shape != mask.shape or levels.ndim != 2:
        raise ValueError(f"map {levels.shape} and mask {mask.shape} must be one (H, W)")
    picture = Image.fromarray(np.ascontiguousarray(levels))
    everything = np.array(picture.histogram(), dtype=np.int64)
    inside = np.zeros(LEVELS, dtype=np.int64)
    if mask.any():
        where = Image.fromarray(np.ascontiguousarray(mask).view(np.uint8))  # anything but 0 counts
        inside = np.array(picture.histogram(where), dtype=np.int64)
    return np.stack([everything - inside, inside])


def counts(histogram: Counts, threshold: int = HALF) -> Counts:
    """(..., 4) TP, FP, FN, TN of histograms (..., 2, 256), levels from `threshold` on being marked.

    >>> counts(histograms([[0.9, 0.6], [0.2, 0.4]], [[True, True], [False, True]])).tolist()
    [2, 0, 1, 1]
    """
    h = np.asarray(histogram)
    outside, inside = h[..., 0, :], h[..., 1, :]
    hits, alarms = inside[..., threshold:].sum(-1), outside[..., threshold:].sum(-1)
    return np.stack([hits, alarms, inside.sum(-1) - hits, outside.sum(-1) - alarms], axis=-1)


def mask_counts(predicted: Any, truth: Any) -> Counts:
    """(4,) TP, FP, FN, TN of two masks (H, W) of bool.

    >>> mask_counts([[True, True], [False, False]], [[True, False], [True, False]]).tolist()
    [1, 1, 1, 1]
    """
    p, t = np.asarray(predicted, dtype=bool), np.asarray(truth, dtype=bool)
    if p.shape != t.shape:
        raise ValueError(f"masks of {p.shape} and {t.shape}; one size expected")
    both, marked, tampered = (int(np.count_nonzero(mask)) for mask in (p & t, p, t))
    return np.array([both, marked - both, tampered - both, p.size - marked - tampered + both])


def f1(counted: Any, empty: Empty = Empty.SKIP) -> float:
    """Pixel F1 = 2 TP / (2 TP + FP + FN) of (4,) counts.

    >>> f1([2, 0, 1, 1]), f1([0, 3, 0, 7]), f1([0, 3, 0, 7], Empty.ZERO)
    (0.8, nan, 0.0)
    """
    tp, fp, fn, _ = (float(x) for x in counted)
    return _undefined(tp, fp, fn, empty) if tp + fn == 0 else 2 * tp / (2 * tp + fp + fn)


def iou(counted: Any, empty: Empty = Empty.SKIP) -> float:
    """Intersection over union of (4,) counts.

    >>> round(iou([2, 0, 1, 1]), 3), iou([0, 0, 0, 10], Empty.ONE)
    (0.667, 1.0)
    """
    tp, fp, fn, _ = (float(x) for x in counted)
    return _undefined(tp, fp, fn, empty) if tp + fn == 0 else tp / (tp + fp + fn)


def mask_box(mask: Any) -> tuple[int, int, int, int] | None:
    """(x0, y0, x1, y1), half open, around the marked pixels of (H, W); None where nothing is marked.

    >>> mask_box([[False, True, True], [False, False, True]])
    (1, 0, 3, 2)
    """
    marked = np.asarray(mask, dtype=bool)
    rows, columns = np.flatnonzero(marked.any(1)), np.flatnonzero(marked.any(0))
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) if rows.size else None


def outer_box(boxes: Sequence[Sequence[int]]) -> tuple[int, int, int, int] | None:
    """The smallest box around all of `boxes`; None where there are none.

    >>> outer_box([(0, 0, 2, 2), (5, 1, 6, 8)])
    (0, 0, 6, 8)
    """
    if not boxes:
        return None
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def auc(histogram: Any) -> float:
    """Area under the pixel ROC curve of (2, 256), ties at half weight; NaN where a class of pixels is absent.

    >>> auc(histograms([[0.9, 0.3], [0.3, 0.1]], [[True, True], [False, False]]))
    0.875
    """
    outside, inside = np.asarray(histogram, dtype=np.float64)
    pairs = inside.sum() * outside.sum()
    below = np.cumsum(outside) - outside
    return float((inside * (below + outside / 2)).sum() / pairs) if pairs else float("nan")


def auc_bound(histogram: Any) -> float:
    """How far the area of the unrounded scores can lie from `auc`: half the pairs that share a level.

    0 where no two pixels of different truth fall on one level. For uint8 maps the area is exact in any case.

    >>> auc_bound(histograms([[0.9, 0.3], [0.3, 0.1]], [[True, True], [False, False]]))
    0.125
    """
    outside, inside = np.asarray(histogram, dtype=np.float64)
    pairs = inside.sum() * outside.sum()
    return float((inside * outside).sum() / 2 / pairs) if pairs else float("nan")


def best_f1(histogram: Any) -> tuple[float, int]:
    """(F1, threshold level) at the threshold that suits the truth best: an oracle figure, never a result by itself.

    The lowest of equally good thresholds; (NaN, 128) without a tampered pixel.

    >>> best_f1(histograms([[0.9, 0.4], [0.2, 0.1]], [[True, True], [False, False]]))
    (1.0, 52)
    """
    outside, inside = np.asarray(histogram, dtype=np.float64)
    hits, alarms = inside[::-1].cumsum()[::-1], outside[::-1].cumsum()[::-1]
    if not hits[0]:
        return float("nan"), HALF
    scores = 2 * hits / (hits + alarms + hits[0])
    at = int(scores.argmax())
    return float(scores[at]), at


def alarm_area(histogram: Any, threshold: int = HALF) -> float:
    """Share of a picture's pixels that were marked, 0..1: on authentic pictures, the false-alarm area.

    >>> alarm_area(histograms([[0.9, 0.4], [0.2, 0.1]], [[False, False], [False, False]]))
    0.25
    """
    h = np.asarray(histogram)
    total = h.sum()
    return float(h[:, threshold:].sum() / total) if total else float("nan")


@dataclass
class Localization:
    """Streams score maps; constant memory, mergeable.

    Per-image means are over pictures that count (see `Empty`), pooled figures over all their pixels. gIoU is the
    mean of per-image IoU, cIoU the pooled one. With `Empty.SKIP` a picture without a tampered pixel is measured by its
    false-alarm area alone.

    >>> maps = Localization()
    >>> own = maps.update([[0.9, 0.6], [0.2, 0.4]], [[True, True], [False, True]])
    >>> own = maps.update([[0.9, 0.1], [0.1, 0.1]], [[False, False], [False, False]])  # an authentic picture
    >>> figures = maps.compute()
    >>> figures["f1"], round(figures["pooled_iou"], 3), figures["alarm_area"]
    (0.8, 0.667, 0.25)
    """

    empty: Empty = Empty.SKIP
    threshold: int = HALF
    pooled: Counts = field(default_factory=lambda: np.zeros((2, LEVELS), dtype=np.int64))
    sums: dict[str, float] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def update(self, score: Any, truth: Any) -> dict[str, float]:
        """One picture: (H, W) map and (H, W) bool mask. Returns its own figures."""
        return self.add(histograms(score, truth))

    def add(self, histogram: Counts) -> dict[str, float]:
        """One picture by its histograms (2, 256)."""
        figures = picture_figures(histogram, self.empty, self.threshold)
        for name, value in figures.items():
            if not np.isnan(value):
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.numbers[name] = self.numbers.get(name, 0) + 1
        if histogram[1].any():
            self.pooled += histogram
        return figures

    def merge(self, other: Localization) -> Localization:
        """Take over what `other` has seen."""
        self.pooled = self.pooled + other.pooled
        for name, value in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.numbers[name] = self.numbers.get(name, 0) + other.numbers[name]
        return self

    def compute(self) -> dict[str, float]:
        """Means by picture, and the pooled figures; NaN for what was never defined."""
        means = {
            name: self.sums[name] / self.numbers[name] if self.numbers.get(name) else float("nan")
            for name in ("f1", "iou", "auc", "best_f1", "alarm_area")
        }
        counted = counts(self.pooled, self.threshold)
        best, at = best_f1(self.pooled)
        return means | {
            "pooled_f1": f1(counted),
            "pooled_iou": iou(counted),
            "pooled_auc": auc(self.pooled),
            "pooled_best_f1": best,
            "pooled_best_threshold": at / 255,
        }


def picture_figures(histogram: Counts, empty: Empty = Empty.SKIP, threshold: int = HALF) -> dict[str, float]:
    """F1, IoU, AUC and oracle F1 of one picture; `alarm_area` where nothing was tampered with.

    >>> figures = picture_figures(histograms([[0.9, 0.6], [0.2, 0.4]], [[True, True], [False, True]]))
    >>> figures["f1"], figures["auc"], figures["alarm_area"]
    (0.8, 1.0, nan)
    """
    counted = counts(histogram, threshold)
    authentic = not histogram[1].any()
    return {
        "f1": f1(counted, empty),
        "iou": iou(counted, empty),
        "auc": auc(histogram),
        "best_f1": best_f1(histogram)[0],
        "alarm_area": alarm_area(histogram, threshold) if authentic else float("nan"),
    }


def _undefined(tp: float, fp: float, fn: float, empty: Empty) -> float:
    if empty is Empty.SKIP:
        return float("nan")
    return 1.0 if empty is Empty.ONE and fp == 0 else 0.0
