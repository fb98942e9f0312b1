"""A panel of stand-ins: whose probabilities, mask and words the verdict carries, and what it costs to be measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.region import Region
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.models.panel.detector import Panel, Specialist
from pixelsleuth.pictures.images import Picture

R, G, T = Label.REAL, Label.FULL_SYNTHETIC, Label.TAMPERED
GREY = np.random.default_rng(0).integers(90, 150, (48, 64, 3), dtype=np.uint8)


class Stand(Detector):
    """Says always the same; `small` what it says of pictures that are smaller than the first."""

    version = "1+abc"

    def __init__(
        self, name: str, label: Label, share: float = 0.99, *, sure: bool = True, small: Label | None = None
    ):
        self.name, self.label, self.share, self.sure, self.small = name, label, share, sure, small
        self.judged = 0

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        self.judged += len(pictures)
        return [self.verdict(picture, explain) for picture in pictures]

    def verdict(self, picture: Picture, explain: bool) -> Verdict:
        label = self.small if self.small is not None and picture.width < GREY.shape[1] else self.label
        shares = dict.fromkeys(Label, (1 - self.share) / 2) | {label: self.share}
        mask = np.zeros((picture.height, picture.width), bool)
        mask[:8, : len(self.name)] = True
        marked = label is T
        return Verdict.of(
            picture, shares, model=self.model, inconclusive=not self.sure,
            mask=mask if marked else None, heatmap=mask.astype(np.float32),
            regions=[Region((0, 0, len(self.name), 8), int(mask.sum()), 0.9)] if marked else [],
            explanation=f"The words of {self.name}." if explain else None,
        )  # fmt: skip


class Figures:
    """A measurement that certifies one class; `resaves` views are looked at again."""

    def __init__(self, label: Label, *, part: int = 1, holds: bool = True) -> None:
        self.label, self.part, self.holds = label, part, holds

    def certifies(self, label: Label) -> bool:
        return self.holds and label is self.label

    def sharing(self, accusers: int) -> Figures:
        return Figures(self.label, part=accusers, holds=self.holds)

    def conclusive(self, detector: Detector, picture: Picture, verdict: Verdict) -> bool:
        small = replace(picture, pixels=picture.pixels[:, ::2])
        return all(
            answer.label is self.label for answer in (verdict, *detector.judge([small], explain=False))
        )

    def sentence(self, label: Label) -> str:
        return "wrong for 1 of 80" if self.holds else "does not hold the bounds"


def measured(made_for: Label = Label.FULL_SYNTHETIC) -> Figures:
    return Figures(made_for)


def test_a_measured_specialist_decides_its_class() -> None:
    commfor = Stand("commfor", G)
    verdict = Panel(Stand("compact", R, 0.7, sure=False), [Specialist(commfor, G, measured())]).check(GREY)
    assert (verdict.label, verdict.inconclusive) == (G, False)
    assert verdict.confidence == pytest.approx(0.99)
    assert verdict.mask is None
    assert "commfor, which speaks for wholly generated pictures" in (verdict.explanation or "")
    assert [member["conclusive"] for member in verdict.panel] == [False, True]
    assert "1 of 80" in verdict.panel[1]["figures"]["measured"]
    assert "compact 1+abc, commfor 1+abc" in verdict.model["version"]
    assert commfor.judged == 2, "the picture and its re-save"


def test_a_re_save_that_is_judged_otherwise_takes_the_decision_away() -> None:
    commfor = Stand("commfor", G, small=R)
    verdict = Panel(Stand("compact", R, 0.7, sure=False), [Specialist(commfor, G, measured())]).check(GREY)
    assert (verdict.label, verdict.inconclusive) == (R, True)


def test_an_unmeasured_specialist_is_shown_and_decides_nothing() -> None:
    verdict = Panel(Stand("compact", R), [Specialist(Stand("commfor", G), G, None)]).check(GREY)
    assert (verdict.label, verdict.inconclusive) == (R, False)
    assert verdict.explanation == "The words of compact."
    assert verdict.panel[1]["probabilities"]["full_synthetic"] == pytest.approx(0.99)
    assert verdict.panel[1]["speaks_for"] == []
    assert "measured" not in verdict.panel[1]["figures"]


def test_a_contradiction_is_inconclusive_and_says_who_said_what() -> None:
    verdict = Panel(Stand("compact", T), [Specialist(Stand("commfor", G), G, measured())]).check(GREY)
    assert verdict.inconclusive
    assert verdict.label is T
    assert verdict.mask is None
    assert verdict.regions == []
    assert "commfor says wholly generated" in (verdict.explanation or "")


def test_the_mask_is_the_localizers() -> None:
    trufor = Stand("trufor", T)
    trufor.capabilities = frozenset({Capability.DETECT, Capability.LOCALIZE})
    panel = Panel(Stand("compact", T), [Specialist(trufor, T, measured(T))])
    verdict = panel.check(GREY)
    assert (verdict.label, verdict.inconclusive) == (T, False)
    assert verdict.regions[0].box == (0, 0, len("trufor"), 8)
    assert verdict.heatmap is not None
    assert verdict.heatmap.sum() == 8 * len("trufor")
    assert verdict.explanation is not None
    assert "The words of compact" not in verdict.explanation, "its place is another"
    assert Capability.LOCALIZE in panel.capabilities


def test_without_words_no_sentence_is_made_up() -> None:
    verdict = Panel(Stand("compact", R, sure=False), [Specialist(Stand("commfor", G), G, measured())]).check(
        GREY, explain=False
    )
    assert verdict.explanation is None


def test_accusers_share_the_bound_on_accused_photographs() -> None:
    panel = Panel(Stand("compact", R), [Specialist(Stand("commfor", G), G, measured())])
    figures = panel.specialists[0].measured
    assert isinstance(figures, Figures)
    assert figures.part == 2


def test_a_member_that_errs_too_often_is_never_conclusive() -> None:
    measured = Figures(G, holds=False)
    verdict = Panel(Stand("compact", R, sure=False), [Specialist(Stand("commfor", G), G, measured)]).check(
        GREY
    )
    assert verdict.inconclusive
    assert "does not hold the bounds" in verdict.panel[1]["figures"]["measured"]
    assert verdict.panel[1]["speaks_for"] == []
    assert verdict.panel[0]["speaks_for"] == ["real", "full_synthetic", "tampered"], "the class falls back"


def test_a_record_with_a_panel_is_read_back(tmp_path: Path) -> None:
    verdict = Panel(Stand("compact", R), [Specialist(Stand("commfor", G), G, None)]).check(GREY)
    again = Verdict.from_dict(json.loads(verdict.to_json()))
    assert again.panel == verdict.panel
    assert again.to_dict() == verdict.to_dict()
    assert "panel" not in Stand("compact", R).check(GREY).to_dict()
