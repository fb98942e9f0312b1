"""The panel's rule: each detector speaks for the class that it was made for; nothing is learned or averaged.

1. Every class has one speaker: the specialist whose error rate was measured and is within bounds, or else the bundled
   detector. It alone may *claim* that class, and only where its own decision is conclusive.
2. One class claimed: that is the verdict, with the claimant's probabilities.
3. Two classes claimed: the members contradict each other, and the verdict is inconclusive.
4. No class claimed: the verdict is the bundled detector's, inconclusive.

A specialist that was never measured is shown and claims nothing. Any member that may accuse gets an equal share of the
one bound on accused photographs (the union bound): two accusers, half of it each. See docs/background/panel.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pixelsleuth.core.verdict import Label

SPECIALISTS: Mapping[Label, tuple[str, ...]] = {
    Label.FULL_SYNTHETIC: (
        *("dda", "commfor", "npr", "rine", "univfd", "lnp", "lgrad", "gramnet", "fusing", "cnnspot"),
        "fredect",
    ),
    Label.TAMPERED: ("trufor", "pscc_net", "mvss_net", "hifi_net"),
}
"""The candidates for each class, ordered by published results; measured ones go first. Models of billions of parameters
are left out: a panel answers in seconds on a processor."""


@dataclass(frozen=True)
class Voice:
    """One member's answer for one picture. `label` and `conclusive` are its own decision; `speaks_for` are the classes
    that it may claim (none: it is only shown); `made_for` is the class it was made for (None: all). `figures` has a
    sentence on its errors, `measured` here or `published` by others."""

    name: str
    version: str
    label: Label
    probabilities: Mapping[Label, float]
    conclusive: bool = False
    speaks_for: tuple[Label, ...] = ()
    made_for: Label | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def claim(self) -> Label | None:
        """The class that it claims, if any."""
        return self.label if self.conclusive and self.label in self.speaks_for else None

    def to_dict(self) -> dict[str, Any]:
        """The member's entry in a verdict's `panel`."""
        return {
            "name": self.name,
            "version": self.version,
            "made_for": None if self.made_for is None else str(self.made_for),
            "speaks_for": [str(label) for label in self.speaks_for],
            "label": str(self.label),
            "probabilities": {str(label): round(value, 6) for label, value in self.probabilities.items()},
            "conclusive": self.claim is not None,
            "figures": dict(self.figures),
        }


@dataclass(frozen=True)
class Resolution:
    """The panel's decision: `speaker` is the index of the member whose probabilities and figures the verdict carries,
    `reason` a sentence where the members contradict each other."""

    label: Label
    conclusive: bool
    speaker: int = 0
    reason: str = ""


def resolve(voices: Sequence[Voice]) -> Resolution:
    """The verdict of a panel; `voices[0]` is the bundled detector's.

    >>> shares = {Label.REAL: 0.9, Label.FULL_SYNTHETIC: 0.1, Label.TAMPERED: 0.0}
    >>> resolve([Voice("compact", "1", Label.REAL, shares, True, (Label.REAL, Label.TAMPERED))]).conclusive
    True
    """
    claims = {place: voice.claim for place, voice in enumerate(voices) if voice.claim is not None}
    claimed = set(claims.values())
    if len(claimed) > 1:
        claims_made = "; ".join(
            f"{voices[place].name} says {NAMES[label]}" for place, label in claims.items()
        )
        return Resolution(voices[0].label, False, 0, f"the members contradict each other: {claims_made}")
    if not claims:
        return Resolution(voices[0].label, False)
    speaker = max(claims, key=lambda place: voices[place].probabilities[claims[place]])
    return Resolution(claims[speaker], True, speaker)


NAMES = {Label.REAL: "real", Label.FULL_SYNTHETIC: "wholly generated", Label.TAMPERED: "tampered"}


def grounds(specialists: Sequence[tuple[Label, bool]]) -> tuple[tuple[Label, ...], list[tuple[Label, ...]]]:
    """The classes that the bundled detector speaks for, and those of each specialist. A specialist is (the class it was
    made for, whether its measurement certifies it).

    >>> bundled, (generated, tampered) = grounds([(Label.FULL_SYNTHETIC, True), (Label.TAMPERED, False)])
    >>> [str(label) for label in bundled], [str(label) for label in generated], tampered
    (['real', 'tampered'], ['full_synthetic'], ())
    """
    each: list[tuple[Label, ...]] = [(made_for,) if measured else () for made_for, measured in specialists]
    taken = {label for labels in each for label in labels}
    return tuple(label for label in Label if label not in taken), each


def accusers(bundled: Sequence[Label], each: Sequence[Sequence[Label]]) -> int:
    """The number of members that may claim a class other than real; they share the bound on accused photographs.

    >>> accusers((Label.REAL, Label.TAMPERED), [(Label.FULL_SYNTHETIC,), ()])
    2
    """
    return sum(any(label is not Label.REAL for label in labels) for labels in (bundled, *each))
