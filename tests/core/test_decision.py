"""The decision keeps its two bounds on sources that it never saw, and says how often it was wrong."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from pixelsleuth.core import bounds as statistics
from pixelsleuth.core.bounds import Bounds
from pixelsleuth.core.decision import ACCUSING, Decision, to_dict
from pixelsleuth.core.resaves import reduced, resave
from pixelsleuth.core.scores import SCHEMA, read_scores, scores_of
from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError

KINDS = ["photograph", "recompressed", "reduced"]


def content(
    rng: np.random.Generator,
    *,
    skill: float = 4.0,
    sources: int = 20,
    pictures: int = 40,
    spread: float = 0.6,
) -> dict[str, Any]:
    """A decision file: for each class its sources, whose pictures score alike; `skill` parts the classes."""
    rows: dict[str, list] = {"source": [], "label": [], "kind": [], "scores": []}
    for label in range(3):
        for source in range(sources):
            shift = rng.normal(0, spread, 3)
            logits = rng.normal(0, 1, (pictures, 1, 3)) + shift + skill * np.eye(3)[label]
            logits = logits + rng.normal(0, 0.2, (pictures, 3, 3))
            chance = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
            rows["source"] += [label * sources + source] * pictures
            rows["label"] += [label] * pictures
            rows["kind"] += [i % 3 for i in range(pictures)]
            rows["scores"] += np.rint(chance.reshape(pictures, 9) * 1000).astype(int).tolist()
    return {
        "schema": SCHEMA,
        "how": "made for a test",
        "classes": ["real", "full_synthetic", "tampered"],
        "resaves": ["jpeg:85", "resize:0.75"],
        "sources": [f"source {i}" for i in range(3 * sources)],
        "kinds": KINDS,
        "rows": rows,
        "claims": {"place": {"": [9, 10]}},
        "note": "unknown keys are passed over",
    }


def fitted(seed: int = 0, bounds: Bounds | None = None, stable: bool = True, **how: Any) -> Decision:
    return Decision.fit(scores_of(content(np.random.default_rng(seed), **how)), bounds, stable=stable)


def test_a_skilled_model_speaks_and_a_guessing_one_is_never_conclusive() -> None:
    assert all(value is not None for value in fitted().thresholds.values())
    assert fitted().conclusive.mean() > 0.5
    guessing = fitted(skill=0.0)
    assert set(guessing.thresholds.values()) == {None}
    ruling = guessing.decide([[0.01, 0.0, 0.99]] * 3)
    assert (ruling.label, ruling.conclusive) == (Label.TAMPERED, False)
    assert "never calls a picture tampered" in str(ruling.reason)


def test_stricter_bounds_never_loosen_a_threshold() -> None:
    how = {"skill": 2.5, "spread": 0.8}
    loose, strict = fitted(bounds=Bounds(0.05, 0.85), **how), fitted(bounds=Bounds(0.02, 0.95), **how)
    for label in Label:
        assert (strict.thresholds[label] or 1001) >= (loose.thresholds[label] or 1001)
    assert strict.conclusive.mean() < loose.conclusive.mean()


def test_few_sources_certify_nothing_however_right_they_are() -> None:
    few = fitted(sources=3, skill=12.0)
    assert [few.thresholds[label] for label in ACCUSING] == [None, None]


def test_the_bounds_hold_on_new_sources_as_often_as_is_stated() -> None:
    """Fitted again and again on new sources, then measured on a great many others of the same kind."""
    rng = np.random.default_rng(1)
    world = scores_of(content(rng, skill=2.0, sources=400, pictures=25, spread=0.8))
    by_source = np.arange(len(world.source)).reshape(3, 400, 25)
    accused, wrong, spoke, repeats = 0, 0, 0, 150
    for _ in range(repeats):
        chosen = np.stack([group[rng.choice(400, 20, replace=False)] for group in by_source]).reshape(-1)
        sample = type(world)(
            world.how, world.resaves, world.sources, world.kinds,
            world.source[chosen], world.label[chosen], world.kind[chosen], world.views[chosen],
        )  # fmt: skip
        decision = Decision.fit(sample)
        everywhere = _applied(decision, world)
        names = everywhere[1]
        accused += bool((everywhere[0] & (names > 0))[world.label == 0].mean() > 0.03)
        conclusive = [everywhere[0] & (names == index) for index in range(3)]
        rates = [(world.label != i)[c].mean() if c.any() else 0.0 for i, c in enumerate(conclusive)]
        wrong += np.array(rates) > 0.10
        spoke += np.array([c.any() for c in conclusive])
    assert accused <= statistics.DELTA * repeats
    assert (wrong <= statistics.DELTA * repeats).all()
    assert (spoke > 0.3 * repeats).all(), "a decision that never speaks keeps every bound"


def _applied(decision: Decision, world: Any) -> tuple[np.ndarray, np.ndarray]:
    from pixelsleuth.core.decision import sureness

    predicted, sure = sureness(world.views, stable=decision.stable)
    least = np.array(
        [1001 if decision.thresholds[label] is None else decision.thresholds[label] for label in Label]
    )
    return sure >= least[predicted], predicted


@pytest.mark.parametrize("concentration", [10.0, 20.0, 50.0])
def test_the_test_on_accused_pictures_errs_as_seldom_as_stated_at_the_bound(concentration: float) -> None:
    """Sources whose rates of false accusation follow a Beta law with its mean exactly at the bound."""
    rng, repeats, pictures = np.random.default_rng(2), 2000, 60
    rates = rng.beta(0.03 * concentration, 0.97 * concentration, (20, repeats))
    shares = rng.binomial(pictures, rates) / pictures
    p = statistics.accused_p(shares, np.full(20, pictures), 0.03)
    assert (p <= statistics.LEVEL).mean() <= statistics.DELTA


def test_spotless_sources_are_no_certainty() -> None:
    p = lambda sources: statistics.accused_p(np.zeros((sources, 1)), np.full(sources, 30), 0.03)[0]  # noqa: E731
    assert p(3) > statistics.LEVEL
    assert p(20) <= statistics.LEVEL
    alike = statistics.accused_p(np.full((20, 1), 1 / 30), np.full(20, 30), 0.05)
    assert alike[0] == 1.0


def test_a_walk_stops_at_the_first_setting_that_fails_and_divides_its_level_among_its_starts() -> None:
    p = np.array([0.001, 0.04, 0.2, 0.001])
    assert statistics.walk(p).tolist() == [True, True, False, False]
    starts = np.array([True, False, False, True])
    assert statistics.walk(p, starts).tolist() == [True, False, False, True]


def test_the_t_tail_is_that_of_the_tables() -> None:
    for freedom, quantile in ((1, -6.314), (5, -2.015), (20, -1.725), (60, -1.671)):
        assert statistics.tail(np.array([quantile]), freedom)[0] == pytest.approx(0.05, abs=2e-4)


def test_a_verdict_is_conclusive_only_where_every_view_agrees() -> None:
    decision = fitted()
    sure, doubt = [0.005, 0.99, 0.005], [0.36, 0.32, 0.32]
    assert decision.decide([sure, sure, sure]).conclusive
    unstable = decision.decide([sure, sure, doubt])
    assert (unstable.conclusive, unstable.stable) == (False, False)
    assert "re-save" in str(unstable.reason)
    assert not decision.decide([doubt, doubt, doubt]).conclusive
    with pytest.raises(ValueError, match="3 views"):
        decision.decide([sure])
    fast = fitted(stable=False)
    assert (fast.decide([sure]).conclusive, fast.decide([sure]).stable, fast.resaves) == (True, None, ())


def test_the_record_counts_what_the_sentence_says() -> None:
    decision = fitted(skill=2.5)
    whole = decision.record(Label.TAMPERED)
    parts = [decision.record(Label.TAMPERED, kind) for kind in KINDS]
    assert whole.of == sum(part.of for part in parts) > 0
    assert whole.wrong == sum(part.wrong for part in parts)
    assert decision.sentence(Label.TAMPERED).startswith(
        f"Such verdicts were wrong for {whole.wrong} of {whole.of} test pictures from {whole.sources} sources left out"
    )
    assert f"(photograph: {parts[0].wrong} of {parts[0].of}, " in decision.sentence(Label.TAMPERED)
    assert decision.accused().of == 800
    assert decision.accused().wrong <= 0.03 * 800


def test_the_record_of_a_ruling_carries_bounds_and_counts() -> None:
    decision = fitted()
    record = to_dict(decision.decide([[0.005, 0.99, 0.005]] * 3), decision)
    assert record["bounds"] == {"accused": 0.03, "right": 0.90}
    assert record["wrong"]["all"]["of"] == sum(record["wrong"][kind]["of"] for kind in KINDS)
    assert json.loads(json.dumps(record)) == record
    undecided = to_dict(decision.decide([[0.36, 0.32, 0.32]] * 3), decision)
    assert undecided["wrong"] == {}
    assert undecided["sentence"].startswith("Inconclusive: ")


def test_a_fit_takes_milliseconds() -> None:
    scores = scores_of(content(np.random.default_rng(0), sources=20, pictures=100, skill=2.0))
    Decision.fit(scores)
    took = []
    for _ in range(5):
        started = time.process_time()
        Decision.fit(scores)
        took.append(time.process_time() - started)
    assert len(scores) == 6000
    assert min(took) < 0.05


@pytest.mark.parametrize(
    "accused, right", [(0.0, 0.9), (1.0, 0.9), (0.03, 1.0), (0.03, 0.2), (float("nan"), 0.9)]
)
def test_bounds_that_make_no_sense_are_refused(accused: float, right: float) -> None:
    with pytest.raises(UsageError, match="it must be"):
        Bounds(accused, right)


def test_a_decision_file_is_read_strictly(tmp_path) -> None:
    file = tmp_path / "decision.json"
    assert read_scores(file) is None
    good = content(np.random.default_rng(0), sources=4, pictures=3)
    file.write_text(json.dumps(good))
    scores = read_scores(file)
    assert scores is not None
    assert (len(scores), scores.claims) == (36, {"place": {"": (9, 10)}})
    rows = good["rows"]
    for wrong in (
        {"schema": "other"},
        {"classes": ["tampered", "real", "full_synthetic"]},
        {"resaves": ["blur:3", "resize:0.75"]},
        {"resaves": ["jpeg:85"]},
        {"sources": "many"},
        {"rows": rows | {"label": rows["label"][:-1]}},
        {"rows": rows | {"label": [3, *rows["label"][1:]]}},
        {"rows": rows | {"source": [-1, *rows["source"][1:]]}},
        {"rows": rows | {"scores": [[1001] * 9, *rows["scores"][1:]]}},
        {"rows": rows | {"scores": [[0.5] * 9, *rows["scores"][1:]]}},
        {"rows": rows | {"scores": [[1] * 8, *rows["scores"][1:]]}},
        {"rows": None},
        {"claims": {"place": {"": [11, 10]}}},
    ):
        file.write_text(json.dumps(good | wrong))
        with pytest.raises(UsageError, match="is damaged"):
            read_scores(file)
    for text in ("", "[]", "{", "[" * 100_000, '{"schema": NaN}'):
        file.write_text(text)
        with pytest.raises(UsageError, match="is damaged"):
            read_scores(file)


def test_an_empty_decision_file_certifies_nothing() -> None:
    empty = content(np.random.default_rng(0), sources=1, pictures=1) | {
        "rows": {"source": [], "label": [], "kind": [], "scores": []}
    }
    assert set(Decision.fit(scores_of(empty)).thresholds.values()) == {None}


def test_reducing_averages_over_areas() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:, :2] = 240
    small = reduced(pixels, 0.75)
    assert small[:, :, 0].tolist() == [[240, 120, 0]] * 3
    noise = np.random.default_rng(0).integers(0, 256, (601, 433, 3), dtype=np.uint8)
    assert abs(float(reduced(noise, 0.75).mean()) - float(noise.mean())) < 0.2
    assert reduced(np.full((1, 5, 3), 9, np.uint8), 0.25).tolist() == [[[9, 9, 9]]]
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    theirs = cv2.resize(noise, (325, 451), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(reduced(noise, 0.75).astype(int) - theirs).max() <= 1


def test_a_resave_keeps_the_picture_and_refuses_what_it_does_not_know() -> None:
    pixels = np.full((40, 60, 3), (200, 60, 60), np.uint8)
    assert np.abs(resave(pixels, "jpeg:85").astype(int) - pixels).max() < 6
    assert resave(pixels, "resize:0.75").shape == (30, 45, 3)
    for spec in ("jpeg:0", "jpeg:x", "resize:2", "resize:nan", "webp:80", ""):
        with pytest.raises(ValueError):  # noqa: PT011  (float's own message for "jpeg:x")
            resave(pixels, spec)
