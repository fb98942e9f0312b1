"""Explanations are claims that can be checked: every sentence of the grammar parses back into what it was made from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelsleuth.compact import grammar


@given(
    st.sampled_from(sorted(grammar.OPERATIONS)),
    st.sampled_from(sorted(grammar.TRACES)),
    st.integers(0, 59),
    st.integers(0, 79),
    st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_a_forgerys_sentence_states_its_record(
    operation: str, trace: str, top: int, left: int, side: int
) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[top : top + side, left : left + side] = 255
    text = grammar.describe_forgery(mask, operation, trace)
    assert grammar.parse(text) == {
        "place": grammar.place(mask),
        "size": grammar.size(mask),
        "operation": grammar.OPERATIONS[operation],
        "trace": grammar.TRACES[trace],
    }
    assert [grammar.VOCABULARY[i] for i in grammar.encode(text)] == text.split()


@pytest.mark.parametrize(
    "rows, columns, expected",
    [
        (slice(0, 10), slice(0, 10), "upper left"),
        (slice(25, 35), slice(35, 45), "centre"),
        (slice(50, 60), slice(70, 80), "lower right"),
        (slice(0, 60), slice(0, 5), "centre left"),
    ],
)
def test_the_place_is_where_the_masks_centre_lies(rows: slice, columns: slice, expected: str) -> None:
    mask = np.zeros((60, 80), bool)
    mask[rows, columns] = True
    assert grammar.place(mask) == expected


def test_the_size_is_the_masks_share() -> None:
    mask = np.zeros((100, 100), bool)
    mask[:10, :30] = True
    assert grammar.size(mask) == "2 to 5 %"
    assert grammar.size(np.ones((4, 4))) == "more than 40 %"


def test_measured_words_follow_the_picture() -> None:
    random = np.random.default_rng(0)
    flat = np.full((64, 64, 3), 120, np.uint8)
    noisy = (flat + random.normal(0, 9, flat.shape)).clip(0, 255).astype(np.uint8)
    assert grammar.measure(flat)[0] == "noise is very low"
    assert grammar.measure(noisy)[0] == "noise is strong"
    assert grammar.parse(grammar.describe_whole("real", noisy))["noise"] == "noise is strong"  # type: ignore[index]


_SENTENCES = [" ".join(words) for label in grammar.ANSWERS for words in grammar.sentences(label)]


@given(
    st.one_of(
        st.text(max_size=60), st.sampled_from(_SENTENCES), st.sampled_from(_SENTENCES).map(lambda s: s + " x")
    )
)
def test_only_sentences_of_the_grammar_are_claims(text: str) -> None:
    assert (grammar.parse(text) is not None) == (text in _SENTENCES)


def test_the_smallest_pictures_can_be_measured() -> None:
    for shape in ((16, 16, 3), (16, 4000, 3)):
        noise, detail = grammar.measure(np.zeros(shape, np.uint8))
        assert noise in grammar.NOISE
        assert detail in grammar.DETAIL
