"""What the texts of a file declare about how it was made, as findings. They can be forged; each says so."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pixelsleuth.evidence.finding import Finding, Strength
from pixelsleuth.evidence.generators import Mark, marks_of
from pixelsleuth.evidence.texts import Text

CAVEAT = "metadata can be written and removed by anybody"


def metadata_findings(texts: Sequence[Text], hidden: Text | None = None) -> list[Finding]:
    """Return a finding for each mark of a generator, editor or camera; `hidden` is a text out of the pixels."""
    return [_finding(mark) for mark in marks_of([*texts, *_opened(hidden)])]


def _opened(hidden: Text | None) -> list[Text]:
    """A hidden text as it is, and where it is JSON of texts (NovelAI), its entries."""
    if hidden is None:
        return []
    try:
        content = json.loads(hidden.value)
    except (ValueError, RecursionError):
        return [hidden]
    if not isinstance(content, dict):
        return [hidden]
    entries = [
        Text(hidden.place, str(key), value) for key, value in content.items() if isinstance(value, str)
    ]
    return entries or [hidden]


def _finding(mark: Mark) -> Finding:
    with_model = f" with the model {mark.model}" if mark.model else ""
    note = f" ({mark.note})" if mark.note else ""
    statements = {
        "generated": f"The file declares that it was wholly generated: {mark.tool}{with_model}{note}.",
        "edited_by_ai": f"The file declares that it was edited by AI: {mark.tool}{with_model}{note}.",
        "edited": f"The file names software that edits pictures: {mark.tool}{note}. That is no sign of a forgery.",
        "captured": f"The file declares that it was captured: {mark.tool}{note}.",
        "copied": f"The file declares that it was captured from a copy: {mark.tool}{note}.",
        "camera": f"The file names the camera {mark.tool}; an editor keeps that name, and anybody can write it.",
        "software": f"The file names the software {mark.tool}{note}; that says nothing about its authenticity.",
    }
    strength: Strength = "hints" if mark.meaning in ("edited", "camera", "software") else "declares"
    detail = {"declares": mark.meaning, "tool": mark.tool, "place": mark.place, "caveat": CAVEAT}
    detail |= {key: value for key, value in (("model", mark.model), ("prompt", mark.prompt)) if value}
    return Finding("metadata", statements[mark.meaning], strength, detail=detail)
