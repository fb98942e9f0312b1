"""The large SIDA as a detector, from a folder or a hub id, in the published layout or our own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from pixelsleuth._version import __version__
from pixelsleuth.core.detector import Capability, Detector, Turn
from pixelsleuth.core.region import regions, small_heatmap
from pixelsleuth.core.verdict import LABELS, Verdict
from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.precision import PRECISIONS, needed, place, too_little
from pixelsleuth.models.sida.checkpoint import load_large, sizes
from pixelsleuth.models.sida.inference import Conversation, Reply, SidaEngine
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.sida.prompts import (
    CHAT_QUESTION,
    CHAT_QUESTION_WHY,
    QUESTION,
    QUESTION_WHY,
    described,
    plain,
)
from pixelsleuth.pictures.images import Picture

INCONCLUSIVE_BELOW = 0.5


class SidaDetector(Detector):
    """Three classes and a mask; description checkpoints also say why.

    Args:
        engine: model and processor.
        name: of the model in verdicts.
        precision: of the weights, for the advice where memory runs out.
        max_new_tokens: length of an explanation at most.
    """

    def __init__(
        self,
        engine: SidaEngine,
        name: str,
        *,
        precision: str = "fp32",
        version: str = "",
        max_new_tokens: int = 512,
    ) -> None:
        self.engine, self.name, self.precision = engine, name, precision
        self.max_new_tokens = max_new_tokens
        self.version = f"{__version__}+{version}" if version else __version__
        can = {Capability.DETECT, Capability.LOCALIZE}
        self.capabilities = frozenset(can | ({Capability.EXPLAIN} if engine.describes else set()))

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        """Class and mask in one prefill; with `explain` a description checkpoint also writes its text."""
        pixels = [picture.pixels for picture in pictures]
        try:
            if explain and self.engine.describes:
                replies = self._explained(pixels)
            else:
                question = QUESTION_WHY if self.engine.describes else QUESTION
                replies = self.engine.locate(pixels, question)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise UsageError(self._out_of_memory(len(pictures))) from None
        return [self._verdict(picture, reply) for picture, reply in zip(pictures, replies, strict=True)]

    @property
    def question(self) -> str:
        return CHAT_QUESTION_WHY if self.engine.describes else CHAT_QUESTION

    def converse(self, picture: Picture) -> SidaTalk:
        return SidaTalk(Conversation(self.engine, picture.pixels), self.max_new_tokens)

    def _explained(self, pixels: list[np.ndarray]) -> list[Reply]:
        """Free-running replies; where the head says tampered and the text has no [SEG], the template gives the mask."""
        replies = self.engine.generate(pixels, QUESTION_WHY, max_new_tokens=self.max_new_tokens)
        silent = [i for i, reply in enumerate(replies) if reply.label == 2 and reply.masks is None]
        if silent:
            for i, located in zip(
                silent, self.engine.locate([pixels[i] for i in silent], QUESTION_WHY), strict=True
            ):
                replies[i].masks, replies[i].reason = located.masks, located.reason
        return replies

    def _verdict(self, picture: Picture, reply: Reply) -> Verdict:
        chances = [float(p) for p in reply.probabilities]
        mask, heatmap, places, warnings = None, None, [], []
        if reply.masks is not None:
            logits = reply.masks[-1]
            mask = (logits > 0).numpy()
            chance = logits.sigmoid()
            places = regions(mask, (chance * 255 + 0.5).to(torch.uint8).numpy())
            heatmap = small_heatmap(chance.numpy())
            if not mask.any():
                mask = None
                warnings.append(
                    "no mask: no pixel is more likely tampered than not, though the picture as a whole is"
                )
        elif reply.reason:
            warnings.append(reply.reason)
        statement = described(reply.text) if reply.text else None
        return Verdict.of(
            picture,
            dict(zip(LABELS, chances, strict=True)),
            model=self.model,
            inconclusive=max(chances) < INCONCLUSIVE_BELOW,
            mask=mask,
            heatmap=heatmap,
            regions=places,
            explanation=statement,
            evidence=[{"kind": "generated", "statement": statement, "measured": False}] if statement else [],
            warnings=warnings,
        )

    def _out_of_memory(self, pictures: int) -> str:
        if pictures > 1:
            return (
                f"The device's memory does not hold {pictures} pictures at once: use a smaller --batch-size."
            )
        choices = {kind: needed(*sizes(self.engine.model), kind) for kind in PRECISIONS}
        free, _ = torch.cuda.mem_get_info()
        return too_little(self.name, choices, self.precision, free)


class SidaTalk:
    """A conversation about one picture; the class is read at the answer's own [CLS]."""

    def __init__(self, talk: Conversation, max_new_tokens: int) -> None:
        self.talk, self.max_new_tokens = talk, max_new_tokens

    def ask(self, question: str) -> Turn:
        reply = self.talk.ask(question, max_new_tokens=self.max_new_tokens)
        chances = dict(zip(LABELS, map(float, reply.probabilities), strict=True))
        mask = (reply.masks[-1] > 0).numpy() if reply.masks is not None else None
        return Turn(plain(reply.text), LABELS[reply.label], chances, mask, reply.reason)


def load(name: str, device: str = "auto", precision: str = "auto") -> SidaDetector:
    """The detector of a checkpoint: a folder or a hub id, in the published layout or our own.

    Raises:
        UsageError: the checkpoint is missing, damaged or not SIDA's; no such device; too little memory.
    """
    where, kind, dtype = place(device, precision)
    model, processor = load_large(name, dtype=dtype, device=where, precision=kind)
    engine = SidaEngine(model, processor)
    return SidaDetector(
        engine, hub.short_name(name) or "sida", precision=kind, version=fingerprint(model, processor)
    )


def fingerprint(model: LargeSida, processor: SidaProcessor) -> str:
    """Eight hex digits of what a checkpoint is beside its weights: added tokens and dimensions."""
    identity = repr(sorted(processor.tokenizer.added.items())) + repr(model.config)
    return hashlib.sha256(identity.encode()).hexdigest()[:8]
