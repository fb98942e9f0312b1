"""The panel's rule, case by case."""

from __future__ import annotations

import pytest

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.panel.rule import Voice, accusers, grounds, resolve

R, G, T = Label.REAL, Label.FULL_SYNTHETIC, Label.TAMPERED
ALL, REST = (R, G, T), (R, T)


def voice(
    name: str, label: Label, share: float, sure: bool, ground: tuple[Label, ...], made_for: Label | None
) -> Voice:
    others = dict.fromkeys(Label, (1 - share) / 2)
    return Voice(name, "1", label, others | {label: share}, sure, ground, made_for)


def compact(label: Label, sure: bool, ground: tuple[Label, ...] = REST, share: float = 0.9) -> Voice:
    return voice("compact", label, share, sure, ground, None)


def commfor(label: Label, sure: bool, ground: tuple[Label, ...] = (G,), share: float = 0.95) -> Voice:
    return voice("commfor", label, share, sure, ground, G)


def trufor(label: Label, sure: bool, ground: tuple[Label, ...] = (T,), share: float = 0.8) -> Voice:
    return voice("trufor", label, share, sure, ground, T)


CASES = {
    "nobody claims: the bundled label, inconclusive": ([compact(T, False), commfor(R, False)], T, False, 0),
    "the specialist claims its class": ([compact(R, False), commfor(G, True)], G, True, 1),
    "the bundled detector claims a class of its own": ([compact(T, True), commfor(R, True)], T, True, 0),
    "a specialist cannot claim that a picture is real": ([compact(T, False), commfor(R, True)], T, False, 0),
    "nor the bundled one what a measured specialist speaks for": ([compact(G, True), commfor(R, False)], G, False, 0),
    "an unmeasured specialist decides nothing": ([compact(R, True, ALL), commfor(G, True, ())], R, True, 0),
    "and lets the bundled one speak for its class": ([compact(G, True, ALL), commfor(G, False, ())], G, True, 0),
    "real against generated: contradiction": ([compact(R, True), commfor(G, True)], R, False, 0),
    "tampered against generated: contradiction": (
        [compact(R, False, (R,)), commfor(G, True), trufor(T, True)], R, False, 0,
    ),
    "two specialists, one claims": ([compact(R, False, (R,)), commfor(G, False), trufor(T, True)], T, True, 2),
    "the bundled detector alone": ([compact(G, True, ALL)], G, True, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_rule(case: str) -> None:
    voices, label, conclusive, speaker = CASES[case]
    resolution = resolve(voices)
    assert (resolution.label, resolution.conclusive, resolution.speaker) == (label, conclusive, speaker)
    assert bool(resolution.reason) == ("contradiction" in case)


def test_a_contradiction_names_who_says_what() -> None:
    reason = resolve([compact(R, True), commfor(G, True)]).reason
    assert "commfor says wholly generated" in reason
    assert "compact says real" in reason


@pytest.mark.parametrize(
    "specialists, rest, each, number",
    [
        ([], (R, G, T), [], 1),
        ([(G, True)], (R, T), [(G,)], 2),
        ([(G, False)], (R, G, T), [()], 1),
        ([(G, True), (T, True)], (R,), [(G,), (T,)], 2),
        ([(G, True), (T, False)], (R, T), [(G,), ()], 2),
    ],
)
def test_every_class_has_one_speaker_and_accusers_share_the_bound(
    specialists: list[tuple[Label, bool]],
    rest: tuple[Label, ...],
    each: list[tuple[Label, ...]],
    number: int,
) -> None:
    assert grounds(specialists) == (rest, each)
    assert accusers(rest, each) == number
    spoken = [label for labels in (rest, *each) for label in labels]
    assert sorted(spoken) == sorted(Label)


def test_what_a_record_says_of_a_member() -> None:
    entry = commfor(G, True).to_dict()
    assert entry["name"] == "commfor"
    assert entry["made_for"] == "full_synthetic"
    assert entry["speaks_for"] == ["full_synthetic"]
    assert entry["conclusive"] is True
    assert commfor(R, True).to_dict()["conclusive"] is False
