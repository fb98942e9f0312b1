"""Rules on a picture, and words the explanation: only what was measured is asserted.

A verdict is conclusive where there is something to examine and the re-saves agree. An operation or a trace is claimed
only where such claims were measured to be right; all else is measured in the picture or its map, and worded as such.
Texts are of the grammar (`grammar.parse` reads them back).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pixelsleuth.compact import grammar
from pixelsleuth.core.decision import UNMEASURED, Decision, Ruling
from pixelsleuth.core.resaves import resave
from pixelsleuth.core.verdict import LABELS, Label

Array = np.ndarray
SMALLEST_SIDE = 32
FLATTEST = 2
"""Grey levels between the darkest and the brightest value of every channel: a picture below has no texture."""
FEWEST = 20
"""Pictures on which a claim must have been measured before it is made."""


def rule(
    decision: Decision | None, pixels: Array, probabilities: Array, judge: Callable[[Array], Array]
) -> Ruling:
    """The ruling on pixels (H, W, 3) uint8 whose class probabilities are (3,).

    `judge` gives the class probabilities of other pixels. It judges the re-saves, where the picture itself would be
    conclusive.
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


def trusted(decision: Decision | None, kind: str, words: str) -> bool:
    """Whether claims of this kind with these words were right as often as conclusive verdicts must be."""
    if decision is None:
        return False
    measured = decision.scores.claims.get(kind, {})
    usual = measured.get("", (0, 0)) if kind in ("place", "size") else (0, 0)  # for any words
    right, of = measured.get(words, usual)
    return of >= FEWEST and right >= decision.bounds.right * of


def explanation(
    ruling: Ruling,
    decision: Decision | None,
    pixels: Array,
    mask: Array | None,
    scores: Array | None,
    generate: Callable[[str], str],
) -> str:
    """The explanation of a ruling.

    `mask` and `scores` (H, W) are those of a conclusively tampered picture; `generate` continues an opening in the
    model's own words.
    """
    if nothing_to_examine(pixels) is not None:
        return grammar.UNDECIDED
    noise, detail = grammar.measure(pixels)
    if not ruling.conclusive:
        return f"{grammar.UNDECIDED} ; {noise} ; {detail}"
    if ruling.label is not Label.TAMPERED:
        return grammar.describe_whole(ruling.label.value, pixels)
    if mask is None:
        return f"{grammar.NOWHERE} ; {noise} ; {detail}"
    place, size = grammar.place(mask, scores), grammar.size(mask)
    claimed = grammar.parse(generate(grammar.locate(mask, scores))) or {}
    operation, trace = claimed.get("operation", ""), claimed.get("trace", "")
    says_trace = trusted(decision, "trace", trace)
    located = trusted(decision, "place", place) and trusted(decision, "size", size)
    if not trusted(decision, "operation", operation):
        tail = trace if says_trace else f"{noise} ; {detail}"
        return f"{grammar.HIGHEST} {place} , over {size} of the picture ; {tail}"
    if located:
        opening = f"in the {place} , {size} of the picture was {operation}"
    else:
        opening = f"{grammar.HIGHEST} {place} , over {size} of the picture ; part of it was {operation}"
    return f"{opening} ; {trace}" if says_trace else f"{opening} ; {noise} ; {detail}"
