"""`--model auto`: the bundled detector and the specialists that are ready (docs/background/panel.md).

At most one specialist a class is loaded. With nothing in the store, `auto` is the bundled detector itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.errors import DamagedWeights, PixelSleuthError
from pixelsleuth.models import store
from pixelsleuth.models.facts import FACTS
from pixelsleuth.models.light.detector import CONVERTED
from pixelsleuth.models.light.form import SETTINGS
from pixelsleuth.models.panel.measured import decision_file, measured_decision
from pixelsleuth.models.panel.rule import NAMES, SPECIALISTS, Resolution, Voice, accusers, grounds, resolve
from pixelsleuth.pictures.images import Picture
from pixelsleuth.reporting.words import percent

if TYPE_CHECKING:
    from pixelsleuth.core.bounds import Bounds


class Measured(Protocol):
    """A member's decision, measured on sources that it never saw."""

    def certifies(self, label: Label) -> bool:
        """True where some verdicts of this label are conclusive."""

    def sharing(self, accusers: int) -> Measured:
        """The same with its share of the bound on accused photographs."""

    def conclusive(self, detector: Detector, picture: Picture, verdict: Verdict) -> bool:
        """True where the verdict's label is conclusive; re-saves of the picture are judged where that is needed."""

    def sentence(self, label: Label) -> str:
        """A sentence: how often conclusive verdicts of this label were wrong, with n; or that there are none."""


@dataclass(frozen=True)
class Specialist:
    """A member beside the bundled detector, made for one class; `measured` is None where its errors are unknown."""

    detector: Detector
    made_for: Label
    measured: Measured | None

    @property
    def name(self) -> str:
        return self.detector.name

    @property
    def speaks(self) -> bool:
        """True where its measurement certifies the class that it was made for."""
        return self.measured is not None and self.measured.certifies(self.made_for)


class Panel(Detector):
    """The bundled detector and its specialists; `models.panel.rule` decides whose verdict counts."""

    name = "auto"
    batches = False

    def __init__(self, bundled: Detector, specialists: Sequence[Specialist]) -> None:
        members = [bundled, *(member.detector for member in specialists)]
        self.version = ", ".join(f"{member.name} {member.version}" for member in members)
        self.capabilities = frozenset[Capability]().union(*(member.capabilities for member in members))
        parts = accusers(*grounds([(member.made_for, member.measured is not None) for member in specialists]))
        self.bundled, self.scores = bundled, bundled.scores
        self.specialists = [
            replace(member, measured=member.measured and member.measured.sharing(parts))
            for member in specialists
        ]
        # A member that exceeds its share of the bound speaks for nothing: its class falls back to the bundled detector.
        self.speaks_for, self.each = grounds(
            [(member.made_for, member.speaks) for member in self.specialists]
        )

    def decide_by(self, bounds: Bounds | None = None, *, stable: bool = True) -> None:
        """Fit the bundled detector's decision to other bounds; the specialists keep theirs."""
        self.bundled.decide_by(bounds, stable=stable)

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        """One verdict a picture."""
        return [self._judge(picture, explain) for picture in pictures]

    def _judge(self, picture: Picture, explain: bool) -> Verdict:
        (bundled,) = self.bundled.judge([picture], explain=explain)
        verdicts = [bundled]
        voices = [voice_of_bundled(bundled, self.speaks_for)]
        for member, ground in zip(self.specialists, self.each, strict=True):
            (verdict,) = member.detector.judge([picture], explain=False)
            verdicts.append(verdict)
            voices.append(voice_of(member, picture, verdict, ground))
        return combined(verdicts, voices, resolve(voices), self.model)


def load(device: str = "auto") -> Detector:
    """The panel of the bundled detector and the specialists in the store; without any, the bundled detector itself.

    `notices` has a sentence for each specialist that is left out.
    """
    from pixelsleuth.compact.detector import load as load_compact

    specialists: list[Specialist] = []
    notices: list[str] = []
    for made_for, names in SPECIALISTS.items():
        specialist = _specialist(made_for, names, device, notices)
        if specialist is not None:
            specialists.append(specialist)
    bundled: Detector = load_compact(device)
    panel = Panel(bundled, specialists) if specialists else bundled
    panel.notices = tuple(notices)
    return panel


def _specialist(made_for: Label, names: Sequence[str], device: str, notices: list[str]) -> Specialist | None:
    """The first of `names` that is ready and loads; measured ones come first. `notices` gets a sentence for each that
    is in the store and does not load."""
    from pixelsleuth.models.registry import load_light_first

    ready: list[str] = []
    for name in names:
        try:
            entry = store.ready(name)
            if entry is not None or (store.folder(name) / CONVERTED / SETTINGS).is_file():
                ready.append(name)
        except DamagedWeights as error:
            notices.append(f"{name} is left out: {error}")
    for name in sorted(ready, key=lambda name: not decision_file(name).is_file()):
        try:
            entry = store.ready(name)
            if entry is not None:
                store.verify(entry)
            detector = load_light_first(name, device)
        except PixelSleuthError as error:
            notices.append(f"{name} is left out: {error}")
            continue
        try:
            measured = measured_decision(name, detector)
        except PixelSleuthError as error:
            notices.append(f"{name} decides nothing: {error}")
            measured = None
        return Specialist(detector, made_for, measured)
    return None


def voice_of_bundled(verdict: Verdict, speaks_for: tuple[Label, ...]) -> Voice:
    """The bundled detector's voice; its verdict is conclusive by its own decision."""
    assert verdict.label is not None
    assert verdict.probabilities is not None
    return Voice(
        name=verdict.model["name"],
        version=verdict.model["version"],
        label=verdict.label,
        probabilities=verdict.probabilities,
        conclusive=not verdict.inconclusive,
        speaks_for=speaks_for,
    )


def voice_of(member: Specialist, picture: Picture, verdict: Verdict, ground: tuple[Label, ...]) -> Voice:
    """A specialist's voice, and the figures on its errors."""
    assert verdict.label is not None
    assert verdict.probabilities is not None
    conclusive, figures = False, {"published": FACTS[member.name].published} if member.name in FACTS else {}
    if member.measured is not None:
        # Re-saves are judged only for a class that it may claim.
        conclusive = verdict.label in ground and member.measured.conclusive(member.detector, picture, verdict)
        figures = {"measured": member.measured.sentence(member.made_for)} | figures
    return Voice(
        name=verdict.model["name"],
        version=verdict.model["version"],
        label=verdict.label,
        probabilities=verdict.probabilities,
        conclusive=conclusive,
        speaks_for=ground,
        made_for=member.made_for,
        figures={key: text for key, text in figures.items() if text},
    )


def combined(
    verdicts: Sequence[Verdict], voices: Sequence[Voice], resolution: Resolution, model: dict[str, str]
) -> Verdict:
    """The panel's verdict: probabilities, mask and regions of the member whose verdict counts; the bundled detector's
    explanation where it agrees, else one sentence."""
    bundled, speaker = verdicts[0], verdicts[resolution.speaker]
    place = resolution.conclusive and resolution.label is Label.TAMPERED
    agrees = bundled.label is resolution.label and bundled.inconclusive is not resolution.conclusive
    agrees = agrees and not (
        place and resolution.speaker
    )  # the explanation would name another place than the mask
    map_of = next(
        (
            verdict
            for verdict, voice in zip(verdicts, voices, strict=True)
            if Label.TAMPERED in voice.speaks_for
        ),
        bundled,
    )
    own = [text for text in speaker.warnings if text not in bundled.warnings] if resolution.speaker else []
    return replace(
        bundled,
        label=resolution.label,
        confidence=(speaker.probabilities or {})[resolution.label],
        probabilities=speaker.probabilities,
        inconclusive=not resolution.conclusive,
        mask=speaker.mask if place else None,
        regions=speaker.regions if place else [],
        heatmap=bundled.heatmap if map_of.heatmap is None else map_of.heatmap,
        explanation=bundled.explanation if agrees else _sentence(voices, resolution, bundled),
        evidence=bundled.evidence if agrees else [],
        warnings=[*bundled.warnings, *own],
        model=model,
        panel=[voice.to_dict() for voice in voices],
        decision=_decision(bundled, speaker, resolution),
    )


def _decision(bundled: Verdict, speaker: Verdict, resolution: Resolution) -> dict[str, Any] | None:
    """The decision of the member whose verdict counts; where none does, the bundled detector's, and the reason."""
    if resolution.conclusive:
        return speaker.decision
    if bundled.decision is None or (bundled.inconclusive and not resolution.reason):
        return bundled.decision
    reason = resolution.reason or "no member that may decide is sure enough"
    return {**bundled.decision, "conclusive": False, "wrong": {}, "sentence": f"Inconclusive: {reason}."}


def _sentence(voices: Sequence[Voice], resolution: Resolution, bundled: Verdict) -> str | None:
    """The sentence in place of the bundled detector's explanation; None where no explanation was requested."""
    if bundled.explanation is None:
        return None
    if resolution.reason:
        return f"Nothing conclusive: {resolution.reason}."
    if not resolution.conclusive:
        return "Nothing conclusive: no member that may decide is sure enough."
    voice = voices[resolution.speaker]
    share = percent(voice.probabilities[resolution.label])
    return (
        f"{voice.name}, which speaks for {NAMES[resolution.label]} pictures here, gives {share} for this one."
    )
