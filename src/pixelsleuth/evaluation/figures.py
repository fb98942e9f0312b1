"""Figures: rows of `predictions.jsonl` turned into named statistics, each ready for a bootstrap.

`Frame` holds the rows of one detector under one condition as arrays; `statistics` gives every figure that these rows
allow. A statistic takes weights (..., N) over the rows. Where a mask, a text or a class is missing, the figure is NaN
or missing too, never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.region import box_iou
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.evaluation.metrics import calibration, detection, localization
from pixelsleuth.evaluation.metrics.resampling import Statistic, quotient, weighted_mean
from pixelsleuth.evaluation.predictions import Row, unpack_histogram
from pixelsleuth.evaluation.protocols import Protocol, parse_answer

Floats = NDArray[np.float64]
NAMES = tuple(str(label) for label in LABELS)


class Frame:
    """Rows that were judged (`rows`), as arrays of length N; `failed` are those that were not."""

    def __init__(self, rows: Sequence[Row]) -> None:
        ordered = sorted(rows, key=lambda row: int(row["index"]))
        self.failed = [row for row in ordered if row.get("error")]
        self.rows = [row for row in ordered if not row.get("error")]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def truth(self) -> NDArray[np.intp]:
        return np.array([NAMES.index(row["label"]) for row in self.rows], dtype=np.intp)

    @cached_property
    def probabilities(self) -> Floats:
        return np.array([row["probabilities"] for row in self.rows], dtype=np.float64).reshape(-1, len(NAMES))

    @cached_property
    def predicted(self) -> NDArray[np.intp]:
        """The class that the detector named (its most probable one, as it broke ties itself)."""
        return np.array([NAMES.index(row["predicted"]) for row in self.rows], dtype=np.intp)

    @cached_property
    def confidence(self) -> Floats:
        return self.probabilities.max(1) if len(self) else np.zeros(0)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        return self.predicted == self.truth

    @cached_property
    def inconclusive(self) -> NDArray[np.bool_]:
        return np.array([bool(row["inconclusive"]) for row in self.rows])

    @cached_property
    def groups(self) -> list[str]:
        return [str(row["group"] or row["path"]) for row in self.rows]

    @cached_property
    def histograms(self) -> list[NDArray[np.int64] | None]:
        """Of each picture its histograms (2, 256), None where it was not localized or has no mask."""
        return [unpack_histogram(row["histogram"]) if "histogram" in row else None for row in self.rows]

    @cached_property
    def pixel(self) -> dict[str, Floats]:
        """Per-picture figures (N,), NaN where a picture has none."""
        nan = float("nan")
        none = dict.fromkeys(("f1", "iou", "auc", "best_f1", "alarm_area"), nan)
        figures = [none if h is None else localization.picture_figures(h) for h in self.histograms]
        return {name: np.array([row[name] for row in figures]) for name in none}

    @cached_property
    def counts(self) -> Floats:
        """(N, 4) TP, FP, FN, TN at 0.5 of tampered pictures with a mask; zeros elsewhere."""
        counts = [
            np.zeros(4) if h is None or not h[1].any() else localization.counts(h) for h in self.histograms
        ]
        return np.array(counts, dtype=np.float64).reshape(-1, 4)

    @cached_property
    def delivered(self) -> dict[str, Floats]:
        """F1 and IoU of the masks as users get them: nothing is marked where another class was named."""
        rows = [row.get("delivered") for row in self.rows]
        return {
            name: np.array([float("nan") if row is None else measure(row) for row in rows])
            for name, measure in (("f1", localization.f1), ("iou", localization.iou))
        }

    @cached_property
    def box_iou(self) -> Floats:
        """(N,) IoU of the box around the detector's regions and the box around the mask.

        0 where the detector reported no region, NaN where there is no mask.
        """
        overlaps = np.full(len(self), np.nan)
        for i, row in enumerate(self.rows):
            if boxes := row.get("boxes"):
                overlaps[i] = box_iou(boxes["told"], boxes["true"]) if boxes["told"] else 0.0
        return overlaps

    @property
    def localized(self) -> bool:
        return any(h is not None for h in self.histograms)

    @property
    def boxed(self) -> bool:
        """True where boxes are measured: the detector draws masks, or it reported at least one box."""
        return self.localized or any(row["boxes"]["told"] for row in self.rows if "boxes" in row)


def statistics(frame: Frame, protocol: Protocol) -> dict[str, Statistic]:
    """Every figure that these rows allow, by name, in the order of tables."""
    figures = _detection(frame) if len(protocol.labels) > 1 else {}
    if frame.localized:
        figures |= _localization(frame)
    own = OWN_FIGURES.get(protocol.name)
    return figures | (own(frame) if own is not None else {})


def _matrix(frame: Frame) -> Statistic:
    return lambda w: detection.confusion_matrix(frame.truth, frame.predicted, len(NAMES), weights=w)


def _detection(frame: Frame) -> dict[str, Statistic]:
    matrix = _matrix(frame)
    fake, score = frame.truth > 0, 1 - frame.probabilities[:, 0]
    two: Statistic = lambda w: detection.binary(matrix(w), (1, 2))  # noqa: E731
    figures: dict[str, Statistic] = {
        "accuracy": lambda w: detection.accuracy(matrix(w)),
        "balanced_accuracy": lambda w: detection.balanced_accuracy(matrix(w)),
        "macro_precision": lambda w: detection.macro_precision(matrix(w)),
        "macro_f1": lambda w: detection.macro_f1(matrix(w)),
        "binary_accuracy": lambda w: detection.accuracy(two(w)),
        "binary_precision": lambda w: detection.precisions(two(w))[..., 1],
        "binary_recall": lambda w: detection.recalls(two(w))[..., 1],
        "binary_f1": lambda w: detection.f1_scores(two(w))[..., 1],
        "auroc": lambda w: detection.auroc(fake, score, weights=w),
        "average_precision": lambda w: detection.average_precision(fake, score, weights=w),
    }
    for positive in (1, 2):
        figures[f"auroc_{NAMES[positive]}"] = _pair_auroc(frame, positive)
    for index, name in enumerate(NAMES):
        for figure, measure in (
            ("recall", detection.recalls),
            ("precision", detection.precisions),
            ("f1", detection.f1_scores),
        ):
            figures[f"{figure}_{name}"] = _of_class(matrix, measure, index)
    figures["ece"] = lambda w: calibration.expected_calibration_error(
        frame.confidence, frame.right, weights=w
    )
    accused = np.where(fake, np.nan, (frame.predicted > 0) & ~frame.inconclusive)
    figures["authentic_accused"] = weighted_mean(accused)
    figures["coverage"] = weighted_mean(~frame.inconclusive)
    figures["conclusive_accuracy"] = weighted_mean(np.where(frame.inconclusive, np.nan, frame.right))
    return figures


def _of_class(matrix: Statistic, measure: Any, index: int) -> Statistic:
    return lambda w: measure(matrix(w))[..., index]


def _pair_auroc(frame: Frame, positive: int) -> Statistic:
    """One class against real, by its probability relative to real's."""
    kept = (frame.truth == 0) | (frame.truth == positive)
    truth = frame.truth[kept] == positive
    score = detection.relative_score(frame.probabilities[kept], positive)
    return lambda w: detection.auroc(truth, score, weights=w[..., kept])


def _localization(frame: Frame) -> dict[str, Statistic]:
    real, synthetic = frame.truth == 0, frame.truth == 1
    area = frame.pixel["alarm_area"]
    tampered = np.array([h is not None and bool(h[1].any()) for h in frame.histograms])
    delivered = {name: np.where(tampered, values, np.nan) for name, values in frame.delivered.items()}
    return {
        "pixel_f1": weighted_mean(frame.pixel["f1"]),
        "pixel_iou": weighted_mean(frame.pixel["iou"]),
        "pixel_auc": weighted_mean(frame.pixel["auc"]),
        "pixel_best_f1": weighted_mean(frame.pixel["best_f1"]),
        "pooled_f1": _pooled(frame.counts, lambda tp, fp, fn: quotient(2 * tp, 2 * tp + fp + fn)),
        "pooled_iou": _pooled(frame.counts, lambda tp, fp, fn: quotient(tp, tp + fp + fn)),
        "delivered_f1": weighted_mean(delivered["f1"]),
        "delivered_iou": weighted_mean(delivered["iou"]),
        "false_alarm_area": weighted_mean(np.where(real, area, np.nan)),
        "false_alarm_share": weighted_mean(np.where(real & ~np.isnan(area), area > 0.01, np.nan)),
        "marked_area_full_synthetic": weighted_mean(np.where(synthetic, area, np.nan)),
    }


def _pooled(counts: Floats, figure: Any) -> Statistic:
    def statistic(weights: Floats) -> Any:
        total = weights @ counts
        return figure(total[..., 0], total[..., 1], total[..., 2])

    return statistic


def pooled_curves(frame: Frame) -> dict[str, float]:
    """Pooled AUC and oracle threshold over all pixels of tampered pictures, without an interval."""
    total = np.zeros((2, localization.LEVELS), dtype=np.int64)
    for h in frame.histograms:
        if h is not None and h[1].any():
            total += h
    best, at = localization.best_f1(total)
    return {"pooled_auc": localization.auc(total), "pooled_best_f1": best, "pooled_best_threshold": at / 255}


def _sida(frame: Frame) -> dict[str, Statistic]:
    matrix, local = _matrix(frame), _localization(frame)
    ciou, accuracy = local["pooled_iou"], lambda w: detection.accuracy(matrix(w))

    def harmonic(w: Floats) -> Any:
        a, b = ciou(w), accuracy(w)
        return quotient(2 * a * b, a + b)

    def product(w: Floats) -> Any:
        m = matrix(w)
        return detection.macro_precision(m) * detection.balanced_accuracy(m)

    return {
        "sida_giou": local["pixel_iou"],
        "sida_ciou": ciou,
        "sida_accuracy": accuracy,
        "sida_f1": harmonic,
        "sida_auc": product,
        "sida_pixel_accuracy": lambda w: 100 * ciou(w),
    }


def _sida_tables(frame: Frame) -> dict[str, Statistic]:
    matrix = _matrix(frame)
    fake = frame.predicted > 0

    def share(index: int) -> Statistic:
        mine = frame.truth == index
        return weighted_mean(np.where(mine, fake == (index > 0), np.nan))

    def inside(accuracy: Statistic) -> Statistic:
        return lambda w: 2 * accuracy(w) / (1 + accuracy(w))

    def mean(w: Floats) -> Any:
        present = [value(w) for i, value in enumerate(shares) if (frame.truth == i).any()]
        return np.mean(present, axis=0)

    shares = [share(index) for index in range(len(NAMES))]
    figures: dict[str, Statistic] = {
        "sida_tables_acc": mean,
        "sida_tables_f1": lambda w: detection.f1_scores(detection.binary(matrix(w), (1, 2)))[..., 1],
    }
    for name, value in zip(NAMES, shares, strict=True):
        figures |= {f"sida_tables_acc_{name}": value, f"sida_tables_f1_{name}": inside(value)}
    return figures


def answers(frame: Frame) -> list[str | None]:
    """The answer of each row under a sentence protocol: read out of its text, or without one, the predicted class."""
    return [
        parse_answer(row["explanation"])
        if "explanation" in row
        else ("fake", "real")[row["predicted"] == "real"]
        for row in frame.rows
    ]


def _fakevlm(frame: Frame) -> dict[str, Statistic]:
    named = answers(frame)
    real = frame.truth == 0
    # An unparsable answer is the other class than the true one: wrong, and counted by itself.
    named_real = np.array(
        [not r if s is None else s == "real" for s, r in zip(named, real, strict=True)], dtype=bool
    )
    matrix: Statistic = lambda w: detection.confusion_matrix(real, named_real, 2, weights=w)  # noqa: E731
    return {
        "fakevlm_acc": lambda w: detection.accuracy(matrix(w)),
        "fakevlm_f1": lambda w: detection.f1_scores(matrix(w))[..., 1],
        "fakevlm_acc_real": lambda w: detection.recalls(matrix(w))[..., 1],
        "fakevlm_acc_fake": lambda w: detection.recalls(matrix(w))[..., 0],
        "fakevlm_unparsable": weighted_mean(np.array([s is None for s in named])),
    }


def _so_fake(frame: Frame) -> dict[str, Statistic]:
    every = _detection(frame) | (_localization(frame) if frame.localized else {})
    names = {"so_fake_acc": "accuracy", "so_fake_f1": "macro_f1", "so_fake_loc_iou": "pixel_iou",
             "so_fake_loc_f1": "pixel_f1"}  # fmt: skip
    own = {own: every[name] for own, name in names.items() if name in every}
    return own | ({"so_fake_box_iou": weighted_mean(frame.box_iou)} if frame.boxed else {})


def _imdl(frame: Frame) -> dict[str, Statistic]:
    local = _localization(frame)
    return {f"imdl_{name}": local[f"pixel_{name}"] for name in ("f1", "iou", "auc")}


OWN_FIGURES: dict[str, Any] = {
    "sida": _sida,
    "sida_tables": _sida_tables,
    "fakevlm": _fakevlm,
    "so_fake": _so_fake,
    "imdl": _imdl,
}
