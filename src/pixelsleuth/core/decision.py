"""Decides when a label is conclusive, and states how often such verdicts were wrong on pictures of other sources.

    decision = Decision.fit(scores, Bounds(accused=0.03, right=0.90))
    ruling = decision.decide(views)          # (V, 3): the picture's class probabilities, then its re-saves'
    decision.record(Label.TAMPERED).wrong    # of .of pictures of .sources sources

A label is conclusive where it is the most probable one in every view and the least of its probabilities reaches the
label's threshold. `core.bounds` says how thresholds are found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pixelsleuth.core.bounds import STARTS, Bounds, Cells, Floats, accused_p, walk, wrong_p
from pixelsleuth.core.scores import SCALE, Scores
from pixelsleuth.core.verdict import LABELS, Label

ACCUSING = (Label.FULL_SYNTHETIC, Label.TAMPERED)
STEPS = 60
"""Settings of both accusing thresholds together that are tried for the bound on accused pictures."""
FINEST = 0.002
"""Thresholds are tried at steps of this share of the pictures."""
UNMEASURED = "how often this model is wrong was never measured"


@dataclass(frozen=True)
class Record:
    """`wrong` verdicts among `of` left-out pictures from `sources` sources."""

    wrong: int
    of: int
    sources: int

    def to_dict(self) -> dict[str, int]:
        return {"wrong": self.wrong, "of": self.of, "sources": self.sources}


@dataclass(frozen=True)
class Ruling:
    """Whether `label` is conclusive, or the `reason` why not. `stable`: re-saves agreed (None: not judged)."""

    label: Label
    conclusive: bool
    reason: str | None = None
    stable: bool | None = None


@dataclass(frozen=True)
class Decision:
    """Thresholds by label (thousandths; None: never conclusive), with the scores that they were fitted on."""

    scores: Scores
    bounds: Bounds
    stable: bool
    thresholds: Mapping[Label, int | None]
    predicted: NDArray[np.int64] = field(repr=False)
    conclusive: NDArray[np.bool_] = field(repr=False)

    @classmethod
    def fit(cls, scores: Scores, bounds: Bounds | None = None, *, stable: bool = True) -> Decision:
        """The loosest thresholds at which both bounds are certified on the left-out `scores`.

        Each label is first held to the bound on wrong verdicts. Then the labels that accuse are loosened together, each
        in proportion to what its first bound allows, while the bound on accused authentic pictures holds.
        """
        bounds = bounds or Bounds()
        predicted, sure = sureness(scores.views, stable=stable)
        cells, cell = Cells.of(scores.source, scores.label)
        ladders = {
            label: _ladder(predicted == index, sure, cell, cells, index, bounds.right)
            for index, label in enumerate(LABELS)
        }
        places = {label: ladder.loosest() for label, ladder in ladders.items()}
        places |= _within_accused([ladders[label] for label in ACCUSING], cells, bounds.accused)
        thresholds = {
            label: None if place is None else int(ladders[label].thresholds[place])
            for label, place in places.items()
        }
        least = np.array([SCALE + 1 if thresholds[label] is None else thresholds[label] for label in LABELS])
        conclusive = sure >= least[predicted]
        return cls(scores, bounds, stable, thresholds, predicted, conclusive)

    @property
    def resaves(self) -> tuple[str, ...]:
        """The re-saves that have to be judged where `passes` is true."""
        return self.scores.resaves if self.stable else ()

    def passes(self, probabilities: ArrayLike) -> bool:
        """Whether the class probabilities (3,) of the picture itself reach its label's threshold."""
        return self.decide(np.asarray(probabilities)[None], _partial=True).conclusive

    def decide(self, views: ArrayLike, *, _partial: bool = False) -> Ruling:
        """The ruling on class probabilities (V, 3) of the picture and, where `stable` asks for them, its re-saves.

        Raises ValueError where re-saves are missing for a picture that would be conclusive without them.
        """
        chances = np.asarray(views, dtype=np.float64)
        names = chances.argmax(1)
        label = LABELS[int(names[0])]
        least = self.thresholds[label]
        if least is None:
            return Ruling(label, False, self._never(label))
        if np.rint(chances[0, names[0]] * SCALE) < least:
            return Ruling(label, False, f"its score is too low for verdicts that are {self._promise()}")
        if not self.stable or _partial:
            return Ruling(label, True)
        if len(chances) != 1 + len(self.resaves):
            raise ValueError(f"{1 + len(self.resaves)} views expected, got {len(chances)}")
        steady = (names == names[0]).all() and (np.rint(chances[:, names[0]] * SCALE) >= least).all()
        if not steady:
            return Ruling(
                label, False, "a mild re-save of the picture (JPEG, reduced) is judged otherwise", False
            )
        return Ruling(label, True, None, True)

    def record(self, label: Label, kind: str | None = None) -> Record:
        """How often conclusive verdicts `label` were wrong on the left-out pictures, of one kind or of all."""
        index = LABELS.index(label)
        chosen = self.conclusive & (self.predicted == index) & self._of_kind(kind)
        return self._count(chosen, self.scores.label != index)

    def accused(self, kind: str | None = None) -> Record:
        """How many authentic left-out pictures were conclusively called synthetic or tampered."""
        real = (self.scores.label == LABELS.index(Label.REAL)) & self._of_kind(kind)
        return self._count(real, self.conclusive & (self.predicted != LABELS.index(Label.REAL)))

    def sentence(self, label: Label) -> str:
        """One sentence on how often conclusive verdicts `label` were wrong, by kind, with numbers of pictures."""
        whole = self.record(label)
        kinds = {kind: self.record(label, kind) for kind in self.scores.kinds}
        parts = ", ".join(f"{kind}: {part.wrong} of {part.of}" for kind, part in kinds.items() if part.of)
        return (
            f"Such verdicts were wrong for {whole.wrong} of {whole.of} test pictures from {whole.sources} "
            f"source{'s' if whole.sources != 1 else ''} left out of training"
            + (f" ({parts})." if parts else ".")
        )

    def _of_kind(self, kind: str | None) -> NDArray[np.bool_]:
        if kind is None:
            return np.ones(len(self.scores), bool)
        return self.scores.kind == self.scores.kinds.index(kind)

    def _count(self, chosen: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> Record:
        sources = len(np.unique(self.scores.source[chosen]))
        return Record(int((chosen & wrong).sum()), int(chosen.sum()), sources)

    def _promise(self) -> str:
        return f"right in at least {self.bounds.right:.0%} of pictures from other sources"

    def _never(self, label: Label) -> str:
        name = {Label.REAL: "real", Label.FULL_SYNTHETIC: "wholly generated", Label.TAMPERED: "tampered"}[
            label
        ]
        return f"within its bounds this model never calls a picture {name} conclusively"


def to_dict(ruling: Ruling, decision: Decision | None) -> dict[str, Any]:
    """The `decision` object of a verdict's record: the ruling, its bounds, how often such verdicts were wrong."""
    record: dict[str, Any] = {
        "conclusive": ruling.conclusive,
        "bounds": None,
        "stable": ruling.stable,
        "wrong": {},
    }
    if decision is not None:
        record["bounds"] = {"accused": decision.bounds.accused, "right": decision.bounds.right}
        record["accused"] = decision.accused().to_dict()
    if ruling.conclusive and decision is not None:
        records = {"all": decision.record(ruling.label)}
        records |= {kind: decision.record(ruling.label, kind) for kind in decision.scores.kinds}
        record["wrong"] = {name: entry.to_dict() for name, entry in records.items()}
        record["sentence"] = decision.sentence(ruling.label)
    else:
        record["sentence"] = f"Inconclusive: {ruling.reason}."
    return record


def sureness(views: NDArray[np.int64], *, stable: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(label index (N,) of each picture, score (N,) in thousandths: the least over its views, or of the picture alone).

    The score is -1 where a view has another label: such a verdict is never conclusive.
    """
    used = views if stable else views[:, :1]
    names = used.argmax(2)
    predicted = names[:, 0]
    least = np.take_along_axis(used, predicted[:, None, None], 2)[..., 0].min(1, initial=SCALE)
    return predicted, np.where((names == predicted[:, None]).all(1), least, -1)


@dataclass(frozen=True)
class _Ladder:
    """Thresholds (T,) of one label from strict to loose: the share of all pictures at or above each, which of them are
    certified, and per cell the share of its pictures above each (C, T)."""

    thresholds: NDArray[np.int64]
    share: Floats
    certified: NDArray[np.bool_]
    cells: Floats

    def loosest(self, most: float = 1.0) -> int | None:
        """The loosest certified place that names at most `most` of all pictures."""
        places = np.flatnonzero(self.certified & (self.share <= most + 1e-12))
        return int(places[-1]) if len(places) else None


def _ladder(
    named: NDArray[np.bool_],
    sure: NDArray[np.int64],
    cell: NDArray[np.int64],
    cells: Cells,
    index: int,
    right: float,
) -> _Ladder:
    """The ladder of one label: `named` (N,) are the pictures that it is the label of, `cell` (N,) their cells."""
    named = named & (sure >= 0)
    scores = np.sort(sure[named])[::-1]
    step = max(1, round(FINEST * len(sure)))
    thresholds = np.unique(scores[step - 1 :: step])[::-1]
    share = np.searchsorted(-scores, -thresholds, side="right") / max(1, len(sure))
    first = np.searchsorted(-thresholds, -sure[named], side="left")  # the strictest threshold that is reached
    counts = np.zeros((len(cells.size), len(thresholds) + 1))
    np.add.at(counts, (cell[named], first), 1)
    shares = counts[:, :-1].cumsum(1) / cells.size[:, None]
    starts = np.zeros(len(thresholds), bool)
    for start in STARTS:
        starts |= np.arange(len(thresholds)) == int(np.searchsorted(share, start))
    certified = walk(wrong_p(shares, cells, index, right), starts) if len(thresholds) else starts
    return _Ladder(thresholds, share, certified, shares)


def _within_accused(ladders: list[_Ladder], cells: Cells, accused: float) -> dict[Label, int | None]:
    """The places of the accusing labels, loosened together as far as the bound on accused pictures is certified."""
    real = cells.label == LABELS.index(Label.REAL)
    loosest = [ladder.loosest() for ladder in ladders]
    settings, rates = [], []
    for part in np.linspace(0, 1, STEPS + 1):
        places = [
            None if place is None or part == 0 else ladder.loosest(part * ladder.share[place])
            for ladder, place in zip(ladders, loosest, strict=True)
        ]
        settings.append(places)
        rates.append(
            sum(
                (
                    ladder.cells[real, place]
                    for ladder, place in zip(ladders, places, strict=True)
                    if place is not None
                ),
                np.zeros(int(real.sum())),
            )
        )
    passed = np.flatnonzero(walk(accused_p(np.stack(rates, 1), cells.size[real], accused)))
    chosen = settings[int(passed[-1])] if len(passed) else [None] * len(ladders)
    return dict(zip(ACCUSING, chosen, strict=True))
