"""What a user may rely on: a part with other noise is found where it is; the same noise everywhere is left alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelsleuth.core.verdict import Label
from pixelsleuth.evidence import noise
from pixelsleuth.evidence.noise import noise_findings, noise_regions, read_blocks
from pixelsleuth.forge.demo_pictures import DemoPicture, photographs, smoothed_whiskers

Pixels = np.ndarray
BOX = (96, 80, 240, 224)
"""Where the foreign part lies: x0, y0, x1, y1."""


def scene(side: int, seed: int) -> Pixels:
    """(side, side, 3) float: soft blobs, so that evenness changes from place to place as in a photograph."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(2 + side // 32, 2 + side // 32))
    at = np.arange(side) / 32
    first, share = at.astype(int), at % 1
    rows = coarse[first] * (1 - share)[:, None] + coarse[first + 1] * share[:, None]
    smooth = rows[:, first] * (1 - share) + rows[:, first + 1] * share
    return np.repeat((128 + 40 * smooth)[..., None], 3, axis=2)


def with_noise(picture: Pixels, deviation: float, seed: int) -> Pixels:
    """uint8, never clipped: the noise is as strong in the bright as in the dark."""
    noisy = picture + np.random.default_rng(seed).normal(0, deviation, picture.shape)
    return np.clip(noisy, 1, 254).round().astype(np.uint8)


def iou(box: tuple[int, int, int, int]) -> float:
    """Overlap of a box with BOX."""
    covered = np.zeros((2, 352, 352), bool)
    for plane, (x0, y0, x1, y1) in zip(covered, (box, BOX), strict=True):
        plane[y0:y1, x0:x1] = True
    return float((covered[0] & covered[1]).sum() / (covered[0] | covered[1]).sum())


def spliced(deviation: float, foreign: float, scale: int = 1) -> Pixels:
    """A picture whose part BOX has noise of its own; each side `scale` times as long."""
    original = np.kron(scene(352, 0), np.ones((scale, scale, 1)))
    x0, y0, x1, y1 = (scale * value for value in BOX)
    picture = with_noise(original, deviation, 1)
    picture[y0:y1, x0:x1] = with_noise(original, foreign, 2)[y0:y1, x0:x1]
    return picture


def saved(image: Image.Image) -> Pixels:
    """The pixels after the demo saved the picture as JPEG."""
    stream = io.BytesIO()
    DemoPicture("", image, Label.REAL, "").save(stream)
    return np.asarray(Image.open(stream).convert("RGB"))


@pytest.mark.parametrize("deviation, foreign", [(6, 2), (2, 6)])
def test_a_part_with_other_noise_is_found_with_its_place_and_by_how_much(
    deviation: float, foreign: float
) -> None:
    (finding,) = noise_findings(spliced(deviation, foreign))
    assert (finding.kind, finding.strength) == ("noise", "hints")
    assert finding.region is not None
    assert iou(finding.region) > 0.65
    assert finding.detail["log10_nfa"] < -6
    assert f"times {'more' if foreign > deviation else 'less'} noise" in finding.statement


def test_a_large_picture_is_sampled_and_gives_the_same_region() -> None:
    picture = spliced(6, 2, scale=3)
    assert read_blocks(picture).clipped.size <= noise.MOST_APART
    (region,) = noise_regions(picture)
    x0, y0, x1, y1 = (value // 3 for value in region.box)
    assert iou((x0, y0, x1, y1)) > 0.6


def test_the_smoothed_cheek_of_the_demo_is_found_and_its_original_is_left_alone() -> None:
    pytest.importorskip("skimage", reason="the demo's photographs come with scikit-image")
    original = photographs()["chelsea"]
    forged, mask = smoothed_whiskers({"chelsea": original})
    (region,) = noise_regions(saved(forged))
    x0, y0, x1, y1 = region.box
    assert region.ratio < 1
    assert mask[y0:y1, x0:x1].mean() > 0.75
    assert not noise_regions(saved(original))


@pytest.mark.parametrize("seed", range(3))
def test_noise_that_is_the_same_everywhere_is_left_alone(seed: int) -> None:
    assert not noise_findings(with_noise(scene(352, seed), 4, seed))


def test_noise_that_differs_little_is_left_alone() -> None:
    assert not noise_findings(spliced(4, 3))


def test_noise_alone_gives_no_more_false_alarms_than_the_number_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "LARGEST_NFA", 0.1)
    monkeypatch.setattr(noise, "SMALLEST_RATIO", 1.0)
    monkeypatch.setattr(noise, "OWN_SHARE", 0.6)  # far more regions are tested
    flat = np.full((128, 144, 1), 120.0)
    # Grey: what one channel shows by chance, all show.
    pictures = (np.repeat(with_noise(flat, 5, seed), 3, axis=2) for seed in range(30))
    assert sum(len(noise_regions(picture)) for picture in pictures) <= 3


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (7, 7), (63, 400), (200, 200)])
def test_flat_saturated_tiny_and_narrow_pictures_give_nothing(shape: tuple[int, int], value: int) -> None:
    assert not noise_findings(np.full((*shape, 3), value, np.uint8))


def test_clipped_pixels_are_not_taken_for_noise_free_ones() -> None:
    picture = with_noise(scene(352, 5), 6, 5)
    picture[80:224, 96:240] = 255
    assert not noise_findings(picture)


def test_coarse_texture_is_not_taken_for_noise() -> None:
    assert not noise_findings(spliced(30, 10))


@given(arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90), st.just(3))))
def test_any_picture_is_examined_without_an_error(pixels: Pixels) -> None:
    for finding in noise_findings(pixels):
        assert finding.region is not None
        x0, y0, x1, y1 = finding.region
        assert 0 <= x0 < x1 <= pixels.shape[1]
        assert 0 <= y0 < y1 <= pixels.shape[0]
