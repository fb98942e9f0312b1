"""Localization figures equal scikit-learn's, torchmetrics' and pycocotools', on random and on degenerate masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelsleuth.core import rle
from pixelsleuth.core.region import box_iou
from pixelsleuth.evaluation.metrics import localization as loc
from pixelsleuth.evaluation.metrics.detection import auroc

sk = pytest.importorskip("sklearn.metrics")


def maps() -> list[tuple[np.ndarray, np.ndarray]]:
    """(score uint8, truth bool): random, informative, constant, all and none tampered, one pixel."""
    random = np.random.default_rng(3)
    noise = random.integers(0, 256, (37, 53), dtype=np.uint8)
    truth = np.zeros((37, 53), bool)
    truth[5:20, 8:30] = True
    helpful = (noise * 0.5 + truth * 120).astype(np.uint8)
    single = np.zeros_like(truth)
    single[36, 52] = True
    flat = np.full_like(noise, 200)
    return [(noise, truth), (helpful, truth), (helpful // 64 * 64, truth), (flat, truth), (flat * 0, truth),
            (noise, ~single), (noise, single),
            (noise, single & ~single), (flat, single | ~single),
            (flat * 0, single & ~single)]  # fmt: skip


MAPS = maps()


@pytest.mark.parametrize("score, truth", MAPS)
def test_figures_of_one_picture_equal_the_independent_ones(score: np.ndarray, truth: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    figures = loc.Localization().update(score, truth)
    marked = score >= 128
    if not truth.any():
        assert all(math.isnan(figures[name]) for name in ("f1", "iou", "auc", "best_f1"))
        assert figures["alarm_area"] == pytest.approx(marked.mean())
        return
    assert math.isnan(figures["alarm_area"])
    flat, cut = truth.ravel(), marked.ravel()
    assert figures["f1"] == pytest.approx(sk.f1_score(flat, cut, zero_division=0))
    assert figures["iou"] == pytest.approx(sk.jaccard_score(flat, cut, zero_division=0))
    theirs = coco.iou([rle.encode(marked)], [rle.encode(truth)], [False])[0, 0]
    assert figures["iou"] == pytest.approx(theirs)
    if truth.all():
        assert math.isnan(figures["auc"])
    else:
        assert figures["auc"] == pytest.approx(sk.roc_auc_score(flat, score.ravel()))
        assert figures["auc"] == pytest.approx(auroc(truth.reshape(-1), score.reshape(-1)))
    best = max(sk.f1_score(flat, score.ravel() >= t, zero_division=0) for t in np.unique(score))
    assert figures["best_f1"] == pytest.approx(best)


def test_pooled_figures_and_means_equal_the_independent_ones() -> None:
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.classification")
    stream, tampered = loc.Localization(), [(s, t) for s, t in MAPS if t.any()]
    for score, truth in MAPS:
        stream.update(score, truth)
    figures = stream.compute()
    flat = np.concatenate([t.ravel() for _, t in tampered])
    scores = np.concatenate([s.ravel() for s, _ in tampered])
    assert figures["pooled_f1"] == pytest.approx(sk.f1_score(flat, scores >= 128))
    assert figures["pooled_auc"] == pytest.approx(sk.roc_auc_score(flat, scores))
    jaccard, f1 = classification.BinaryJaccardIndex(), classification.BinaryF1Score()
    for score, truth in tampered:
        for metric in (jaccard, f1):
            metric.update(torch.tensor(score >= 128).int().ravel(), torch.tensor(truth).int().ravel())
    assert figures["pooled_iou"] == pytest.approx(float(jaccard.compute()), abs=1e-6)
    assert figures["pooled_f1"] == pytest.approx(float(f1.compute()), abs=1e-6)
    assert figures["iou"] == pytest.approx(
        np.mean([sk.jaccard_score(t.ravel(), s.ravel() >= 128, zero_division=0) for s, t in tampered])
    )
    assert figures["alarm_area"] == pytest.approx(
        np.mean([(s >= 128).mean() for s, t in MAPS if not t.any()])
    )


def test_streams_merge_to_what_one_stream_says() -> None:
    whole, parts = loc.Localization(), [loc.Localization(), loc.Localization()]
    for i, (score, truth) in enumerate(MAPS):
        whole.update(score, truth)
        parts[i % 2].update(score, truth)
    merged = parts[0].merge(parts[1]).compute()
    assert merged == pytest.approx(whole.compute())


@pytest.mark.parametrize("empty, clean, alarm", [("skip", None, None), ("one", 1.0, 0.0), ("zero", 0.0, 0.0)])
def test_the_policy_for_empty_masks_is_explicit(empty: str, clean: float | None, alarm: float | None) -> None:
    nothing = np.zeros((4, 4), bool)
    for predicted, expected in ((nothing, clean), (~nothing, alarm)):
        value = loc.f1(loc.mask_counts(predicted, nothing), loc.Empty(empty))
        assert math.isnan(value) if expected is None else value == expected
        value = loc.iou(loc.mask_counts(predicted, nothing), loc.Empty(empty))
        assert math.isnan(value) if expected is None else value == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.6))
def test_the_area_by_histogram_keeps_its_stated_bound(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    truth = random.random((24, 24)) < share
    if truth.all() or not truth.any():
        return
    score = np.clip(random.normal(0.4, 0.004, (24, 24)) + 0.003 * truth, 0, 1)  # many pixels a level
    histogram = loc.histograms(score, truth)
    exact = sk.roc_auc_score(truth.ravel(), score.ravel())
    assert abs(loc.auc(histogram) - exact) <= loc.auc_bound(histogram) + 1e-12
    assert auroc(truth.reshape(-1), score.reshape(-1)) == pytest.approx(exact)


def test_maps_and_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="one"):
        loc.histograms(np.zeros((4, 5), np.uint8), np.zeros((5, 4), bool))
    with pytest.raises(ValueError, match=r"0\.\.1"):
        loc.as_levels(np.array([[1.5]]))
    with pytest.raises(ValueError, match=r"0\.\.1"):
        loc.as_levels(np.array([[np.nan]]))
    with pytest.raises(ValueError, match="one size"):
        loc.mask_counts(np.zeros((2, 2)), np.zeros((3, 3)))


def test_binary_and_float_maps_agree_with_levels() -> None:
    truth = MAPS[0][1]
    assert np.array_equal(loc.histograms(truth, truth), loc.histograms(truth * np.uint8(255), truth))
    levels = MAPS[1][0]
    assert np.array_equal(loc.histograms(levels / 255, truth), loc.histograms(levels, truth))
    assert np.array_equal(loc.counts(loc.histograms(levels, truth)), loc.mask_counts(levels >= 128, truth))


side = st.integers(0, 40)
a_box = st.tuples(side, side, side, side).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]) + 1, max(b[1], b[3]) + 1)
)


@given(a_box, a_box)
def test_the_overlap_of_boxes_equals_that_of_pycocotools(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int]
) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    first, second = ([float(x0), float(y0), float(x1 - x0), float(y1 - y0)] for x0, y0, x1, y1 in (a, b))
    theirs = coco.iou(np.array([first]), np.array([second]), [False])[0, 0]
    assert box_iou(a, b) == pytest.approx(theirs)
    mask = np.zeros((41, 41), bool)
    mask[a[1] : a[3], a[0] : a[2]] = True
    assert loc.mask_box(mask) == a
    mask[b[1] : b[3], b[0] : b[2]] = True
    assert loc.mask_box(mask) == loc.outer_box([a, b])


def test_where_there_is_no_box_nothing_is_made_up() -> None:
    assert loc.mask_box(np.zeros((4, 5), bool)) is None
    assert loc.outer_box([]) is None
    assert box_iou((1, 1, 1, 1), (2, 2, 2, 2)) == 0.0
    assert box_iou((0, 0, 4, 4), (4, 0, 8, 4)) == 0.0
