"""What a user may rely on: a part with another JPEG grid is found where it is; authentic pictures are left alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, features

from pixelsleuth.evidence import grid
from pixelsleuth.evidence.grid import grid_findings, grids_of

Pixels = np.ndarray


def texture(height: int, width: int, seed: int) -> Pixels:
    """(H, W, 3) uint8: noise smoothed twice, so that neighbours are alike as in a photograph."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    for _ in range(2):
        noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / 3
    return np.clip(128 + 60 * noise, 0, 255).astype(np.uint8)


def compressed(pixels: Pixels, quality: int = 80) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream).convert("RGB"))


def spliced() -> Pixels:
    """A compressed picture with a part of another, put at (83, 60) to (203, 180), off its grid by (3, 4)."""
    picture = compressed(texture(320, 320, 0), 85)
    picture[60:180, 83:203] = compressed(texture(160, 160, 1), 70)[:120, :120]
    return picture


def test_a_splice_is_found_with_its_region_its_grid_and_its_number_of_false_alarms() -> None:
    (finding,) = grid_findings(spliced())
    assert (finding.kind, finding.strength) == ("grid", "shows")
    assert np.abs(np.array(finding.region) - (83, 60, 203, 180)).max() <= 8
    assert finding.detail["grid"] == [83 % 8, 60 % 8]
    assert finding.detail["main_grid"] == [0, 0]
    assert finding.detail["log10_nfa"] < -100


def test_a_part_moved_within_a_compressed_picture_is_found() -> None:
    picture = compressed(texture(320, 320, 2))
    picture[101:221, 150:270] = picture[10:130, 10:130].copy()
    (finding,) = grid_findings(picture)
    assert finding.detail["grid"] == [(150 - 10) % 8, (101 - 10) % 8]


def test_a_compressed_part_in_a_picture_without_a_grid_is_found() -> None:
    picture = texture(320, 320, 3)
    picture[43:143, 40:140] = compressed(texture(100, 100, 4))
    (finding,) = grid_findings(picture)
    assert finding.detail["main_grid"] is None
    assert "does not carry" in finding.statement


@pytest.mark.parametrize("quality", [60, 80, 95])
def test_an_authentic_jpeg_is_left_alone(quality: int) -> None:
    picture = compressed(texture(256, 264, 5), quality)
    assert grids_of(picture).main == (0, 0)
    assert not grid_findings(picture)


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_that_was_never_compressed_is_left_alone(seed: int) -> None:
    assert not grid_findings(texture(256, 256, seed))
    assert not grid_findings(np.random.default_rng(seed).integers(0, 256, (256, 256, 3), np.uint8))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_pictures_stripes_and_small_pictures_are_left_alone(value: int) -> None:
    assert not grid_findings(np.full((128, 128, 3), value, np.uint8))
    assert not grid_findings(np.repeat(texture(1, 128, 0), 128, axis=0))
    assert not grid_findings(texture(16, 400, 0))


def test_a_cropped_jpeg_is_a_hint_and_a_turned_one_is_none() -> None:
    picture = compressed(texture(256, 260, 6))
    (finding,) = grid_findings(picture[3:, 5:])
    assert (finding.kind, finding.strength, finding.detail["grid"]) == ("crop", "hints", [3, 5])
    assert not grid_findings(np.rot90(picture))


def test_votes_do_not_depend_on_how_many_rows_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = grids_of(spliced())
    monkeypatch.setattr(grid, "BAND", 64)
    monkeypatch.setattr(grid, "ROWS", 10)
    assert grids_of(spliced()) == expected


@pytest.mark.parametrize("kind, quality", [("WEBP", 50), ("WEBP", 80), ("AVIF", 70)])
def test_the_blocks_of_other_formats_are_no_jpeg_grids(kind: str, quality: int) -> None:
    if not features.check(kind.lower()):
        pytest.skip(f"Pillow was built without {kind}")
    for seed in range(3):
        stream = io.BytesIO()
        picture = np.repeat(np.repeat(texture(128, 160, seed), 2, 0), 2, 1)
        Image.fromarray(picture).save(stream, kind, quality=quality)
        assert not grid_findings(np.array(Image.open(stream).convert("RGB")))


@pytest.mark.parametrize("shift", [(0, 4), (4, 4), (4, 1)])
def test_a_strong_grid_that_differs_by_half_a_block_is_found(shift: tuple[int, int]) -> None:
    dy, dx = shift
    picture = compressed(texture(320, 320, 7), 85)
    picture[64 + dy : 184 + dy, 80 + dx : 200 + dx] = compressed(texture(120, 120, 8), 70)
    (finding,) = grid_findings(picture)
    assert finding.detail["grid"] == [dx, dy]
