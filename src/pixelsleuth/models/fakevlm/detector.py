"""FakeVLM as a detector, on this machine or served over the network.

The model distinguishes real from fake and not the kinds of fakes. Its likelihood of "fake" is therefore that of
`full_synthetic`, and every verdict says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pixelsleuth._version import __version__
from pixelsleuth.core.detector import Capability, Detector, Turn
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.models import hub
from pixelsleuth.models.fakevlm.answers import QUESTION, Answer, read
from pixelsleuth.pictures.images import Picture

if TYPE_CHECKING:
    from pixelsleuth.models.fakevlm.engine import FakeVlmEngine

BINARY = "this model tells real from fake only: full_synthetic stands for a fake of any kind"
NO_VERDICT = "the answer names no verdict"
NO_LIKELIHOOD = "no likelihoods are known: 1 and 0 stand for the answer's word"
CONTRADICTION = "the answer's verdict and the likelihoods of its words disagree"
CUT = "the answer was cut at the token limit"


class Engine(Protocol):
    """Answers FakeVLM's question about pictures (H, W, 3) uint8."""

    def answer(
        self, pixels: Sequence[np.ndarray], *, explain: bool = True, max_new_tokens: int = 256
    ) -> list[Answer]: ...


class FakeVlmDetector(Detector):
    """Real or fake, and the artefacts that show it.

    Args:
        engine: `FakeVlmEngine` or `ServedEngine`.
        name: of the model in verdicts.
        max_new_tokens: length of an answer at most.
    """

    capabilities = frozenset({Capability.DETECT, Capability.EXPLAIN})

    def __init__(self, engine: Engine, name: str, *, version: str = "", max_new_tokens: int = 256) -> None:
        self.engine, self.name, self.max_new_tokens = engine, name, max_new_tokens
        self.version = f"{__version__}+{version}" if version else __version__

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        """One answer a picture; without `explain` a single prefill and no text."""
        answers = self.engine.answer(
            [picture.pixels for picture in pictures], explain=explain, max_new_tokens=self.max_new_tokens
        )
        return [self._verdict(picture, answer) for picture, answer in zip(pictures, answers, strict=True)]

    @property
    def question(self) -> str:
        return QUESTION

    def converse(self, picture: Picture) -> FakeVlmTalk:
        """A conversation of single turns: the model was not trained on more."""
        if not hasattr(self.engine, "ask"):
            super().converse(picture)
        return FakeVlmTalk(self.engine, picture, self.max_new_tokens)  # type: ignore[arg-type]

    def _verdict(self, picture: Picture, answer: Answer) -> Verdict:
        if answer.error is not None:
            verdict = Verdict.failed(picture.source, answer.error, self.model)
            verdict.sha256, verdict.width, verdict.height = picture.sha256, picture.width, picture.height
            verdict.metadata, verdict.warnings = dict(picture.metadata), list(picture.warnings)
            return verdict
        reading = read(answer.text)
        verdict_real, warnings = reading.real, [BINARY]
        real, inconclusive = answer.real, False
        if answer.text and verdict_real is None:
            inconclusive = True
            warnings.append(NO_VERDICT)
        if real is None:
            real = 0.5 if verdict_real is None else float(verdict_real)
            warnings += [NO_LIKELIHOOD] if verdict_real is not None else []
        elif verdict_real is not None and (real > 0.5) != verdict_real and not math.isclose(real, 0.5):
            inconclusive = True
            warnings.append(CONTRADICTION)
        if answer.cut:
            warnings.append(CUT)
        chances = {Label.REAL: real, Label.FULL_SYNTHETIC: 1.0 - real, Label.TAMPERED: 0.0}
        statements = reading.artefacts if verdict_real is not None else []
        return Verdict.of(
            picture,
            chances,
            model=self.model,
            inconclusive=inconclusive,
            explanation=answer.text or None,
            evidence=[{"kind": "generated", "statement": text, "measured": False} for text in statements],
            warnings=warnings,
        )


class FakeVlmTalk:
    """A conversation about one picture; each question is answered without the earlier ones."""

    def __init__(self, engine: FakeVlmEngine, picture: Picture, max_new_tokens: int) -> None:
        self.engine, self.picture, self.max_new_tokens = engine, picture, max_new_tokens

    def ask(self, question: str) -> Turn:
        (text,) = self.engine.ask([self.picture.pixels], [question], max_new_tokens=self.max_new_tokens)
        real = read(text).real
        label = None if real is None else Label.REAL if real else Label.FULL_SYNTHETIC
        return Turn(text, label, note="" if real is None else BINARY)


def load(name: str, device: str = "auto", precision: str = "auto") -> FakeVlmDetector:
    """The detector of a checkpoint: a folder or a hub id.

    Raises:
        UsageError: the checkpoint is missing, damaged or another model's; no such device; too little memory.
    """
    from pixelsleuth.models.fakevlm.engine import load_engine

    engine, _ = load_engine(name, device=device, precision=precision)
    return FakeVlmDetector(engine, hub.short_name(name) or "fakevlm")
