"""Explanations cite the strong findings by number, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from pixelsleuth.core.citing import with_citations
from pixelsleuth.core.region import Region
from pixelsleuth.core.verdict import Verdict

CLAIM = {"kind": "noise", "statement": "noise is low", "measured": True}


def entry(
    kind: str, strength: str = "shows", region: list[int] | None = None, **detail: Any
) -> dict[str, Any]:
    return {"kind": kind, "statement": "...", "strength": strength, "region": region, "detail": detail}


def explained(*entries: dict[str, Any], boxes: tuple[tuple[int, int, int, int], ...] = ()) -> str | None:
    regions = [Region(box, 1, 0.9) for box in boxes]
    return with_citations(
        Verdict("a.jpg", explanation="Nothing conclusive.", evidence=[CLAIM, *entries], regions=regions)
    )


@pytest.mark.parametrize(
    "finding, boxes, claim",
    [
        (entry("grid", region=[0, 0, 8, 8]), (), "the JPEG grid of a region differs from the rest"),
        (entry("grid", region=[0, 0, 8, 8]), ((7, 7, 20, 20),), "the JPEG grid of the marked region differs"),
        (entry("noise", region=[0, 0, 8, 8]), ((8, 8, 20, 20),), "the noise of a region that the model does not mark"),
        (entry("missing_grid", region=[0, 0, 8, 8]), (), "the JPEG grid of the rest is missing in a region"),
        (entry("copy_move", region=[0, 0, 8, 8]), (), "two parts of the picture show the same pixels"),
        (entry("metadata", "declares", declares="generated"), (), "the file declares that it was wholly generated"),
        (entry("metadata", "declares", declares="edited_by_ai"), (), "the file declares that it was edited by AI"),
        (
            entry("c2pa", "shows", state="trusted", declares="captured"),
            (),
            "a signature in the file declares that it was captured",
        ),
        (
            entry("c2pa", "declares", state="not_recognised", declares="generated"),
            (),
            "a signature of an unknown signer in the file declares that it was wholly generated",
        ),
        (entry("c2pa", "shows", state="invalid"), (), "the Content Credentials in the file do not hold"),
    ],
)  # fmt: skip
def test_a_strong_finding_is_cited_with_its_number(finding, boxes, claim):
    hint = entry("compression", "hints")
    text = explained(finding, hint, boxes=boxes)
    assert text is not None
    assert text.startswith(f"Nothing conclusive. Beside the model: {claim}")
    assert text.endswith("(finding 1).")


def test_hints_the_models_claims_and_other_findings_are_not_cited():
    silent = [
        entry("noise", "hints", region=[0, 0, 8, 8]),
        entry("thumbnail"),
        entry("c2pa", "declares", state="not_recognised"),
    ]
    assert explained(*silent) == "Nothing conclusive."


def test_equal_claims_stand_once_and_at_most_three_are_cited():
    text = explained(
        entry("copy_move"),
        entry("grid", region=[0, 0, 8, 8]),
        entry("copy_move"),
        entry("noise", region=[0, 0, 8, 8]),
        entry("c2pa", state="invalid"),
    )
    assert text is not None
    assert (
        "same pixels (findings 1, 3); the JPEG grid of a region differs from the rest (finding 2); " in text
    )
    assert text.count("(finding") == 3


def test_no_explanation_stays_none():
    assert with_citations(Verdict("a.jpg", evidence=[entry("copy_move")])) is None
