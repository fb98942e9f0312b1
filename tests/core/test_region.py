"""Regions are the connected parts of the mask, in pixels of the upright picture."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import label, regionprops

from pixelsleuth.core.region import (
    HEATMAP_SIDE,
    SMALLEST_SHARE,
    Region,
    box_iou,
    middle_of_strongest,
    regions,
    sigmoid,
    small_heatmap,
)


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
    ring = np.zeros((21, 21), bool)
    ring[5:16] = True
    ring[6:15, 1:20] = False
    assert middle_of_strongest(ring) == (5.0, 10.0)
    low = np.zeros((21, 21), bool)
    low[2, 2:8], low[18, 3:6] = True, True
    assert middle_of_strongest(low)[0] == 2.0
    assert middle_of_strongest(low, np.arange(21.0)[:, None].repeat(21, 1))[0] == 18.0


def test_a_score_is_the_mean_over_the_regions_own_pixels() -> None:
    probability = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    mask = np.zeros((6, 8), bool)
    mask[1:3, 2:5] = True
    mask[3, 4] = True
    (region,) = regions(mask, probability)
    assert region == Region((2, 1, 5, 4), 7, round(float(probability[mask].mean()) / 255, 4))
    assert Region((0, 0, 1, 1), 1, 0.123456).to_dict() == {"box": [0, 0, 1, 1], "area": 1, "score": 0.1235}


def test_regions_that_touch_at_corners_alone_are_two() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:20, :20] = mask[20:, 20:] = True
    assert len(regions(mask, np.full(mask.shape, 255, np.uint8))) == 2
    mask[20, 19] = True
    assert len(regions(mask, np.full(mask.shape, 255, np.uint8))) == 1


def test_the_middle_in_a_large_picture_is_in_its_pixels() -> None:
    mask = np.zeros((1200, 2000), bool)
    mask[400:600, 800:1300] = True
    assert np.allclose(middle_of_strongest(mask), (499.5, 1049.5), atol=0.01)


@given(hnp.arrays(np.float64, 5, elements=st.floats(-30, 30)))
def test_a_sigmoid_is_one_over_one_plus_exp(x: np.ndarray) -> None:
    assert np.allclose(sigmoid(x), 1 / (1 + np.exp(-x)), rtol=1e-12)
    assert sigmoid(np.float32([-1e4, 0, 1e4])).tolist() == [0, 0.5, 1]
    assert sigmoid(x.astype(np.float32)).dtype == np.float32


def test_a_heat_map_is_averaged_and_never_enlarged() -> None:
    chance = np.zeros((2 * HEATMAP_SIDE, 4 * HEATMAP_SIDE), np.float32)
    chance[::2] = 1
    small = small_heatmap(chance)
    assert small.shape == (HEATMAP_SIDE // 2, HEATMAP_SIDE)
    assert np.allclose(small, 0.5)
    assert small_heatmap(chance[:7, :5]).shape == (7, 5)
    assert small_heatmap(chance[:1]).shape == (1, HEATMAP_SIDE)


def test_boxes_overlap_by_their_common_share() -> None:
    assert box_iou((1, 2, 4, 6), (2, 3, 7, 5)) == 4 / (12 + 10 - 4)
    assert box_iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0
    assert box_iou((0, 0, 2, 2), (3, 3, 4, 4)) == 0
    assert box_iou((1, 1, 1, 5), (1, 1, 1, 5)) == 0
    assert box_iou((5, 5, 1, 1), (0, 0, 9, 9)) == 0
