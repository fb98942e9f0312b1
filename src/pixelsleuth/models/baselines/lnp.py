"""LNP: a ResNet-50 on the noise that a denoiser finds, as the benchmark stores it (Liu et al., ECCV 2022).

    pixelsleuth check picture.jpg --model lnp --weights FOLDER     # classifier and denoiser

The noise is stored with an overflow of 8 bits and its channels swapped: both belong to the feature, and stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.resnet import ours, resnet50
from pixelsleuth.models.baseline import Baseline, Output
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.inputs import MOST_PIXELS, at_most, centre_crop, imagenet, short_side

SIDE, LOAD = 224, 256
BRIGHTNESS = (0.11, 0.59, 0.30)
"""Of the stored channels, in their order."""
POWER, TINY = 0.8, 1e-8
WIDTH, GROUPS, BLOCKS, REDUCED = 64, 4, 8, 4


def _conv(inside: int, outside: int, size: int = 3, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, size, padding=size // 2, bias=bias)


class SpatialAttention(nn.Module):
    """Places weighed by the greatest and the mean of their channels."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Module()
        self.spatial.conv = _conv(2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1)
        conv = self.spatial.conv
        assert isinstance(conv, nn.Conv2d)
        weighed: Tensor = x * conv(pooled).sigmoid()
        return weighed


class ChannelAttention(nn.Module):
    """Channels weighed by their means."""

    def __init__(self) -> None:
        super().__init__()
        inner, outer = _conv(WIDTH, REDUCED, 1), _conv(REDUCED, WIDTH, 1)
        self.conv_du = nn.Sequential(inner, nn.ReLU(), outer, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        weighed: Tensor = x * self.conv_du(x.mean(dim=(2, 3), keepdim=True))
        return weighed


class DualAttention(nn.Module):
    """Two convolutions, both attentions beside each other, and the way around them."""

    def __init__(self, active: nn.Module) -> None:
        super().__init__()
        self.SA, self.CA = SpatialAttention(), ChannelAttention()
        self.body = nn.Sequential(_conv(WIDTH, WIDTH), active, _conv(WIDTH, WIDTH))
        self.conv1x1 = _conv(2 * WIDTH, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        inside = self.body(x)
        out: Tensor = x + self.conv1x1(torch.cat([self.SA(inside), self.CA(inside)], dim=1))
        return out


class Group(nn.Module):
    """Eight blocks, a convolution, and the way around them."""

    def __init__(self, active: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*(DualAttention(active) for _ in range(BLOCKS)), _conv(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class Denoiser(nn.Module):
    """CycleISP's: (B, 3, H, W) in 0..1 -> stages and `noise`, minus what its tail says."""

    def __init__(self) -> None:
        super().__init__()
        active = nn.PReLU(WIDTH)  # one for all blocks
        self.head = nn.Sequential(_conv(3, WIDTH))
        self.body = nn.Sequential(*(Group(active) for _ in range(GROUPS)), _conv(WIDTH, WIDTH), active)
        self.tail = nn.Sequential(_conv(WIDTH, 3))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first = self.head(x)
        taps, inside = {"head": first}, first
        for number, module in enumerate(self.body):
            inside = module(inside)
            if number < GROUPS:
                taps[f"rrg{number}"] = inside
        return taps | {"noise": -self.tail(inside)}


def spectrum(x: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 2, H, W): amplitude to the power of 0.8 and phase, frequency 0 in the middle.

    Each colour has a Fourier transform of its own; what is weighed by brightness is their amplitudes and phases.
    """
    transformed = torch.fft.fftshift(torch.fft.fft2(x, norm="ortho"), dim=(-2, -1))
    weights = x.new_tensor(BRIGHTNESS)[:, None, None]
    amplitude = (transformed.abs() + TINY) ** POWER
    phase = torch.atan2(transformed.imag + TINY, transformed.real + TINY)
    return torch.stack([(amplitude * weights).sum(1), (phase * weights).sum(1)], dim=1)


class Lnp(Baseline):
    """One logit. Option `input`: the benchmark's three channels, or the original's five (with a spectrum)."""

    facts = Facts(
        name="lnp",
        title="LNP",
        paper="Liu, Yang, Bi, Xiao, Li, Gao: Detecting generated images by real images, ECCV 2022",
        source="Tangsenghenshou, the paper's repository, @bba18a2; default: Ekko-zn/AIGCDetectBenchmark@5cd41a6",
        licence="no licence file; the denoiser (CycleISP) for academic use",
        where="the denoiser is linked from CycleISP's page; the unified benchmark links a classifier",
        files=("LNP.pth", "sidd_rgb.pth"),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": ("benchmark_3ch", "rgb_3ch", "original_5ch_crop224", "original_5ch_resize256_crop224")
        },
        parameters=26_345_028,
        published="published: mean accuracy 0.838 on the 16 sets of AIGCDetectBenchmark",
        known_by="body.0.body.0.conv1x1.weight",
        no_graph="it rounds a denoiser's output to whole levels in numpy on the way to the classifier",
    )

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        self.denoiser = Denoiser().requires_grad_(False)
        self.five = self.options["input"].startswith("original_5ch")
        self.resnet = resnet50(channels=5 if self.five else 3)
        self.fc = nn.Linear(2048, 1)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        inside = ("head.", "body.", "tail.")
        return {f"denoiser.{k}" if k.startswith(inside) else ours(k): v for k, v in state.items()}

    def learnt(self) -> dict[str, Tensor]:
        """All tensors; the one that blocks share is written for each, as the published file has it."""
        return {key: value.clone() for key, value in self.state_dict().items()}

    def prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 -> (H, W, 3) uint8, at most two megapixels: the denoiser works at native size."""
        return torch.from_numpy(np.array(at_most(pixels, MOST_PIXELS)))

    @torch.no_grad()
    def stored(self, x: Tensor) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 -> its noise, (H, W, 3) uint8 RGB, after the overflow."""
        noise = self.denoiser(x.permute(2, 0, 1)[None].float() / 255)["noise"][0]
        levels = (noise.clamp(0, 1) * 255).round().permute(1, 2, 0).to(torch.int64)
        return ((256 - levels) % 256).to(torch.uint8).cpu().numpy()

    def view(self, stored: NDArray[np.uint8]) -> Tensor:
        """The stored picture -> what the classifier sees, (3, 224, 224)."""
        if self.options["input"] != "rgb_3ch":
            stored = stored[..., ::-1]
        stored = np.ascontiguousarray(stored)
        if self.options["input"] != "original_5ch_crop224":
            stored = short_side(stored, LOAD)
        return imagenet(centre_crop(stored, SIDE))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, 224, 224) -> the stages and `logits` (B, 1)."""
        stages: dict[str, Tensor] = self.resnet(torch.cat([x, spectrum(x)], dim=1) if self.five else x)
        return stages | {"logits": self.fc(stages["pooled"])}

    def run(self, inputs: Sequence[Tensor]) -> Output:
        """The denoiser one by one, the classifier together."""
        views = torch.stack([self.view(self.stored(tensor)).to(tensor.device) for tensor in inputs])
        return Output(self(views)["logits"][:, 0])
