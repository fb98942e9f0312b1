"""The verdict for a baseline's answer: one rule for torch and for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.region import regions, sigmoid, small_heatmap
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.pictures.images import Picture


@dataclass(frozen=True)
class Answer:
    """A network's answer for one picture: `logit`, positive = fake (None for a pure localizer: its mask's largest value
    counts); `mask` (H, W) float32 logits at the picture's size; `classes` (3,) logits in the order of `Label`, where
    the network itself distinguishes all three."""

    logit: float | None = None
    mask: NDArray[np.float32] | None = None
    classes: NDArray[np.float64] | None = None


def verdict_of(
    picture: Picture, answer: Answer, *, made_for: Label | None, model: Mapping[str, str]
) -> Verdict:
    """The verdict: the probability of fake goes to the class `made_for`, its complement to real, 0 to the third class.

    A localizer's verdict always has a heat map, so that it can be measured on every picture with a true mask. The mask
    itself is in the verdict only where the picture is judged tampered.
    """
    chances = probabilities(answer, made_for)
    label = max(chances, key=lambda candidate: chances[candidate])
    mask, heatmap, places, warnings = None, None, [], []
    if answer.mask is not None:
        chance = sigmoid(answer.mask)
        heatmap = small_heatmap(chance)
        if label is Label.TAMPERED and bool((answer.mask > 0).any()):
            mask = answer.mask > 0
            places = regions(mask, (chance * 255 + 0.5).astype(np.uint8))
        elif label is Label.TAMPERED:
            warnings.append("no mask: no pixel is more likely tampered than not, though the picture is")
    return Verdict.of(
        picture, chances, model=model, mask=mask, heatmap=heatmap, regions=places, warnings=warnings
    )


def probabilities(answer: Answer, made_for: Label | None) -> dict[Label, float]:
    """The probability of each class; they sum to 1."""
    if answer.classes is not None:
        powers = np.exp(answer.classes - answer.classes.max())
        return dict(zip(Label, (powers / powers.sum()).tolist(), strict=True))
    logit = answer.logit
    if logit is None:
        assert answer.mask is not None, "a network gives a logit, a mask or classes"
        logit = float(answer.mask.max())
    assert made_for is not None, "only a network of three classes is made for none of them"
    fake = float(sigmoid(np.array(logit, np.float64)))
    return dict.fromkeys(Label, 0.0) | {Label.REAL: 1 - fake, made_for: fake}
