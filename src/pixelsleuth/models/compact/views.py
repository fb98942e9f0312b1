"""The forensic encoder's own views of a picture: two small networks, and one fixed description.

* `LocalBranch`: noise residuals at stride 4, each place compared with its surroundings and with the whole picture (a
  splice differs from *its own* picture; absolute texture means little).
* `RepeatBranch`: self-correlation at stride 8, which shows places that occur twice in the picture (copy-move).
* `Statistics`: block spectrum and co-occurrences of the finest detail. A generator shows in the distribution of the
  smallest differences, not in any single place.

The branches' plain heads serve to train them without the language model; SIDA uses only the features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KV = [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
SQUARE = [[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0], [0, 0, 0, 0, 0]]
LINE = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
BLOCK = 32
LEVELS = 3
"""Residuals are quantised to -LEVELS..LEVELS."""


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


class Residuals(nn.Module):
    """(B, 3, H, W) in 0..255 -> (B, 12, H, W): three SRM kernels and NPR for each colour, truncated to -1..1.

    SRM: Fridrich and Kodovsky 2012, as used by RGB-N (Zhou et al. 2018). NPR, differences of neighbouring pixels: Tan
    et al. 2024, section 3. Nothing here is trained.
    """

    channels = 12
    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        kernels = (
            torch.tensor([KV, SQUARE, LINE], dtype=torch.float32)
            / torch.tensor([12.0, 4.0, 2.0])[:, None, None]
        )
        self.register_buffer("kernels", kernels[:, None].repeat(3, 1, 1, 1), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        padded = F.pad(picture, (2, 2, 2, 2), mode="reflect")
        srm = F.conv2d(padded, self.kernels, groups=3)
        low = F.interpolate(picture[..., ::2, ::2], scale_factor=2.0, mode="nearest")
        npr = picture - low[..., : picture.shape[-2], : picture.shape[-1]]
        return torch.cat([srm / 3, npr / 12], dim=1).clamp(-1, 1)


class LocalBranch(nn.Module):
    """Features at stride 4. `trace` is local (tiles may be joined), `compare` needs the whole picture's traces."""

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
    """The best matches of each place elsewhere in the picture (compare BusterNet, Wu et al. 2018)."""

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
        """(B, 3, H, W) in 0..255 -> (B, best + 4, h, w): best scores, the neighbours' disagreement, mean offsets."""
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
        down, across = (
            (weights * (axis[top.indices] - axis[:, None]).to(scores.dtype))
            .sum(-1)
            .view(batch, 1, height, width)
            for axis in (rows, columns)
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
    """Spread of the matches' offset in a 3 x 3 window, squashed to 0..1: low where a whole patch moved together."""
    mean = box_mean(offset, 3)
    spread = box_mean((offset - mean).square(), 3)
    return spread / (spread + 4.0)


def dct_matrix(size: int) -> Tensor:
    """Orthonormal DCT-II as a (size, size) matrix."""
    rows = torch.arange(size, dtype=torch.float32)[:, None]
    columns = torch.arange(size, dtype=torch.float32)[None]
    matrix = torch.cos(math.pi * (columns + 0.5) * rows / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def spectrum(plane: Tensor, transform: Tensor) -> Tensor:
    """(B, H, W) -> (B, size * size): log mean power of each block DCT coefficient (Frank et al. 2020)."""
    size = transform.shape[0]
    rows, columns = plane.shape[1] // size, plane.shape[2] // size
    blocks = (
        plane[:, : rows * size, : columns * size]
        .reshape(plane.shape[0], rows, size, columns, size)
        .transpose(2, 3)
    )
    power = (transform @ blocks @ transform.T).square()
    return (power.mean(dim=(1, 2)) + 0.05).log().flatten(1)


def one_hot(residual: Tensor, step: float) -> Tensor:
    """(B, H, W) -> (B, 2 * LEVELS + 1, H, W): the quantisation level of each residual, one-hot."""
    quantised = (residual / step).round().clamp(-LEVELS, LEVELS)
    levels = torch.arange(-LEVELS, LEVELS + 1, device=residual.device, dtype=residual.dtype)[:, None, None]
    return (quantised[:, None] == levels).to(residual.dtype)


def pairs(residual: Tensor, step: float, *, across: bool) -> Tensor:
    """(B, H, W) -> (B, 49): root of the joint histogram of neighbours in a row (`across`) or a column.

    SPAM: Pevny et al. 2010; SRM: Fridrich and Kodovsky 2012.
    """
    hot = one_hot(residual, step)
    first, second = (hot[..., :-1], hot[..., 1:]) if across else (hot[..., :-1, :], hot[..., 1:, :])
    first, second = first.flatten(2), second.flatten(2)
    joint = first @ second.transpose(1, 2) / first.shape[-1]
    return (joint + 1e-6).sqrt().flatten(1)


class Statistics(nn.Module):
    """(B, 3, H, W) in 0..255, sides at least 32 -> a fixed description (B, SIZE); nothing is trained."""

    SIZE = BLOCK**2 + 2 * (BLOCK // 2) ** 2 + 49 * (4 * 2 + 2 * 2)
    dct32: Tensor
    dct16: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("dct32", dct_matrix(BLOCK), persistent=False)
        self.register_buffer("dct16", dct_matrix(BLOCK // 2), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        red, green, blue = picture[:, 0], picture[:, 1], picture[:, 2]
        luma = (0.299 * red + 0.587 * green + 0.114 * blue).round()
        blueness, redness = ((blue - luma) * 0.564).round(), ((red - luma) * 0.713).round()
        parts = [spectrum(luma, self.dct32), spectrum(blueness, self.dct16), spectrum(redness, self.dct16)]
        for plane, steps in ((luma, (1.0, 3.0)), (blueness, (1.0,)), (redness, (1.0,))):
            across, down = plane[:, :, 1:] - plane[:, :, :-1], plane[:, 1:] - plane[:, :-1]
            for step in steps:
                parts += [pairs(across, step, across=True), pairs(down, step, across=False)]
                if plane is luma:  # second differences, too
                    parts.append(pairs(across[:, :, 1:] - across[:, :, :-1], step, across=True))
                    parts.append(pairs(down[:, 1:] - down[:, :-1], step, across=False))
        return torch.cat(parts, dim=1)
