"""The forensic encoder: four views of a picture at native resolution, fused into dense features and a row of tokens.

It takes the place of CLIP and SAM's image encoder in the large SIDA: the tokens enter the language model, the mask
decoder reads the dense features. The views:

1. `local`: noise residuals, each place against its own picture (receptive field below 64 px: tiles with a halo of 64 px
   give exactly the whole picture's result);
2. `repeat`: places that occur elsewhere in the picture, at a bounded working size;
3. `lite`: a frozen EfficientNet-Lite0 (ImageNet): maps of three stages, and moments of all seven;
4. `statistics`: a fixed description of the finest detail.

The moments of `lite` and `statistics` together are the *description* of a picture. One linear layer over it, the
`whole` head, says whether the picture was generated as a whole. Of some 4,900 values the language model gets only this
logit: with more it would memorise its few training pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.models.backbones.efficientnet import LITE0, Lite
from pixelsleuth.models.compact.views import LocalBranch, RepeatBranch, Statistics, conv

MAPS = (1, 2, 4)
"""The stages of `lite` whose maps enter the dense features: strides 4, 8 and 16."""
RELATED = (0, 1, 2)
"""The stages whose channels' correlations are described (compare Gram-Net, Liu et al. 2020)."""
CHANNELS = [stage[-1] for stage in LITE0]
MOMENTS = 2 * sum(CHANNELS) + sum(CHANNELS[stage] * (CHANNELS[stage] - 1) // 2 for stage in RELATED)
REDUCED = (8, 8, 16)
"""Channels to which each of these maps is reduced."""
MEASURED = 64
"""Side of the grid on which the mask is summarised, whatever the picture's size."""
TOP = (0.01, 0.05, 0.2)
"""Shares of the grid: the mask's probability is averaged over so many of its highest places."""


@dataclass(frozen=True)
class ForensicConfig:
    """`dense` channels at stride 4; `grid` x `grid` tokens plus one summary token of `token` channels."""

    dense: int = 32
    grid: int = 4
    token: int = 160
    stride: int = 4
    halo: int = 64


@dataclass
class Encoded:
    """dense (B, dense, h, w), tokens (B, grid * grid + 1, token)."""

    dense: Tensor
    tokens: Tensor


class WholeHead(nn.Module):
    """Description (B, size), standardised -> logit (B, 1) that the picture was generated as a whole."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.linear = nn.Linear(size, 1)

    def forward(self, description: Tensor) -> Tensor:
        return self.linear(((description - self.mean) / self.deviation).clamp(-5, 5))


class ForensicEncoder(nn.Module):
    """(B, 3, H, W) in 0..255, H and W multiples of 8, to `Encoded`."""

    def __init__(self, config: ForensicConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ForensicConfig()
        self.local, self.repeat = LocalBranch(), RepeatBranch()
        self.lite, self.statistics = Lite(LITE0), Statistics()
        self.whole = WholeHead(MOMENTS + Statistics.SIZE)
        self.shallow = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(CHANNELS[stage]), nn.Conv2d(CHANNELS[stage], kept, 1))
            for stage, kept in zip(MAPS, REDUCED, strict=True)
        )
        self.mix = nn.Sequential(
            conv(self.local.features + 1 + self.repeat.features + 1 + sum(REDUCED), 64, kernel=1),
            conv(64, config.dense),
            conv(config.dense, config.dense, dilation=3),
        )
        self.plain_mask = nn.Conv2d(config.dense, 1, 1)
        self.grid_token = nn.Linear(2 * config.dense + 1, config.token)
        self.summary = nn.Sequential(nn.Linear(1 + len(TOP) + 1 + 2 * config.dense, config.token), nn.ReLU())

    def traces(self, picture: Tensor) -> Tensor:
        """Local traces (B, 32, H/4, W/4); tiles of a picture may be joined."""
        return self.local.trace(picture)

    def repeats(self, picture: Tensor) -> Tensor:
        """Self-correlation features (B, 17, H'/8, W'/8) of the picture at its working size; the last is the plain
        logit."""
        features, logits = self.repeat(picture)
        return torch.cat([features, logits], dim=1)

    def look(self, picture: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps of three stages of `lite`, and its moments (B, MOMENTS): mean and deviation of every channel of all
        seven stages, correlations between the channels of the first three."""
        stages = self.lite((picture - 127) / 128)
        described = [moments_of(stage, related=number in RELATED) for number, stage in enumerate(stages)]
        return [stages[stage] for stage in MAPS], torch.cat(described, dim=1)

    def local_view(self, traces: Tensor) -> Tensor:
        """Traces of a whole picture -> local features and their plain logit (B, 33, h, w)."""
        local = self.local.compare(traces)
        return torch.cat([local, self.local.head(local).clamp(-8, 8) / 4], dim=1)

    def fuse(self, traces: Tensor, repeats: Tensor, maps: list[Tensor], description: Tensor) -> Encoded:
        """Join the views of a whole picture (or of a batch of equal size)."""
        return self.join(self.local_view(traces), repeats, maps, self.whole(description))

    def join(self, local: Tensor, repeats: Tensor, maps: list[Tensor], whole: Tensor) -> Encoded:
        """`fuse` behind `local_view` and the whole head, whose logit is (B, 1)."""
        dense = self.dense_of(local, repeats, maps)
        mask = self.plain_mask(dense)
        return Encoded(dense, self.tokens(self.cells(dense, mask), self.summarised(dense, mask), whole))

    def dense_of(self, local: Tensor, repeats: Tensor, maps: list[Tensor]) -> Tensor:
        """Dense features (B, dense, h, w) at the size of the local view."""
        size = local.shape[-2:]
        others = [repeats, *(reduce(values) for reduce, values in zip(self.shallow, maps, strict=True))]
        resized = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in others]
        return self.mix(torch.cat([local, *resized], dim=1))

    @staticmethod
    def summarised(dense: Tensor, mask: Tensor) -> Tensor:
        """Summary of the plain mask, (B, 68), independent of the picture's size: mean probability of its highest
        places, share above a half, dense features on average and weighted by the mask."""
        side = (MEASURED, MEASURED)
        grid = [F.interpolate(x, size=side, mode="bilinear", align_corners=False) for x in (dense, mask)]
        places, probability = grid[0].flatten(2), grid[1].sigmoid().flatten(1)
        ordered = probability.topk(round(TOP[-1] * MEASURED**2), dim=1).values
        top = [ordered[:, : round(share * MEASURED**2)].mean(1, keepdim=True) for share in TOP]
        weight = (probability / (probability.sum(1, keepdim=True) + 1e-3))[:, None]
        share = (probability > 0.5).to(dense.dtype).mean(1, keepdim=True)
        return torch.cat([*top, share, places.mean(2), (places * weight).sum(2)], dim=1)

    def cells(self, dense: Tensor, mask: Tensor) -> Tensor:
        """Dense features and plain mask by the cells of a grid: (B, grid * grid, 2 * dense + 1)."""
        grid = self.config.grid
        parts = [
            grid_pool(dense, grid, "mean"),
            grid_pool(dense, grid, "max"),
            grid_pool(mask, grid, "max").clamp(-8, 8) / 4,
        ]
        return torch.cat(parts, dim=1).flatten(2).transpose(1, 2)

    def tokens(self, cells: Tensor, summarised: Tensor, whole: Tensor) -> Tensor:
        """A token for each cell, and one for the whole picture with the whole head's logit (B, 1)."""
        summary = self.summary(torch.cat([whole.clamp(-8, 8), summarised], dim=1))
        return torch.cat([self.grid_token(cells), summary[:, None]], dim=1)

    def forward(self, picture: Tensor) -> Encoded:
        """Whole pictures of one size, small enough to need no tiles."""
        maps, moments = self.look(picture)
        description = torch.cat([moments, self.statistics(picture)], dim=1)
        return self.fuse(self.traces(picture), self.repeats(picture), maps, description)


def moments_of(stage: Tensor, *, related: bool) -> Tensor:
    """(B, C, h, w) -> mean and deviation of each channel (B, 2C); `related`: and the correlations of all pairs."""
    flat = stage.flatten(2)
    mean = flat.mean(dim=2)
    centred = flat - mean[..., None]
    deviation = (centred.square().mean(dim=2) + 1e-6).sqrt()
    parts = [mean, deviation]
    if related:
        alike = (
            (centred @ centred.transpose(1, 2)) / flat.shape[2] / (deviation[:, :, None] * deviation[:, None])
        )
        parts.append(alike.flatten(1).index_select(1, _pairs(stage.shape[1]).to(stage.device)))
    return torch.cat(parts, dim=1)


def _pairs(channels: int) -> Tensor:
    """Indices of the upper triangle in a flattened square; by numpy, so that an exported graph holds constants."""
    first, second = np.triu_indices(int(channels), 1)
    return torch.from_numpy(first * int(channels) + second)


def grid_pool(x: Tensor, grid: int, how: str) -> Tensor:
    """(B, C, h, w) -> (B, C, grid, grid) mean or maximum; the map is first sampled to a multiple of the grid."""
    resized = F.interpolate(x, size=(4 * grid, 4 * grid), mode="bilinear", align_corners=False)
    return F.avg_pool2d(resized, 4) if how == "mean" else F.max_pool2d(resized, 4)
