"""Detection and calibration figures equal scikit-learn's and torchmetrics', on random and on degenerate input."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelsleuth.evaluation.metrics import calibration, detection
from pixelsleuth.evaluation.metrics.resampling import Bootstrap, weighted_mean

sk = pytest.importorskip("sklearn.metrics")


def cases() -> list[tuple[np.ndarray, np.ndarray]]:
    """(truth, probabilities): random ones, with ties, with a class missing, all of one class, one picture."""
    random = np.random.default_rng(7)
    cases = []
    for n, present in ((400, (0, 1, 2)), (50, (0, 2)), (30, (1,)), (1, (2,))):
        p = random.dirichlet(np.ones(3), n)
        cases.append((random.choice(present, n), p))
        cases.append((random.choice(present, n), np.round(p, 1) / np.round(p, 1).sum(1, keepdims=True)))
    return cases


CASES = cases()


@pytest.mark.parametrize("truth, p", CASES)
def test_figures_of_the_confusion_matrix_equal_scikit_learn(truth: np.ndarray, p: np.ndarray) -> None:
    predicted = p.argmax(1)
    matrix = detection.confusion_matrix(truth, predicted, 3)
    assert np.array_equal(matrix, sk.confusion_matrix(truth, predicted, labels=[0, 1, 2]))
    present = sorted(set(truth.tolist()))
    assert detection.accuracy(matrix) == pytest.approx(sk.accuracy_score(truth, predicted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of classes that were named but do not occur
        assert detection.balanced_accuracy(matrix) == pytest.approx(
            sk.balanced_accuracy_score(truth, predicted)
        )
    scores = sk.precision_recall_fscore_support(
        truth, predicted, labels=present, average="macro", zero_division=0
    )
    assert detection.macro_precision(matrix) == pytest.approx(scores[0])
    assert detection.macro_f1(matrix) == pytest.approx(scores[2])
    each = sk.precision_recall_fscore_support(truth, predicted, labels=[0, 1, 2], zero_division=np.nan)
    np.testing.assert_allclose(detection.precisions(matrix), each[0])
    np.testing.assert_allclose(detection.recalls(matrix), each[1])
    two = detection.binary(matrix, (1, 2))
    assert np.array_equal(two, sk.confusion_matrix(truth > 0, predicted > 0, labels=[False, True]))
    assert detection.f1_scores(two)[1] == pytest.approx(
        sk.f1_score(truth > 0, predicted > 0, zero_division=np.nan), nan_ok=True
    )


@pytest.mark.parametrize("truth, p", CASES)
def test_ranking_figures_equal_scikit_learn_with_ties(truth: np.ndarray, p: np.ndarray) -> None:
    fake, score = truth > 0, 1 - p[:, 0]
    if len(set(fake.tolist())) == 2:
        assert detection.auroc(fake, score) == pytest.approx(sk.roc_auc_score(fake, score), abs=1e-12)
        x, y = detection.roc_curve(fake, score)
        theirs = sk.roc_curve(fake, score, drop_intermediate=False)
        np.testing.assert_allclose(x, theirs[0])
        np.testing.assert_allclose(y, theirs[1])
    else:
        assert math.isnan(detection.auroc(fake, score))
    if fake.any():
        theirs = sk.average_precision_score(fake, score)
        assert detection.average_precision(fake, score) == pytest.approx(theirs, abs=1e-12)
    else:
        assert math.isnan(detection.average_precision(fake, score))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=30))
def test_weights_are_repetitions(rows: list[tuple[bool, int, int]]) -> None:
    truth, score, times = (np.array(column) for column in zip(*rows, strict=True))
    for figure in (detection.auroc, detection.average_precision):
        weighted = figure(truth, score, weights=times)
        repeated = figure(np.repeat(truth, times), np.repeat(score, times))
        assert weighted == pytest.approx(repeated, nan_ok=True)
    matrix = detection.confusion_matrix(truth.astype(int), score % 2, 2, weights=times)
    assert np.array_equal(
        matrix, detection.confusion_matrix(np.repeat(truth, times), np.repeat(score % 2, times), 2)
    )


def test_no_picture_is_no_figure_and_a_score_that_is_no_number_is_refused() -> None:
    empty = detection.Detection().compute()
    assert empty["pictures"] == 0
    assert all(math.isnan(empty[name]) for name in ("accuracy", "macro_f1", "auroc", "average_precision"))
    with pytest.raises(ValueError, match="not a number"):
        detection.auroc([True, False], [float("nan"), 0.5])
    with pytest.raises(ValueError, match="classes"):
        detection.confusion_matrix([3], [0], 3)


def test_streams_merge_to_what_one_stream_says() -> None:
    truth, p = CASES[0]
    whole, parts = detection.Detection(), [detection.Detection() for _ in range(3)]
    for i, (t, row) in enumerate(zip(truth, p, strict=True)):
        whole.update(int(t), row)
        parts[i % 3].update(int(t), row)
    merged = parts[0].merge(parts[1]).merge(parts[2]).compute()
    for name, value in whole.compute().items():
        np.testing.assert_allclose(merged[name], value)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_equals_torchmetrics(bins: int) -> None:
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.functional.classification")
    for truth, p in CASES[
        ::2
    ]:  # the others hold values on the edge of a bin, where float32 may fall either way
        theirs = classification.multiclass_calibration_error(
            torch.tensor(p), torch.tensor(truth), 3, n_bins=bins, norm="l1"
        )
        ours = calibration.expected_calibration_error(p.max(1), p.argmax(1) == truth, bins)
        assert ours == pytest.approx(float(theirs), abs=1e-6)


def test_risk_and_coverage_do_not_depend_on_the_order_of_equal_confidences() -> None:
    confidence, right = np.array([0.9, 0.5, 0.5, 0.5, 0.2]), np.array([1, 1, 0, 1, 0])
    coverage, risk = calibration.risk_coverage(confidence, right)
    np.testing.assert_allclose(coverage, [0.2, 0.8, 1.0])
    np.testing.assert_allclose(risk, [0.0, 0.25, 0.4])
    turned = calibration.area_under_risk_coverage(confidence[::-1], right[::-1])
    assert calibration.area_under_risk_coverage(confidence, right) == pytest.approx(turned)
    assert math.isnan(calibration.area_under_risk_coverage([], []))


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for trial in range(150):
        values = random.normal(size=60)
        low, high = Bootstrap([str(i) for i in range(60)], resamples=300, seed=trial).interval(
            weighted_mean(values)
        )
        covered += low <= 0 <= high
    assert 0.86 <= covered / 150 <= 0.99


def test_groups_are_drawn_together() -> None:
    values = np.repeat(np.random.default_rng(2).normal(size=20), 30)
    alone = Bootstrap([str(i) for i in range(600)], seed=0).interval(weighted_mean(values))
    together = Bootstrap([str(i // 30) for i in range(600)], seed=0).interval(weighted_mean(values))
    assert together[1] - together[0] > 3 * (alone[1] - alone[0])
    assert together == Bootstrap([str(i // 30) for i in range(600)], seed=0).interval(weighted_mean(values))
    assert all(map(math.isnan, Bootstrap(["a"] * 5).interval(weighted_mean(np.ones(5)))))


@pytest.mark.parametrize("confidence", [[-0.01, 0.5], [0.5, 1.01], [float("nan")]])
def test_a_confidence_outside_its_range_is_refused(confidence: list[float]) -> None:
    with pytest.raises(ValueError, match="must lie in 0"):
        calibration.calibration_bins(confidence, [True] * len(confidence))


def test_a_curve_of_one_negative_and_one_positive_ends_at_one() -> None:
    alarms, hits = detection.roc_curve([False, True], [0.2, 0.7])
    assert (alarms.tolist(), hits.tolist()) == ([0, 0, 1], [0, 1, 1])
    assert detection.roc_curve([True], [0.5])[0].tolist() == [0, 0]


def test_a_thinned_curve_keeps_its_ends_and_lies_on_the_whole_one() -> None:
    random = np.random.default_rng(0)
    truth, score = random.random(500) < 0.4, random.random(500)
    whole = set(zip(*map(tuple, detection.roc_curve(truth, score)), strict=True))
    alarms, hits = detection.roc_curve(truth, score, points=20)
    assert len(alarms) == 20
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0, 0, 1, 1)
    assert set(zip(alarms, hits, strict=True)) <= whole


def test_fakes_of_every_kind_are_the_positive_class_of_the_binary_figures() -> None:
    random = np.random.default_rng(1)
    truth, chances = random.integers(0, 3, 60), random.dirichlet((1, 1, 1), 60)
    seen = detection.Detection()
    for one, row in zip(truth, chances, strict=True):
        seen.update(int(one), row)
    figures = seen.compute()
    assert figures["auroc"] == detection.auroc(truth > 0, 1 - chances[:, 0])
    assert figures["average_precision"] == detection.average_precision(truth > 0, 1 - chances[:, 0])
    expected = chances[:, 2] / (chances[:, 2] + chances[:, 0])
    assert np.allclose(detection.relative_score(chances, 2), expected)
