"""Regions are the connected parts of the mask, in pixels of the upright picture."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import label, regionprops

from pixelsleuth.core.region import SMALLEST_SHARE, regions


@given(hnp.arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24))))
@settings(max_examples=200, deadline=None)
def test_regions_agree_with_scikit_image(mask: np.ndarray) -> None:
    probability = np.full(mask.shape, 255, np.uint8)
    boxes = {(r.box, r.area) for r in regions(mask, probability)}
    expected = {
        ((p.bbox[1], p.bbox[0], p.bbox[3], p.bbox[2]), int(p.area))
        for p in regionprops(label(mask, connectivity=1))
    }
    assert boxes <= expected
    assert len(regions(mask, probability)) == min(16, int(label(mask, connectivity=1).max()))


def test_the_largest_comes_first_and_specks_are_left_out() -> None:
    mask = np.zeros((200, 200), bool)
    mask[10:20, 10:20] = True
    mask[50:120, 60:150] = True
    mask[199, 199] = True
    first, second = regions(mask, np.full(mask.shape, 204, np.uint8))
    assert first.box == (60, 50, 150, 120)
    assert first.area == 70 * 90
    assert second.box == (10, 10, 20, 20)
    assert second.score == 0.8
    assert 1 / mask.size < SMALLEST_SHARE


def test_the_middle_of_a_ring_is_its_nearest_place_inside() -> None:
    from pixelsleuth.core.region import middle_of_strongest

    ring = np.zeros((21, 21), bool)
    ring[5:16] = True
    ring[6:15, 1:20] = False
    assert middle_of_strongest(ring) == (5.0, 10.0)
    low = np.zeros((21, 21), bool)
    low[2, 2:8], low[18, 3:6] = True, True
    assert middle_of_strongest(low)[0] == 2.0
    assert middle_of_strongest(low, np.arange(21.0)[:, None].repeat(21, 1))[0] == 18.0
