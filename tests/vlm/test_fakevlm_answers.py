"""How FakeVLM's answers are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelsleuth.models.fakevlm.answers import read, read_as_released


@pytest.mark.parametrize(
    "text, real",
    [
        ("This is a real image. The light is even.", True),
        ("This is a fake image.", False),
        (" ASSISTANT: This is a Fake image. Odd hands.", False),
        ("Let me look. It is fake.", False),
        ("This is not a real image. Odd.", False),
        ("This isn't fake.", True),
        ("It could be real or fake.", None),
        ("The light is unrealistic. The hands are surreal.", None),
        ("Dies ist ein Bild. Es ist echt.", None),
        ("", None),
        ("???", None),
        ("这是一张假图。", None),
        ("One. Two. This is a fake image.", None),
    ],
)
def test_the_verdict_is_a_whole_word_of_the_first_two_sentences(text: str, real: bool | None) -> None:
    assert read(text).real is real


def test_the_span_is_that_of_the_verdicts_word() -> None:
    text = "Well then. This is a FAKE image; odd."
    reading = read(text)
    assert reading.span is not None
    assert text[slice(*reading.span)] == "FAKE"


def test_artefacts_are_a_list_without_the_verdict() -> None:
    text = "This is a fake image. The hand has six fingers; shadows disagree;\n- text is garbled\n- text is garbled."
    assert read(text).artefacts == ["The hand has six fingers", "Shadows disagree", "Text is garbled"]


def test_the_published_rule_is_kept_under_its_own_name() -> None:
    assert read_as_released("This is a fake image. Unrealistic.") is False
    assert read_as_released("An unrealistic image.") is True
    assert read_as_released("Hm. Fake") is False
    assert read_as_released("Nothing. Nothing. fake") is None


@given(st.text(max_size=300))
def test_no_text_breaks_the_reading(text: str) -> None:
    reading = read(text)
    assert (reading.real is None) == (reading.span is None)
    if reading.span is not None:
        assert text[slice(*reading.span)].lower() in ("real", "fake")
    assert len(set(reading.artefacts)) == len(reading.artefacts)


@given(
    st.booleans(), st.lists(st.from_regex(r"[A-Z][a-z]{3,12}( [a-z]{3,9}){0,4}", fullmatch=True), max_size=5)
)
def test_the_standard_form_reads_back(real: bool, clauses: list[str]) -> None:
    text = f"This is a {'real' if real else 'fake'} image. {'; '.join(clauses)}."
    reading = read(text)
    assert reading.real is real
    assert reading.artefacts == list(dict.fromkeys(clauses))
