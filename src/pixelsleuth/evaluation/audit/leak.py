"""How well a small classifier predicts the label from features that have nothing to do with the picture's authenticity.

Every score comes from a fold that the classifier did not see, and a group (scene, product, prompt) is never split. The
figure is the area under the ROC curve (AUROC), averaged over the pairs of classes (Hand and Till 2001), with a 95 %
interval from a bootstrap over groups. 0.5 is chance, 1 means that the features alone give the label away.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

FOLDS = 5
BOOTSTRAPS = 200
FEWEST_GROUPS = 4
"""Groups that every class needs for a figure."""

Build = Callable[[int, int], Any]
"""(pictures, seed) -> a scikit-learn classifier with `predict_proba`."""


@dataclass(frozen=True)
class Labels:
    """What the audit knows of each picture, all of length N: `label` names, `source` names, `unit` (the group)."""

    label: np.ndarray
    source: np.ndarray
    unit: np.ndarray

    def take(self, chosen: np.ndarray) -> Labels:
        """The entries that the index or boolean array `chosen` picks."""
        return Labels(self.label[chosen], self.source[chosen], self.unit[chosen])


def leak(features: Any, labels: Labels, build: Build, *, seed: int = 0) -> dict[str, Any]:
    """Figures for one kind of feature: `features` has N rows and is what `build`'s classifier takes.

    Keys: `auroc` (None with `why` where there is nothing to measure), `interval`, `pairs`, `by_source`, `new_sources`
    (the same with whole sources held out; None where a class has fewer than two), `pictures`.
    """
    refusal = _refusal(labels)
    if refusal:
        return {"auroc": None, "why": refusal, "pictures": len(labels.label)}
    scores, classes = out_of_fold(features, labels, labels.unit, build, seed=seed)
    low, high = _interval(scores, classes, labels, seed)
    return {
        "auroc": _round(_mean_of_pairs(scores, classes, labels.label)),
        "interval": [_round(low), _round(high)],
        "pairs": {f"{a} / {b}": _round(v) for (a, b), v in _pairs(scores, classes, labels.label).items()},
        "by_source": _by_source(scores, classes, labels),
        "new_sources": _new_sources(features, labels, build, seed),
        "pictures": len(labels.label),
    }


def out_of_fold(
    features: Any, labels: Labels, groups: np.ndarray, build: Build, *, seed: int
) -> tuple[np.ndarray, list[str]]:
    """Probabilities (N, C) for every picture from a fold that did not hold its group, and the C class names."""
    from sklearn.model_selection import StratifiedGroupKFold

    classes = sorted(set(labels.label.tolist()))
    target = np.array([classes.index(name) for name in labels.label])
    folds = min(FOLDS, *(len(set(groups[target == c].tolist())) for c in range(len(classes))))
    scores = np.full((len(target), len(classes)), 1 / len(classes))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for fit, held in splitter.split(np.zeros(len(target)), target, groups):
        known = np.unique(target[fit])
        if len(known) < 2:
            continue  # one class only: nothing to learn, so chance stays
        model = build(len(fit), seed)
        model.fit(features[fit], target[fit])
        scores[held] = 0.0
        scores[np.ix_(held, known)] = model.predict_proba(features[held])
    return scores, classes


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a score of `positive` lies above one of `negative`, ties counting half.

    >>> auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    ordered = np.sort(negative)
    below, upto = (np.searchsorted(ordered, positive, side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(negative))


def _refusal(labels: Labels) -> str:
    classes = set(labels.label.tolist())
    if len(classes) < 2:
        return "there is only one class" if classes else "there is nothing to look at"
    for name in sorted(classes):
        if len(set(labels.unit[labels.label == name].tolist())) < FEWEST_GROUPS:
            return f"the class {name} has fewer than {FEWEST_GROUPS} groups"
    return ""


def _pairs(scores: np.ndarray, classes: list[str], label: np.ndarray) -> dict[tuple[str, str], float]:
    figures = {}
    for a, b in itertools.combinations(range(len(classes)), 2):
        share = scores[:, a] / np.maximum(scores[:, a] + scores[:, b], 1e-12)
        first, second = share[label == classes[a]], share[label == classes[b]]
        if len(first) and len(second):
            figures[classes[a], classes[b]] = auroc(first, second)
    return figures


def _mean_of_pairs(scores: np.ndarray, classes: list[str], label: np.ndarray) -> float:
    values = list(_pairs(scores, classes, label).values())
    return float(np.mean(values)) if values else float("nan")


def _interval(scores: np.ndarray, classes: list[str], labels: Labels, seed: int) -> tuple[float, float]:
    """95 % percentile interval, drawing whole groups with replacement."""
    random = np.random.default_rng(seed)
    _, number = np.unique(labels.unit, return_inverse=True)
    order = np.argsort(number, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(number))[:-1])
    values = []
    for _ in range(BOOTSTRAPS):
        drawn = np.concatenate([members[i] for i in random.integers(len(members), size=len(members))])
        values.append(_mean_of_pairs(scores[drawn], classes, labels.label[drawn]))
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def _by_source(scores: np.ndarray, classes: list[str], labels: Labels) -> dict[str, dict[str, Any]]:
    """Of each source and class: its pictures against all pictures of the other classes, and against those of the same
    source (`within`), where there are any."""
    figures: dict[str, dict[str, Any]] = {}
    for source in sorted(set(labels.source.tolist())):
        here = labels.source == source
        row: dict[str, Any] = {"pictures": int(here.sum()), "classes": {}}
        for index, name in enumerate(classes):
            own, others = here & (labels.label == name), labels.label != name
            if own.any():
                value = _round(auroc(scores[own, index], scores[others, index]))
                row["classes"][name] = {"pictures": int(own.sum()), "auroc": value}
        inside = _mean_of_pairs(scores[here], classes, labels.label[here])
        row["within"] = None if np.isnan(inside) else _round(inside)
        figures[source] = row
    return figures


def _new_sources(features: Any, labels: Labels, build: Build, seed: int) -> float | None:
    """The AUROC where each source is judged by a classifier that never saw it."""
    for name in set(labels.label.tolist()):
        if len(set(labels.source[labels.label == name].tolist())) < 2:
            return None
    # A unit may reach over sources; both stay whole when the sources that share a unit count as one.
    scores, classes = out_of_fold(features, labels, _joined(labels), build, seed=seed)
    return _round(_mean_of_pairs(scores, classes, labels.label))


def _joined(labels: Labels) -> np.ndarray:
    """Sources, those with a unit in common under one name."""
    parent = {source: source for source in labels.source.tolist()}

    def root(source: str) -> str:
        while parent[source] != source:
            source = parent[source]
        return source

    first: dict[str, str] = {}
    for unit, source in zip(labels.unit.tolist(), labels.source.tolist(), strict=True):
        parent[root(source)] = root(first.setdefault(unit, source))
    return np.array([root(source) for source in labels.source.tolist()])


def _round(value: float) -> float:
    return round(value, 4)
