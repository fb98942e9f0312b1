"""What a user may rely on: a part that was copied within a picture is found in both places; textures are left alone."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelsleuth.evidence import keypoint_pairs
from pixelsleuth.evidence.copy_move import copies_of, copy_move_findings, reduced
from pixelsleuth.evidence.inspection import pixel_findings
from pixelsleuth.evidence.keypoint_pairs import agreements_of, pairs_of, similarity, transformed
from pixelsleuth.evidence.keypoints import MOST_DIRECTIONS, SIDE, Keypoints, binomial, keypoints_of, sampled
from pixelsleuth.evidence.same_pixels import inverse

Pixels = np.ndarray
Box = tuple[int, int, int, int]

SOURCE: Box = (30, 40, 110, 120)


def scene(seed: int, size: tuple[int, int] = (320, 300), contrast: float = 1.0) -> Pixels:
    """(H, W, 3) uint8: noise of several finenesses, so that it has structure at each scale, as photographs have."""
    random = np.random.default_rng(seed)
    width, height = size
    total = np.zeros((height, width, 3))
    for cell in (3, 6, 12, 24, 48):
        coarse = random.normal(size=(height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        planes = [
            np.asarray(Image.fromarray(coarse[..., index]).resize(size, Image.Resampling.BICUBIC))
            for index in range(3)
        ]
        total += np.stack(planes, axis=2) * 0.7 + np.asarray(planes[0])[..., None]
    return np.clip(128 + 18 * contrast * total, 0, 255).astype(np.uint8)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream).convert("RGB"))


def with_copy(pixels: Pixels, to: tuple[int, int], turn: float = 0, scale: float = 1) -> tuple[Pixels, Box]:
    """The picture with SOURCE pasted a second time, turned and scaled, its upper left corner at `to`; and its box."""
    part = Image.fromarray(pixels).crop(SOURCE)
    mask = Image.new("L", part.size, 255)
    side = round(part.size[0] * scale)
    part, mask = part.resize((side, side), Image.Resampling.BICUBIC), mask.resize((side, side))
    part = part.rotate(turn, Image.Resampling.BICUBIC, expand=True)
    mask = mask.rotate(turn, Image.Resampling.NEAREST, expand=True)
    picture = Image.fromarray(pixels)
    picture.paste(part, to, mask)
    return np.array(picture), (*to, to[0] + part.size[0], to[1] + part.size[1])


def iou(some: Box, other: Box) -> float:
    width = min(some[2], other[2]) - max(some[0], other[0])
    height = min(some[3], other[3]) - max(some[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (some, other)]
    return shared / (sum(areas) - shared)


@pytest.mark.parametrize(
    "turn, scale, quality",
    [(0, 1, None), (0, 1, 75), (35, 1, 90), (-120, 1, None), (0, 0.8, 90), (0, 1.3, 90), (15, 0.9, 75)],
)
def test_a_copied_part_is_found_in_both_places(turn: float, scale: float, quality: int | None) -> None:
    picture, box = with_copy(scene(1), (170, 150), turn, scale)
    (finding,) = copy_move_findings(picture if quality is None else jpeg(picture, quality))
    assert (finding.kind, finding.strength) == ("copy_move", "shows")
    boxes = [tuple(found) for found in finding.detail["boxes"]]
    assert finding.region == boxes[0]
    best = max(zip((boxes, boxes[::-1])), key=lambda pair: iou(pair[0][0], SOURCE))[0]
    assert iou(best[0], SOURCE) > 0.7
    assert iou(best[1], box) > 0.7
    factor = finding.detail["scale"][0]
    assert max(scale, 1 / scale) == pytest.approx(factor, rel=0.03)
    assert abs(finding.detail["turn_degrees"]) == pytest.approx(abs(turn), abs=1.5)
    assert "cannot be told" in finding.statement


def test_each_line_connects_the_same_point_of_both_parts() -> None:
    picture, _ = with_copy(scene(2), (190, 170))
    (finding,) = copy_move_findings(picture)
    lines = np.array(finding.detail["lines"])
    assert 4 <= len(lines) <= 40
    assert finding.detail["pairs"] >= len(lines)
    shift = lines[:, 2:] - lines[:, :2]
    assert np.abs(np.abs(shift) - np.abs([190 - 30, 170 - 40])).max() < 0.6
    assert np.abs(np.array(finding.detail["shift"])).tolist() == [160, 130]


def test_a_large_picture_is_searched_reduced_and_its_boxes_are_its_own_pixels() -> None:
    picture, box = with_copy(scene(3), (170, 150))
    large = np.array(Image.fromarray(picture).resize((4 * 320, 4 * 300), Image.Resampling.BICUBIC))
    (copy,) = copies_of(large)
    expected = [tuple(4 * value for value in part) for part in (SOURCE, box)]
    assert (
        max(
            min(iou(a, b) for a, b in zip(copy.boxes, order, strict=True))
            for order in (expected, expected[::-1])
        )
        > 0.8
    )


@pytest.mark.parametrize("size", [(123, 181), (64, 64), (200, 1)])
def test_a_picture_is_reduced_in_bands_as_it_is_at_once(size: tuple[int, int]) -> None:
    picture = scene(13, (301, 397))
    whole = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    assert np.abs(reduced(picture, size).astype(int) - whole).max() <= 1


def test_inspection_of_the_pixels_names_copies() -> None:
    picture, _ = with_copy(scene(1), (170, 150))
    assert "copy_move" in {finding.kind for finding in pixel_findings(picture)}


def test_a_part_that_stands_three_times_is_found_in_all_places() -> None:
    picture, first = with_copy(scene(4), (200, 20))
    picture[190:270, 100:180] = picture[40:120, 30:110].copy()
    places = [SOURCE, first, (100, 190, 180, 270)]
    named = {
        max(range(3), key=lambda index: iou(places[index], box))
        for copy in copies_of(picture)
        for box in copy.boxes
    }
    assert named == {0, 1, 2}


def test_an_object_that_is_alike_but_not_the_same_is_left_alone() -> None:
    """The second one is lit differently, or another exposure of the same thing."""
    picture, box = with_copy(scene(5), (170, 150))
    inside = np.s_[box[1] : box[3], box[0] : box[2]]
    lit = picture.astype(np.float32)
    lit[inside] *= np.linspace(0.8, 1.1, 80)[None, :, None]
    assert not copy_move_findings(np.clip(lit, 0, 255).astype(np.uint8))
    other = picture.astype(np.float32)
    other[inside] += 12 * (scene(6, (80, 80)).astype(np.float32) - 128) / 32
    assert not copy_move_findings(np.clip(other, 0, 255).astype(np.uint8))


def periodic(period: int) -> Pixels:
    return np.tile(scene(7, (period, period)), (300 // period + 1, 300 // period + 1, 1))[:300, :300]


def sky() -> Pixels:
    y, x = np.mgrid[:300, :300]
    values = 150 + 60 * y / 300 + 5 * np.sin(x / 90) + np.random.default_rng(8).normal(0, 1, (300, 300))
    return np.stack([values - 30, values, values + 30], axis=2).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(scene(9), id="a scene without copies"),
        pytest.param(periodic(20), id="tiles of 20"),
        pytest.param(periodic(60), id="tiles of 60"),
        pytest.param(np.repeat(scene(10)[:1], 300, axis=0), id="stripes"),
        pytest.param(sky(), id="sky"),
        pytest.param(np.full((300, 300, 3), 255, np.uint8), id="white"),
        pytest.param(np.random.default_rng(11).integers(0, 256, (300, 300, 3), np.uint8), id="noise"),
        pytest.param(scene(12, (47, 400)), id="too small"),
        pytest.param(scene(12, (1, 1)), id="one pixel"),
    ],
)
def test_pictures_without_a_copy_are_left_alone(pixels: Pixels) -> None:
    assert not copy_move_findings(pixels)
    assert not copy_move_findings(jpeg(pixels, 80))


def test_the_rocket_of_the_demonstration_is_found_twice_and_no_original_is_accused() -> None:
    pytest.importorskip("skimage", reason="the demonstration's photographs come with scikit-image")
    from pixelsleuth.forge.demo_pictures import demo_pictures

    speaks = {}
    for picture in demo_pictures():
        if picture.mask is None or picture.name == "rocket-twice.jpg":
            stream = io.BytesIO()
            picture.save(stream)
            speaks[picture.name] = copies_of(np.array(Image.open(stream).convert("RGB")))
    (rocket,) = speaks.pop("rocket-twice.jpg")
    assert np.abs(rocket.matrix).round(1).tolist() == [[1, 0, 62], [0, 1, 0]]
    assert not any(speaks.values())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    width=st.integers(1, 120),
    height=st.integers(1, 120),
    seed=st.integers(0, 2**32 - 1),
    levels=st.sampled_from([1, 2, 256]),
    block=st.sampled_from([1, 3, 16]),
)
def test_no_picture_raises_an_error(width: int, height: int, seed: int, levels: int, block: int) -> None:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, levels, (height // block + 1, width // block + 1, 3))
    pixels = np.kron(coarse * (255 // max(levels - 1, 1)), np.ones((block, block, 1)))[
        :height, :width
    ].astype(np.uint8)
    for finding in copy_move_findings(pixels):
        for x0, y0, x1, y1 in finding.detail["boxes"]:
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height


def test_the_work_is_bounded_whatever_the_picture_holds() -> None:
    """Dots everywhere: the most extrema that a picture can have, and all alike."""
    dots = np.zeros((600, 600), np.float32)
    dots[4::9, 4::9] = 255
    keypoints = keypoints_of(binomial(dots, 1))
    assert 1_000 < len(keypoints.points) <= MOST_DIRECTIONS
    assert keypoints.patches.shape[1] == SIDE**2
    assert len(pairs_of(keypoints, 1)) <= keypoint_pairs.MOST_PAIRS


def test_pairs_are_named_once_and_a_patch_at_many_places_is_in_none() -> None:
    random = np.random.default_rng(0)
    patches = random.normal(size=(12, SIDE**2)).astype(np.float32)
    patches[1] = patches[0]  # a copy
    patches[4:10] = patches[3]  # seven of a kind
    patches /= np.linalg.norm(patches, axis=1, keepdims=True)
    points = 50.0 * np.stack([np.arange(12), np.arange(12) % 3], axis=1)
    keypoints = Keypoints(points, np.full(12, 2.0), np.zeros(12), patches)
    assert pairs_of(keypoints, 1).tolist() == [[0, 1]]
    near = Keypoints(points / 40, np.full(12, 2.0), np.zeros(12), patches)
    assert not len(pairs_of(near, 1))


def test_agreements_are_the_transforms_of_the_pairs() -> None:
    random = np.random.default_rng(1)
    start = random.uniform(0, 80, (20, 2))
    turn, shift = 0.5, np.array([200.0, 60.0])
    matrix = np.column_stack(
        [1.25 * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]), shift]
    )
    stray = random.uniform(0, 400, (10, 2))
    points = np.concatenate([start, transformed(matrix, start), stray])
    angles = np.concatenate([np.zeros(20), np.full(20, turn), random.uniform(0, 6, 10)])
    scales = np.concatenate([np.full(20, 2.0), np.full(20, 2.5), np.full(10, 2.0)])
    keypoints = Keypoints(points, scales, angles, np.zeros((50, 1), np.float32))
    pairs = np.concatenate([np.stack([np.arange(20), np.arange(20, 40)], 1), [[40, 41], [42, 43], [44, 45]]])
    first = agreements_of(keypoints, pairs, 1)[0]
    assert len(first.start) == 20
    found = first.matrix if np.linalg.det(first.matrix[:, :2]) > 1 else inverse(first.matrix)
    assert np.allclose(found, matrix, atol=1e-6)
    assert np.allclose(similarity(start, transformed(matrix, start)), matrix)


def test_values_between_pixels_are_interpolated_and_the_edge_is_repeated() -> None:
    values = np.array([[0, 10], [20, 30]], np.float32)
    assert np.allclose(
        sampled(values, np.array([0.5, 0.0, 5.0]), np.array([0.5, 0.25, -3.0])), [15, 5, 10], atol=0.02
    )


def test_a_binomial_blur_adds_its_variance_and_keeps_the_sum() -> None:
    impulse = np.zeros((41, 41), np.float32)
    impulse[20, 20] = 1
    for step in (1, 2, 4):
        blurred = binomial(impulse, step)
        offsets = np.arange(41) - 20
        assert blurred.sum() == pytest.approx(1)
        assert (blurred.sum(axis=0) * offsets**2).sum() == pytest.approx(step**2 / 2)


def test_copies_in_the_corpus_are_found(shared: Path) -> None:
    picture = np.array(
        Image.open(shared / "corpus2" / "train" / "tampered" / "comofod-0011.jpg").convert("RGB")
    )
    (copy,) = copies_of(picture)
    assert np.abs(copy.matrix).round(1).tolist() == [[1, 0, 165], [0, 1, 0]]
