"""Rewards of reinforcement learning: pure functions of a completion and the truth, each with a weight.

The authors' reward has five components, for detection, localization and explanation; names, formulas and weights are
not public. The rewards here are therefore **ours**, after open relatives: format, thresholded overlap and box distance
after Seg-Zero (`verl/utils/reward_score/seg.py`), continuous overlap after VLM-R1. `ORIGIN` marks each.

Every reward lies in 0..1. Rewards of boxes apply to tampered pictures only. `answer_format` already demands that other
pictures get no box, and a reward for it would pay for never naming a forgery.

A policy that does not know where the forgery lies earns most with the whole frame: its intersection over union is the
tampered share of the frame, and no coordinate is far off. The two *skills* remove that gain: like skill scores of
forecasts (Murphy, Monthly Weather Review 116, 1988), they count from a reference that needs no look at the picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixelsleuth.core.names import suggestion
from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models.so_fake_r1.answers import (
    FRAME,
    Box,
    box_area,
    box_iou,
    follows_grammar,
    follows_tags,
    read,
)

LEAST_WORDS = 3
ENOUGH_OVERLAP = 0.5
NEAR = 10.0
WHOLE: Box = (0.0, 0.0, FRAME - 1.0, FRAME - 1.0)
MOST_REFERENCE = 0.9
"""The reference overlap of the whole frame at most, so that a forgery of the whole frame can earn something."""
WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Truth:
    """The truth about a picture: label, box (inclusive, in the 224 px frame; None where not tampered or not known) and
    reference explanation."""

    label: Label
    box: Box | None = None
    explanation: str = ""


def think_format(text: str, truth: Truth) -> float:
    """1 where the whole text is one thought and one answer in their tags, else 0.

    Seg-Zero's, with single tags and a thought of at least `LEAST_WORDS` words: otherwise an empty thought is the
    shortest way to the full reward, and reinforcement finds it.
    """
    return float(follows_tags(text) and len(WORD.findall(read(text).thought)) >= LEAST_WORDS)


def answer_format(text: str, truth: Truth) -> float:
    """1 where the answer follows the grammar: a class, and a box if and only if the class is TAMPERED."""
    return float(follows_grammar(text))


def class_reward(text: str, truth: Truth) -> float:
    """1 where the class is right."""
    return float(read(text).label is truth.label)


def overlap(text: str, truth: Truth) -> float | None:
    """Intersection over union of the boxes, continuous (as in VLM-R1).

    None, like every reward of boxes, where the picture is not tampered or has no true box.
    """
    return _on_boxes(text, truth, box_iou)


def overlap_skill(text: str, truth: Truth) -> float | None:
    """Intersection over union from that of the whole frame (0) to that of the true box (1); never below 0."""
    return _on_boxes(text, truth, _overlap_skill)


def closeness_skill(text: str, truth: Truth) -> float | None:
    """1 minus the mean coordinate difference as a share of the whole frame's; never below 0."""
    return _on_boxes(
        text, truth, lambda a, b: max(0.0, 1.0 - box_distance(a, b) / max(box_distance(WHOLE, b), NEAR))
    )


def overlap_above_half(text: str, truth: Truth) -> float | None:
    """1 where intersection over union exceeds 0.5 (as Seg-Zero's)."""
    return _on_boxes(text, truth, lambda a, b: float(box_iou(a, b) > ENOUGH_OVERLAP))


def box_near(text: str, truth: Truth) -> float | None:
    """1 where the coordinates are off by less than 10 pixels on average (as Seg-Zero's)."""
    return _on_boxes(text, truth, lambda a, b: float(box_distance(a, b) < NEAR))


def box_closeness(text: str, truth: Truth) -> float | None:
    """1 minus the mean coordinate difference as a share of half the frame, never below 0: a slope at any distance."""
    return _on_boxes(text, truth, lambda a, b: max(0.0, 1.0 - box_distance(a, b) / 112.0))


def explanation_overlap(text: str, truth: Truth) -> float | None:
    """ROUGE-L (F) of the thought against the reference; None where there is no reference."""
    if not truth.explanation.strip():
        return None
    from rouge_score.rouge_scorer import RougeScorer

    thought = read(text).thought
    return float(RougeScorer(["rougeL"]).score(truth.explanation, thought)["rougeL"].fmeasure)


def explanation_similarity(text: str, truth: Truth) -> float | None:
    """Cosine, from 0 up, of sentence embeddings (all-MiniLM-L6-v2) of thought and reference; None without one."""
    if not truth.explanation.strip():
        return None
    from sentence_transformers import util

    first, second = _embedder().encode([truth.explanation, read(text).thought], convert_to_tensor=True)
    return max(0.0, float(util.cos_sim(first, second)))


Reward = Callable[[str, Truth], "float | None"]

REWARDS: dict[str, Reward] = {
    "think_format": think_format,
    "answer_format": answer_format,
    "class": class_reward,
    "overlap": overlap,
    "overlap_skill": overlap_skill,
    "closeness_skill": closeness_skill,
    "overlap_above_half": overlap_above_half,
    "box_near": box_near,
    "box_closeness": box_closeness,
    "explanation_overlap": explanation_overlap,
    "explanation_similarity": explanation_similarity,
}
ORIGIN = {
    "think_format": "ours, after Seg-Zero; the least number of words is ours alone",
    "answer_format": "ours; the grammar is the authors'",
    "class": "ours; exact match",
    "overlap": "ours, after VLM-R1",
    "overlap_skill": "ours, after VLM-R1, as a skill score",
    "closeness_skill": "ours, as a skill score",
    "overlap_above_half": "ours, after Seg-Zero",
    "box_near": "ours, after Seg-Zero",
    "box_closeness": "ours",
    "explanation_overlap": "ours",
    "explanation_similarity": "ours",
}
DEFAULT = dict.fromkeys(("think_format", "answer_format", "class", "overlap_above_half", "box_near"), 1.0)


def box_distance(a: Box, b: Box) -> float:
    """Mean absolute difference of the four coordinates, in pixels of the frame."""
    return sum(abs(x - y) for x, y in zip(a, b, strict=True)) / 4


def read_weights(recipe: Mapping[str, Any] | None) -> dict[str, float]:
    """Weights by name from a recipe, without those of weight 0; for None the five defaults at weight 1.

    Raises:
        UsageError: an unknown name, a weight that is no number or below 0, or no weight above 0.
    """
    if recipe is None:
        return dict(DEFAULT)
    weights = {}
    for name, weight in recipe.items():
        if name not in REWARDS:
            raise UsageError(f"There is no reward {name!r}{suggestion(name, REWARDS)}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1e6:
            raise UsageError(f"The weight of the reward {name!r} must be a number from 0 up, not {weight!r}.")
        if weight:
            weights[name] = float(weight)
    if not weights:
        raise UsageError("Every reward is switched off: give at least one a weight above 0.")
    return weights


def rewards_of(text: str, truth: Truth, weights: Mapping[str, float]) -> dict[str, float | None]:
    """Each reward with a weight, unweighted, in 0..1; None where it does not apply to this picture."""
    return {name: REWARDS[name](text, truth) for name in weights}


def share(parts: Mapping[str, float | None], weights: Mapping[str, float]) -> float:
    """Weighted sum of the rewards as a share of its maximum over those that apply.

    >>> share({"class": 1.0, "overlap": 0.5, "explanation_overlap": None}, {"class": 1, "overlap": 2, "x": 1})
    0.6666666666666666
    """
    values = {name: value for name, value in parts.items() if value is not None}
    most = sum(weights[name] for name in values)
    return sum(weights[name] * value for name, value in values.items()) / most if most else 0.0


def box_figures(texts: Sequence[str], truths: Sequence[Truth]) -> dict[str, float]:
    """Figures of the boxes of tampered pictures, so that a log shows boxes that grow or shrink.

    `box_area`: mean share of the frame (0..1) of the answers' boxes; `true_area`: the same of the true boxes of these
    answers; both are left out where no answer has a box. `box_iou`: mean intersection over union on tampered pictures,
    0 for an answer without a box; left out where no picture has a true box.
    """
    pairs = [
        (read(text).box, truth.box)
        for text, truth in zip(texts, truths, strict=True)
        if truth.box is not None
    ]
    if not pairs:
        return {}
    both = [(box, true) for box, true in pairs if box is not None]
    figures = {"box_iou": sum(box_iou(box, true) for box, true in both) / len(pairs)}
    if both:
        whole = FRAME * FRAME * len(both)
        figures["box_area"] = sum(box_area(box) for box, _ in both) / whole
        figures["true_area"] = sum(box_area(true) for _, true in both) / whole
    return figures


def _on_boxes(text: str, truth: Truth, score: Callable[[Box, Box], float]) -> float | None:
    if truth.label is not Label.TAMPERED or truth.box is None:
        return None
    box = read(text).box
    return 0.0 if box is None else score(box, truth.box)


def _overlap_skill(box: Box, true: Box) -> float:
    reference = min(box_iou(WHOLE, true), MOST_REFERENCE)
    return max(0.0, (box_iou(box, true) - reference) / (1.0 - reference))


_EMBEDDERS: list[Any] = []


def _embedder() -> Any:
    """The sentence embedder, loaded once."""
    if not _EMBEDDERS:
        from sentence_transformers import SentenceTransformer

        _EMBEDDERS.append(SentenceTransformer("sentence-transformers/all-MiniLM-L6-v2"))
    return _EMBEDDERS[0]
