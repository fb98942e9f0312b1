"""The forensic encoder: four views of a picture at native resolution, fused into dense features and a row of tokens.

It stands where CLIP and SAM's image encoder stand in the large SIDA: the tokens enter the language model, the dense
features are what the mask decoder reads. Three stages, so that a large picture can be worked through in tiles:

1. `traces` is local (receptive field below 64 px): tiles with a halo of 64 px give exactly the whole picture's result;
2. `repeats` sees the picture at a bounded working size, `statistics.describe` at most its middle 512 px;
3. `fuse` compares each place with the whole picture and yields dense features and tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.models.encoders.branches import LocalBranch, RepeatBranch, TextureBranch, conv
from pixelsleuth.models.encoders.statistics import StatisticsBranch


@dataclass(frozen=True)
class ForensicConfig:
    """`dense` channels at stride 4; `grid` x `grid` tokens plus one summary token of `token` channels."""

    dense: int = 32
    grid: int = 8
    token: int = 160
    stride: int = 4
    halo: int = 64


@dataclass
class Encoded:
    """dense (B, dense, h, w), tokens (B, grid * grid + 1, token), plain mask logits (B, 1, h, w), plain
    classes (B, 3)."""

    dense: Tensor
    tokens: Tensor
    plain_mask: Tensor
    plain_classes: Tensor


class ForensicEncoder(nn.Module):
    """(B, 3, H, W) in 0..255, H and W multiples of 8, to `Encoded`.

    Of what the texture and statistics branches see of the whole picture only their logits go on: their many features
    would let the fusion know its few training pictures by heart.
    """

    def __init__(self, config: ForensicConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ForensicConfig()
        self.local, self.repeat, self.texture = LocalBranch(), RepeatBranch(), TextureBranch()
        self.statistics = StatisticsBranch()
        texture = self.texture.features
        self.texture_reduce = nn.Conv2d(texture, 16, 1)
        self.mix = nn.Sequential(
            conv(self.local.features + self.repeat.features + 16 + 2, 64, kernel=1),
            conv(64, config.dense),
            conv(config.dense, config.dense, dilation=3),
        )
        self.summarised = 2 + 2 + 2 * config.dense + 3
        self.plain_mask = nn.Conv2d(config.dense, 1, 1)
        self.grid_token = nn.Linear(2 * config.dense + 1, config.token)
        self.summary = nn.Sequential(nn.Linear(self.summarised, config.token), nn.ReLU())
        self.plain_classes = nn.Linear(config.token, 3)

    def traces(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Local traces (B, 32, H/4, W/4) and texture (B, 64, H/8, W/8); tiles of a picture may be joined."""
        return self.local.trace(picture), self.texture.texture(picture)

    def repeats(self, picture: Tensor) -> Tensor:
        """Self-correlation features (B, 17, H'/8, W'/8) of the picture at its working size; the last is the
        plain logit."""
        features, logits = self.repeat(picture)
        return torch.cat([features, logits], dim=1)

    def local_view(self, traces: Tensor) -> Tensor:
        """Traces of a whole picture -> local features and their plain logit (B, 33, h, w)."""
        local = self.local.compare(traces)
        return torch.cat([local, self.local.head(local).clamp(-8, 8) / 4], dim=1)

    def fuse(self, traces: Tensor, texture: Tensor, repeats: Tensor, statistics: Tensor) -> Encoded:
        """Join what the branches saw of one whole picture (or a batch of equal size)."""
        return self.join(self.local_view(traces), texture, repeats, statistics)

    def join(self, local: Tensor, texture: Tensor, repeats: Tensor, statistics: Tensor) -> Encoded:
        """`fuse` behind `local_view`."""
        size = local.shape[-2:]
        repeated = F.interpolate(repeats, size=size, mode="bilinear", align_corners=False)
        fine = F.interpolate(self.texture_reduce(texture), size=size, mode="bilinear", align_corners=False)
        dense = self.mix(torch.cat([local, repeated, fine], dim=1))
        mask = self.plain_mask(dense)
        pooled = self.texture.pool(texture)
        generated = torch.cat([self.texture.corpus(pooled), self.texture.aligned(pooled)], dim=1)
        _, guess = self.statistics.read(statistics)
        probability = mask.sigmoid().flatten(1)
        share = torch.stack(
            [probability.mean(1), probability.amax(1), (probability > 0.5).float().mean(1)], dim=1
        )
        summary = [
            generated.clamp(-8, 8) / 4,
            guess.clamp(-8, 8) / 4,
            dense.mean(dim=(2, 3)),
            dense.amax(dim=(2, 3)),
            share,
        ]
        summarised = self.summary(torch.cat(summary, dim=1))
        return Encoded(dense, self._tokens(dense, mask, summarised), mask, self.plain_classes(summarised))

    def _tokens(self, dense: Tensor, mask: Tensor, summary: Tensor) -> Tensor:
        grid = self.config.grid
        parts = [
            grid_pool(dense, grid, "mean"),
            grid_pool(dense, grid, "max"),
            grid_pool(mask, grid, "max").clamp(-8, 8) / 4,
        ]
        cells = torch.cat(parts, dim=1).flatten(2).transpose(1, 2)
        return torch.cat([self.grid_token(cells), summary[:, None]], dim=1)

    def forward(self, picture: Tensor) -> Encoded:
        """Whole pictures of one size, small enough to need no tiles."""
        traces, texture = self.traces(picture)
        return self.fuse(traces, texture, self.repeats(picture), self.statistics.describe(picture))


def grid_pool(x: Tensor, grid: int, how: str) -> Tensor:
    """(B, C, h, w) -> (B, C, grid, grid) mean or maximum; the map is first sampled to a multiple of the grid."""
    resized = F.interpolate(x, size=(4 * grid, 4 * grid), mode="bilinear", align_corners=False)
    return F.avg_pool2d(resized, 4) if how == "mean" else F.max_pool2d(resized, 4)
