"""What a detector of probabilities asks of its decision: is there anything to examine, and do re-saves agree?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pixelsleuth.core.decision import UNMEASURED, Decision, Ruling
from pixelsleuth.core.resaves import resave
from pixelsleuth.core.verdict import LABELS

Array = np.ndarray
SMALLEST_SIDE = 32
FLATTEST = 2
"""Grey levels between the darkest and the brightest value of every channel: a picture below has no texture."""


def rule(
    decision: Decision | None, pixels: Array, probabilities: Array, judge: Callable[[Array], Array]
) -> Ruling:
    """The ruling on (H, W, 3) uint8 whose class probabilities are (3,).

    `judge` gives the class probabilities of other pixels: it is asked for the re-saves, and only where the picture as
    it is would be conclusive.
    """
    label = LABELS[int(np.argmax(probabilities))]
    reason = nothing_to_examine(pixels)
    if reason is None and decision is None:
        reason = UNMEASURED
    if reason is not None or decision is None:
        return Ruling(label, False, reason)
    views = [probabilities]
    if decision.resaves and decision.passes(probabilities):
        views += [judge(resave(pixels, spec)) for spec in decision.resaves]
    return decision.decide(np.stack(views))


def nothing_to_examine(pixels: Array) -> str | None:
    """Why a picture holds too little for any verdict; None where it does not.

    >>> nothing_to_examine(np.zeros((16, 400, 3), np.uint8))
    'a side of the picture has fewer than 32 pixels'
    """
    if min(pixels.shape[:2]) < SMALLEST_SIDE:
        return f"a side of the picture has fewer than {SMALLEST_SIDE} pixels"
    flat = pixels.reshape(-1, pixels.shape[2])
    if (flat.max(0).astype(int) - flat.min(0) <= FLATTEST).all():
        return "the picture has no texture: one colour all over leaves nothing to examine"
    return None
