"""Detection: figures of a confusion matrix, a ROC curve and a precision-recall curve.

Every function takes `weights` of shape (..., N), one weight a picture, and then gives an array of shape (...): a
bootstrap of a thousand resamples is one call (see `resampling`). Without weights the answer is a plain float or one
matrix. Source: Fawcett 2006 (ROC); the step-wise definition of average precision; Brodersen et al. 2010 (balanced
accuracy).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def confusion_matrix(truth: Any, predicted: Any, classes: int, weights: Any = None) -> Floats:
    """Counts (..., classes, classes): row = true class, column = predicted class.

    `truth` and `predicted` are (N,) of 0..classes-1. Raises ValueError for a class out of that range.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    t, p = np.asarray(truth, dtype=np.intp), np.asarray(predicted, dtype=np.intp)
    if t.shape != p.shape or (t.size and (min(t.min(), p.min()) < 0 or max(t.max(), p.max()) >= classes)):
        raise ValueError(f"truth and prediction must be equally many classes of 0..{classes - 1}")
    cell = t * classes + p
    if weights is None:
        counts = np.bincount(cell, minlength=classes * classes).astype(np.float64)
        return counts.reshape(classes, classes)
    w = np.asarray(weights, dtype=np.float64)
    one_hot = np.zeros((len(cell), classes * classes))
    one_hot[np.arange(len(cell)), cell] = 1
    return (w @ one_hot).reshape(*w.shape[:-1], classes, classes)


def accuracy(matrix: Any) -> Any:
    """Share of right answers of confusion matrices (..., C, C).

    >>> accuracy([[8, 2, 0], [0, 9, 1], [2, 1, 7]])
    0.8
    """
    m = np.asarray(matrix, dtype=np.float64)
    return _ratio(np.trace(m, axis1=-2, axis2=-1), m.sum((-2, -1)))


def recalls(matrix: Any) -> Floats:
    """(..., C): of the pictures of a class, the share that was named so; NaN where the class does not occur.

    >>> recalls([[8, 2, 0], [0, 9, 1], [2, 1, 7]]).tolist()
    [0.8, 0.9, 0.7]
    """
    m = np.asarray(matrix, dtype=np.float64)
    return np.asarray(_ratio(np.diagonal(m, axis1=-2, axis2=-1), m.sum(-1)))


def precisions(matrix: Any) -> Floats:
    """(..., C): of the pictures named so, the share that are; NaN where the class was never named.

    >>> precisions([[8, 2, 0], [0, 9, 1], [2, 1, 7]]).tolist()
    [0.8, 0.75, 0.875]
    """
    m = np.asarray(matrix, dtype=np.float64)
    return np.asarray(_ratio(np.diagonal(m, axis1=-2, axis2=-1), m.sum(-2)))


def f1_scores(matrix: Any) -> Floats:
    """(..., C): 2 TP / (2 TP + FP + FN); NaN where the class neither occurs nor was named.

    >>> f1_scores([[8, 2, 0], [0, 9, 1], [2, 1, 7]]).round(3).tolist()
    [0.8, 0.818, 0.778]
    """
    m = np.asarray(matrix, dtype=np.float64)
    return np.asarray(_ratio(2 * np.diagonal(m, axis1=-2, axis2=-1), m.sum(-1) + m.sum(-2)))


def balanced_accuracy(matrix: Any) -> Any:
    """Mean recall over the classes that occur in the data.

    >>> balanced_accuracy([[90, 10, 0], [5, 5, 0], [0, 0, 0]])  # the third class does not occur
    0.7
    """
    return _mean_present(recalls(matrix), matrix)


def macro_precision(matrix: Any) -> Any:
    """Mean precision over the classes that occur in the data; one that was never named counts as 0.

    >>> round(macro_precision([[8, 2, 0], [0, 9, 1], [2, 1, 7]]), 3)
    0.808
    """
    return _mean_present(np.nan_to_num(precisions(matrix)), matrix)


def macro_f1(matrix: Any) -> Any:
    """Mean F1 over the classes that occur in the data.

    >>> round(macro_f1([[8, 2, 0], [0, 9, 1], [2, 1, 7]]), 3)
    0.799
    """
    return _mean_present(f1_scores(matrix), matrix)


def binary(matrix: Any, positive: Any) -> Floats:
    """(..., 2, 2) of a matrix of more classes: index 1 stands for the classes `positive`, 0 for the others.

    >>> binary([[8, 2, 0], [0, 9, 1], [2, 1, 7]], (1, 2)).tolist()  # real against both kinds of fake
    [[8.0, 2.0], [2.0, 18.0]]
    """
    m = np.asarray(matrix, dtype=np.float64)
    yes = np.zeros(m.shape[-1])
    yes[list(positive)] = 1
    groups = np.stack([1 - yes, yes])
    return np.asarray(np.einsum("ip,...pq,jq->...ij", groups, m, groups))


def auroc(truth: Any, score: Any, weights: Any = None) -> Any:
    """Area under the ROC curve, ties at half weight; NaN where one of the two classes is absent.

    `truth` is (N,) bool, `score` (N,) any real numbers.

    >>> auroc([False, True, True], [0.2, 0.2, 0.9])
    0.75
    """
    positives, negatives = _by_score(truth, score, weights)
    below = np.cumsum(negatives, axis=-1) - negatives
    won = (positives * (below + negatives / 2)).sum(-1)
    return _plain(_ratio(won, positives.sum(-1) * negatives.sum(-1)))


def average_precision(truth: Any, score: Any, weights: Any = None) -> Any:
    """Sum over thresholds of the step in recall times the precision there; NaN without a positive.

    >>> round(average_precision([True, False, True], [0.2, 0.4, 0.9]), 3)
    0.833
    """
    positives, negatives = _by_score(truth, score, weights)
    hits = np.cumsum(positives[..., ::-1], axis=-1)
    alarms = np.cumsum(negatives[..., ::-1], axis=-1)
    precision = hits / np.maximum(hits + alarms, 1e-300)
    return _plain(_ratio((positives[..., ::-1] * precision).sum(-1), hits[..., -1]))


def roc_curve(truth: Any, score: Any, *, points: int | None = None) -> tuple[Floats, Floats]:
    """(false-alarm rate, hit rate) at every distinct threshold, from (0, 0) to (1, 1); thinned to `points`.

    >>> false_alarms, hits = roc_curve([False, True, False, True], [0.1, 0.4, 0.5, 0.9])
    >>> false_alarms.tolist(), hits.tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    positives, negatives = _by_score(truth, score, None)
    hits = np.concatenate([[0.0], np.cumsum(positives[::-1])])
    alarms = np.concatenate([[0.0], np.cumsum(negatives[::-1])])
    x, y = alarms / max(alarms[-1], 1), hits / max(hits[-1], 1)
    if points is not None and len(x) > points:
        keep = np.unique(np.linspace(0, len(x) - 1, points).round().astype(int))
        x, y = x[keep], y[keep]
    return x, y


def relative_score(probabilities: Any, positive: int, negative: int = 0) -> Floats:
    """(N,) p_positive / (p_positive + p_negative) of (N, C): the score for one class against one other.

    >>> relative_score([[0.2, 0.2, 0.6], [0.1, 0.9, 0.0]], 2).round(3).tolist()
    [0.75, 0.0]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    return np.asarray(p[:, positive] / (p[:, positive] + p[:, negative] + 1e-12))


@dataclass
class Detection:
    """Streams verdicts and gives every figure at the end; `merge` joins what several processes saw.

    Holds a few numbers a picture, so that ranks stay exact.

    >>> verdicts = Detection()
    >>> for truth, chances in ((0, (0.8, 0.1, 0.1)), (1, (0.1, 0.7, 0.2)), (2, (0.5, 0.1, 0.4))):
    ...     verdicts.update(truth, chances)
    >>> figures = verdicts.compute()
    >>> round(figures["accuracy"], 3), figures["auroc"]
    (0.667, 1.0)
    """

    classes: int = 3
    truth: list[int] = field(default_factory=list)
    probabilities: list[tuple[float, ...]] = field(default_factory=list)

    def update(self, truth: int, probabilities: Any) -> None:
        """One picture: its true class and (classes,) probabilities."""
        row = tuple(float(p) for p in probabilities)
        if len(row) != self.classes or not 0 <= truth < self.classes:
            raise ValueError(f"a class of 0..{self.classes - 1} and {self.classes} probabilities expected")
        self.truth.append(truth)
        self.probabilities.append(row)

    def merge(self, other: Detection) -> Detection:
        """Take over what `other` has seen."""
        self.truth += other.truth
        self.probabilities += other.probabilities
        return self

    def compute(self) -> dict[str, Any]:
        """The figures of `docs/reference/metrics.md`, part Detection; binary figures: positive = every class but 0."""
        truth = np.array(self.truth, dtype=np.intp)
        p = np.array(self.probabilities, dtype=np.float64).reshape(-1, self.classes)
        matrix = confusion_matrix(truth, p.argmax(1) if len(p) else truth, self.classes)
        two = binary(matrix, range(1, self.classes))
        return {
            "pictures": len(truth),
            "confusion": matrix,
            "accuracy": accuracy(matrix),
            "balanced_accuracy": balanced_accuracy(matrix),
            "macro_f1": macro_f1(matrix),
            "binary_precision": float(precisions(two)[1]),
            "binary_recall": float(recalls(two)[1]),
            "binary_f1": float(f1_scores(two)[1]),
            "auroc": auroc(truth > 0, 1 - p[:, 0]),
            "average_precision": average_precision(truth > 0, 1 - p[:, 0]),
        }


def _by_score(truth: Any, score: Any, weights: Any) -> tuple[Floats, Floats]:
    """Weights of positives and of negatives (..., K) at the K distinct scores, in ascending order of score."""
    t, s = np.asarray(truth, dtype=bool).reshape(-1), np.asarray(score, dtype=np.float64).reshape(-1)
    if t.shape != s.shape:
        raise ValueError(f"{t.size} labels and {s.size} scores; one score a label expected")
    if np.isnan(s).any():
        raise ValueError("a score is not a number")
    w = np.ones(t.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if not t.size:
        return np.zeros((*w.shape[:-1], 1)), np.zeros((*w.shape[:-1], 1))
    order = np.argsort(s, kind="stable")
    s, t, w = s[order], t[order], w[..., order]
    starts = np.flatnonzero(np.concatenate([[True], s[1:] != s[:-1]]))
    both = (np.add.reduceat(w * side, starts, axis=-1) for side in (t, ~t))
    return next(both), next(both)


def _mean_present(values: Floats, matrix: Any) -> Any:
    m = np.asarray(matrix, dtype=np.float64)
    present = m.sum(-1) > 0
    total = np.where(present, np.nan_to_num(values), 0.0).sum(-1)
    return _plain(_ratio(total, present.sum(-1)))


def _ratio(above: Any, below: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return _plain(np.where(np.asarray(below) > 0, np.asarray(above) / below, np.nan))


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else value
