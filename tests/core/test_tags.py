"""The numbers of boxes: each readable, whatever lies where."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelsleuth.core.overlay import draw_overlay, place_tags
from pixelsleuth.core.region import Region
from pixelsleuth.reporting.cards import _boxes


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
    found = _boxes([(10, 10, 90, 90), (10, 10, 40, 40), (11, 11, 38, 38), (0, 0, 100, 100)], 100, 100)
    assert apart([(b["tx"], b["ty"]) for b in found], [(b["size"], b["size"]) for b in found])


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
