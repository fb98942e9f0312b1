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


def scattered(side: int) -> np.ndarray:
    """A large region in the upper left and small spots all over the right and the bottom."""
    mask = np.zeros((side, side), bool)
    mask[: side // 6, : side // 6] = True
    spot = side // 30
    for row in range(side // 2, side - spot, side // 8):
        for column in range(side // 2, side - spot, side // 8):
            mask[row : row + spot, column : column + spot] = True
    return mask


@pytest.mark.parametrize("side", [90, 301, 2000])
def test_scattered_spots_do_not_move_the_place_away_from_the_strongest_region(side: int) -> None:
    mask = scattered(side)
    assert grammar.place(mask) == "upper left"
    scores = np.full(mask.shape, 1.0)
    scores[mask & (np.indices(mask.shape).min(axis=0) > 0.8 * side)] = 250.0
    assert grammar.place(mask, scores) == "lower right"


@given(seed=st.integers(0, 2**32 - 1), side=st.sampled_from([30, 97, 400]))
@settings(max_examples=30, deadline=None)
def test_the_place_always_holds_something(seed: int, side: int) -> None:
    random = np.random.default_rng(seed)
    mask = np.zeros((side, side), bool)
    for _ in range(random.integers(1, 6)):
        row, column, high, wide = random.integers(0, side, 4)
        mask[row : row + high // 3 + 1, column : column + wide // 3 + 1] = True
    down, across = divmod(grammar.PLACES.index(grammar.place(mask)), 3)
    border = 1 + side // 200
    rows, columns = (
        slice(max(0, side * at // 3 - border), side * (at + 1) // 3 + border) for at in (down, across)
    )
    third = mask[rows, columns]
    assert third.any()


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


@pytest.mark.parametrize("index, third", [(0, 0), (2, 0), (3, 1), (5, 1), (6, 2), (8, 2)])
def test_a_third_ends_between_two_pixels(index: int, third: int) -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[index, index] = 1
    assert grammar.place(mask) == grammar.PLACES[3 * third + third]


@pytest.mark.parametrize("shape", [(1500, 1100), (1030, 2050)])
def test_only_the_middle_of_a_large_picture_is_measured(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    pixels = np.full((*shape, 3), 120, np.uint8)
    top, left = (shape[0] - 1024) // 2, (shape[1] - 1024) // 2
    middle = pixels[top : top + 1024, left : left + 1024]
    noisy = random.integers(60, 180, pixels.shape, dtype=np.uint8)
    quiet = noisy.copy()
    quiet[top : top + 1024, left : left + 1024] = middle
    assert grammar.measure(quiet) == grammar.measure(middle)
    assert grammar.measure(quiet)[0] == "noise is very low"
    loud = pixels.copy()
    loud[top : top + 1024, left : left + 1024] = noisy[top : top + 1024, left : left + 1024]
    assert grammar.measure(loud)[0] == "noise is strong"


def test_noise_is_that_of_the_quietest_blocks() -> None:
    pixels = np.full((80, 80, 3), 120, np.uint8)
    pixels[8:, :] = np.random.default_rng(0).integers(60, 180, (72, 80, 3), dtype=np.uint8)
    assert grammar.measure(pixels)[0] == "noise is strong"  # a tenth of its blocks is quiet
    pixels[:32] = 120
    assert grammar.measure(pixels)[0] == "noise is very low"


@pytest.mark.parametrize("bound", list(grammar.SIZES))
def test_a_share_at_a_bound_belongs_to_the_next_size(bound: float) -> None:
    words = list(grammar.SIZES.values())
    at = list(grammar.SIZES).index(bound)
    mask = np.zeros((100, 1000), np.uint8)
    mask.flat[: round(min(bound, 1) * mask.size)] = 1
    assert grammar.size(mask) == words[min(at + 1, len(words) - 1)]
    mask.flat[round(min(bound, 1) * mask.size) - 1] = 0
    assert grammar.size(mask) == words[at]


def test_prose_is_one_sentence() -> None:
    assert grammar.prose("noise is strong , detail is fine ; so") == "Noise is strong, detail is fine; so."
    assert grammar.prose("") == ""
