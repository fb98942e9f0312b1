"""What a page needs to move a threshold: counts of pictures between steps, and the surest errors.

A score says how much speaks for one thing against authentic: for either kind of fake, or for one of them alone, as in
the ROC curves of `metrics.json`. A picture is flagged where its score is at least the threshold. Steps are scores that
occur, so that each step changes a count; counts are kept by source and by half, so that their size does not grow with
the pictures. Groups are cut into two halves by a hash of their name: a threshold that was chosen on one half can be
looked at on the other.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.evaluation.figures import Frame
from pixelsleuth.evaluation.metrics.detection import relative_score

SCORES = {"fake": (1, 2), "full_synthetic": (1,), "tampered": (2,)}
"""Name of a score -> the classes that it speaks for; authentic pictures are on its other side."""
STEPS = 500
KEPT = 24
"""Errors of each kind that are kept for a score and a half."""


def half_of(group: str) -> int:
    """0 or 1, the same for all pictures of a group, here and on any machine."""
    return hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()[0] & 1


def steps_of(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ascending thresholds: every score that occurs, or `STEPS` quantiles of them.

    >>> steps_of(np.array([0.5, 0.2, 0.5])).tolist()
    [0.2, 0.5]
    """
    found = np.unique(scores)
    if len(found) <= STEPS:
        return found
    return np.unique(np.quantile(found, np.linspace(0, 1, STEPS), method="lower"))


def score_of(frame: Frame, positives: tuple[int, ...]) -> NDArray[np.float64]:
    """(N,) score in 0..1 for `positives` against authentic."""
    if len(positives) > 1:
        return 1 - frame.probabilities[:, 0]
    return relative_score(frame.probabilities, positives[0])


def tables(frame: Frame, sources: dict[str, int]) -> dict[str, Any]:
    """`{score: {"steps", "parts", "alarms", "misses"}}` of every score that has pictures on both sides.

    A part is [source, half, side, pairs, decided]: the source's number in `sources`, which is filled; side 1 is fake;
    pairs, flat, of a step's number and how many pictures have it as the highest step that flags them; how many of the
    pictures the detector's own decision conclusively calls what the score speaks for. `alarms` and `misses` are pairs
    [index, step's number], surest first.
    """
    result = {}
    for name, positives in SCORES.items():
        kept = np.flatnonzero((frame.truth == 0) | np.isin(frame.truth, positives))
        fake = frame.truth[kept] > 0
        if fake.any() and not fake.all():
            result[name] = _table(frame, kept, fake, positives, sources)
    return result


def _table(
    frame: Frame,
    kept: NDArray[Any],
    fake: NDArray[np.bool_],
    positives: tuple[int, ...],
    sources: dict[str, int],
) -> dict[str, Any]:
    scores = score_of(frame, positives)[kept]
    steps = steps_of(scores)
    bins = np.searchsorted(steps, scores, side="right") - 1
    decided = (~frame.inconclusive & np.isin(frame.predicted, positives))[kept]
    halves = np.array([half_of(frame.groups[i]) for i in kept])
    origin = np.array([_number(sources, frame.rows[i].get("source")) for i in kept])
    parts = []
    for source in np.unique(origin):
        for half in (0, 1):
            for side in (False, True):
                chosen = (origin == source) & (halves == half) & (fake == side)
                if chosen.any():
                    at, counts = np.unique(bins[chosen], return_counts=True)
                    pairs = np.stack([at, counts], axis=1).ravel().tolist()
                    parts.append([int(source), half, int(side), pairs, int(decided[chosen].sum())])
    surest = np.argsort(np.where(fake, scores, -scores), kind="stable")
    lists: dict[bool, list[list[Any]]] = {False: [], True: []}
    for side, found in lists.items():
        for half in (0, 1):
            errors = [i for i in surest if fake[i] == side and halves[i] == half][:KEPT]
            found += [[int(frame.rows[kept[i]]["index"]), int(bins[i])] for i in errors]
    return {"steps": steps.tolist(), "parts": parts, "alarms": lists[False], "misses": lists[True]}


def _number(sources: dict[str, int], name: Any) -> int:
    return sources.setdefault(str(name or "no source named"), len(sources))
