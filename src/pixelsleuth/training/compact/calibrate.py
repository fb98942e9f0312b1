"""Temperature, class biases and mask threshold, from scores on sources that were left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FALSE_ALARM = 0.25
"""What the alarmed share of an authentic picture costs, in pixel F1."""


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
