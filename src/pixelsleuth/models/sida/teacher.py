"""Teacher forcing for the large SIDA: pictures with their true answers in, the losses of equations 5 and 6 out.

`Example` is one picture with its answer, `collate` makes a padded batch of several, `losses` runs the model on it.
SAM's image encoder runs only for the examples that carry a mask.
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
from pixelsleuth.models.sida.processing import SidaProcessor

IGNORE = -100


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
    """The terms of equations 5 and 6, each a scalar: zero where a batch has nothing of the kind."""

    detection: Tensor
    text: Tensor
    bce: Tensor
    dice: Tensor

    def total(
        self,
        *,
        detection: float = 1.0,
        text: float = 1.0,
        mask: float = 1.0,
        bce: float = 2.0,
        dice: float = 0.5,
    ) -> Tensor:
        """Equation 6 with its weights (lambda_det, lambda_txt, lambda_mask) and those of equation 5."""
        return detection * self.detection + text * self.text + mask * (bce * self.bce + dice * self.dice)


def collate(processor: SidaProcessor, examples: Sequence[Example]) -> Batch:
    """Tokenize, resize and pad."""
    tokenizer = processor.tokenizer
    cls, seg = tokenizer.id("[CLS]"), tokenizer.id("[SEG]")
    rows, cls_at, seg_at = [], [], []
    for example in examples:
        asked = len(processor.ids(example.question).after)
        row = processor.ids(example.question, example.answer).after
        rows.append(row)
        cls_at.append(row.index(cls, asked) - 1)
        has_mask = example.mask is not None and seg in row[asked:]
        seg_at.append(row.index(seg, asked) - 1 if has_mask else -1)
    length = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows])
    valid = torch.arange(length) < torch.tensor([[len(row)] for row in rows])
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
        sam=torch.stack([processor.sam(one.pixels) for one in masked])
        if masked
        else torch.zeros(0, 3, side, side),
        masks=[mask_target(one.mask, processor) for one in masked if one.mask is not None],
    )


def mask_target(mask: np.ndarray, processor: SidaProcessor) -> Tensor:
    """(H, W) uint8 0/255 -> (h, w) in 0..1 at the size of SAM's resize, bilinear as the picture itself."""
    height, width = processor.sam_size(*mask.shape)
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(resized, np.float32) / 255)


def losses(model: LargeSida, batch: Batch, *, dense: Tensor | None = None) -> Losses:
    """The losses of a batch; `dense` gives SAM's embeddings where they are known already (the encoder is frozen)."""
    tokens, rows = model.tokens(batch.clip), torch.arange(len(batch.ids), device=batch.ids.device)
    before = model.sida.embed(batch.before)[None].expand(len(rows), -1, -1)
    skip = before.shape[1] + tokens.shape[1]
    hidden, _ = model.sida.read(
        torch.cat([before, tokens, model.sida.embed(batch.ids)], dim=1),
        torch.cat([batch.valid.new_ones(len(rows), skip), batch.valid], dim=1),
    )
    hidden = hidden[:, skip:]
    detection = hidden[rows, batch.cls_at]
    classes = model.sida.detection(detection)
    said = batch.targets != IGNORE
    text = F.cross_entropy(model.sida.language.lm_head(hidden[said]).float(), batch.targets[said])
    bce = dice = classes.new_zeros(())
    masked = batch.seg_at >= 0
    if masked.any():
        states = hidden[rows[masked], batch.seg_at[masked]][:, None]
        seen = model.dense(batch.sam) if dense is None else dense
        low = model.sida.mask(classes[masked], detection[masked], states, seen)
        bce, dice = masks_apart(_at_sizes(low, batch.masks, model.config.sam["image_size"]), batch.masks)
    return Losses(F.cross_entropy(classes.float(), batch.labels), text, bce, dice)


def _at_sizes(low: Tensor, masks: list[Tensor], side: int) -> list[Tensor]:
    """Low-resolution logits (M, 1, h, w) at the sizes of their targets: up to `side`, padding cut."""
    full = F.interpolate(low.float(), (side, side), mode="bilinear", align_corners=False)[:, 0]
    return [one[: mask.shape[0], : mask.shape[1]] for one, mask in zip(full, masks, strict=True)]
