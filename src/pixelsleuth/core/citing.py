"""Explanations that cite what the file says by itself: which finding, never what was done to the picture.

A model's words may name an operation; only findings name what can be checked. Findings are the entries of
`Verdict.evidence` with a strength, counted from 1 in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelsleuth.core.verdict import Verdict

MOST_CITED = 3
"""Claims that an explanation cites; the evidence holds all."""
BESIDE = "Beside the model:"
"""How the sentence on the file's own evidence begins."""
_OF_REGION = {
    "grid": "the JPEG grid of {where} differs from the rest",
    "missing_grid": "the JPEG grid of the rest is missing in {where}",
    "noise": "the noise of {where} differs from the rest",
}
_DECLARED = {
    "generated": "that it was wholly generated",
    "edited_by_ai": "that it was edited by AI",
    "captured": "that it was captured",
}
_BROKEN = "the Content Credentials in the file do not hold"

Box = tuple[int, int, int, int]


def findings_of(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries of `Verdict.evidence` that the file makes, in their order; the model's have no strength."""
    return [entry for entry in entries if entry.get("strength")]


def with_citations(verdict: Verdict) -> str | None:
    """Return the explanation of a verdict with one sentence more, which cites its strong findings.

    None stays None: no explanation was requested. Nothing is cited where no finding is more than a hint.
    """
    if verdict.explanation is None:
        return None
    boxes = [region.box for region in verdict.regions]
    numbers: dict[str, list[int]] = {}
    for number, entry in enumerate(findings_of(verdict.evidence), 1):
        if entry["strength"] != "hints" and (claim := _claim(entry, boxes)):
            numbers.setdefault(claim, []).append(number)
    if not numbers:
        return verdict.explanation
    claims = [f"{claim} ({_named(where)})" for claim, where in numbers.items()]
    return f"{verdict.explanation} {BESIDE} {'; '.join(claims[:MOST_CITED])}."


def _named(numbers: list[int]) -> str:
    """`finding 2`, or `findings 2, 3`."""
    return f"finding{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _claim(entry: dict[str, Any], marked: list[Box]) -> str:
    """What an explanation says of one finding; "" where it says nothing."""
    kind, detail, region = entry["kind"], entry.get("detail") or {}, entry.get("region")
    if kind in _OF_REGION and region is not None:
        return _OF_REGION[kind].format(where=_where(region, marked))
    if kind == "copy_move":
        return "two parts of the picture show the same pixels"
    if kind == "c2pa" and detail.get("state") == "invalid":
        return _BROKEN
    declared = _DECLARED.get(detail.get("declares", ""))
    if declared is None:
        return ""
    if kind != "c2pa":
        return f"the file declares {declared}"
    unknown = " of an unknown signer" if detail.get("state") == "not_recognised" else ""
    return f"a signature{unknown} in the file declares {declared}"


def _where(region: Box, marked: list[Box]) -> str:
    """A region as the reader of the mask knows it: `marked` are the boxes that the model drew."""
    if not marked:
        return "a region"
    x0, y0, x1, y1 = region
    meets = any(x0 < right and left < x1 and y0 < bottom and top < y1 for left, top, right, bottom in marked)
    return "the marked region" if meets else "a region that the model does not mark"
