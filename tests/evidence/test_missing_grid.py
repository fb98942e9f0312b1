"""What a user may rely on: a part that lacks the JPEG grid of the rest is found where it is; authentic ones are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.evidence.grid import grids_of
from pixelsleuth.evidence.inspection import pixel_findings
from pixelsleuth.evidence.missing_grid import missing_grid_findings

Pixels = np.ndarray


def texture(height: int, width: int, seed: int) -> Pixels:
    """(H, W, 3) uint8: smooth noise, as photographs have it, with much more in the low frequencies."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 1))
    total = np.zeros_like(noise)
    for step in (1, 2, 4, 8):
        for _ in range(3):
            noise = (noise + np.roll(noise, step, 0) + np.roll(noise, step, 1)) / 3
        total += noise / noise.std()
    return np.clip(128 + 18 * total, 0, 255).astype(np.uint8).repeat(3, axis=2)


def compressed(pixels: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream).convert("RGB"))


def found(pixels: Pixels) -> list[tuple[int, int, int, int] | None]:
    return [finding.region for finding in missing_grid_findings(pixels, grids_of(pixels))]


@pytest.mark.parametrize("crop", [(0, 0), (3, 5)])
def test_a_part_that_was_never_compressed_is_found_where_it_is(crop: tuple[int, int]) -> None:
    picture = compressed(texture(320, 336, 0), 80)
    picture[80:200, 96:216] = texture(120, 120, 1)
    dy, dx = crop
    (region,) = found(picture[dy:, dx:])
    assert np.abs(np.array(region) - (96 - dx, 80 - dy, 216 - dx, 200 - dy)).max() <= 24


def test_the_finding_names_the_grid_and_bounds_its_false_alarms() -> None:
    picture = compressed(texture(320, 336, 0), 80)
    picture[80:200, 96:216] = texture(120, 120, 1)
    (finding,) = pixel_findings(picture)
    assert (finding.kind, finding.strength) == ("missing_grid", "shows")
    assert finding.detail["main_grid"] == [0, 0]
    assert finding.detail["log10_nfa"] < -3
    assert "does not say what was changed" in finding.statement


@pytest.mark.parametrize("quality", [60, 80, 92, 97])
def test_an_authentic_jpeg_is_left_alone(quality: int) -> None:
    assert not found(compressed(texture(256, 264, 2), quality))


def test_flat_and_saturated_parts_are_left_alone() -> None:
    picture = texture(256, 264, 3)
    picture[:96] = 255
    picture[160:, :96] = 40
    assert not found(compressed(picture, 80))


def test_a_picture_without_a_grid_is_left_alone() -> None:
    assert not found(texture(256, 264, 4))


def test_a_part_with_a_grid_of_its_own_is_named_once() -> None:
    picture = compressed(texture(320, 336, 5), 85)
    picture[83:203, 97:217] = compressed(texture(120, 120, 6), 70)
    assert [finding.kind for finding in pixel_findings(picture)] == ["grid"]


@pytest.mark.parametrize("size", [(32, 32), (33, 200), (40, 41)])
def test_small_pictures_break_nothing(size: tuple[int, int]) -> None:
    picture = compressed(texture(*size, 7), 70)
    picture[8:24, 8:32] = texture(16, 24, 8)
    found(picture)
    found(picture[3:, 1:])
