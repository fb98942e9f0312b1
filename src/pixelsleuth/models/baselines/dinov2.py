"""Frozen DINOv2 under two small heads: what a simple detector of 2026 reaches (arXiv 2609.02640).

Detection: the class tokens of all blocks, projected, summed with a learned importance a block and channel, and an MLP
with three classes. Localization: the patch tokens of four blocks, added up step by step from the deepest, and a small
U-Net. The encoder is any DINOv2 of transformers, by folder or hub id, and never trained: a checkpoint of this detector
holds the two heads alone.

    pixelsleuth check picture.jpg --model dinov2 --weights heads.safetensors --option encoder=FOLDER

What the paper leaves open is decided here: every block's tokens pass the encoder's final norm (as DINOv2's own
intermediate layers do); the contrastive temperature is 0.07; the decoder's widths are 128 and 256.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.baselines import FACTS
from pixelsleuth.core.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.baselines.base import Output
from pixelsleuth.models.baselines.localizing import Localizer, Mask, mirrored, targets
from pixelsleuth.models.baselines.pixels import blur_jpeg, imagenet
from pixelsleuth.models.sida.losses import dice_loss

SIDE = 518
WIDTH = 512
"""Of the projection and of the MLP."""
DROPOUT = 0.2
CONTRAST = 0.2
"""Weight of the supervised contrastive loss beside the cross entropy."""
TEMPERATURE = 0.07
OUTSIDE = -20.0
"""The logit of pixels outside the centre crop: nothing was seen there."""


class ImportanceHead(nn.Module):
    """Class tokens of all blocks -> three class logits and the embedding behind them."""

    def __init__(self, blocks: int, inside: int, classes: int = 3) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(inside, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT))
        self.importance = nn.Parameter(torch.zeros(blocks, WIDTH))
        self.classify = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, classes)
        )

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, blocks, inside) -> logits (B, 3), embedding (B, 512)."""
        weights = self.importance.softmax(dim=0)
        embedding = (self.project(tokens) * weights).sum(dim=1)
        return self.classify(embedding), embedding


class MaskHead(nn.Module):
    """Patch tokens of four blocks -> one mask at four times their grid, by a small U-Net."""

    def __init__(self, inside: int, width: int = 128) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(inside, width, 1) for _ in range(4))
        self.mix = nn.ModuleList(_conv(width, width) for _ in range(3))
        self.down = nn.ModuleList([_conv(width, 2 * width, stride=2), _conv(2 * width, 2 * width, stride=2)])
        self.up = nn.ModuleList([_conv(4 * width, 2 * width), _conv(3 * width, width)])
        self.fine = nn.ModuleList([_conv(width, width // 2), _conv(width // 2, width // 4)])
        self.out = nn.Conv2d(width // 4, 1, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four of (B, inside, h, w), shallowest first -> logits (B, 1, 4 h, 4 w)."""
        x = self.lateral[3](maps[3])
        for mix, lateral, one in zip(self.mix, self.lateral[2::-1], maps[2::-1], strict=True):
            x = mix(x + lateral(one))
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


class Seen(NamedTuple):
    """What the frozen encoder gives: class tokens (B, blocks, D), four maps (B, D, h, w), shallowest first."""

    tokens: Tensor
    maps: list[Tensor]


class Dinov2(Localizer):
    """Three classes and a mask. Options: `encoder`, a folder or a hub id; `frame`, the centre at native size, or the
    whole picture squeezed to a square."""

    facts = FACTS["dinov2"]
    three_classes = True

    def __init__(self, encoder: Any = None, **options: str) -> None:
        """`encoder` may also be a Dinov2Model itself."""
        if isinstance(encoder, str):
            options["encoder"] = encoder
        super().__init__(**options)
        made = (
            load_encoder(self.options["encoder"]) if encoder is None or isinstance(encoder, str) else encoder
        )
        self.encoder = made.eval().requires_grad_(False)
        config = made.config
        self.side = int(config.image_size)
        self.blocks = [round(config.num_hidden_layers * part / 4) for part in (1, 2, 3, 4)]
        self.head = ImportanceHead(config.num_hidden_layers, config.hidden_size)
        self.decoder = MaskHead(config.hidden_size)

    def train(self, mode: bool = True) -> Dinov2:
        """The encoder stays as it is."""
        super().train(mode)
        self.encoder.eval()
        return self

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint holds the heads; the encoder is what it is."""
        return {key: value for key, value in self.state_dict().items() if key.startswith("encoder.")} | state

    def learnt(self) -> dict[str, Tensor]:
        """The two heads, contiguous."""
        return {k: v.contiguous() for k, v in self.state_dict().items() if not k.startswith("encoder.")}

    def save(self, path: Path) -> None:
        """Write the two heads as one safetensors file."""
        from safetensors.torch import save_file

        save_file(self.learnt(), path, metadata={"encoder": str(self.options["encoder"])})

    def prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 -> (3, side, side): the centre, black where the picture is smaller, or all of it squeezed;
        ImageNet's statistics."""
        return imagenet(self._framed(pixels))

    def _framed(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        side = self.side
        if self.options["frame"] == "resize":
            return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
        framed = np.zeros((side, side, *pixels.shape[2:]), np.uint8)
        (top, there), (left, across) = (window(length, side) for length in pixels.shape[:2])
        rows, columns = min(side, pixels.shape[0]), min(side, pixels.shape[1])
        framed[there : there + rows, across : across + columns] = pixels[
            top : top + rows, left : left + columns
        ]
        return framed

    def place(self, mask: Tensor, height: int, width: int) -> Tensor:
        """Mask logits (side, side) -> (height, width) of the picture; what the crop did not show is not tampered."""
        if self.options["frame"] == "resize":
            return _to(mask[None, None], (height, width))[0, 0]
        placed = mask.new_full((height, width), OUTSIDE)
        (top, there), (left, across) = window(height, self.side), window(width, self.side)
        rows, columns = min(self.side, height), min(self.side, width)
        placed[top : top + rows, left : left + columns] = mask[
            there : there + rows, across : across + columns
        ]
        return placed

    @torch.no_grad()
    def see(self, pixels: Tensor) -> Seen:
        """(B, 3, side, side) -> tokens of all blocks; without gradients, so that they may be cached."""
        states = self.encoder(pixel_values=pixels, output_hidden_states=True).hidden_states
        grid = pixels.shape[-1] // self.encoder.config.patch_size
        tokens = torch.stack([self.encoder.layernorm(state[:, 0]) for state in states[1:]], dim=1)
        chosen = [self.encoder.layernorm(states[block][:, 1:]) for block in self.blocks]
        return Seen(tokens, [one.transpose(1, 2).unflatten(-1, (grid, grid)) for one in chosen])

    def forward(self, seen: Seen) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits (B, 3), embedding (B, 512), mask logits (B, 1, side, side)."""
        classes, embedding = self.head(seen.tokens)
        return classes, embedding, _to(self.decoder(seen.maps), (self.side, self.side))

    def run(self, inputs: Sequence[Tensor]) -> Output:
        """All three classes, their log odds of not being real, and the mask."""
        classes, _, mask = self(self.see(torch.stack(list(inputs))))
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

        The two heads share no parameter, so training them together is training them apart.
        """
        classes, embedding, mask = self(self.see(torch.stack(list(inputs))))
        truth = class_of(labels, masks)
        parts = {"ce": F.cross_entropy(classes, truth), "contrast": contrastive(embedding, truth)}
        parts["detection"] = parts["ce"] + CONTRAST * parts["contrast"]
        parts["bce"] = parts["dice"] = mask.sum() * 0
        drawn = [i for i, one in enumerate(masks) if one is not None]
        if drawn:
            target = targets([masks[i] for i in drawn], (self.side, self.side), mask)
            parts["bce"] = F.binary_cross_entropy_with_logits(mask[drawn], target)
            parts["dice"] = dice_loss(mask[drawn], target, smooth=1.0)
        parts["localization"] = parts["bce"] + parts["dice"]
        parts["loss"] = parts["detection"] + parts["localization"]
        return parts


def window(length: int, side: int) -> tuple[int, int]:
    """Where a centred crop of `side` begins in a row of `length` pixels, and where the row begins in the crop.

    >>> window(700, 518), window(100, 518)
    ((91, 0), (0, 209))
    """
    return max(0, round((length - side) / 2)), max(0, (side - length) // 2)


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


def load_encoder(name: str) -> Any:
    """transformers' Dinov2Model of a folder or a hub id.

    Raises:
        UsageError: no such folder or repository, or not DINOv2.
    """
    from safetensors import SafetensorError
    from transformers import Dinov2Model

    from pixelsleuth.models.pretrained import config_of

    folder = hub.resolve(name)
    kind = config_of(folder).get("model_type")
    if kind != "dinov2":
        raise UsageError(f"{name} is a checkpoint of {kind or 'nothing'}, not of DINOv2.")
    try:
        return Dinov2Model.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"{name} cannot be loaded ({str(error).splitlines()[0]}): copy it again.") from error


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())


def _to(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)
