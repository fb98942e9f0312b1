"""So-Fake-R1 as a detector: reasoning, class and box by the policy, the mask by a frozen SAM.

A checkpoint folder may hold `detector.json`: `segmenter` (a folder, relative to it or not, or a hub id; null: none),
`samples` (0: greedy), `temperature`, `max_new_tokens`, `question`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from pixelsleuth._version import __version__
from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.region import Region, regions
from pixelsleuth.core.settings import Count, Positive, Range, fill
from pixelsleuth.core.verdict import LABELS, Label, Verdict
from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.so_fake_r1.answers import Reading, box_iou, read, to_picture
from pixelsleuth.models.weights import read_json
from pixelsleuth.pictures.images import Picture

if TYPE_CHECKING:
    from pixelsleuth.models.so_fake_r1.policy import Completion, Policy
    from pixelsleuth.models.so_fake_r1.segmenter import Segmenter

SETTINGS = "detector.json"
DEFAULT_SEGMENTER = "facebook/sam-vit-huge"
INCONCLUSIVE_BELOW = 0.5


@dataclass(frozen=True)
class Settings:
    """The settings of a checkpoint folder's `detector.json`."""

    segmenter: str | None = None
    samples: Annotated[int, Range(0, 64)] = 0
    temperature: Positive = 1.0
    max_new_tokens: Count = 512
    question: str | None = None


class SoFakeDetector(Detector):
    """Three classes, a box, a mask and the reasoning.

    Args:
        policy: answers in the grammar.
        find_segmenter: returns the segmenter; called once, for the first box; None: boxes only.
        settings: greedy or sampled, and how long.
    """

    capabilities = frozenset(Capability)

    def __init__(
        self, policy: Policy, name: str, *, find_segmenter: Any = None, settings: Settings | None = None
    ):
        self.policy, self.name, self.version = policy, name, __version__
        self.settings = settings or Settings()
        self._find, self._segmenter = find_segmenter, None
        self._no_mask = "no segmenter: the box is all there is"
        if find_segmenter is None:
            self.capabilities = frozenset(Capability) - {Capability.LOCALIZE}

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        """One verdict a picture. The policy always reasons; without `explain` the verdict leaves its reasoning out."""
        settings, pixels = self.settings, [picture.pixels for picture in pictures]
        if settings.samples:
            completions = [
                self.policy.samples(
                    picture.pixels,
                    settings.samples,
                    seed=int((picture.sha256 or "0")[:8], 16),
                    temperature=settings.temperature,
                    max_new_tokens=settings.max_new_tokens,
                )
                for picture in pictures
            ]
        else:
            greedy = self.policy.greedy(pixels, max_new_tokens=settings.max_new_tokens)
            completions = [[completion] for completion in greedy]
        return [
            self._verdict(picture, samples, explain)
            for picture, samples in zip(pictures, completions, strict=True)
        ]

    def _verdict(self, picture: Picture, samples: Sequence[Completion], explain: bool) -> Verdict:
        from pixelsleuth.models.so_fake_r1.policy import vote

        readings = [read(sample.text, self.policy.frame) for sample in samples]
        warnings: list[str] = []
        votes = vote([reading.label for reading in readings])
        if votes is None:
            chances = dict.fromkeys(LABELS, 1 / len(LABELS))
            warnings.append("the answer names no class")
            chosen = 0
        else:
            chosen = _chosen(readings, votes)
            chances = votes
            if len(samples) == 1 and samples[0].chances is not None:
                chances = dict(zip(LABELS, samples[0].chances, strict=True))
            elif len(samples) == 1:
                warnings.append("no likelihoods are known: 1 and 0 stand for the answer's class")
            warnings += readings[chosen].notes
        if samples[chosen].cut:
            warnings.append("the answer was cut at the token limit")
        reading, mask, heat = readings[chosen], None, None
        places: list[Region] = []
        if reading.box is not None:
            mask, heat, places, notes = self._localized(picture, reading, chances[Label.TAMPERED])
            warnings += notes
        agrees = votes is not None and max(chances, key=lambda label: chances[label]) is reading.label
        thought = reading.thought or (samples[chosen].text.strip() if votes is None else "")
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
        """Mask, heat map and regions of the box, and warnings; without a mask the box is the only region."""
        assert reading.box is not None
        box = to_picture(reading.box, picture.width, picture.height, self.policy.frame)
        whole = Region(box, (box[2] - box[0]) * (box[3] - box[1]), min(1.0, max(0.0, chance)))
        segmenter = self._ready()
        if segmenter is None:
            return None, None, [whole], [self._no_mask]
        heat = segmenter.mask(picture.pixels, box)
        mask = heat > 0.5
        if not mask.any():
            return None, None, [whole], ["the segmenter found nothing in the box: the box is all there is"]
        return mask, heat, regions(mask, (heat * 255 + 0.5).astype(np.uint8)) or [whole], []

    def _ready(self) -> Segmenter | None:
        """The segmenter, loaded when it is first needed; where that fails, every verdict states the reason."""
        if self._segmenter is None and self._find is not None:
            try:
                self._segmenter = self._find()
            except UsageError as error:
                self._find, self._no_mask = None, f"no mask: {error}"
        return self._segmenter


def _chosen(readings: Sequence[Reading], votes: dict[Label, float]) -> int:
    """The index of the representative answer: of the majority's class, with the box that overlaps the others most."""
    winner = max(LABELS, key=lambda label: votes[label])
    candidates = [i for i, reading in enumerate(readings) if reading.label is winner]

    def agreement(i: int) -> float:
        box = readings[i].box
        others = [readings[j].box for j in candidates if j != i]
        return sum(box_iou(box, other) for other in others if box and other) + (box is not None)

    return max(candidates, key=agreement)


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
    question = {"question": settings.question} if settings.question else {}
    policy, _ = load_policy(folder, name, device=device, precision=precision, **question)

    def find() -> Segmenter:
        where = hub.resolve(settings.segmenter or "", beside=folder)
        return load_segmenter(where, policy.model.device, policy.model.dtype)

    return SoFakeDetector(
        policy,
        hub.short_name(name) or "so-fake-r1",
        find_segmenter=find if settings.segmenter else None,
        settings=settings,
    )


def read_settings(folder: Path, segmenter: str | None = None) -> Settings:
    """The folder's detector.json, with `segmenter` where it names none.

    Raises:
        UsageError: the file is damaged, or holds a setting that is not known or out of range.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return Settings(segmenter)
    try:
        return fill(Settings, {"segmenter": segmenter, **read_json(path)})
    except UsageError as error:
        raise UsageError(f"{path} cannot be used ({str(error).rstrip('.')}): correct it.") from None
