"""HRNet-W18-small-v2 with a stem of stride 1, and the non-local attention over its finest map (PSCC-Net, HiFi-Net).

Parameters have the names of the published checkpoints (Wang et al., "Deep High-Resolution Representation Learning",
2020, as PSCC-Net and HiFi-Net use it): one bottleneck stage, then three stages of parallel branches at full, half,
quarter and eighth size, fused after each stage. Sizes need not be multiples of 8: strides round up, and every
upsampling goes to an explicit size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (18, 36, 72, 144)
"""Of the four maps, finest first."""
SIGMAS = (2, 4, 8)
"""Scales of the Laplacian pyramid in HiFi-Net's second stem."""
MOMENTUM = 0.01
"""Of the running statistics in batch normalisation, as all HRNet checkpoints were trained with."""


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear resize with aligned corners, which both networks use throughout."""
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=True)


def conv_bn(
    inside: int,
    outside: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    relu: bool = True,
    bias: bool = False,
    momentum: float = MOMENTUM,
) -> nn.Sequential:
    """Convolution that keeps the size (up to its stride), batch normalisation, and perhaps ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=bias),
        nn.BatchNorm2d(outside, momentum=momentum),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, channels kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels, momentum=MOMENTUM)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, momentum=MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        inside = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inside)) + x)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride and the dilation), 1x1 and a shortcut: `inside` -> `expansion` x `width` channels."""

    def __init__(
        self,
        inside: int,
        width: int,
        *,
        expansion: int = 4,
        stride: int = 1,
        dilation: int = 1,
        momentum: float = MOMENTUM,
    ) -> None:
        super().__init__()
        outside = width * expansion
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, momentum=momentum)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width, momentum=momentum)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside, momentum=momentum)
        changes = stride != 1 or inside != outside
        self.downsample = (
            conv_bn(inside, outside, 1, stride=stride, relu=False, momentum=momentum) if changes else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, h, w) -> (B, expansion * width, h / stride, w / stride), rounded up."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(y)) + shortcut)


class Exchange(nn.Module):
    """Parallel branches of two blocks each; then every branch becomes the sum of all, resized to its size and width."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(BasicBlock(c), BasicBlock(c)) for c in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._bridge(channels, i, j) for j in range(len(channels)))
            for i in range(len(channels))
        )

    @staticmethod
    def _bridge(channels: Sequence[int], i: int, j: int) -> nn.Module:
        """From branch j to branch i: 1x1 from a coarser one, strided steps from a finer one."""
        if i == j:
            return nn.Identity()
        if j > i:
            return conv_bn(channels[j], channels[i], 1, relu=False)
        steps = [conv_bn(channels[j], channels[j], stride=2) for _ in range(i - j - 1)]
        return nn.Sequential(*steps, conv_bn(channels[j], channels[i], stride=2, relu=False))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (B, C_i, h_i, w_i), finest first -> maps of the same shapes."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for i, bridges in enumerate(self.fuse_layers):
            assert isinstance(bridges, nn.ModuleList)
            total: Tensor | None = None
            for j, bridge in enumerate(bridges):
                part = bridge(maps[j])
                if j > i:
                    part = resized(part, maps[i].shape[-2:])
                total = part if total is None else total + part
            assert total is not None
            fused.append(F.relu(total))
        return fused


class HRNet(nn.Module):
    """(B, 3, H, W) -> four maps of 18, 36, 72, 144 channels at full, 1/2, 1/4 and 1/8 size (rounded up).

    Args:
        branches: how many of the four maps run in stages 2, 3 and 4: PSCC-Net adds one a stage, HiFi-Net has all.
    """

    def __init__(self, branches: Sequence[int] = (2, 3, 4)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64, momentum=MOMENTUM)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64, momentum=MOMENTUM)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), Bottleneck(256, 64))
        before: tuple[int, ...] = (256,)
        for stage, count in enumerate(branches, start=2):
            after = CHANNELS[:count]
            setattr(self, f"transition{stage - 1}", self._transition(before, after))
            setattr(self, f"stage{stage}", nn.Sequential(Exchange(after)))
            before = after

    @staticmethod
    def _transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
        """The layers before a stage: branches pass on (or change width), new ones come from the coarsest."""
        layers: list[nn.Module] = []
        for i, channels in enumerate(after):
            if i < len(before):
                layers.append(nn.Identity() if channels == before[i] else conv_bn(before[i], channels))
            else:
                steps = [conv_bn(before[-1], before[-1], stride=2) for _ in range(i - len(before))]
                layers.append(nn.Sequential(*steps, conv_bn(before[-1], channels, stride=2)))
        return nn.ModuleList(layers)

    def stem(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 64, H, W)."""
        x = F.relu(self.bn1(self.conv1(pixels)))
        return F.relu(self.bn2(self.conv2(x)))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The four maps, finest first."""
        maps = [self.layer1(self.stem(pixels))]
        for stage in (2, 3, 4):
            transition = self.get_submodule(f"transition{stage - 1}")
            assert isinstance(transition, nn.ModuleList)
            maps = [layer(maps[min(i, len(maps) - 1)]) for i, layer in enumerate(transition)]
            maps = self.get_submodule(f"stage{stage}")(maps)
        return maps


class Laplacian(nn.Module):
    """The difference from a blurred, shrunk and enlarged copy, at three scales, mixed by a 1x1 convolution."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.smoothing = nn.ModuleDict({f"scale-{s}": Smoothing(channels, s) for s in SIGMAS})
        self.conv_1x1 = nn.Sequential(
            *conv_bn(len(SIGMAS) * channels, channels, 1, momentum=0.1), nn.Dropout(0.2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        lacking = []
        for sigma, smooth in zip(SIGMAS, self.smoothing.values(), strict=True):
            small = F.interpolate(smooth(x), scale_factor=1 / sigma, mode="bilinear", align_corners=False)
            lacking.append(x - F.interpolate(small, x.shape[-2:], mode="bilinear", align_corners=False))
        out: Tensor = self.conv_1x1(torch.cat(lacking, dim=1))
        return out


class Smoothing(nn.Module):
    """A fixed 3x3 Gaussian, each channel by itself, without padding."""

    def __init__(self, channels: int, sigma: float) -> None:
        super().__init__()
        line = torch.exp(-0.5 * (torch.tensor([-1.0, 0.0, 1.0]) / sigma) ** 2)
        kernel = torch.outer(line, line) / line.sum() ** 2
        self.weight = nn.Buffer(kernel.expand(channels, 1, 3, 3).clone())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H - 2, W - 2)."""
        return F.conv2d(x, self.weight, groups=x.shape[1])


class FrequencyHRNet(HRNet):
    """HRNet with all four branches in all stages, and a second stem on a Laplacian pyramid."""

    def __init__(self) -> None:
        super().__init__((4, 4, 4))
        self.conv1fre = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1fre = nn.BatchNorm2d(64, momentum=MOMENTUM)
        self.conv2fre = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn2fre = nn.BatchNorm2d(64, momentum=MOMENTUM)
        self.laplacian = Laplacian()
        self.conv_1x1_merge = nn.Sequential(
            nn.Conv2d(128, 64, 1, groups=2, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.Dropout(0.2)
        )

    def stem(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 64, H, W): both stems, merged."""
        frequency = self.laplacian(F.relu(self.bn1fre(self.conv1fre(pixels))))
        frequency = F.relu(self.bn2fre(self.conv2fre(frequency)))
        merged: Tensor = self.conv_1x1_merge(torch.cat([super().stem(pixels), frequency], dim=1))
        return merged


class NonLocal(nn.Module):
    """Attention over places (and, with `across`, over channels) of a map whose r x r neighbours are folded first.

    The fold is a plain reshape of the (C, H, W) memory to (C r r, H / r, W / r), no pixel unshuffle, and the way back
    is the same reshape: that is what the checkpoints were trained with.
    """

    def __init__(self, channels: int, fold: int, *, across: bool) -> None:
        super().__init__()
        self.fold = fold
        inside = channels * fold * fold
        self.g = nn.Conv2d(inside, inside, 1)
        self.theta = nn.Conv2d(inside, inside, 1)
        self.phi = nn.Conv2d(inside, inside, 1)
        self.W_s = nn.Conv2d(channels, channels, 1)
        self.gamma_s = nn.Parameter(torch.ones(1))
        self.across = across
        if across:
            self.W_c = nn.Conv2d(channels, channels, 1)
            self.gamma_c = nn.Parameter(torch.ones(1))

    def attend(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape; h and w must be multiples of the fold."""
        batch, channels, height, width = x.shape
        r = self.fold
        folded = x.reshape(batch, channels * r * r, height // r, width // r)
        values = self.g(folded).flatten(2).transpose(1, 2)  # (B, N, D)
        theta, phi = self.theta(folded).flatten(2), self.phi(folded).flatten(2)  # (B, D, N)
        places = F.scaled_dot_product_attention(theta.transpose(1, 2), phi.transpose(1, 2), values, scale=1.0)
        out = x + self.gamma_s * self.W_s(places.transpose(1, 2).reshape(x.shape))
        if self.across:
            weights = (theta @ phi.transpose(1, 2)).softmax(dim=-1)
            out = out + self.gamma_c * self.W_c((values @ weights).reshape(x.shape))
        return out
