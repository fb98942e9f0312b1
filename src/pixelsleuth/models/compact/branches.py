"""Two of the forensic encoder's views of a picture, each a small convolutional network with a plain head of its own.

* `LocalBranch`: noise residuals at stride 4, each place compared with its surroundings and with the whole picture
  (a splice differs from the rest of *its own* picture; absolute texture means little).
* `RepeatBranch`: self-correlation at stride 8: does this place occur elsewhere in the picture (copy-move)?

The plain heads serve to train the branches apart from the language model; inside SIDA only the features are used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.models.compact.residuals import Residuals


def conv(inside: int, outside: int, *, stride: int = 1, dilation: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU; size kept (divided by `stride`)."""
    padding = dilation * (kernel // 2)
    layer = nn.Conv2d(inside, outside, kernel, stride, padding, dilation=dilation, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = conv(width, width, dilation=dilation)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


def box_mean(x: Tensor, size: int) -> Tensor:
    """Mean over a `size` x `size` window (odd), cropped at the borders."""
    return F.avg_pool2d(x, size, 1, size // 2, count_include_pad=False)


class LocalBranch(nn.Module):
    """Traces at stride 4. `trace` is local (tiles may be joined), `compare` needs the whole picture's traces."""

    stride = 4

    def __init__(self, width: int = 48, features: int = 32) -> None:
        super().__init__()
        self.features = features
        self.residuals = Residuals()
        self.trunk = nn.Sequential(
            conv(3 + Residuals.channels, 32, stride=2),
            conv(32, 32),
            conv(32, width, stride=2),
            ResidualBlock(width),
            ResidualBlock(width, 2),
            ResidualBlock(width),
            ResidualBlock(width, 2),
        )
        self.reduce = nn.Conv2d(width, 32, 1)
        self.mix = nn.Sequential(
            conv(32 * 4, 64, kernel=1), conv(64, features, dilation=2), conv(features, features, dilation=4)
        )
        self.head = nn.Conv2d(features, 1, 1)

    def trace(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..255 -> (B, 32, H/4, W/4). H and W multiples of 4."""
        rgb = picture / 127.5 - 1
        return self.reduce(self.trunk(torch.cat([rgb, self.residuals(picture)], dim=1)))

    def compare(self, traces: Tensor) -> Tensor:
        """(B, 32, h, w) traces of a whole picture -> (B, features, h, w)."""
        mean = traces.mean(dim=(2, 3), keepdim=True)
        centred = traces - mean
        deviation = (centred.square().mean(dim=(2, 3), keepdim=True) + 1e-4).sqrt()
        z = (centred / deviation).clamp(-6, 6)
        near, around = box_mean(z, 5), box_mean(box_mean(z, 9), 17)
        return self.mix(torch.cat([z, near, around, (near - around).abs()], dim=1))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, features, h, w) and mask logits (B, 1, h, w) of the plain head."""
        compared = self.compare(self.trace(picture))
        return compared, self.head(compared)


class RepeatBranch(nn.Module):
    """Self-correlation (compare BusterNet, Wu et al. 2018): the best matches of each place elsewhere in the picture."""

    stride = 8

    def __init__(self, width: int = 48, best: int = 6, features: int = 16, apart: int = 4) -> None:
        super().__init__()
        self.best, self.features, self.apart = best, features, apart
        self.trunk = nn.Sequential(
            conv(3, 16, stride=2),
            conv(16, 32, stride=2),
            conv(32, 32),
            conv(32, width, stride=2),
            ResidualBlock(width),
        )
        self.describe = nn.Conv2d(width, 32, 1)
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.mix = nn.Sequential(conv(best + 4, 32), ResidualBlock(32), conv(32, features, dilation=2))
        self.head = nn.Conv2d(features, 1, 1)

    def matches(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..255 -> (B, best + 4, h, w): best scores, and how well the neighbours' matches agree."""
        described = self.describe(self.trunk(picture / 127.5 - 1))
        described = described - described.mean(dim=(2, 3), keepdim=True)
        described = F.normalize(described, dim=1)
        batch, _, height, width = described.shape
        flat = described.flatten(2)
        scores = flat.transpose(1, 2) @ flat
        rows = torch.arange(height, device=picture.device).repeat_interleave(width)
        columns = torch.arange(width, device=picture.device).repeat(height)
        distance = torch.maximum((rows[:, None] - rows).abs(), (columns[:, None] - columns).abs())
        scores = scores - 4.0 * (distance < self.apart).to(scores.dtype)
        top = scores.topk(self.best, dim=-1)
        weights = ((top.values - top.values[..., :1]) * self.scale).softmax(dim=-1)
        down = (
            (weights * (rows[top.indices] - rows[:, None]).to(scores.dtype))
            .sum(-1)
            .view(batch, 1, height, width)
        )
        across = (
            (weights * (columns[top.indices] - columns[:, None]).to(scores.dtype))
            .sum(-1)
            .view(batch, 1, height, width)
        )
        values = top.values.transpose(1, 2).reshape(batch, self.best, height, width)
        return torch.cat(
            [values, _disagreement(down), _disagreement(across), down / height, across / width], dim=1
        )

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, features, h, w) and copy logits (B, 1, h, w)."""
        mixed = self.mix(self.matches(picture))
        return mixed, self.head(mixed)


def _disagreement(offset: Tensor) -> Tensor:
    """Spread of the match offset in a 3 x 3 window, squashed to 0..1: low where a whole patch moved together."""
    mean = box_mean(offset, 3)
    spread = box_mean((offset - mean).square(), 3)
    return spread / (spread + 4.0)
