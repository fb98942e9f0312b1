"""LISA (Lai et al., CVPR 2024): a language model answers with [SEG], whose hidden state is SAM's mask query.

SIDA extends it, so this is SIDA's model without [CLS], class head and fusion. It names no class: a picture's score is
the largest value of its mask. An answer without [SEG] means no mask.

    pixelsleuth check picture.jpg --model lisa --weights FOLDER
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models.baseline import Localizer, Output
from pixelsleuth.models.facts import CLIP_TOWER, Facts, Origin
from pixelsleuth.models.lora import add_lora, fold
from pixelsleuth.models.mask_losses import masks_apart
from pixelsleuth.models.precision import place
from pixelsleuth.models.sida.checkpoint import load_large, save_large
from pixelsleuth.models.sida.inference import Row, SidaEngine, states_at
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor, padded
from pixelsleuth.models.sida.teacher import IGNORE, hidden_states
from pixelsleuth.models.sida_core import SamMaskDecoder

QUESTION = "Can you segment the tampered region in this image?"
"""LISA's question for a class of things, with tampering as the class."""
ANSWER = "Sure, it is [SEG]."
NOTHING = "There is no such region."
"""The answer that is trained for a picture without a mask. LISA's authors train on pictures with masks alone."""
LORA: dict[str, Any] = {"rank": 8, "alpha": 16.0, "dropout": 0.05, "targets": ("q_proj", "v_proj")}
WEIGHTS = {"ce": 1.0, "bce": 2.0, "dice": 0.5}
NO_MASK = -20.0
"""The logit of every pixel where the answer has no [SEG]."""


@dataclass
class Reply:
    """LISA's answer: generated ids (the end included) and text. For each of S [SEG]: embedding (S, 256), mask logits at
    low resolution (S, 256, 256) and at the picture's size (S, H, W), and the IoU that SAM predicts (S)."""

    ids: list[int]
    text: str
    embeddings: Tensor | None = None
    low: Tensor | None = None
    masks: Tensor | None = None
    quality: list[float] = field(default_factory=list)


class LisaEngine(SidaEngine):
    """Cached greedy decoding, batched, and a mask for every [SEG]; SAM sees only pictures whose answer has one."""

    @torch.inference_mode()
    def segment(
        self, pictures: Sequence[NDArray[np.uint8]], question: str = QUESTION, *, max_new_tokens: int = 512
    ) -> list[Reply]:
        """One reply a picture (H, W, 3) uint8."""
        hidden, ends, context = self._prefill(self._encode(pictures), [question] * len(pictures))
        rows = [Row([], []) for _ in pictures]
        self._decode(rows, states_at(hidden, ends), context, max_new_tokens)
        replies = [Reply(row.ids, self.processor.tokenizer.decode(row.ids)) for row in rows]
        masked = [i for i, row in enumerate(rows) if row.segmentations]
        for first in range(0, len(masked), self.sam_batch):
            batch = masked[first : first + self.sam_batch]
            for i, dense in zip(batch, self._dense([pictures[i] for i in batch]), strict=True):
                self._located(replies[i], rows[i], dense[None], pictures[i].shape)
        return replies

    def _located(self, reply: Reply, row: Row, dense: Tensor, shape: Sequence[int]) -> None:
        embeddings = self.model.sida.segmentation(torch.stack(row.segmentations))
        decoder = cast(SamMaskDecoder, self.model.sida.decoder)
        low, quality = decoder.with_quality(embeddings[None], dense)
        reply.embeddings, reply.low = embeddings.cpu(), low[0].cpu()
        reply.masks = self.processor.mask_logits(low[0], shape[0], shape[1]).cpu()
        reply.quality = [float(value) for value in quality[0]]


class Lisa(Localizer):
    """LISA over a loaded checkpoint; only the checkpoint says how large the model is."""

    facts = Facts(
        name="lisa",
        title="LISA-7B-v1",
        paper="Lai, Tian, Chen, Li, Yuan, Liu, Jia: LISA, CVPR 2024",
        source="dvlab-research/LISA@3cb2d43",
        licence="Apache-2.0; the language model's weights under LLaMA's and Vicuna's terms",
        where="on the hub as xinlai/LISA-7B-v1",
        files=("xinlai/LISA-7B-v1",),
        made_for=Label.TAMPERED,
        options={},
        parameters=7_692_135_140,
        localizes=True,
        known_by="model.text_hidden_fcs.0.0.weight",
        no_graph="it generates with a language model",
        compressible=6_476_267_520,
        origins=(
            Origin("xinlai/LISA-7B-v1", "43c754eef75871fcc11c84d3930a402f7b0a754f", size=16_120_000_000),
            CLIP_TOWER,
        ),
    )
    frozen = ("large.clip", "large.sam")

    def __init__(self, model: LargeSida, processor: SidaProcessor) -> None:
        super().__init__()
        self.engine = LisaEngine(model, processor)
        self.large = model

    @classmethod
    def fresh(cls, **options: str) -> Self:
        """Refused: only a checkpoint says how large it is."""
        raise UsageError(
            f"LISA is trained from a checkpoint: give start, such as start={cls.facts.files[0]}."
        )

    @classmethod
    def load(cls, weights: str | Path, **options: str) -> Self:
        """From a folder or a hub id in the published layout, in full precision on the CPU."""
        return cls.loaded(weights, **options)

    @classmethod
    def loaded(
        cls, weights: str | Path, device: str = "cpu", precision: str = "auto", **options: str
    ) -> Self:
        """From a folder or a hub id, on any device and in any precision that SIDA takes.

        Raises:
            UsageError: the checkpoint is missing, damaged or not LISA's; no such device; too little memory.
        """
        cls.facts.variant(options)
        where, kind, dtype = place(device, precision)
        model, processor = load_large(
            str(weights), dtype=dtype, device=where, precision=kind, detection=False
        )
        return cls(model, processor)

    def begin_training(self) -> None:
        """Train LoRA on queries and values; in full: embedding, head, projection, mask decoder (section 3.2)."""
        sida = self.large.sida
        self.requires_grad_(False)
        add_lora(sida.language.model, **LORA, seed=1)
        for part in (
            sida.decoder,
            sida.segmentation,
            sida.language.lm_head,
            sida.language.model.embed_tokens,
        ):
            part.requires_grad_(True)

    def learnt(self) -> dict[str, Tensor]:
        """The parameters that are trained, LoRA's included."""
        return {name: value.data for name, value in self.named_parameters() if value.requires_grad}

    def store(self, folder: Path) -> None:
        """Write the whole checkpoint, LoRA folded in."""
        fold(self.large, self.large.sida.language.model)
        save_large(self.large, self.engine.processor, folder / "weights")

    def prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 as a tensor; CLIP's and SAM's inputs are made from it later."""
        return torch.from_numpy(np.array(pixels))

    def run(self, inputs: Sequence[Tensor]) -> Output:
        """For each picture the maximum over the masks of its [SEG], at the picture's size."""
        pictures = [pixels.cpu().numpy() for pixels in inputs]
        masks = []
        for picture, reply in zip(pictures, self.engine.segment(pictures), strict=True):
            nothing = torch.full(picture.shape[:2], NO_MASK)
            masks.append(nothing if reply.masks is None else reply.masks.amax(dim=0))
        return Output(None, masks)

    def loss(
        self, inputs: Sequence[Tensor], labels: Tensor, masks: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        """The authors' losses, weighted; the answer for a picture without a mask is `NOTHING`."""
        del labels
        answers = [NOTHING if mask is None else ANSWER for mask in masks]
        pictures = [pixels.cpu().numpy() for pixels in inputs]
        return losses(self.large, self.engine.processor, pictures, answers, masks)


def losses(
    model: LargeSida,
    processor: SidaProcessor,
    pictures: Sequence[NDArray[np.uint8]],
    answers: Sequence[str],
    masks: Sequence[Tensor | None],
    question: str = QUESTION,
) -> dict[str, Tensor]:
    """Weighted losses: cross entropy of the answers' ids; cross entropy and Dice of masks at the pictures' sizes.

    Masks are (H, W) in 0..1. An answer without [SEG] adds nothing to the mask losses.
    """
    parameter = next(model.sam.parameters())
    device, dtype = parameter.device, parameter.dtype
    pixels = torch.stack([processor.clip(picture) for picture in pictures]).to(device, dtype)
    prompt = len(processor.ids(question).after)
    ids, valid = padded([processor.ids(question, answer).after for answer in answers], device)
    before = torch.tensor(processor.ids("").before, device=device)
    hidden = hidden_states(model, pixels, before, ids, valid)
    targets = torch.where(valid, ids, IGNORE)[:, prompt:].flatten()
    logits = model.sida.language.lm_head(hidden[:, prompt - 1 : -1]).float().flatten(0, 1)
    parts = {"ce": F.cross_entropy(logits, targets, ignore_index=IGNORE)}
    drawn, truths = _drawn(model, processor, hidden, ids[:, prompt:], prompt, pictures, masks)
    parts["bce"], parts["dice"] = masks_apart(drawn, truths) if drawn else (hidden.new_zeros(()),) * 2
    parts = {name: WEIGHTS[name] * value for name, value in parts.items()}
    parts["mask"] = parts["bce"] + parts["dice"]
    return parts | {"loss": parts["ce"] + parts["mask"]}


def _drawn(
    model: LargeSida,
    processor: SidaProcessor,
    hidden: Tensor,
    answers: Tensor,
    prompt: int,
    pictures: Sequence[NDArray[np.uint8]],
    masks: Sequence[Tensor | None],
) -> tuple[list[Tensor], list[Tensor]]:
    """Mask logits of each answer's first [SEG] at the picture's size, and the true masks."""
    seg = processor.tokenizer.id("[SEG]")
    parameter = next(model.sam.parameters())
    drawn, truths = [], []
    for i, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
        places = (answers[i] == seg).nonzero().flatten().tolist()
        if mask is None or not places:
            continue
        state = hidden[i, prompt + places[0] - 1]
        with torch.no_grad():  # the encoder is frozen
            dense = model.dense(processor.sam(picture)[None].to(parameter.device, parameter.dtype))
        low = model.sida.decoder(model.sida.segmentation(state)[None, None], dense)
        drawn.append(processor.mask_logits(low[0], *picture.shape[:2])[0])
        truths.append(mask.to(hidden.device).float())
    return drawn, truths
