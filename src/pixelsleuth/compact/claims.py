"""What may be said of a picture: an operation or a trace is asserted only where such claims were measured to be right.

Everything else that an explanation says is measured in the picture or its map, and is worded as such. Texts are of the
grammar (`grammar.parse` reads them back).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pixelsleuth.compact import grammar
from pixelsleuth.compact.ruling import nothing_to_examine
from pixelsleuth.core.decision import Decision, Ruling
from pixelsleuth.core.verdict import Label

FEWEST = 20
"""Pictures, at least, on which a claim must have been measured before it is made."""


def trusted(decision: Decision | None, kind: str, words: str) -> bool:
    """Whether claims of this kind with these words (or with any) were right as often as conclusive verdicts must be."""
    if decision is None:
        return False
    measured = decision.scores.claims.get(kind, {})
    right, of = measured.get(words, measured.get("", (0, 0)) if kind in ("place", "size") else (0, 0))
    return of >= FEWEST and right >= decision.bounds.right * of


def explain(
    ruling: Ruling,
    decision: Decision | None,
    pixels: np.ndarray,
    mask: np.ndarray | None,
    scores: np.ndarray | None,
    generate: Callable[[str], str],
) -> str:
    """The text for a ruling. `mask` and `scores` (H, W) are those of a conclusively tampered picture; `generate`
    continues an opening in the model's own words."""
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
