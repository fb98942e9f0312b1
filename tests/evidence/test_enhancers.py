"""What a user may rely on: each picture to look at shows the trace it is named for, for any size."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.errors import UsageError
from pixelsleuth.evidence import enhancers
from pixelsleuth.evidence.enhancers import GHOST_COLUMNS, GHOST_QUALITIES, LARGEST, NAMES, enhanced

Pixels = np.ndarray


def texture(height: int, width: int, seed: int = 0) -> Pixels:
    """(H, W, 3) uint8: noise smoothed twice, so that neighbours are alike as in a photograph."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    for _ in range(2):
        noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / 3
    return np.clip(128 + 60 * noise, 0, 255).astype(np.uint8)


def compressed(pixels: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream).convert("RGB"))


def drawn(pixels: Pixels, name: str) -> Pixels:
    (enhancer,) = enhanced(pixels, [name])
    assert enhancer.name == name
    return enhancer.image.astype(np.float64)


def test_all_are_named_with_two_sentences_and_only_the_named_one_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = texture(64, 80)
    made = enhanced(picture)
    assert tuple(enhancer.name for enhancer in made) == NAMES
    for enhancer in made:
        for sentence in (enhancer.what_to_look_for, enhancer.what_to_ignore):
            assert sentence.endswith(".")
            assert ". " not in sentence
    monkeypatch.setattr(enhancers, "_saved", None)  # error level and ghosts need it
    assert len(enhanced(picture, ["noise_residual"])) == 1


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="did you mean error_level"):
        enhanced(texture(16, 16), ["eror-level"])


def test_a_part_saved_before_at_the_same_quality_is_dark_in_the_error_level() -> None:
    picture = texture(160, 160)
    picture[32:96, 32:96] = compressed(picture, 75)[32:96, 32:96]
    image = drawn(picture, "error_level")
    assert image[40:88, 40:88].mean() < 0.5 * image[104:].mean()


def test_a_smoothed_part_is_dark_in_the_noise_residual() -> None:
    picture = np.random.default_rng(1).normal(128, 6, (160, 160, 3)).astype(np.uint8)
    picture[40:100, 40:100] = 128
    image = drawn(picture, "noise_residual")
    assert image[45:95, 45:95].max() == 0
    assert image[110:].mean() > 30


def test_the_median_is_the_middle_of_nine() -> None:
    grey = np.random.default_rng(2).integers(0, 256, (20, 31), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(grey, 1, mode="edge"), (3, 3))
    assert np.array_equal(enhancers._median(grey), np.median(windows, axis=(2, 3)))


def test_surfaces_lit_from_opposite_sides_have_opposite_colours_in_the_gradient() -> None:
    ramp = np.linspace(0, 250, 64).astype(np.uint8)
    picture = np.repeat(np.concatenate([ramp, ramp[::-1]])[None, :, None], 64, axis=0).repeat(3, axis=2)
    image = drawn(picture, "luminance_gradient")
    left, right = image[32, 32], image[32, 96]
    assert np.minimum(left, right).max() <= 8  # complementary
    assert min(left.max(), right.max()) > 100


def test_a_part_saved_at_a_lower_quality_is_dark_in_the_ghost_of_that_quality() -> None:
    picture = compressed(texture(192, 192, 3), 90)
    picture[64:128, 64:128] = compressed(texture(192, 192, 3), 65)[64:128, 64:128]
    sheet = drawn(compressed(picture, 98), "jpeg_ghosts")[..., 0]
    side = sheet.shape[1] // GHOST_COLUMNS
    place = GHOST_QUALITIES.index(65)
    top, left = place // GHOST_COLUMNS * side, place % GHOST_COLUMNS * side
    ghost = sheet[top : top + side, left : left + side]
    inside = ghost[int(0.4 * side) : int(0.6 * side), int(0.4 * side) : int(0.6 * side)]
    assert inside.mean() < 0.2 * ghost[int(0.8 * side) :].mean()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 9), (33, 2100), (2100, 20), (1, 70_000)])
def test_any_size_gives_a_picture_of_at_most_the_largest_side(name: str, size: tuple[int, int]) -> None:
    image = enhanced(texture(*size), [name])[0].image
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert min(image.shape[:2]) >= 1
    assert max(image.shape[:2]) <= LARGEST


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_pictures_are_flat_but_for_the_sheet(name: str, value: int) -> None:
    image = enhanced(np.full((64, 64, 3), value, np.uint8), [name])[0].image
    if name != "jpeg_ghosts":
        assert image.max() == image.min()


@pytest.mark.parametrize("name", ["error_level", "noise_residual", "luminance_gradient"])
def test_the_picture_does_not_depend_on_how_many_rows_are_read_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Grey: the encoder blends colours across the seams of bands.
    picture = np.repeat(texture(150, 90)[..., :1], 3, axis=2)
    whole = drawn(picture, name)
    monkeypatch.setattr(enhancers, "BAND", 16)
    assert np.array_equal(drawn(picture, name), whole)
