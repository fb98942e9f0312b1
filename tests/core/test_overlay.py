"""Overlays can be read on any background, by any eye; the number of every box can be read, too."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelsleuth.core.overlay import blend, draw_overlay, place_tags, ramp_table
from pixelsleuth.core.region import Region
from pixelsleuth.reporting.cards import _boxes


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


def apart(places: list[tuple[float, float]], tags: list[tuple[float, float]]) -> bool:
    rects = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(places, tags, strict=True)]
    return all(
        a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]
        for a, b in itertools.combinations(rects, 2)
    )


boxes = st.lists(
    st.tuples(*[st.integers(0, 299)] * 2, *[st.integers(1, 300)] * 2).map(
        lambda b: (b[0], b[1], min(300, b[0] + b[2]), min(300, b[1] + b[3]))
    ),
    min_size=1,
    max_size=16,
)


@given(boxes=boxes, side=st.floats(5, 25))
@settings(max_examples=100, deadline=None)
def test_no_tag_covers_another_and_none_leaves_the_picture(boxes, side):
    tags = [(side, side * 1.2)] * len(boxes)
    places = place_tags(boxes, tags, (300, 300))
    assert apart(places, tags)
    assert all(0 <= x <= 300 - side and 0 <= y <= 300 - 1.2 * side for x, y in places)


def test_many_boxes_of_one_place_each_keep_their_number():
    tags = [(20.0, 20.0)] * 16
    assert apart(place_tags([(100, 100, 140, 140)] * 16, tags, (400, 300)), tags)


def test_boxes_of_a_report_have_tags_that_do_not_meet():
    placed = _boxes([(10, 10, 90, 90), (10, 10, 40, 40), (11, 11, 38, 38), (0, 0, 100, 100)], 100, 100)
    assert apart([(b["tx"], b["ty"]) for b in placed], [(b["size"], b["size"]) for b in placed])


def test_every_number_of_an_overlay_is_drawn_on_its_own_ground():
    pixels = np.full((300, 400, 3), 128, np.uint8)
    same = Region((150, 120, 250, 200), 100, 0.9)
    dark = {}
    for count in (2, 5):
        drawn = np.asarray(draw_overlay(pixels, None, [same] * count))
        dark[count] = int((drawn.max(axis=2) < 30).sum())
    assert dark[5] > 1.8 * dark[2] - 2 * 2 * (
        100 + 80
    )  # five tags take more room than two; the box stays one


def test_a_picture_too_small_for_all_tags_still_gets_them():
    assert len(place_tags([(0, 0, 8, 8)] * 9, [(12, 12)] * 9, (8, 8))) == 9
