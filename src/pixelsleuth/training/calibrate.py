"""Stage 5: temperature and class biases, mask threshold and the bound of `inconclusive`, on held-out groups only.

The held-out pictures and forgeries made from them, equalised, are judged by the exported detector itself. Classes weigh
alike. The temperature and the class biases minimise the negative log likelihood; the mask threshold maximises the mean
F1 over tampered pictures less half the share of authentic pictures that is alarmed; above the bound of `inconclusive`,
`--accuracy` of the verdicts are right.

Run: `python -m pixelsleuth.training.calibrate --cache runs/cache --family runs/ae --folder DIR --checkpoint
runs/compact`
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pixelsleuth.compact.detector import CompactDetector
from pixelsleuth.data.cache import load_cache
from pixelsleuth.data.equalise import EVALUATION, equalise
from pixelsleuth.forge.autoencoders import load_family
from pixelsleuth.training.mixture import TAMPERED, Mixture

FALSE_ALARM = 0.5
"""What the alarmed share of an authentic picture costs, in pixel F1."""


@dataclass
class Judged:
    """What the detector said of one held-out picture: class logits (3,), mask logits and true mask (h, w) or None."""

    label: int
    classes: np.ndarray
    mask_logits: np.ndarray
    mask: np.ndarray | None


def judge(detector: CompactDetector, pixels: np.ndarray, label: int, mask: np.ndarray | None) -> Judged:
    classes, logits = detector.read(*detector.encode(np.ascontiguousarray(pixels)))
    if mask is not None:
        mask = cv2.resize(mask, logits.shape[::-1], interpolation=cv2.INTER_AREA) > 127
    return Judged(label, classes, logits, mask)


def held_out(detector: CompactDetector, cache: Path, family: Path, *, forged: int) -> list[Judged]:
    """Every validation picture, equalised, and `forged` forgeries of validation pictures."""
    pictures = load_cache(cache, "validation")
    judged = [judge(detector, equalise(p.pixels), p.label, p.mask) for p in pictures]
    mixture = Mixture(pictures, list(load_family(family).values()), size=256, seed=7)
    for _ in range(forged):
        canvas = mixture.canvas(TAMPERED, how=EVALUATION)
        if canvas.label == TAMPERED:
            judged.append(judge(detector, canvas.pixels, TAMPERED, canvas.mask))
    return judged


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


def fit_mask_threshold(judged: list[Judged]) -> tuple[float, float, float]:
    """(threshold on the mask logit, mean F1 over tampered pictures, mean alarmed area of authentic ones)."""
    authentic = [j.mask_logits for j in judged if j.label != TAMPERED]
    tampered = [(j.mask_logits, j.mask) for j in judged if j.mask is not None and j.mask.any()]
    best = (0.0, -1.0, 1.0)
    for threshold in np.arange(-3, 3.01, 0.1):
        f1 = []
        for logits, mask in tampered:
            predicted = logits > threshold
            f1.append(2 * float((predicted & mask).sum()) / max(1, int(predicted.sum()) + int(mask.sum())))
        alarm = float(np.mean([(logits > threshold).mean() for logits in authentic])) if authentic else 0.0
        if np.mean(f1) - FALSE_ALARM * alarm > best[1] - FALSE_ALARM * best[2]:
            best = (float(threshold), float(np.mean(f1)), alarm)
    return best


def fit_bound(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray, accuracy: float) -> float:
    """Least confidence (0.34 to 0.9) above which the weighted accuracy reaches `accuracy`."""
    for bound in np.arange(0.34, 0.9, 0.01):
        above = confidence >= bound
        if above.any() and (weights * right)[above].sum() / weights[above].sum() >= accuracy:
            return round(float(bound), 2)
    return 0.9


def calibrate(detector: CompactDetector, judged: list[Judged], *, accuracy: float) -> dict:
    """The settings, and the figures that they rest on."""
    labels = np.array([j.label for j in judged])
    weights = (1 / np.bincount(labels, minlength=3))[labels] / 3
    logits = np.stack([j.classes for j in judged]).astype(np.float64)
    temperature, bias = fit_temperature(logits, labels, weights)
    probabilities = softened(logits, temperature, bias)
    right = probabilities.argmax(1) == labels
    bound = fit_bound(probabilities.max(1), right, weights, accuracy)
    threshold, f1, alarm = fit_mask_threshold(judged)
    above = probabilities.max(1) >= bound
    figures = {
        "pictures": len(judged),
        "balanced_accuracy": round(float((weights * right).sum()), 4),
        "conclusive_share": round(float(weights[above].sum()), 4),
        "accuracy_where_conclusive": round(
            float((weights * right)[above].sum() / max(weights[above].sum(), 1e-9)), 4
        ),
        "pixel_f1": round(f1, 4),
        "alarmed_area": round(alarm, 4),
    }
    return {
        "temperature": round(temperature, 4),
        "bias": bias.round(4).tolist(), "mask_threshold": round(threshold, 2), "inconclusive_below": bound,
        "calibration": figures,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("cache", "family", "folder", "checkpoint"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--forged", type=int, default=300)
    parser.add_argument("--accuracy", type=float, default=0.75)
    options = parser.parse_args()
    detector = CompactDetector(options.folder)
    judged = held_out(detector, options.cache, options.family, forged=options.forged)
    settings = calibrate(detector, judged, accuracy=options.accuracy)
    (options.checkpoint / "calibration.json").write_text(json.dumps(settings, indent=1))
    file = options.folder / "compact.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings, indent=1) + "\n")
    print(json.dumps(settings, indent=1))


if __name__ == "__main__":
    main()
