"""Teacher forcing for the large SIDA: from pictures with their true answers to the losses of equations 5 and 6.

`Example` is a picture with its answer, `collate` makes a padded batch, `losses` runs the model on it. SAM's image
encoder runs only for examples with a mask. The release starts its three mask losses as one tensor and adds to it in
place, so that it trains on (w_bce + w_dice) * (bce + dice). Here each term is itself, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pixelsleuth.models.mask_losses import masks_apart
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor, padded

IGNORE = -100
"""The target that cross entropy leaves out."""


@dataclass
class Example:
    """pixels (H, W, 3) uint8, label 0..2, question, answer, and for tampered pictures the mask (H, W) uint8 0/255."""

    pixels: np.ndarray
    label: int
    question: str
    answer: str
    mask: np.ndarray | None = None


@dataclass
class Batch:
    """A padded batch.

    Attributes:
        clip: (B, 3, side, side). before: ids (P,) in front of every picture.
        ids, valid: (B, T) behind the picture, True where no padding. targets: (B, T), IGNORE outside the answers.
        cls_at, seg_at: (B,) positions in `ids` that predict [CLS] and [SEG] (seg_at is -1 without a mask).
        labels: (B,). sam: (M, 3, side, side) of the examples with a mask, in order. masks: their targets in 0..1, each
            of its picture's size after SAM's resize.
    """

    clip: Tensor
    before: Tensor
    ids: Tensor
    valid: Tensor
    targets: Tensor
    cls_at: Tensor
    seg_at: Tensor
    labels: Tensor
    sam: Tensor
    masks: list[Tensor]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Batch:
        """The same batch on a device, pictures in `dtype`."""
        moved = {
            name: getattr(self, name).to(device) for name in self.__dataclass_fields__ if name != "masks"
        }
        moved |= {name: moved[name].to(dtype) for name in ("clip", "sam")}
        return Batch(**moved, masks=[mask.to(device) for mask in self.masks])


@dataclass
class Losses:
    """The terms of equations 5 and 6, each a scalar; zero where the batch has nothing of the kind."""

    detection: Tensor
    text: Tensor
    bce: Tensor
    dice: Tensor

    def total(self, *, detection: float, text: float, mask: float, bce: float, dice: float) -> Tensor:
        """Equation 6 with its weights (lambda_det, lambda_txt, lambda_mask) and those of equation 5."""
        return detection * self.detection + text * self.text + mask * (bce * self.bce + dice * self.dice)


def collate(processor: SidaProcessor, examples: Sequence[Example]) -> Batch:
    """Tokenize, resize and pad."""
    tokenizer = processor.tokenizer
    cls, seg = tokenizer.id("[CLS]"), tokenizer.id("[SEG]")
    rows, cls_at, seg_at = [], [], []
    for example in examples:
        prompt = len(processor.ids(example.question).after)
        row = processor.ids(example.question, example.answer).after
        rows.append(row)
        cls_at.append(row.index(cls, prompt) - 1)
        has_mask = example.mask is not None and seg in row[prompt:]
        seg_at.append(row.index(seg, prompt) - 1 if has_mask else -1)
    ids, valid = padded(rows)
    targets = torch.full_like(ids, IGNORE)
    for i, row in enumerate(rows):
        targets[i, cls_at[i] : len(row) - 1] = ids[i, cls_at[i] + 1 : len(row)]
    masked = [example for example, place in zip(examples, seg_at, strict=True) if place >= 0]
    side = processor.sam_side
    return Batch(
        clip=torch.stack([processor.clip(example.pixels) for example in examples]),
        before=torch.tensor(processor.ids("").before),
        ids=ids,
        valid=valid,
        targets=targets,
        cls_at=torch.tensor(cls_at),
        seg_at=torch.tensor(seg_at),
        labels=torch.tensor([example.label for example in examples]),
        sam=torch.stack([processor.sam(example.pixels) for example in masked])
        if masked
        else torch.zeros(0, 3, side, side),
        masks=[mask_target(example.mask, processor) for example in masked if example.mask is not None],
    )


def mask_target(mask: np.ndarray, processor: SidaProcessor) -> Tensor:
    """A mask (H, W) uint8 0/255 -> (h, w) in 0..1, resized as SAM's picture is (bilinear)."""
    height, width = processor.sam_size(*mask.shape)
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(resized, np.float32) / 255)


def losses(model: LargeSida, batch: Batch, *, dense: Tensor | None = None) -> tuple[Losses, Tensor]:
    """The losses of a batch, and the class logits (B, 3).

    `dense`: SAM's embeddings (M, C, h, w) of the pictures with a mask, where they are known (the encoder is frozen).
    """
    rows = torch.arange(len(batch.ids), device=batch.ids.device)
    hidden = hidden_states(model, batch.clip, batch.before, batch.ids, batch.valid)
    detection = hidden[rows, batch.cls_at]
    classes = model.sida.detection(detection)
    answer = batch.targets != IGNORE
    text = F.cross_entropy(model.sida.language.lm_head(hidden[answer]).float(), batch.targets[answer])
    bce = dice = classes.new_zeros(())
    masked = batch.seg_at >= 0
    if masked.any():
        states = hidden[rows[masked], batch.seg_at[masked]][:, None]
        embeddings = model.dense(batch.sam) if dense is None else dense
        low = model.sida.mask(classes[masked], detection[masked], states, embeddings)
        bce, dice = masks_apart(_at_sizes(low, batch.masks, model.config.sam["image_size"]), batch.masks)
    return Losses(F.cross_entropy(classes.float(), batch.labels), text, bce, dice), classes


def hidden_states(model: LargeSida, pixels: Tensor, before: Tensor, ids: Tensor, valid: Tensor) -> Tensor:
    """Hidden states (B, T, hidden) of `ids` (B, T) behind ids `before` (P,) and the picture of CLIP's `pixels`."""
    tokens = model.tokens(pixels)
    prefix = model.sida.embed(before)[None].expand(len(ids), -1, -1)
    skip = prefix.shape[1] + tokens.shape[1]
    hidden, _ = model.sida.read(
        torch.cat([prefix, tokens, model.sida.embed(ids)], dim=1),
        torch.cat([valid.new_ones(len(ids), skip), valid], dim=1),
    )
    return hidden[:, skip:]


def _at_sizes(low: Tensor, masks: list[Tensor], side: int) -> list[Tensor]:
    """Low-resolution logits (M, 1, h, w) at the sizes of their targets: up to `side`, padding cut off."""
    full = F.interpolate(low.float(), (side, side), mode="bilinear", align_corners=False)[:, 0]
    return [logits[: mask.shape[0], : mask.shape[1]] for logits, mask in zip(full, masks, strict=True)]
