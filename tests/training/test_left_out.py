"""Sources left out of a training stay left out: heads by fold, calibration, and what the decision is fitted on."""

import numpy as np
import pytest
import torch

from pixelsleuth.training.compact.fit_decision import (
    fit_decision,
    fit_mask_threshold,
    fit_temperature,
    softened,
    source_weights,
)
from pixelsleuth.training.compact.left_out_scores import KINDS, THRESHOLDS
from pixelsleuth.training.compact.whole_head import Described, WholeHead, fit_heads, logits_left_out


@pytest.fixture(scope="module")
def described() -> Described:
    """Two values a picture: the first gives the class away everywhere, the second in fold 1, and with the opposite sign
    in fold 0."""
    random = np.random.default_rng(0)
    labels, folds = np.tile([0, 1], 200), np.repeat([0, 1], 200)
    values = random.standard_normal((400, 2)).astype(np.float32)
    values[:, 0] += 1.5 * labels
    values[:, 1] += np.where(folds == 1, 4, -4) * labels
    sources = np.array([f"source-{fold}" for fold in folds])
    return Described(values, labels, sources, folds, np.zeros(400, int))


def test_a_fold_is_judged_by_the_head_that_never_saw_it(described: Described) -> None:
    everyone, without = fit_heads(described, 1.0, {0, 1})
    logits = logits_left_out(without, described.values, described.folds, everyone)
    for fold, other in ((0, 1), (1, 0)):
        rows = described.folds == fold
        expected = without[fold](torch.from_numpy(described.values[rows]))[:, 0].detach().numpy()
        np.testing.assert_allclose(logits[rows], expected, rtol=1e-5)
        assert not np.allclose(
            logits[rows], without[other](torch.from_numpy(described.values[rows]))[:, 0].detach()
        )
    right = ((logits > 0) == (described.labels == 1)).mean()
    by_all = everyone(torch.from_numpy(described.values))[:, 0].detach().numpy()
    assert right < ((by_all > 0) == (described.labels == 1)).mean()


def test_a_source_of_no_fold_is_judged_by_the_head_of_all() -> None:
    head = WholeHead(2)
    values = np.ones((3, 2), np.float32)
    logits = logits_left_out({}, values, np.array([-1, -1, -1]), head)
    np.testing.assert_allclose(logits, head(torch.from_numpy(values))[:, 0].detach().numpy())


def test_classes_weigh_alike_and_sources_alike_within_them() -> None:
    source, labels = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 0, 0, 1])
    weights = source_weights(source, labels)
    np.testing.assert_allclose(weights, [1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 2])


def test_calibrated_probabilities_are_as_sure_as_they_are_right() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 3000)
    logits = random.standard_normal((3000, 3)) + 1.0 * np.eye(3)[truth]
    temperature, bias = fit_temperature(4 * logits, truth, np.full(3000, 1 / 3000))
    probabilities = softened(4 * logits, temperature, bias)
    assert probabilities.max(1).mean() == pytest.approx((probabilities.argmax(1) == truth).mean(), abs=0.03)


def test_the_mask_threshold_weighs_hits_against_false_alarms() -> None:
    thresholds = np.array([-1.0, 0.0, 1.0])
    assert fit_mask_threshold(thresholds, [[0.5, 0.5, 0.2]], [[0.6, 0.1, 0.0]])[0] == 0.0
    assert fit_mask_threshold(thresholds, [[0.9, 0.5, 0.2]], [[0.6, 0.1, 0.0]])[0] == -1.0


def test_what_the_decision_is_fitted_on_holds_every_picture_and_view() -> None:
    random, rows = np.random.default_rng(0), []
    for number in range(60):
        label = number % 3
        row = {
            "name": str(number),
            "kind": list(KINDS)[number % 2],
            "label": label,
            "source": f"s{number % 4}",
        }
        row |= {"fold": number % 4, "unseen": number % 4 == 0, "operation": ""}
        row |= {"logits": (random.standard_normal((3, 3)) + 2 * np.eye(3)[label]).tolist()}
        row |= {"area": [0.1] * len(THRESHOLDS)}
        if label == 2:
            row |= {
                "f1": [0.4] * len(THRESHOLDS),
                "place": [True] * len(THRESHOLDS),
                "size": [False] * len(THRESHOLDS),
            }
        rows.append(row)
    calibration, decision = fit_decision(rows)
    assert calibration["calibration"]["pictures"] == 30
    assert len(decision["rows"]["scores"]) == 60
    assert all(
        abs(sum(views[3 * n : 3 * n + 3]) - 1000) <= 2
        for views in decision["rows"]["scores"]
        for n in range(3)
    )
    assert decision["claims"]["place"][""][0] == decision["claims"]["place"][""][1] > 0
    assert decision["claims"]["size"][""][0] == 0
