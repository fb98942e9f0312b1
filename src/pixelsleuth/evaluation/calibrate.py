"""Measure one detector on labelled pictures of sources that it never saw: the rows from which its decision is fitted.

The unit is the source, not the picture: pictures of one source are alike, and a hundred of them say little more of the
next source than ten do. `core.decision` reads what is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.resaves import resave
from pixelsleuth.core.scores import SCALE, SCHEMA
from pixelsleuth.core.verdict import LABELS, Label, Verdict
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import PictureError, UsageError
from pixelsleuth.evaluation import perturbations
from pixelsleuth.evaluation.pictures import load
from pixelsleuth.evaluation.protocols import get_protocol
from pixelsleuth.pictures.images import Picture

RESAVES = ("jpeg:85", "resize:0.75")
"""Two mild re-saves that a conclusive verdict must survive."""
LEAST_AUTHENTIC, LEAST_CLAIMED = 10, 5
"""Sources of authentic pictures, and of the class that the detector was made for: with fewer, no bound can be held."""
KINDS = {"photograph": None, "recompressed": "jpeg:70", "reduced": "resize:0.5"}
"""What is done to a picture before it is judged: nothing, and what sharing does."""


@dataclass
class Rows:
    """What a detector said: of each row the source, label and kind by index, and the scores of all views in
    thousandths (views x classes)."""

    sources: dict[str, int] = field(default_factory=dict)
    source: list[int] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    scores: list[list[int]] = field(default_factory=list)
    unreadable: int = 0

    def sources_of(self, label: Label) -> int:
        """How many sources have pictures of a class."""
        return len({s for s, one in zip(self.source, self.label, strict=True) if one == LABELS.index(label)})

    def to_dict(self, model: Mapping[str, str], kinds: Iterable[str]) -> dict[str, Any]:
        """As `core.decision` reads it. `model`: name and weights of the detector that was measured."""
        return {
            "schema": SCHEMA,
            "how": "measured by `pixelsleuth models calibrate` on pictures of sources named by its user",
            "classes": [str(label) for label in LABELS],
            "resaves": list(RESAVES),
            "sources": list(self.sources),
            "kinds": list(kinds),
            "rows": {
                "source": self.source,
                "label": self.label,
                "kind": self.kind,
                "scores": self.scores,
            },
            "claims": {},
            "model": dict(model),
        }


def measure(
    detector: Detector,
    samples: Iterable[Sample],
    made_for: Label,
    *,
    kinds: Iterable[str] = ("photograph",),
    step: Callable[[], None] = lambda: None,
) -> Rows:
    """Judge every sample, as it is and after two mild re-saves, under each kind; `step` is called once a sample.

    Raises:
        UsageError: a sample without a source, or too few sources to certify anything.
    """
    rows, protocol, chains = Rows(), get_protocol("standard"), {}
    for kind in kinds:
        spec = KINDS[kind]
        chains[kind] = None if spec is None else perturbations.parse(spec)
    for sample in samples:
        if not sample.source:
            raise UsageError(
                f"{sample.path} has no source: the unit of this measurement is the source, so the manifest needs a "
                "column 'source' that is filled in every row."
            )
        step()
        try:
            picture = load(sample, protocol).picture
        except PictureError:
            rows.unreadable += 1
            continue
        for number, chain in enumerate(chains.values()):
            changed = picture
            if chain is not None:
                changed = replace(picture, pixels=chain.apply(picture.pixels, key=sample.path.as_posix())[0])
            rows.source.append(rows.sources.setdefault(sample.source, len(rows.sources)))
            rows.label.append(LABELS.index(sample.label))
            rows.kind.append(number)
            rows.scores.append(_thousandths(detector, changed))
    enough(rows, made_for)
    return rows


def _thousandths(detector: Detector, picture: Picture) -> list[int]:
    """The scores of the picture and of its re-saves, one after the other, in whole thousandths."""
    scores: list[int] = []
    for pixels in (picture.pixels, *(resave(picture.pixels, spec) for spec in RESAVES)):
        (verdict,) = detector.judge([replace(picture, pixels=pixels)], explain=False)
        scores += [round(SCALE * share) for share in _shares(verdict)]
    return scores


def _shares(verdict: Verdict) -> list[float]:
    assert verdict.probabilities is not None
    return [verdict.probabilities[label] for label in LABELS]


def enough(rows: Rows, made_for: Label) -> None:
    """Raise UsageError where so few sources were seen that no bound could be certified."""
    for label, least in ((Label.REAL, LEAST_AUTHENTIC), (made_for, LEAST_CLAIMED)):
        count = rows.sources_of(label)
        if count < least:
            raise UsageError(
                f"The data have {count} sources with pictures labelled {label}; fewer than {least} certify nothing, "
                "whatever the number of pictures: name data of more sources."
            )
