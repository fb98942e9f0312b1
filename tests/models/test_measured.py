"""A member's measurement: what it certifies, what it costs to share a bound, and when it is void."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pixelsleuth.core.bounds import Bounds
from pixelsleuth.core.decision import Decision
from pixelsleuth.core.detector import Detector
from pixelsleuth.core.scores import scores_of
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.errors import UsageError
from pixelsleuth.models import store
from pixelsleuth.models.panel.measured import Measurement, decision_file, measured_decision
from pixelsleuth.pictures.images import Picture, open_picture

R, G = Label.REAL, Label.FULL_SYNTHETIC
GREY = open_picture(np.random.default_rng(0).integers(90, 150, (48, 64, 3), dtype=np.uint8))


class Stand(Detector):
    """Says `label` with `share`; of pictures that are smaller than the first, `small`."""

    name, version = "commfor", "1+abc"

    def __init__(self, label: Label, share: float = 0.99, *, small: Label | None = None) -> None:
        self.label, self.share, self.small, self.judged = label, share, small or label, 0

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        self.judged += len(pictures)
        labels = [self.label if picture.width == GREY.width else self.small for picture in pictures]
        return [
            Verdict.of(
                picture, dict.fromkeys(Label, (1 - self.share) / 2) | {label: self.share}, model=self.model
            )
            for picture, label in zip(pictures, labels, strict=True)
        ]


def content(sources: int = 40, made_for: str = "full_synthetic", wrong: float = 0.0) -> dict:
    """A measurement of a detector that is right but for the share `wrong` of authentic pictures."""
    fake = 1 if made_for == "full_synthetic" else 2
    rows: dict[str, list] = {"source": [], "label": [], "kind": [], "scores": []}
    random = np.random.default_rng(0)
    for source in range(sources):
        for i in range(40):
            accused = i % 2 == 1 or random.random() < wrong
            score = [20, 0, 0]
            score[fake] = 980
            rows["source"].append(source)
            rows["label"].append(fake if i % 2 else 0)
            rows["kind"].append(0)
            rows["scores"].append(3 * (score if accused else [980, *([20, 0] if fake == 1 else [0, 20])]))
    return {
        "schema": "pixelsleuth.decision/1", "how": "a test", "classes": ["real", "full_synthetic", "tampered"],
        "resaves": ["jpeg:85", "resize:0.75"], "sources": [f"s{i}" for i in range(sources)], "kinds": ["photograph"],
        "rows": rows, "claims": {},
    }  # fmt: skip


def measured(wrong: float = 0.0) -> Measurement:
    return Measurement(Decision.fit(scores_of(content(wrong=wrong))))


def conclusive(detector: Stand) -> bool:
    (verdict,) = detector.judge([GREY], explain=False)
    return measured().conclusive(detector, GREY, verdict)


def test_a_sure_verdict_that_survives_two_re_saves_is_conclusive() -> None:
    detector = Stand(G)
    assert measured().certifies(G)
    assert conclusive(detector)
    assert detector.judged == 3, "the picture and its two re-saves"


def test_an_unsure_one_is_not_and_costs_no_second_look() -> None:
    detector = Stand(G, 0.6)
    assert not conclusive(detector)
    assert detector.judged == 1


def test_one_that_a_re_save_overturns_is_not() -> None:
    assert not conclusive(Stand(G, small=R))


def test_the_sentence_has_numbers_or_says_why_there_are_none() -> None:
    assert "wrong for 0 of 800 test pictures from 40 sources" in measured().sentence(G)
    assert "does not hold the bounds" in measured(wrong=0.4).sentence(G)
    assert not measured(wrong=0.4).certifies(G)


def test_accusers_share_one_bound() -> None:
    decision = measured().sharing(2).decision
    assert decision.bounds.accused == pytest.approx(Bounds().accused / 2)
    assert decision.bounds.right == Bounds().right
    assert measured().sharing(1).decision.bounds == Bounds()


def test_a_measurement_of_other_weights_is_void(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELSLEUTH_HOME", str(tmp_path))
    store.folder("commfor").mkdir(parents=True)
    assert measured_decision("commfor", Stand(G)) is None
    path = decision_file("commfor")
    path.write_text(json.dumps(content() | {"model": {"name": "commfor", "weights": "abc"}}))
    assert measured_decision("commfor", Stand(G)) is not None
    path.write_text(json.dumps(content() | {"model": {"name": "commfor", "weights": "other"}}))
    with pytest.raises(UsageError, match=r"run `pixelsleuth models calibrate commfor` again"):
        measured_decision("commfor", Stand(G))
    path.write_text("{}")
    with pytest.raises(UsageError, match="damaged"):
        measured_decision("commfor", Stand(G))
