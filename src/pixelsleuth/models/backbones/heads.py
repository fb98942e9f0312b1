"""Two small heads on any frozen encoder: one for the class, one for the mask (after arXiv 2609.02640).

Detection: one token of each block for the whole picture is projected; the projections are summed with a learned weight
for each block and channel and go to an MLP with three classes. Localization: the maps of four blocks are added step by
step from the deepest, then a small U-Net. A checkpoint holds the heads alone.

The paper does not state the contrastive temperature (here 0.07) nor the decoder's widths (here 128 and 256).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.models.baseline import Localizer, Output
from pixelsleuth.models.inputs import MEAN, STD, Mask, blur_jpeg, mirrored, targets
from pixelsleuth.models.mask_losses import dice_loss
from pixelsleuth.models.preparation import Steps, framed, squeezed, window

WIDTH = 512
"""Width of the projection and of the MLP."""
DROPOUT = 0.2
CONTRAST = 0.2
"""Weight of the supervised contrastive loss beside the cross entropy."""
TEMPERATURE = 0.07
OUTSIDE = -20.0
"""The logit of pixels outside the centre crop, which the encoder does not see."""


class ImportanceHead(nn.Module):
    """Class tokens of all blocks -> three class logits and the embedding before them. `linear`: a linear probe, without
    any non-linearity."""

    def __init__(self, blocks: int, inside: int, classes: int = 3, *, linear: bool = False) -> None:
        super().__init__()
        bends = () if linear else (nn.ReLU(), nn.Dropout(DROPOUT))
        self.project = nn.Sequential(nn.Linear(inside, WIDTH), *bends)
        self.importance = nn.Parameter(torch.zeros(blocks, WIDTH))
        between = () if linear else (nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT))
        self.classify = nn.Sequential(*between, nn.Linear(WIDTH, classes))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, blocks, inside) -> logits (B, 3), embedding (B, 512)."""
        weights = self.importance.softmax(dim=0)
        embedding = (self.project(tokens) * weights).sum(dim=1)
        return self.classify(embedding), embedding


class MaskHead(nn.Module):
    """Maps of four blocks, with `inside` channels -> a mask at four times their grid, by a small U-Net."""

    def __init__(self, inside: Sequence[int], width: int = 128) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in inside)
        self.mix = nn.ModuleList(_conv(width, width) for _ in range(3))
        self.down = nn.ModuleList([_conv(width, 2 * width, stride=2), _conv(2 * width, 2 * width, stride=2)])
        self.up = nn.ModuleList([_conv(4 * width, 2 * width), _conv(3 * width, width)])
        self.fine = nn.ModuleList([_conv(width, width // 2), _conv(width // 2, width // 4)])
        self.out = nn.Conv2d(width // 4, 1, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four of (B, channels, h, w), shallowest first -> logits (B, 1, 4 h, 4 w)."""
        x = self.lateral[3](maps[3])
        for mix, lateral, finer in zip(self.mix, self.lateral[2::-1], maps[2::-1], strict=True):
            x = mix(x + lateral(finer))
        kept = []
        for down in self.down:
            kept.append(x)
            x = down(x)
        for up, skip in zip(self.up, reversed(kept), strict=True):
            x = up(torch.cat([_to(x, skip.shape[-2:]), skip], dim=1))
        for fine in self.fine:
            x = fine(_to(x, (2 * x.shape[-2], 2 * x.shape[-1])))
        mask: Tensor = self.out(x)
        return mask


class Encoded(NamedTuple):
    """A frozen encoder's output: tokens of whole pictures (B, blocks, D) and four maps (B, channels, h, w), shallowest
    first."""

    tokens: Tensor
    maps: list[Tensor]


class FrozenHeads(Localizer):
    """Three classes and a mask. Options: `frame`, the centre at native size, or the whole picture squeezed to a square;
    `probe`, the paper's MLP, or a linear probe. A subclass supplies the encoder and `encode`."""

    three_classes = True
    frozen = ("encoder",)
    statistics: ClassVar = (MEAN, STD)
    """Mean and standard deviation of the encoder's pixels."""

    def __init__(
        self, frozen: nn.Module, /, *, side: int, tokens: tuple[int, int], maps: Sequence[int], **options: str
    ) -> None:
        """`tokens`: their number and width. `maps`: the channels of the four maps."""
        super().__init__(**options)
        self.encoder: Any = frozen.eval().requires_grad_(False)
        self.side = side
        self.head = ImportanceHead(*tokens, linear=self.options["probe"] == "linear")
        self.decoder = MaskHead(maps)

    def encode(self, pixels: Tensor) -> Encoded:
        """(B, 3, side, side) -> the encoder's output, without gradients."""
        raise NotImplementedError

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, side, side): the centre, black where the picture is smaller, or all of it squeezed."""
        mean, deviation = (list(values) for values in self.statistics)
        how = "squeeze" if self.options["frame"] == "resize" else "frame"
        return [[how, self.side], ["normalise", mean, deviation]]

    def _framed(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return (squeezed if self.options["frame"] == "resize" else framed)(pixels, self.side)

    def place(self, mask: Tensor, height: int, width: int) -> Tensor:
        """Mask logits (side, side) -> (height, width) of the picture; outside the crop nothing is tampered."""
        if self.options["frame"] == "resize":
            return _to(mask[None, None], (height, width))[0, 0]
        placed = mask.new_full((height, width), OUTSIDE)
        (top, there), (left, across) = window(height, self.side), window(width, self.side)
        rows, columns = min(self.side, height), min(self.side, width)
        placed[top : top + rows, left : left + columns] = mask[
            there : there + rows, across : across + columns
        ]
        return placed

    def forward(self, encoded: Encoded) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits (B, 3), embedding (B, 512), mask logits (B, 1, side, side)."""
        classes, embedding = self.head(encoded.tokens)
        return classes, embedding, self.draw(encoded.maps)

    def draw(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps -> mask logits (B, 1, side, side)."""
        return _to(self.decoder(maps), (self.side, self.side))

    def run(self, inputs: Sequence[Tensor]) -> Output:
        """All three classes, their log odds of not being real, and the mask."""
        classes, _, mask = self(self.encode(torch.stack(list(inputs))))
        logit = classes[:, 1:].logsumexp(dim=1) - classes[:, 0]
        return Output(logit, list(mask[:, 0]), classes)

    def pair(
        self, pixels: NDArray[np.uint8], mask: Mask | None, random: np.random.Generator
    ) -> tuple[Tensor, Mask | None]:
        """Blur and JPEG, each in half of all cases; both mirrored in half; framed as for a test."""
        pixels, mask = mirrored(blur_jpeg(pixels, random, 0.5), mask, random)
        return self.prepare(pixels), None if mask is None else self._framed(mask)

    def loss(
        self, inputs: Sequence[Tensor], labels: Tensor, masks: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        """Cross entropy and 0.2 of the supervised contrastive loss; BCE and Dice on pictures with a mask.

        The two heads share no parameter, so training them together equals training each by itself.
        """
        encoded = self.encode(torch.stack(list(inputs)))
        classes, embedding = self.head(encoded.tokens)
        truth = class_of(labels, masks)
        parts = {"ce": F.cross_entropy(classes, truth), "contrast": contrastive(embedding, truth)}
        parts["detection"] = parts["ce"] + CONTRAST * parts["contrast"]
        parts["bce"] = parts["dice"] = classes.sum() * 0
        drawn = [i for i, mask in enumerate(masks) if mask is not None]
        if drawn:
            rows = drawn if len(drawn) > 1 else range(len(masks))  # batch norm wants more than one
            mask = self.draw([level[list(rows)] for level in encoded.maps])[[rows.index(i) for i in drawn]]
            target = targets([masks[i] for i in drawn], (self.side, self.side), mask)
            parts["bce"] = F.binary_cross_entropy_with_logits(mask, target)
            parts["dice"] = dice_loss(mask, target, smooth=1.0)
        parts["localization"] = parts["bce"] + parts["dice"]
        parts["loss"] = parts["detection"] + parts["localization"]
        return parts


def class_of(labels: Tensor, masks: Sequence[Tensor | None]) -> Tensor:
    """0 real, 1 full synthetic, 2 tampered; where labels know only real and fake, a fake with a mask is tampered.

    >>> class_of(torch.tensor([0, 1, 1, 2]), [None, None, torch.ones(2, 2), None]).tolist()
    [0, 1, 2, 2]
    """
    drawn = torch.tensor([mask is not None for mask in masks], device=labels.device)
    truth = labels.long()
    return torch.where((truth == 1) & drawn, 2, truth)


def contrastive(embedding: Tensor, truth: Tensor) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020) of embeddings (B, D); 0 where no class occurs twice."""
    unit_length = F.normalize(embedding, dim=1)
    alike = unit_length @ unit_length.T / TEMPERATURE
    itself = torch.eye(len(truth), dtype=torch.bool, device=truth.device)
    logs = alike - alike.masked_fill(itself, float("-inf")).logsumexp(dim=1, keepdim=True)
    same = (truth[:, None] == truth) & ~itself
    counted = same.any(dim=1)
    if not counted.any():
        return embedding.sum() * 0
    mean = (logs * same).sum(dim=1)[counted] / same.sum(dim=1)[counted]
    return -mean.mean()


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())


def _to(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)
