"""Overlays can be read on any background, by any eye."""

import numpy as np
import pytest

from pixelsleuth.core.overlay import blend, draw_overlay, ramp_table
from pixelsleuth.core.region import Region


def lightness(colours):
    return colours.astype(float) @ [0.2126, 0.7152, 0.0722]


def test_low_probabilities_paint_nothing():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(draw_overlay(pixels, np.full((40, 60), 0.2, np.float32))), pixels)
    assert np.array_equal(np.asarray(draw_overlay(pixels, None)), pixels)


def test_the_ramp_darkens_and_thickens_as_the_probability_rises():
    colours, opacity = ramp_table()
    assert (np.diff(lightness(colours)) <= 0.5).all()
    assert (np.diff(opacity.astype(int)) >= 0).all()


@pytest.mark.parametrize("background", [0, 90, 128, 200, 255])
def test_box_outlines_stand_out_on_any_background(background):
    pixels = np.full((100, 120, 3), background, np.uint8)
    drawn = np.asarray(draw_overlay(pixels, None, [Region((30, 20, 90, 70), 100, 0.9)]))
    assert np.abs(drawn[45, 25:35].astype(int) - background).max() >= 100


def test_boxes_at_the_border_and_of_one_pixel_are_drawn():
    pixels = np.full((50, 60, 3), 128, np.uint8)
    regions = [
        Region((0, 0, 60, 50), 3000, 0.9),
        Region((59, 49, 60, 50), 1, 0.6),
        Region((5, 5, 6, 6), 1, 0.7),
    ]
    assert draw_overlay(pixels, None, regions, max_side=20).size == (20, 17)
    assert draw_overlay(pixels, None, regions).size == (60, 50)


def test_heat_maps_of_any_size_and_with_gaps_are_laid_over():
    pixels = np.full((48, 64, 3), 128, np.uint8)
    heat = np.full((3, 4), np.nan, np.float32)
    heat[0, 0] = 1.0
    drawn = np.asarray(draw_overlay(pixels, heat))
    assert drawn.shape == pixels.shape
    assert np.array_equal(drawn[30:, 40:], pixels[30:, 40:])
    assert (drawn[:4, :4] != 128).any()


def test_blend_keeps_the_size_of_the_picture():
    from PIL import Image

    assert blend(Image.new("RGB", (31, 17)), np.ones((5, 5), np.float32)).size == (31, 17)
