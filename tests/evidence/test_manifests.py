"""Reports of manifests as a stranger may write them: circles, floods, wrong types; and the words of the rubrics."""

from __future__ import annotations

from typing import Any

import pytest

from pixelsleuth.evidence.c2pa_report import in_words, is_valid, short
from pixelsleuth.evidence.ingredients import MOST_INGREDIENTS
from pixelsleuth.evidence.manifests import history_of
from pixelsleuth.evidence.rubrics import has_edits, meaning_of, signals_of

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def manifest(*actions: tuple[str, str], whole: bool = True, ingredients: Any = ()) -> dict[str, Any]:
    listed = [
        {"action": name} | ({"digitalSourceType": IPTC + kind} if kind else {}) for name, kind in actions
    ]
    data = {"actions": listed, "allActionsIncluded": whole}
    return {"assertions": [{"label": "c2pa.actions.v2", "data": data}], "ingredients": list(ingredients)}


def ingredient(label: str, relationship: str = "componentOf") -> dict[str, Any]:
    return {
        "title": label,
        "relationship": relationship,
        "active_manifest": label,
        "label": "c2pa.ingredient.v3",
    }


def test_manifests_that_name_each_other_end() -> None:
    circle = {
        "a": manifest(ingredients=[ingredient("b", "parentOf")]),
        "b": manifest(("c2pa.created", "digitalCapture"), ingredients=[ingredient("a", "parentOf")]),
    }
    history = history_of({"active_manifest": "a", "manifests": circle})
    assert history.ingredients[0]["ingredients"] == [
        {"title": "a", "relationship": "parentOf", "state": "valid"}
    ]
    assert "capturedMedia" in history.inceptions


def test_a_flood_of_ingredients_is_cut_and_says_so() -> None:
    many = {
        "a": manifest(ingredients=[ingredient("b")] * 9),
        "b": manifest(ingredients=[ingredient("c")] * 900),
    }
    many["c"] = manifest()
    history = history_of({"active_manifest": "a", "manifests": many})
    shown = str(history.ingredients).count("'title'")
    assert shown == MOST_INGREDIENTS
    assert history.more == 8
    assert history.ingredients[0]["more_ingredients"] == 900 - (MOST_INGREDIENTS - 1)


@pytest.mark.parametrize("wrong", [None, 3, "x", [1, None], {"actions": 4}, [{"label": 7, "data": [1]}]])
def test_wrong_types_declare_nothing(wrong: Any) -> None:
    report = {"active_manifest": "a", "manifests": {"a": {"assertions": wrong, "ingredients": wrong}}}
    assert history_of(report).meaning == ""
    assert (
        history_of({"active_manifest": wrong, "manifests": wrong, "validation_results": wrong}).inceptions
        == {}
    )
    assert not is_valid({"validation_results": wrong})


def test_an_earlier_version_that_does_not_hold_declares_nothing() -> None:
    uri = "self#jumbf=/c2pa/a/c2pa.assertions/c2pa.ingredient.v3"
    deltas = {
        "failure": [{"code": "assertion.hashedURI.mismatch", "url": "self#jumbf=/c2pa/b/c2pa.assertions/x"}]
    }
    report = {
        "active_manifest": "a",
        "manifests": {
            "a": manifest(ingredients=[ingredient("b", "parentOf")]),
            "b": manifest(("c2pa.created", "trainedAlgorithmicMedia")),
        },
        "validation_results": {
            "ingredientDeltas": [{"ingredientAssertionURI": uri, "validationDeltas": deltas}]
        },
    }
    history = history_of(report)
    assert (history.meaning, history.broken_parts) == ("", True)
    assert history.ingredients[0]["problems"] == [in_words(("assertion.hashedURI.mismatch", "x"))]


@pytest.mark.parametrize(
    "recorded",
    [
        {"validation_results": {"activeManifest": {"failure": [{"code": "assertion.dataHash.mismatch"}]}}},
        {
            "validation_status": [
                {"code": "claimSignature.validated"},
                {"code": "assertion.dataHash.mismatch"},
            ]
        },
    ],
)
def test_what_was_wrong_when_an_ingredient_came_in_counts(recorded: dict[str, Any]) -> None:
    report = {
        "active_manifest": "a",
        "manifests": {
            "a": manifest(ingredients=[ingredient("b", "parentOf") | recorded]),
            "b": manifest(("c2pa.created", "trainedAlgorithmicMedia")),
        },
    }
    history = history_of(report)
    assert (history.meaning, history.broken_parts, history.ingredients[0]["state"]) == ("", True, "invalid")
    assert history.ingredients[0]["problems"] == [in_words(("assertion.dataHash.mismatch", ""))]


def test_a_fault_cannot_be_hidden_behind_many_harmless_codes() -> None:
    harmless: list[dict[str, str]] = [
        {"code": "cawg.ica.did_unavailable", "url": f"x/{n}"} for n in range(3000)
    ]
    active = {
        "success": [{"code": "claimSignature.validated"}],
        "failure": [*harmless, {"code": "assertion.dataHash.mismatch"}],
    }
    assert not is_valid({"validation_results": {"activeManifest": active}})


@pytest.mark.parametrize(
    "code, valid",
    [("signingCredential.untrusted", True), ("signingCredential.expired", True), ("cawg.ica.did_unavailable", True),
     ("timeStamp.untrusted", True), ("assertion.dataHash.mismatch", False), ("something.new", False)],
)  # fmt: skip
def test_only_codes_about_the_content_make_a_manifest_invalid(code: str, valid: bool) -> None:
    active = {"success": [{"code": "claimSignature.validated"}], "failure": [{"code": code}]}
    assert is_valid({"validation_results": {"activeManifest": active}}) is valid


@pytest.mark.parametrize(
    "actions, inceptions, transformations, meaning",
    [
        ([("created", "trainedAlgorithmicMedia")], ["fullyGenAIMedia"], [], "generated"),
        ([("created", "compositeWithTrainedAlgorithmicMedia")], ["partlyGenAICreation"], [], "edited_by_ai"),
        ([("created", "digitalCapture"), ("transcoded", "")], ["capturedMedia"], ["nonEditorial"], "captured"),
        ([("created", "digitalCapture"), ("edited", "trainedAlgorithmicMedia")], ["capturedMedia"],
         ["perceptibleGenAI"], "edited_by_ai"),
        ([("created", "digitalCapture"), ("edited", "humanEdits")], ["capturedMedia"],
         ["perceptibleNonGenAI"], "edited"),
        ([("created", "digitalCapture"), ("unknown", "")], ["capturedMedia"], ["ambiguousActions"], "edited"),
        ([], [], ["ambiguousActions"], ""),
    ],
)  # fmt: skip
def test_actions_give_the_signals_of_the_asset_rubrics(
    actions: list[tuple[str, str]], inceptions: list[str], transformations: list[str], meaning: str
) -> None:
    made = manifest(*((f"c2pa.{name}", kind) for name, kind in actions))
    signals = signals_of(made)
    assert [list(signal) for signal in signals] == [inceptions, transformations]
    assert meaning_of(*signals, listed=has_edits(made)) == meaning


def test_texts_of_the_signer_are_cut_and_lie_in_one_line() -> None:
    assert short("a\n\tb" * 1000).startswith("a b")
    assert len(short("x" * 10_000)) == 120
