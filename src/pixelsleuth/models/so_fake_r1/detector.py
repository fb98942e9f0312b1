"""So-Fake-R1 as a detector: reasoning, class and box by the policy, the mask by a frozen SAM.

A checkpoint folder may hold `detector.json`: `segmenter` (a folder, relative to it or not, or a hub id; null: none),
`samples` (0: greedy), `temperature`, `max_new_tokens`, `question`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelsleuth._version import __version__
from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.region import Region, regions
from pixelsleuth.core.verdict import LABELS, Label, Verdict
from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.so_fake_r1.answers import Reading, read, to_picture
from pixelsleuth.models.so_fake_r1.rewards import box_iou
from pixelsleuth.pictures.images import Picture

if TYPE_CHECKING:
    from pixelsleuth.models.so_fake_r1.policy import Completion, Policy
    from pixelsleuth.models.so_fake_r1.segmenter import Segmenter

SETTINGS = "detector.json"
DEFAULT_SEGMENTER = "facebook/sam-vit-huge"
INCONCLUSIVE_BELOW = 0.5


@dataclass(frozen=True)
class Settings:
    """What a checkpoint folder's `detector.json` may say."""

    segmenter: str | None = None
    samples: int = 0
    temperature: float = 1.0
    max_new_tokens: int = 512
    question: str | None = None


class SoFakeDetector(Detector):
    """Three classes, a box, a mask and the reasoning.

    Args:
        policy: answers in the grammar.
        find_segmenter: returns the segmenter; called once, when the first box is told; None: boxes alone.
        settings: greedy or sampled.
    """

    capabilities = frozenset(Capability)

    def __init__(
        self, policy: Policy, name: str, *, find_segmenter: Any = None, settings: Settings | None = None
    ):
        self.policy, self.name, self.version = policy, name, __version__
        self.settings = settings or Settings()
        self._find, self._segmenter, self._lack = (
            find_segmenter,
            None,
            "no segmenter: the box is all there is",
        )
        if find_segmenter is None:
            self.capabilities = frozenset(Capability) - {Capability.LOCALIZE}

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        """The reasoning is part of the answer, so it is written either way; without `explain` it is left out."""
        asked, pixels = self.settings, [picture.pixels for picture in pictures]
        if asked.samples:
            drawn = [
                self.policy.samples(
                    one.pixels,
                    asked.samples,
                    seed=int((one.sha256 or "0")[:8], 16),
                    temperature=asked.temperature,
                    max_new_tokens=asked.max_new_tokens,
                )
                for one in pictures
            ]
        else:
            drawn = [[one] for one in self.policy.greedy(pixels, max_new_tokens=asked.max_new_tokens)]
        return [
            self._verdict(picture, found, explain) for picture, found in zip(pictures, drawn, strict=True)
        ]

    def _verdict(self, picture: Picture, found: Sequence[Completion], explain: bool) -> Verdict:
        from pixelsleuth.models.so_fake_r1.policy import vote

        readings = [read(one.text, self.policy.frame) for one in found]
        warnings: list[str] = []
        votes = vote([one.label for one in readings])
        if votes is None:
            chances = dict.fromkeys(LABELS, 1 / len(LABELS))
            warnings.append("the answer names no class")
            chosen = 0
        else:
            chosen = _chosen(readings, votes)
            chances = votes
            if len(found) == 1 and found[0].chances is not None:
                chances = dict(zip(LABELS, found[0].chances, strict=True))
            elif len(found) == 1:
                warnings.append("no likelihoods are known: 1 and 0 stand for the answer's class")
            warnings += readings[chosen].notes
        if found[chosen].cut:
            warnings.append("the answer was cut at the token limit")
        reading, mask, heat = readings[chosen], None, None
        places: list[Region] = []
        if reading.box is not None:
            mask, heat, places, told = self._localized(picture, reading, chances[Label.TAMPERED])
            warnings += told
        agrees = votes is not None and max(chances, key=lambda one: chances[one]) is reading.label
        thought = reading.thought or (found[chosen].text.strip() if votes is None else "")
        return Verdict.of(
            picture,
            chances,
            model=self.model,
            inconclusive=not agrees or max(chances.values()) < INCONCLUSIVE_BELOW,
            mask=mask,
            heatmap=heat,
            regions=places,
            explanation=(thought or None) if explain else None,
            evidence=[{"kind": "generated", "statement": thought, "measured": False}]
            if thought and explain
            else [],
            warnings=warnings,
        )

    def _localized(
        self, picture: Picture, reading: Reading, chance: float
    ) -> tuple[np.ndarray | None, np.ndarray | None, list[Region], list[str]]:
        """Mask, heat map and regions of the box, and what there is to tell; without a mask the box alone."""
        assert reading.box is not None
        box = to_picture(reading.box, picture.width, picture.height, self.policy.frame)
        whole = Region(box, (box[2] - box[0]) * (box[3] - box[1]), min(1.0, max(0.0, chance)))
        segmenter = self._ready()
        if segmenter is None:
            return None, None, [whole], [self._lack]
        heat = segmenter.mask(picture.pixels, box)
        mask = heat > 0.5
        if not mask.any():
            return None, None, [whole], ["the segmenter found nothing in the box: the box is all there is"]
        found = regions(mask, (heat * 255 + 0.5).astype(np.uint8))
        return mask, heat, found or [whole], []

    def _ready(self) -> Segmenter | None:
        """The segmenter, loaded when first needed; where that fails, the reason stands in every verdict."""
        if self._segmenter is None and self._find is not None:
            try:
                self._segmenter = self._find()
            except UsageError as error:
                self._find, self._lack = None, f"no mask: {error}"
        return self._segmenter


def _chosen(readings: Sequence[Reading], votes: dict[Label, float]) -> int:
    """The answer that speaks for all: of those with the class of the majority, the one whose box overlaps the others'
    most."""
    label = max(LABELS, key=lambda one: votes[one])
    mine = [i for i, one in enumerate(readings) if one.label is label]

    def agreement(i: int) -> float:
        box = readings[i].box
        others = [readings[j].box for j in mine if j != i]
        return sum(box_iou(box, other) for other in others if box and other) + (box is not None)

    return max(mine, key=agreement)


def load(name: str, device: str = "auto", precision: str = "auto") -> SoFakeDetector:
    """The detector of a checkpoint: a folder, or a hub id (then with SAM ViT-H unless its folder says otherwise).

    Raises:
        UsageError: the checkpoint or its detector.json is missing or damaged; no such device; too little memory.
    """
    from pixelsleuth.models.so_fake_r1.policy import load_policy
    from pixelsleuth.models.so_fake_r1.segmenter import load_segmenter

    folder = hub.resolve(name)
    local = Path(name).is_dir()
    settings = read_settings(folder, DEFAULT_SEGMENTER if not local else None)
    asked = {"question": settings.question} if settings.question else {}
    policy, _ = load_policy(folder, name, device=device, precision=precision, **asked)

    def find() -> Segmenter:
        where = hub.resolve(settings.segmenter or "", beside=folder)
        return load_segmenter(where, policy.model.device, policy.model.dtype)

    short = Path(name).name if local else name.rpartition("/")[2].lower()
    return SoFakeDetector(
        policy, short or "so-fake-r1", find_segmenter=find if settings.segmenter else None, settings=settings
    )


def read_settings(folder: Path, segmenter: str | None = None) -> Settings:
    """The folder's detector.json; `segmenter` where it tells none. Raises UsageError where it is damaged."""
    path = folder / SETTINGS
    if not path.is_file():
        return Settings(segmenter)
    kinds: dict[str, tuple[type, ...]] = {
        "segmenter": (str, type(None)),
        "samples": (int,),
        "temperature": (int, float),
        "max_new_tokens": (int,),
        "question": (str, type(None)),
    }
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(Settings)}
        if not isinstance(told, dict) or told.keys() - known:
            raise ValueError(f"known are {', '.join(sorted(known))}")
        wrong = [
            key for key, value in told.items() if isinstance(value, bool) or not isinstance(value, kinds[key])
        ]
        given: dict[str, Any] = {"segmenter": segmenter, **told}
        settings = Settings(**given)
        if (
            wrong
            or not 0 <= settings.samples <= 64
            or settings.temperature <= 0
            or settings.max_new_tokens < 1
        ):
            raise ValueError("a value is of the wrong kind or out of range")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be used ({error}).") from None
    return settings
