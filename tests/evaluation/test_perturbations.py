"""Perturbations: the mask follows the picture, noise has the strength that was asked for, a rerun draws the same."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelsleuth.errors import UsageError
from pixelsleuth.evaluation import perturbations
from pixelsleuth.evaluation.perturbations import parse

ALL = [
    *perturbations.PAPER, "jpeg:90:444", "double_jpeg:60,90", "webp:80", "resize:0.5:back", "fit:64", "noise:3:sigma",
    "blur:1.5", "crop:0.8", "crop:0.5:random", "rotate:15", "rotate:90", "rotate:-90", "rotate:180", "hflip",
    "sharpen:1.5", "contrast:0.7", "screenshot", "screenshot:0.6", "platform:feed", "platform:repost",
    "resize:0.75+jpeg:70",
]  # fmt: skip


def marked(height: int = 96, width: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture whose tampered rectangle is white, so that the true mask can be seen in the pixels."""
    pixels, mask = np.full((height, width, 3), 60, np.uint8), np.zeros((height, width), bool)
    mask[20:60, 30:90] = True
    pixels[mask] = 240
    return pixels, mask


@pytest.mark.parametrize("spec", ALL)
def test_the_mask_stays_on_what_it_marks(spec: str) -> None:
    pixels, mask = marked()
    before = pixels.copy(), mask.copy()
    changed, follows = parse(spec).apply(pixels, mask, key="a.png")
    assert np.array_equal(pixels, before[0])
    assert np.array_equal(mask, before[1])
    assert follows is not None
    assert changed.dtype == np.uint8
    assert follows.dtype == bool
    assert changed.shape == (*follows.shape, 3)
    assert changed.flags.c_contiguous
    bright = changed.mean(2) > 150
    assert (bright & follows).sum() / (bright | follows).sum() > 0.9
    assert not np.array_equal(changed, pixels)


@pytest.mark.parametrize("spec", ALL)
def test_a_rerun_gives_the_same_bytes_with_and_without_a_mask(spec: str) -> None:
    pixels, mask = marked()
    first = parse(spec).apply(pixels, mask, key="a.png", seed=1)[0]
    again, none = parse(spec).apply(pixels, None, key="a.png", seed=1)
    assert np.array_equal(first, again)
    assert none is None


@pytest.mark.parametrize(
    "spec, sigma", [("noise:5", 5**0.5), ("noise:10:var", 10**0.5), ("noise:10:sigma", 10)]
)
def test_noise_is_a_variance_unless_sigma_is_said(spec: str, sigma: float) -> None:
    grey = np.full((300, 300, 3), 128, np.uint8)
    noisy = parse(spec).apply(grey, key="x")[0].astype(float)
    assert noisy.std() == pytest.approx((sigma**2 + 1 / 12) ** 0.5, rel=0.02)  # rounding adds a twelfth
    assert noisy.mean() == pytest.approx(128, abs=0.2)
    assert not np.array_equal(noisy, parse(spec).apply(grey, key="y")[0])


def test_jpeg_quality_and_subsampling_reach_the_encoder() -> None:
    import io

    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for spec, quality, sampling in (("jpeg:70", 70, 2), ("jpeg:80:444", 80, 0)):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=sampling)
        assert np.array_equal(parse(spec).apply(pixels)[0], np.asarray(Image.open(buffer)))


def test_sizes_are_what_the_factor_says() -> None:
    pixels, mask = marked(101, 203)
    for spec, shape in (("resize:0.5", (50, 102)), ("resize:0.75:back", (101, 203)), ("fit:50", (25, 50)),
                        ("fit:500", (101, 203)), ("crop:0.5", (50, 102)), ("rotate:90", (203, 101)),
                        ("rotate:30", (101, 203)), ("resize:0.05", (16, 16))):  # fmt: skip
        changed, follows = parse(spec).apply(pixels, mask)
        assert follows is not None
        assert changed.shape[:2] == shape == follows.shape


def test_a_turn_to_the_left_and_one_to_the_right_cancel() -> None:
    pixels, mask = marked()
    changed, follows = parse("rotate:90+rotate:-90+hflip+hflip").apply(pixels, mask)
    assert np.array_equal(changed, pixels)
    assert np.array_equal(follows, mask)


WRONG = [
    "", "jpg:70", "jpeg", "jpeg:0", "jpeg:70:422", "jpeg:x", "noise:1:var:sigma", "resize:0",
    "resize:nan", "double_jpeg:70", "platform:nowhere", "platform", "hflip:1", "jpeg:70+", "crop:2",
]  # fmt: skip


@pytest.mark.parametrize("spec", WRONG)
def test_what_cannot_be_read_is_refused_in_one_sentence(spec: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse(spec)
    assert "\n" not in str(refusal.value)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="jpegnoise:+0123456789.,-xback", max_size=20))
def test_any_text_is_a_chain_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse(text)
