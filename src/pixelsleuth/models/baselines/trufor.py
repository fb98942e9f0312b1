"""TruFor (Guillaro et al., CVPR 2023): a mask, its confidence and a score from colours and a learned noise fingerprint.

Noiseprint++ (a DnCNN of 17 layers) turns the picture into one plane. Two encoders run side by side, one on the colours
and one on that plane repeated three times. Two equal decoders give mask and confidence; the score comes from pooled
statistics of both.

    pixelsleuth check picture.jpg --model trufor --weights trufor.pth.tar
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.mit import WIDTHS, DualEncoder, map_of, tokens_of
from pixelsleuth.models.baseline import Localizer, Output, by_shape
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.inputs import Mask, cropped, jpeg, normalised, targets, unit
from pixelsleuth.models.preparation import Steps

GREATEST = 256
"""Pixels are divided by this, not by 255."""
CROP = 512
LEAST_SIDE = 32
CLASS_WEIGHTS = (0.5, 2.5)
"""Weights of authentic and of forged pixels in the cross entropy."""
CROSS_ENTROPY = 0.3
"""Weight of the cross entropy in the localization loss; Dice has the remainder."""
DETECTION = 0.5
"""Weight of the score's loss beside the confidence's."""


@dataclass
class Maps:
    """At the picture's size: `mask` logits (B, 2, H, W), `confidence` logits (B, 1, H, W). `low`: mask logits at a
    quarter of it. `statistics` (B, 8), `score` logits (B,). `noise`: Noiseprint++'s plane (B, 1, H, W)."""

    mask: Tensor
    confidence: Tensor
    low: Tensor
    statistics: Tensor
    score: Tensor
    noise: Tensor


class Project(nn.Module):
    """A linear layer over channels, named as in the checkpoint."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inside, outside)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, h, w) -> (B, outside, h, w)."""
        return map_of(self.proj(tokens_of(x)), (x.shape[-2], x.shape[-1]))


class Decoder(nn.Module):
    """SegFormer's decoder: all stages at the size of the first, fused, predicted (512 channels, coarsest first)."""

    def __init__(self, planes: int, *, eps: float) -> None:
        super().__init__()
        for stage, width in enumerate(WIDTHS, start=1):
            setattr(self, f"linear_c{stage}", Project(width, 512))
        self.linear_fuse = nn.Sequential(nn.Conv2d(4 * 512, 512, 1), nn.BatchNorm2d(512, eps=eps), nn.ReLU())
        self.linear_pred = nn.Conv2d(512, planes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps -> logits (B, planes, H / 4, W / 4)."""
        size = maps[0].shape[-2:]
        wide = [_to(self.get_submodule(f"linear_c{stage}")(maps[stage - 1]), size) for stage in (4, 3, 2, 1)]
        fused = F.dropout2d(self.linear_fuse(torch.cat(wide, dim=1)), 0.1, self.training)
        logits: Tensor = self.linear_pred(fused)
        return logits


class TruFor(Localizer):
    """Mask, confidence and score at the picture's own size.

    Options: `confidence_eps` of the confidence decoder's batch normalisation, 1e-5 in the released test code and 1e-3
    in the training repository (no checkpoint says it); `phase`, which losses are trained.
    """

    facts = Facts(
        name="trufor",
        title="TruFor",
        paper="Guillaro, Cozzolino, Sud, Dufour, Verdoliva: TruFor, CVPR 2023",
        source="grip-unina/TruFor@ae54475",
        licence="non-profit research and teaching only",
        where="the archive of weights that the authors' page on TruFor links",
        files=("trufor.pth.tar",),
        made_for=Label.TAMPERED,
        options={"confidence_eps": ("1e-5", "1e-3"), "phase": ("localization", "detection")},
        parameters=68_697_421,
        localizes=True,
        known_by="dncnn.47.weight",
    )

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        self.dncnn = noiseprint().requires_grad_(False)
        self.backbone = DualEncoder()
        self.decode_head = Decoder(2, eps=1e-3)
        self.decode_head_conf = Decoder(1, eps=float(self.options["confidence_eps"]))
        self.detection = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 1))
        if self.options["phase"] == "detection":
            self.backbone.requires_grad_(False)
            self.decode_head.requires_grad_(False)

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, H, W), divided by 256; a side below 32 pixels is stretched to 32, the least
        that the reduced attention takes."""
        return [["at_most"], ["at_least", LEAST_SIDE], ["unit", GREATEST]]

    def forward(self, pixels: Tensor) -> Maps:
        """(B, 3, H, W) in 0..1 (divided by 256) -> masks, confidence and score."""
        noise = self.dncnn(pixels)
        stages = self.backbone(normalised(pixels), noise.expand(-1, 3, -1, -1))
        low, low_confidence = self.decode_head(stages), self.decode_head_conf(stages)
        mask, confidence = _to(low, pixels.shape[-2:]), _to(low_confidence, pixels.shape[-2:])
        statistics = torch.cat(
            [pooled(confidence), pooled(mask[:, 1:] - mask[:, :1], F.logsigmoid(confidence))], dim=1
        )
        return Maps(mask, confidence, low, statistics, self.detection(statistics)[:, 0], noise)

    def run(self, inputs: Sequence[Tensor]) -> Output:
        """The score's logit; the difference of both mask logits, whose sigmoid is the softmax of the forged one."""
        return by_shape(inputs, self._run, alone=True)

    def _run(self, batch: Tensor) -> Output:
        maps = self(batch)
        return Output(maps.score, list(maps.mask[:, 1] - maps.mask[:, 0]))

    def pair(
        self, pixels: NDArray[np.uint8], mask: Mask | None, random: np.random.Generator
    ) -> tuple[Tensor, Mask | None]:
        """Scaled by 0.5 to 1.5 and JPEG of quality 30 to 100, each in half of all cases; a crop of 512 pixels."""
        if random.random() < 0.5:
            scale = random.uniform(0.5, 1.5)
            size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
            pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
            if mask is not None:
                mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        pixels, mask = cropped(pixels, mask, CROP, random)
        if random.random() < 0.5:
            pixels = jpeg(pixels, int(random.integers(30, 101)))
        return unit(pixels, GREATEST), mask

    def loss(
        self, inputs: Sequence[Tensor], labels: Tensor, masks: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        """Phase `localization`: weighted cross entropy and Dice of the mask. Phase `detection`: squared error between
        confidence and the probability that the mask gives the true class, and cross entropy of the score."""
        maps = self(torch.stack(list(inputs)))
        truth = targets(masks, tuple(maps.mask.shape[-2:]), maps.mask)[:, 0]
        if self.options["phase"] == "localization":
            weights = maps.mask.new_tensor(CLASS_WEIGHTS)
            entropy = F.cross_entropy(maps.mask, truth.long(), weights)
            dice = _dice(maps.mask.softmax(dim=1)[:, 1], truth)
            total = CROSS_ENTROPY * entropy + (1 - CROSS_ENTROPY) * dice
            return {"ce": entropy, "dice": dice, "loss": total}
        chance = maps.mask.detach().softmax(dim=1).gather(1, truth.long()[:, None])
        confidence = F.mse_loss(maps.confidence.sigmoid(), chance)
        score = F.binary_cross_entropy_with_logits(maps.score, labels.to(maps.score.dtype))
        return {"confidence": confidence, "detection": score, "loss": confidence + DETECTION * score}


def noiseprint() -> nn.Sequential:
    """Noiseprint++: 17 convolutions of 64 channels, (B, 3, H, W) -> one plane."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1), nn.ReLU()]
    for _ in range(15):
        layers += [nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1))


def pooled(x: Tensor, log_weights: Tensor | None = None) -> Tensor:
    """Soft minimum, soft maximum, mean, mean of squares of a map (B, 1, H, W), weighted over its pixels -> (B, 4)."""
    x = x.flatten(1)
    logs = (torch.zeros_like(x) if log_weights is None else log_weights.flatten(1)).log_softmax(dim=1)
    weights = logs.exp()
    least, most = -(logs - x).logsumexp(dim=1), (logs + x).logsumexp(dim=1)
    return torch.stack([least, most, (weights * x).sum(dim=1), (weights * x.square()).sum(dim=1)], dim=1)


def _to(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def _dice(chance: Tensor, truth: Tensor) -> Tensor:
    """One minus Dice with squared sums, mean over the batch; (B, H, W) each."""
    chance, truth = chance.flatten(1), truth.flatten(1)
    overlap = 2 * (chance * truth).sum(dim=1) + 1
    return (1 - overlap / (chance.square().sum(dim=1) + truth.square().sum(dim=1) + 1)).mean()
