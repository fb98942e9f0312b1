"""Masks survive their run-length form, which is COCO's to the letter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelsleuth.core.rle import bounding_box, decode, encode


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
    return np.random.default_rng(seed).random((height, width)) < share


@given(masks())
def test_a_mask_survives(mask):
    assert np.array_equal(decode(encode(mask)), mask)


@given(masks())
def test_the_box_and_the_area_are_those_of_the_mask(mask):
    rows, columns = mask.nonzero()
    expected = None
    if rows.size:
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        expected = (tuple(map(int, box)), int(mask.sum()))
    assert bounding_box(encode(mask)) == expected


@given(masks())
def test_strings_are_those_of_pycocotools(mask):
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = encode(mask)
    assert ours == {"size": list(theirs["size"]), "counts": theirs["counts"].decode()}
    assert np.array_equal(decode(theirs), mask)


def test_large_masks_keep_their_long_runs():
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    mask = np.zeros((3000, 4000), bool)
    mask[700:2100, 900:3333] = True
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode(mask)["counts"] == theirs["counts"].decode()
    assert np.array_equal(decode(encode(mask)), mask)


def test_known_strings():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = True
    assert encode(mask) == {"size": [4, 5], "counts": "5220003"}  # as pycocotools 2.0.11 gives it
    assert np.array_equal(decode({"size": [4, 5], "counts": [5, 2, 2, 2, 2, 2, 5]}), mask)


@pytest.mark.parametrize("counts", ["", "522003", "52200o", "zzzz", "\x10", "Q" * 20, [3, 4], [-1, 21]])
def test_runs_that_do_not_fit_are_refused(counts):
    with pytest.raises(ValueError, match="run"):
        decode({"size": [4, 5], "counts": counts})


def test_a_mask_must_be_flat():
    with pytest.raises(ValueError, match="two dimensions"):
        encode(np.zeros((2, 2, 3)))
