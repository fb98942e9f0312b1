"""SIDA's ways to answer, in batches, each with as little computation as it needs.

* `classify`: one prefill; the state behind the prompt predicts [CLS], so nothing is decoded.
* `locate`: the same prefill with the tampered answer's words appended; SAM encodes only pictures judged tampered.
* `generate`: cached greedy decoding; the states that predict [CLS] and [SEG] are kept on the way.
* `Conversation`: one picture, encoded once, and any number of questions.

All prompts begin alike, so the keys and values in front of the picture are computed once and copied. The release runs
the whole row and the vision tower again for each token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor, padded
from pixelsleuth.models.sida.prompts import ANSWERS, CANNED, QUESTION, without_repeats
from pixelsleuth.models.sida_core import Context

TAMPERED = 2
Pixels = np.ndarray
"""(H, W, 3) uint8 RGB."""


@dataclass
class Reply:
    """SIDA's answer on one picture.

    Attributes:
        classes: class logits (3,) real, full synthetic, tampered.
        masks: mask logits (S, H, W), one for each [SEG], the answer's own last; None with `reason`.
        reason: why there is no mask.
        ids: generated ids, with the end of sequence; empty where nothing was generated.
        text: the generated text with its special tokens.
        all_classes: class logits (C, 3) at every [CLS], the prompt's own first.
    """

    classes: Tensor
    masks: Tensor | None = None
    reason: str = ""
    ids: list[int] = field(default_factory=list)
    text: str = ""
    all_classes: Tensor | None = None

    @property
    def probabilities(self) -> Tensor:
        """Softmax of the class logits, (3,)."""
        return self.classes.double().softmax(dim=0)

    @property
    def label(self) -> int:
        """0 real, 1 full synthetic, 2 tampered."""
        return int(self.classes.argmax())


@dataclass
class Row:
    """Hidden states of one picture's row that predict [CLS] and [SEG], and the generated ids. `own`: the answer itself
    holds [CLS]."""

    detections: list[Tensor]
    segmentations: list[Tensor]
    own: bool = False
    ids: list[int] = field(default_factory=list)


class SidaEngine:
    """A model, its processor, and the cached prefix of all prompts.

    Args:
        release: behave as the release where a prompt holds [CLS] itself: the mask query comes from the *first* [CLS] of
            the row, the prompt's. By default class and query come from the last, the answer's own.
        sam_batch: pictures in a batch of SAM's image encoder.
    """

    def __init__(
        self, model: LargeSida, processor: SidaProcessor, *, release: bool = False, sam_batch: int = 4
    ) -> None:
        self.model, self.processor, self.release, self.sam_batch = model, processor, release, sam_batch
        parameter = next(model.sam.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.seg = processor.tokenizer.id("[SEG]")
        self.cls = processor.tokenizer.id("[CLS]") if model.sida.config.detection else -1
        self._prefixes: dict[tuple[int, ...], Context] = {}

    @property
    def describes(self) -> bool:
        """True for description checkpoints, whose answers end with [END] and say why."""
        return "[END]" in self.processor.tokenizer.added

    @torch.inference_mode()
    def classify(self, pictures: Sequence[Pixels], question: str = QUESTION) -> Tensor:
        """Class logits (B, 3) on the CPU."""
        hidden, ends, _ = self._prefill(self._encode(pictures), [question] * len(pictures))
        return self._classes(states_at(hidden, ends)).cpu()

    @torch.inference_mode()
    def locate(
        self, pictures: Sequence[Pixels], question: str = QUESTION, *, threshold: float | None = None
    ) -> list[Reply]:
        """Class and mask. A picture gets a mask where tampered is the likeliest class, or, with `threshold`, where the
        probability of tampered is at least that."""
        prompt = self.processor.ids(question).after
        answered = self.processor.ids(question, ANSWERS[TAMPERED]).after
        row = answered[: len(answered) - answered[::-1].index(self.seg) - 1]  # its last state predicts [SEG]
        hidden, ends, _ = self._prefill(self._encode(pictures), [row] * len(pictures))
        detection, segmentation = hidden[:, len(prompt) - 1], states_at(hidden, ends)
        classes = self._classes(detection)
        rows = [Row([d], [s]) for d, s in zip(detection, segmentation, strict=True)]
        return self._replies(pictures, rows, classes, threshold)

    @torch.inference_mode()
    def generate(
        self,
        pictures: Sequence[Pixels],
        questions: str | Sequence[str] = QUESTION,
        *,
        max_new_tokens: int = 512,
        masks: bool = True,
    ) -> list[Reply]:
        """Greedy answers, with the mask of every [SEG] for pictures judged tampered."""
        prompts = [questions] * len(pictures) if isinstance(questions, str) else list(questions)
        hidden, ends, context = self._prefill(self._encode(pictures), prompts)
        rows = [
            self._prompt_row(hidden[i], self.processor.ids(question).after)
            for i, question in enumerate(prompts)
        ]
        self._decode(rows, states_at(hidden, ends), context, max_new_tokens)
        return self._finish(pictures, rows, states_at(hidden, ends), masks=masks)

    def printed(self, reply: Reply, question: str) -> str:
        """The text that the release's terminal chat prints for a reply: a ready sentence, or, for description models,
        prompt and answer without repeated pairs."""
        if not self.describes:
            return f"<s> {CANNED[reply.label]}"
        prompt = self.processor.ids(question)
        text = self.processor.tokenizer.decode([*prompt.before, *prompt.after, *reply.ids])
        return without_repeats(text.replace("</s>", "").replace("\n", "").replace("  ", " "))

    def _prefix(self, ids: tuple[int, ...]) -> Context:
        if ids not in self._prefixes:
            row = self.model.sida.embed(torch.tensor([ids], device=self.device))
            self._prefixes[ids] = self.model.sida.read(row)[1]
        return self._prefixes[ids]

    def _encode(self, pictures: Sequence[Pixels]) -> Tensor:
        pixels = torch.stack([self.processor.clip(picture) for picture in pictures])
        return self.model.tokens(pixels.to(self.device, self.dtype))

    def _prefill(
        self, tokens: Tensor, prompts: Sequence[str | Sequence[int]], context: Context | None = None
    ) -> tuple[Tensor, Tensor, Context]:
        """Read picture tokens (B, N, hidden) and prompts (questions or ids).

        Returns the states of the prompts' ids (B, T, hidden), the index of each row's last id (B,), and the context. N
        may be 0 where `context` holds the picture.
        """
        rows = [self.processor.ids(prompt).after if isinstance(prompt, str) else prompt for prompt in prompts]
        ids, valid = padded(rows, self.device)
        ends = valid.sum(dim=1) - 1
        picture = valid.new_ones(tokens.shape[:2])
        if context is None:
            context = self._prefix(self.processor.ids("").before).copy(len(rows))
        hidden, context = self.model.sida.read(
            torch.cat([tokens, self.model.sida.embed(ids)], dim=1),
            torch.cat([picture, valid], dim=1),
            context,
        )
        return hidden[:, tokens.shape[1] :], ends, context

    def _classes(self, detection: Tensor) -> Tensor:
        return self.model.sida.detection(detection).float()

    def _prompt_row(self, hidden: Tensor, ids: Sequence[int]) -> Row:
        """A row with the states that predict [CLS] and [SEG] in the prompt itself."""
        row = Row([], [])
        for place, index in enumerate(ids):
            if index == self.cls and place:
                row.detections.append(hidden[place - 1])
            elif index == self.seg and place:
                row.segmentations.append(hidden[place - 1])
        return row

    def _decode(self, rows: list[Row], state: Tensor, context: Context, most: int) -> None:
        """Decode all rows greedily, together, for at most `most` tokens; finished rows are padding."""
        sida, eos = self.model.sida, self.processor.tokenizer.eos
        going = torch.ones(len(rows), dtype=torch.bool, device=self.device)
        room = self.processor.context - int(context.lengths.max())
        for step in range(min(most, room)):
            chosen = sida.language.lm_head(state).argmax(dim=-1)
            for i in going.nonzero().flatten().tolist():
                token = int(chosen[i])
                rows[i].ids.append(token)
                if token == self.cls:
                    rows[i].detections.append(state[i])
                    rows[i].own = True
                elif token == self.seg:
                    rows[i].segmentations.append(state[i])
            going = going & (chosen != eos)
            if step + 1 == most or not going.any():
                return
            hidden, context = sida.read(sida.embed(chosen[:, None]), going[:, None], context)
            state = hidden[:, 0]

    def _finish(
        self,
        pictures: Sequence[Pixels],
        rows: list[Row],
        ends: Tensor,
        *,
        masks: bool,
        dense: Tensor | None = None,
    ) -> list[Reply]:
        """Replies of generated rows; without a [CLS] of its own, a row's class is read where it would have stood."""
        for row, end in zip(rows, ends, strict=True):
            if not row.own:
                row.detections.append(end)
        classes = torch.stack([self._classes(row.detections[-1]) for row in rows])
        replies = (
            self._replies(pictures, rows, classes, None, dense)
            if masks
            else [Reply(logits.cpu()) for logits in classes]
        )
        for reply, row in zip(replies, rows, strict=True):
            reply.ids = row.ids
            reply.text = self.processor.tokenizer.decode(row.ids)
            reply.all_classes = torch.stack([self._classes(state) for state in row.detections]).cpu()
        return replies

    def _replies(
        self,
        pictures: Sequence[Pixels],
        rows: list[Row],
        classes: Tensor,
        threshold: float | None,
        dense: Tensor | None = None,
    ) -> list[Reply]:
        """Replies with masks for the rows judged tampered; `dense` is SAM's embedding where it is known."""
        replies = [Reply(logits.cpu()) for logits in classes]
        masked = []
        for i, reply in enumerate(replies):
            chance = float(reply.probabilities[TAMPERED])
            if (reply.label != TAMPERED) if threshold is None else (chance < threshold):
                name = ("real", "full synthetic", "tampered")[reply.label]
                reply.reason = f"no mask: the picture was judged {name}"
            elif not rows[i].segmentations:
                reply.reason = "no mask: the answer holds no [SEG]"
            else:
                masked.append(i)
        for first in range(0, len(masked), self.sam_batch):
            batch = masked[first : first + self.sam_batch]
            embeddings = self._dense([pictures[i] for i in batch]) if dense is None else dense
            for place, i in enumerate(batch):
                replies[i].masks = self._masks(rows[i], embeddings[place : place + 1], pictures[i])
        return replies

    def _dense(self, pictures: Sequence[Pixels]) -> Tensor:
        pixels = torch.stack([self.processor.sam(picture) for picture in pictures])
        return self.model.dense(pixels.to(self.device, self.dtype))

    def _masks(self, row: Row, dense: Tensor, picture: Pixels) -> Tensor:
        """Mask logits (S, H, W) float32 on the CPU."""
        detection = row.detections[0 if self.release else -1]
        classes = self.model.sida.detection(detection)
        low = self.model.sida.mask(
            classes[None], detection[None], torch.stack(row.segmentations)[None], dense
        )
        return self.processor.mask_logits(low[0], *picture.shape[:2]).cpu()


class Conversation:
    """A conversation about one picture, which CLIP, the language model and SAM encode once.

    Each question is a round of its own, as in the release's chat: the model was trained on single rounds.
    """

    def __init__(self, engine: SidaEngine, picture: Pixels) -> None:
        self.engine, self.picture = engine, picture
        with torch.inference_mode():
            before = engine._prefix(engine.processor.ids("").before).copy(1)
            _, self._context = engine.model.sida.read(engine._encode([picture]), None, before)
        self._dense: Tensor | None = None

    @torch.inference_mode()
    def ask(self, question: str, *, max_new_tokens: int = 512) -> Reply:
        """Answer a question, with masks where the picture is judged tampered and the answer holds [SEG]."""
        engine, ids = self.engine, self.engine.processor.ids(question).after
        no_tokens = torch.zeros(1, 0, engine.model.sida.language.config.hidden_size, device=engine.device)
        hidden, ends, context = engine._prefill(no_tokens.to(engine.dtype), [ids], self._context.copy(1))
        rows = [engine._prompt_row(hidden[0], ids)]
        engine._decode(rows, states_at(hidden, ends), context, max_new_tokens)
        (reply,) = engine._finish([self.picture], rows, states_at(hidden, ends), masks=False)
        if reply.label == TAMPERED and rows[0].segmentations and self._dense is None:
            self._dense = engine._dense([self.picture])
        (located,) = engine._replies([self.picture], rows, reply.classes[None], None, self._dense)
        reply.masks, reply.reason = located.masks, located.reason
        return reply


def states_at(hidden: Tensor, places: Tensor) -> Tensor:
    """The state of each row at its place: hidden (B, T, hidden), places (B) -> (B, hidden)."""
    return hidden[torch.arange(len(hidden), device=hidden.device), places]
