"""Fits calibration and decision to scores on sources that were left out: temperature, class biases, mask threshold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from pixelsleuth.core.io import read_json_lines, write_json, write_text
from pixelsleuth.core.resaves import RESAVES
from pixelsleuth.core.scores import SCALE, SCHEMA
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.training.compact.left_out_scores import KINDS, THRESHOLDS
from pixelsleuth.training.compact.mixture import TAMPERED
from pixelsleuth.training.compact.settings import CompactRecipe

FORGE = "our own forgeries"
"""The common source of the forge's pictures, so that they do not outweigh the forgeries of others."""
FALSE_ALARM = 0.25
"""What the alarmed share of an authentic picture costs, in pixel F1."""


def decision_stage(recipe: CompactRecipe) -> None:
    """Write `calibration.json` and `decision.json` into the compact checkpoint."""
    scores, checkpoint = recipe.folder("scores"), recipe.folder("compact")
    rows = [row for path in sorted(scores.glob("part-*.jsonl")) for _, row in read_json_lines(path)]
    calibration, decision = fit_decision(rows)
    write_json(checkpoint / "calibration.json", calibration)
    write_text(checkpoint / "decision.json", json.dumps(decision, separators=(",", ":")) + "\n")


def fit_decision(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(calibration, decision): the contents of `calibration.json` and of `decision.json`; `rows`: `write_scores`."""
    # All forgeries count as one source, whatever pictures they are made of: training saw their kind.
    names = [FORGE if row["operation"] else row["source"] for row in rows]
    sources = sorted(set(names))
    source = np.array([sources.index(name) for name in names])
    labels = np.array([row["label"] for row in rows])
    kinds = np.array([list(KINDS).index(row["kind"]) for row in rows])
    logits = np.array([row["logits"] for row in rows])
    plain = kinds == 0
    weights = source_weights(source[plain], labels[plain])
    temperature, bias = fit_temperature(logits[plain, 0], labels[plain], weights)
    scores = softened(logits.reshape(-1, 3), temperature, bias).reshape(logits.shape)
    right = scores[plain, 0].argmax(1) == labels[plain]
    threshold, mask_figures, claims = fit_mask([row for row in rows if row["kind"] == "photograph"])
    calibration = {
        "temperature": round(temperature, 4),
        "bias": bias.round(4).tolist(),
        "mask_threshold": round(threshold, 2),
        "calibration": {
            "pictures": int(plain.sum()),
            "sources": len(sources),
            "balanced_accuracy": round(float((weights * right).sum() / weights.sum()), 4),
            **mask_figures,
        },
    }
    decision = {
        "schema": SCHEMA,
        "how": "Pictures of 39 sources in five folds, judged by heads and language models that never saw the fold; "
        "forgeries made of them; two sources of tampered pictures that no training saw.",
        "classes": [label.value for label in LABELS],
        "resaves": list(RESAVES),
        "sources": sources,
        "kinds": list(KINDS),
        "rows": {
            "source": source.tolist(),
            "label": labels.tolist(),
            "kind": kinds.tolist(),
            "scores": (scores.reshape(len(rows), -1) * SCALE).round().astype(int).tolist(),
        },
        "claims": claims,
    }
    return calibration, decision


def fit_mask(photographs: list[dict[str, Any]]) -> tuple[float, dict[str, float], dict[str, Any]]:
    """(threshold on the mask logit, its figures, how often place and size are right at it).

    Measured on sources that the branches never saw; where there are none, on those that they saw.
    """
    held = [row for row in photographs if row["unseen"] or row["fold"] < 0]
    if not any("f1" in row for row in held):
        held = photographs
    threshold, f1, alarm = fit_mask_threshold(
        THRESHOLDS,
        [row["f1"] for row in held if "f1" in row],
        [row["area"] for row in held if row["label"] != TAMPERED],
    )
    at = int(np.argmin(np.abs(THRESHOLDS - threshold)))
    located = [row for row in held if "place" in row]
    claims = {name: {"": [sum(row[name][at] for row in located), len(located)]} for name in ("place", "size")}
    return threshold, {"pixel_f1": round(f1, 4), "alarmed_area": round(alarm, 4)}, claims


def source_weights(source: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights (N,) that sum to 1: classes alike, and sources alike within their class."""
    weights = np.zeros(len(labels))
    for label in set(labels.tolist()):
        members = labels == label
        numbers = set(source[members].tolist())
        for number in numbers:
            rows = members & (source == number)
            weights[rows] = 1 / rows.sum() / len(numbers)
    return weights / weights.sum()


def softened(logits: np.ndarray, temperature: float, bias: np.ndarray) -> np.ndarray:
    """Probabilities (N, 3) of logits (N, 3) divided by the temperature, plus a bias a class."""
    scaled = logits / temperature + bias
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def fit_temperature(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """(temperature, bias (3,)) with the least weighted negative log likelihood: vector scaling with one slope."""
    from scipy.optimize import minimize

    def loss(x: np.ndarray) -> float:
        p = softened(logits, float(np.exp(x[0])), np.array([0.0, x[1], x[2]]))
        return float(
            -(weights * np.log(p[np.arange(len(labels)), labels] + 1e-12)).sum() + 1e-3 * (x**2).sum()
        )

    x = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"maxiter": 600}).x
    return float(np.exp(x[0])), np.array([0.0, x[1], x[2]])


def fit_mask_threshold(
    thresholds: np.ndarray, f1: Sequence[Sequence[float]], alarmed: Sequence[Sequence[float]]
) -> tuple[float, float, float]:
    """(threshold on the mask logit, mean F1 over tampered pictures, mean alarmed area of authentic ones).

    `f1` and `alarmed` hold, for each picture, its figure at every threshold (T,).
    """
    scores = np.mean(np.array(f1), axis=0)
    alarms = np.mean(np.array(alarmed), axis=0) if len(alarmed) else np.zeros(len(thresholds))
    best = int(np.argmax(scores - FALSE_ALARM * alarms))
    return float(thresholds[best]), float(scores[best]), float(alarms[best])
