"""The figures of one detector under one condition: with intervals, by source, as curves, and what was not judged."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelsleuth.data.left_out import BAD_MASK
from pixelsleuth.errors import MissingExtra
from pixelsleuth.evaluation.figures import NAMES, Frame, pooled_curves, statistics
from pixelsleuth.evaluation.metrics import calibration, claims, detection, explanation
from pixelsleuth.evaluation.metrics.resampling import RESAMPLES, Bootstrap, interval_of, weighted_mean
from pixelsleuth.evaluation.predictions import Row
from pixelsleuth.evaluation.protocols import Protocol

SCHEMA = "pixelsleuth.metrics/1"
BREAKDOWN = ("accuracy", "balanced_accuracy", "binary_accuracy", "auroc", "auroc_full_synthetic", "auroc_tampered",
             "pixel_f1", "pixel_iou", "pixel_auc", "pixel_best_f1", "false_alarm_area",
             "coverage", "conclusive_accuracy", "authentic_accused")  # fmt: skip
CURVE_POINTS = 200
LISTED = 50
"""Pictures that were not judged, of which the code and the message are listed."""
STEMMER = False
"""ROUGE-L compares words as they are, not their stems."""


@dataclass(frozen=True)
class Settings:
    """What a summary depends on besides the rows."""

    protocol: Protocol
    resamples: int = RESAMPLES
    seed: int = 0
    encoder: Any = None


def figure_table(frame: Frame, settings: Settings, only: Sequence[str] | None = None) -> dict[str, Any]:
    """`{name: {"value", "low", "high"}}` with 95 % percentile intervals over groups."""
    chosen = {
        name: statistic
        for name, statistic in statistics(frame, settings.protocol).items()
        if only is None or name in only
    }
    draws = Bootstrap(frame.groups, resamples=settings.resamples, seed=settings.seed)
    resampled = draws.table(chosen)
    table = {}
    for name, statistic in chosen.items():
        low, high = interval_of(resampled[name])
        table[name] = {"value": float(statistic(np.ones(len(frame)))), "low": low, "high": high}
    return table


def condition_result(rows: Iterable[Row], settings: Settings, *, localizes: bool = False) -> dict[str, Any]:
    """Everything about one detector under one condition; `localizes`: it draws masks."""
    frame = Frame(list(rows))
    result: dict[str, Any] = {
        "pictures": len(frame),
        "not_judged": _failures(frame),
        "masks": _masks(frame, settings.protocol, localizes),
        "figures": figure_table(frame, settings) if len(frame) else {},
    }
    if not len(frame):
        return result
    if frame.localized:
        result["pooled"] = pooled_curves(frame)
    result |= _curves(frame)
    if (texts := _explanations(frame, settings)) is not None:
        result["explanation"] = texts
    for kind in ("source", "generator", "tamper"):
        result[f"by_{kind}"] = breakdown(frame, kind, settings)
    return result


def breakdown(frame: Frame, kind: str, settings: Settings) -> dict[str, Any]:
    """Figures of every part that shares `kind`; pictures without one are left out. A generator or an operation has no
    real pictures of its own, so it gets its recall, its pixel figures, and its AUROC against all real pictures.
    """
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in frame.rows:
        if row.get(kind):
            parts[str(row[kind])].append(row)
    real = [row for row in frame.rows if row["label"] == "real"]
    result = {}
    for name in sorted(parts):
        part = Frame(parts[name])
        figures = figure_table(part, settings, BREAKDOWN)
        if kind != "source" and real and not (part.truth == 0).any():
            against = figure_table(Frame([*parts[name], *real]), settings, ("auroc",))
            figures["auroc_against_all_real"] = against.get("auroc")
        labels = {label: int((part.truth == i).sum()) for i, label in enumerate(NAMES)}
        conclusive = int((~part.inconclusive).sum())
        result[name] = {"pictures": len(part), "conclusive": conclusive, "labels": labels, "figures": figures}
    return result


def _failures(frame: Frame) -> dict[str, Any]:
    listed = [
        {"path": row["path"], "code": row["error"]["code"], "message": row["error"]["message"]}
        for row in frame.failed
    ]
    return {"count": len(listed), "listed": listed[:LISTED]}


def _masks(frame: Frame, protocol: Protocol, localizes: bool) -> dict[str, Any]:
    tampered = [row for row in frame.rows if row["label"] == "tampered"]
    without = sum(not row["has_mask"] for row in tampered)
    unreadable = sum(row.get("left_out") == BAD_MASK for row in frame.failed)
    empty = sum(
        h is not None and not h[1].any() and row["label"] == "tampered"
        for h, row in zip(frame.histograms, frame.rows, strict=True)
    )
    stored = len(tampered) - without + unreadable
    needed = stored > 0 or (bool(tampered) and any("iou" in name for name in protocol.own))
    return {
        "localized": frame.localized,
        "tampered": len(tampered),
        "tampered_without_mask": without,
        "empty_masks": empty,
        "unreadable_masks": unreadable,
        "none_usable": localizes and needed and stored - unreadable - empty == 0,
        "resized": sum(bool(row["mask_resized"]) for row in frame.rows),
        "policy": "skip: a picture without a tampered pixel has no F1, IoU or AUC",
    }


def _curves(frame: Frame) -> dict[str, Any]:
    matrix = detection.confusion_matrix(frame.truth, frame.predicted, len(NAMES))
    bins = calibration.calibration_bins(frame.confidence, frame.right)
    coverage, risk = calibration.risk_coverage(frame.confidence, frame.right)
    thin = np.unique(np.linspace(0, len(coverage) - 1, CURVE_POINTS).round().astype(int))
    curves = {}
    for name, positives in (("fake", (1, 2)), ("full_synthetic", (1,)), ("tampered", (2,))):
        kept = (frame.truth == 0) | np.isin(frame.truth, positives)
        truth = frame.truth[kept] > 0
        if truth.any() and not truth.all():
            score = (
                1 - frame.probabilities[kept, 0]
                if name == "fake"
                else detection.relative_score(frame.probabilities[kept], positives[0])
            )
            x, y = detection.roc_curve(truth, score, points=CURVE_POINTS)
            curves[name] = {"false_alarms": x.tolist(), "hits": y.tolist()}
    return {
        "labels": {label: int((frame.truth == i).sum()) for i, label in enumerate(NAMES)},
        "missing_classes": [label for i, label in enumerate(NAMES) if not (frame.truth == i).any()],
        "confusion": matrix.astype(int).tolist(),
        "roc": curves,
        "calibration": [
            {"pictures": int(n), "confidence": float(c / n), "accuracy": float(r / n)}
            for n, c, r in bins
            if n
        ],
        "risk_coverage": {
            "coverage": coverage[thin].tolist(),
            "risk": risk[thin].tolist(),
            "area": calibration.area_under_risk_coverage(frame.confidence, frame.right),
        },
        "what_size_tells": _size_auroc(frame),
    }


def _explanations(frame: Frame, settings: Settings) -> dict[str, Any] | None:
    """Claim accuracy where a claim can be checked; ROUGE-L and CSS with their baselines where the data hold references.

    None where nothing was explained.
    """
    rows = [row for row in frame.rows if row.get("explanation")]
    if not rows:
        return None
    scores = claims.ClaimScores()
    for row in rows:
        scores.update(row.get("claims") or {})
    result: dict[str, Any] = {"texts": len(rows), "claims": scores.compute()}
    rows = [row for row in rows if row.get("reference")]
    if not rows:
        return result | {"note": "The data hold no reference texts, so ROUGE-L and CSS are not defined."}
    texts, references = [row["explanation"] for row in rows], [row["reference"] for row in rows]
    groups = [str(row["group"] or row["path"]) for row in rows]
    draws = Bootstrap(groups, resamples=settings.resamples, seed=settings.seed)

    def measured(measure: Any) -> dict[str, Any]:
        labels = [row["label"] for row in rows]
        figures = explanation.with_baselines(texts, references, labels, measure, seed=settings.seed)
        low, high = draws.interval(weighted_mean(figures["value"]))
        means = {name: float(np.mean(values)) for name, values in figures.items()}
        return {"value": means.pop("value"), "low": low, "high": high, "baselines": means}

    result |= {"references": len(rows), "stemmer": STEMMER}
    try:
        result["rouge_l"] = measured(lambda a, b: explanation.rouge_l(a, b, stemmer=STEMMER))
        if settings.encoder is not None:
            result["css_encoder"] = settings.encoder.name
            result["css"] = measured(lambda a, b: explanation.css(a, b, settings.encoder))
    except MissingExtra as error:
        result["note"] = str(error)
    return result


def _size_auroc(frame: Frame) -> float:
    """AUROC of the picture's number of pixels for fake against real, 0.5 (chance) to 1: what equalising the
    compression leaves of the shortcut.
    """
    pixels = [row["width"] * row["height"] for row in frame.rows]
    value = detection.auroc(frame.truth > 0, pixels)
    return float(max(value, 1 - value))


def as_json(result: Mapping[str, Any]) -> str:
    """Text of a result: NaN as null, floats to six decimals, keys in their order."""
    return json.dumps(_plain(result), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(entry) for entry in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
