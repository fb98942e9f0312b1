"""The measurement of a fetched detector on sources that it never saw: `decision.json` beside its weights.

`pixelsleuth models calibrate` writes it and a panel reads it. Without it a member is shown and decides nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.core.bounds import Bounds
from pixelsleuth.core.decision import Decision
from pixelsleuth.core.detector import Detector
from pixelsleuth.core.resaves import resave
from pixelsleuth.core.scores import FILE, read_scores
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.errors import UsageError
from pixelsleuth.models import store

if TYPE_CHECKING:
    from pixelsleuth.pictures.images import Picture


@dataclass(frozen=True)
class Measurement:
    """A fetched detector's decision, fitted on its measurement."""

    decision: Decision

    def sharing(self, accusers: int) -> Measurement:
        """The decision fitted again with its share of the bound on accused photographs, one of `accusers`."""
        return Measurement(shared(self.decision, accusers))

    def certifies(self, label: Label) -> bool:
        """True where some verdicts of this label are conclusive."""
        return self.decision.thresholds[label] is not None

    def conclusive(self, detector: Detector, picture: Picture, verdict: Verdict) -> bool:
        """True where the verdict's label is conclusive; re-saves are judged only where the picture itself passes."""
        first = shares(verdict)
        if not self.decision.passes(first):
            return False
        views = [first]
        for spec in self.decision.resaves:
            view = replace(picture, pixels=resave(picture.pixels, spec))
            (again,) = detector.judge([view], explain=False)
            views.append(shares(again))
        return self.decision.decide(views).conclusive

    def sentence(self, label: Label) -> str:
        """How often conclusive verdicts of this label were wrong, with n; or that there are none."""
        if not self.certifies(label):
            accused = self.decision.bounds.accused
            return (
                f"its measurement ({len(self.decision.scores.sources)} sources) does not hold the bounds (at most "
                f"{accused:.1%} of authentic pictures accused, {self.decision.bounds.right:.0%} of such verdicts right)"
            )
        sentence = self.decision.sentence(label).rstrip(".")
        return sentence[0].lower() + sentence[1:]


def shared(decision: Decision, accusers: int) -> Decision:
    """A decision fitted again with an equal share of its bound on accused photographs."""
    if accusers < 2:
        return decision
    bounds = Bounds(accused=decision.bounds.accused / accusers, right=decision.bounds.right)
    return Decision.fit(decision.scores, bounds, stable=decision.stable)


def shares(verdict: Verdict) -> list[float]:
    """The three probabilities, in the order of `Label`."""
    assert verdict.probabilities is not None, "the picture was judged"
    return [verdict.probabilities[label] for label in Label]


def decision_file(name: str) -> Path:
    """The file of a detector's measurement, whether it exists or not."""
    return store.folder(name) / FILE


def weights_of(detector: Detector) -> str:
    """The part of a detector's version that identifies its weights and their form."""
    return detector.version.partition("+")[2] or detector.version


def measured_decision(
    name: str, detector: Detector, *, bounds: Bounds | None = None, stable: bool = True
) -> Measurement | None:
    """The decision of a detector; None where nothing was measured.

    Raises:
        UsageError: the measurement is damaged, or of other weights.
    """
    path = decision_file(name)
    scores = read_scores(path)
    if scores is None:
        return None
    model = json.loads(path.read_text(encoding="utf-8")).get("model")
    if not isinstance(model, dict) or model.get("weights") != weights_of(detector):
        raise UsageError(
            f"{path} was measured with other weights than those that are there: run `pixelsleuth models calibrate "
            f"{name}` again."
        )
    return Measurement(Decision.fit(scores, bounds, stable=stable))
