"""What the file says stands apart from the model's claims, with its worth."""

from __future__ import annotations

import pytest

from pixelsleuth.reporting import findings, words
from pixelsleuth.reporting.html import HtmlReport


def finding(statement: str, strength: str = "declares", **more: object) -> dict[str, object]:
    return {
        "kind": "metadata", "statement": statement, "strength": strength, "false_alarms": None, "measured": True, **more
    }  # fmt: skip


def test_strong_findings_come_first_and_claims_of_the_model_stay_apart(verdict):
    claim = {"kind": "noise", "statement": "Its noise is finer.", "measured": True}
    evidence = [claim, finding("A hint.", "hints"), finding("A declaration.")]
    judged = verdict(evidence=evidence, explanation=None)
    assert [entry["statement"] for entry in findings.findings(judged)] == ["A declaration.", "A hint."]
    assert words.statements(judged) == ["Its noise is finer."]
    assert findings.lines(judged) == ["A declaration."]


def test_the_terminal_shows_the_first_sentence_of_a_measurement(verdict):
    entry = finding("The grid of a part differs. Collages do that, too.", "shows", kind="grid")
    assert findings.lines(verdict(evidence=[entry])) == ["The grid of a part differs."]


def test_the_terminal_names_how_many_are_left_out(verdict):
    judged = verdict(evidence=[finding(f"The file declares {number}.") for number in range(9)])
    shown = findings.lines(judged)
    assert shown[0] == "declares 0."
    assert shown[-1] == "and 5 findings more"
    assert len(shown) == findings.MOST_LINES + 1


@pytest.mark.parametrize(
    "kind, state, words_",
    [
        ("c2pa", "trusted", "a signature in the file declares"),
        ("c2pa", "trusted_by_old_list", "a signature in the file declares"),
        ("c2pa", "not_recognised", "a signature of an unknown signer in the file declares"),
        ("metadata", None, "the file declares"),
    ],
)
def test_a_contradiction_names_a_signature(verdict, kind, state, words_):
    strength = "shows" if str(state).startswith("trusted") else "declares"
    entry = finding("Signed.", strength, kind=kind, detail={"declares": "captured", "state": state})
    assert words_ in findings.contradiction(verdict("full_synthetic", evidence=[entry]))
    assert findings.contradiction(verdict("real", evidence=[entry])) == ""
    assert findings.contradiction(verdict("full_synthetic", inconclusive=True, evidence=[entry])) == ""
    opposite = finding("Made.", detail={"declares": "generated"})
    assert findings.contradiction(verdict("full_synthetic", evidence=[entry, opposite])) == ""


@pytest.mark.parametrize(
    "label, strength, rate, region, contradicts",
    [
        ("real", "shows", 0.0005, [0, 0, 9, 9], True),
        ("real", "shows", 0.03, [0, 0, 9, 9], False),  # too often wrong
        ("real", "shows", None, [0, 0, 9, 9], False),
        ("real", "shows", 0.0, None, False),
        ("real", "hints", 0.0, [0, 0, 9, 9], False),
        ("tampered", "shows", 0.0005, [0, 0, 9, 9], False),
    ],
)
def test_a_region_that_seldom_speaks_contradicts_a_real_verdict(
    verdict, label, strength, rate, region, contradicts
):
    entry = finding("A part differs.", strength, kind="grid", false_alarms=rate, region=region)
    sentence = findings.contradiction(verdict(label, evidence=[entry]))
    assert ("a measurement singles out a part" in sentence) is contradicts


def test_the_report_states_place_and_false_alarms_of_a_finding(tmp_path, verdict):
    entry = finding(
        "The grid of a part differs.", "shows", kind="grid", false_alarms=0.004, region=[8, 16, 40, 48]
    )
    report = HtmlReport(tmp_path / "report.html")
    report.add(verdict(evidence=[entry]))
    report.close()
    page = report.path.read_text("utf-8")
    assert "<b>shown</b> The grid of a part differs." in page
    assert "x 8 to 40, y 16 to 48 · speaks on &lt;1% of authentic pictures" in page


def test_records_of_others_with_odd_details_are_shown_as_far_as_they_go(verdict):
    odd = finding("Odd.", detail=["no", "object"], region=[1], false_alarms="few")
    values = findings.values(verdict(evidence=[odd, {"kind": "x", "statement": "", "strength": "declares"}]))
    assert values is not None
    assert [entry["facts"] for entry in values["findings"]] == [""]


def test_no_card_where_nobody_looked(verdict):
    assert findings.values(verdict(evidence=[])) is None


def test_the_caveat_on_metadata_stands_under_metadata_alone(verdict):
    signed = findings.values(verdict(evidence=[finding("Signed.", "shows", kind="c2pa")]))
    declared = findings.values(verdict(evidence=[finding("Made.")]))
    assert signed is not None
    assert declared is not None
    assert findings.ALONE not in signed["notes"]
    assert findings.ALONE in declared["notes"]
