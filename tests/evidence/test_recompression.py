"""What a user may rely on: an earlier JPEG save is found with its quality; one save and another grid are left alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.evidence import recompression
from pixelsleuth.evidence.finding import Finding
from pixelsleuth.evidence.recompression import MULTIPLES, recompression_findings
from pixelsleuth.pictures.images import open_picture

Pixels = np.ndarray


def texture(height: int = 320, width: int = 328, seed: int = 0) -> Pixels:
    """(H, W, 3) uint8: noise smoothed twice, so that neighbours are alike as in a photograph."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    for _ in range(2):
        noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / 3
    return np.clip(128 + 60 * noise, 0, 255).astype(np.uint8)


def saved(pixels: Pixels, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def compressed(pixels: Pixels, quality: int) -> Pixels:
    return np.array(Image.open(io.BytesIO(saved(pixels, quality=quality))).convert("RGB"))


def found(data: bytes) -> list[Finding]:
    return recompression_findings(open_picture(data))


@pytest.mark.parametrize("first, last", [(50, 75), (60, 90), (75, 80), (80, 95), (90, 98)])
def test_a_second_save_at_a_higher_quality_is_a_hint_with_the_first_quality(first: int, last: int) -> None:
    (finding,) = found(saved(compressed(texture(), first), quality=last))
    assert (finding.kind, finding.strength) == ("double_compression", "hints")
    assert abs(finding.detail["first_quality"] - first) <= 2
    assert "no sign of a forgery" in finding.statement


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_lossless_file_that_was_a_jpeg_is_a_hint(kind: str) -> None:
    (finding,) = found(saved(compressed(texture(), 80), kind))
    assert (finding.kind, finding.strength) == ("earlier_jpeg", "hints")
    assert abs(finding.detail["first_quality"] - 80) <= 2
    assert kind in finding.statement


@pytest.mark.parametrize("quality", [40, 75, 90, 98, 100])
def test_one_save_is_left_alone(quality: int) -> None:
    assert not found(saved(texture(), quality=quality))


def test_a_picture_that_was_never_a_jpeg_is_left_alone() -> None:
    assert not found(saved(texture(), "PNG"))


def test_a_second_save_on_another_grid_is_left_alone() -> None:
    assert not found(saved(compressed(texture(), 70)[3:, 5:], quality=90))


@pytest.mark.parametrize("orientation", [2, 6, 7])
def test_a_picture_that_its_exif_turns_is_examined_as_stored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    (finding,) = found(saved(compressed(texture(), 60), quality=90, exif=exif))
    assert abs(finding.detail["first_quality"] - 60) <= 2


def test_tables_of_their_own_are_understood() -> None:
    own = [2 + i // 16 for i in range(64)]
    (finding,) = found(saved(compressed(texture(), 60), qtables=[own, own]))
    assert abs(finding.detail["first_quality"] - 60) <= 2
    assert not found(saved(texture(), qtables=[own, own]))


def test_other_colours_than_the_table_was_made_for_are_left_alone() -> None:
    brighter = np.clip(compressed(texture(), 60).astype(float) * 1.3, 0, 255).astype(np.uint8)
    coefficients = recompression._coefficients(brighter)
    steps = open_picture(saved(texture(), quality=60)).steps
    assert steps is not None
    assert not recompression._on_multiples(coefficients, steps)


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (16, 16), (300, 8)])
def test_small_flat_and_clipped_pictures_are_left_alone(size: tuple[int, int]) -> None:
    for pixels in (np.full((*size, 3), 128, np.uint8), np.zeros((*size, 3), np.uint8), texture(*size)):
        assert recompression.earlier_save(compressed(pixels, 60), (1,) * 64) is None


@pytest.mark.parametrize("size", [(8, 200_000), (200_000, 8), (1600, 1200)])
def test_large_pictures_are_examined_in_part(size: tuple[int, int]) -> None:
    pixels = np.tile(compressed(texture(64, 8), 60), (size[0] // 64 + 1, size[1] // 8 + 1, 1))[
        : size[0], : size[1]
    ]
    coefficients = recompression._coefficients(pixels)
    assert 1_000 <= len(coefficients) <= 2 * recompression.MOST_BLOCKS


def test_the_predicted_histograms_are_those_of_simulated_saves() -> None:
    rng = np.random.default_rng(0)
    values = rng.laplace(0, 12, 400_000)
    rounded = 5 * np.rint(values / 5) + rng.normal(0, recompression.NOISE, values.shape)
    for step, data, expected in (
        (3, values, recompression._once(3, 1 / 12)),
        (3, rounded, recompression._twice(5, 3, 1 / 12)),
    ):
        multiples = np.abs(np.rint(data / step)).astype(int)
        counts = np.bincount(multiples[multiples <= MULTIPLES], minlength=MULTIPLES + 1)[1:]
        assert np.abs(counts / counts.sum() - expected).sum() < 0.02
