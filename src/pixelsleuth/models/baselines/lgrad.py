"""LGrad: a ResNet-50 on the gradient of a frozen StyleGAN discriminator (Tan et al., CVPR 2023).

    pixelsleuth check picture.jpg --model lgrad --weights FOLDER     # classifier and discriminator

The discriminator treats each picture as a batch of its own (for its standard deviation over the batch), so that the
gradients of many pictures can be computed at once and equal those of single pictures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.resnet import ours, resnet50
from pixelsleuth.models.baseline import Baseline, Output, by_shape
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.inputs import centre_crop, normalised, square, unit

SIDE, FRAME = 224, 256
WIDTHS = (64, 128, 256, 512, 512, 512, 512)
"""Channels at 256, 128, ... 4 pixels."""
FUSED = 2
"""Blocks whose convolution and downscaling are one."""
SLOPE, GAIN = 0.2, 2.0**0.5
DEVIATION = 1e-4
"""The standard deviation over a batch of one picture, as the discriminator computes it."""


class Equalised(nn.Module):
    """Weights as they are stored; scaled by a gain over the root of their fan-in where they are used."""

    def __init__(self, *shape: int, blur: int = 0) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(shape)), nn.Parameter(torch.zeros(shape[0]))
        if blur:
            self.blur = nn.Module()
            row = torch.tensor([1.0, 2.0, 1.0])
            self.blur.register_buffer("kernel", (row[:, None] * row / 16).repeat(blur, 1, 1, 1))

    def scaled(self, gain: float = GAIN) -> Tensor:
        """The weight that is applied."""
        return self.weight * (gain / self.weight[0].numel() ** 0.5)

    def conv(self, x: Tensor) -> Tensor:
        """Convolution of the same size, with bias and leaky ReLU."""
        return self.active(F.conv2d(x, self.scaled(), padding=self.weight.shape[-1] // 2))

    def down(self, x: Tensor, *, fused: bool) -> Tensor:
        """Blurred, convolved and halved."""
        kernel = self.blur.kernel
        assert isinstance(kernel, Tensor)
        x = F.conv2d(x, kernel, padding=1, groups=len(kernel))
        if not fused:
            return self.active(F.avg_pool2d(F.conv2d(x, self.scaled(), padding=1), 2))
        wide = F.pad(self.scaled(), (1, 1, 1, 1))
        mean = (wide[..., 1:, 1:] + wide[..., :-1, 1:] + wide[..., 1:, :-1] + wide[..., :-1, :-1]) / 4
        return self.active(F.conv2d(x, mean, stride=2, padding=1))

    def active(self, x: Tensor) -> Tensor:
        """Bias and leaky ReLU of maps or rows."""
        return F.leaky_relu(x + self.bias.view(-1, *[1] * (x.ndim - 2)), SLOPE)


class Discriminator(nn.Module):
    """StyleGAN's at 256 pixels: (B, 3, 256, 256) in -1..1 -> stages and `score` (B, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lod", torch.zeros(()))
        for i, width in enumerate(WIDTHS):
            self.add_module(f"input{i}", Equalised(width, 3, 1, 1))
            if i < len(WIDTHS) - 1:
                self.add_module(f"layer{2 * i}", Equalised(width, width, 3, 3))
                self.add_module(f"layer{2 * i + 1}", Equalised(WIDTHS[i + 1], width, 3, 3, blur=width))
        self.layer12 = Equalised(512, 513, 3, 3)
        self.layer13, self.layer14 = Equalised(512, 8192), Equalised(1, 512)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        taps = {}
        x = taps["input0"] = self._layer("input0").conv(x)
        for i in range(len(WIDTHS) - 1):
            x = self._layer(f"layer{2 * i}").conv(x)
            x = taps[f"layer{2 * i + 1}"] = self._layer(f"layer{2 * i + 1}").down(x, fused=i < FUSED)
        x = self.layer12.conv(torch.cat([x, torch.full_like(x[:, :1], DEVIATION)], dim=1))
        taps["layer13"] = self.layer13.active(x.flatten(1) @ self.layer13.scaled().T)
        taps["score"] = taps["layer13"] @ self.layer14.scaled(1.0).T + self.layer14.bias
        return taps

    def _layer(self, name: str) -> Equalised:
        layer = self.get_submodule(name)
        assert isinstance(layer, Equalised)
        return layer


class LGrad(Baseline):
    """One logit. Option: `input`, how the gradient picture comes to the classifier."""

    facts = Facts(
        name="lgrad",
        title="LGrad",
        paper="Tan, Zhao, Wei, Gu, Wei: Learning on gradients, CVPR 2023",
        source="chuangchuangtan/LGrad@7cb5973; default: Ekko-zn/AIGCDetectBenchmark@5cd41a6",
        licence="no licence file; the discriminator CC BY-NC 4.0",
        where="both in dkarageo/sidbench on the hub, folders lgrad and preprocessing",
        files=("LGrad.pth", "karras2019stylegan-bedrooms-256x256_discriminator.pth"),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": (
                "benchmark_bgr_crop224",
                "original_rgb_256",
                "rgb_crop224",
                "bgr_256",
                "sidbench_centercrop256_bgr",
            )
        },
        parameters=46_562_434,
        published="published: mean accuracy 0.753 on the 16 sets of AIGCDetectBenchmark",
        known_by="layer14.weight",
        no_graph="it differentiates a network with respect to its input",
    )

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        self.discriminator = Discriminator().requires_grad_(False)
        self.resnet = resnet50()
        self.fc = nn.Linear(2048, 1)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        inside = re.compile(r"lod$|input\d\.|layer\d+\.(weight|bias|blur)")
        return {f"discriminator.{k}" if inside.match(k) else ours(k): v for k, v in state.items()}

    def prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 -> (3, 256, 256) in -1..1: squeezed, or SIDBench's centre crop."""
        cropped = self.options["input"] == "sidbench_centercrop256_bgr"
        return (unit(centre_crop(pixels, FRAME) if cropped else square(pixels, FRAME)) - 0.5) / 0.5

    def gradient(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) -> the gradient of each score, the same shape; on a processor one by one (faster)."""
        with torch.inference_mode(False), torch.enable_grad():
            parts = [chunk.detach().clone().requires_grad_() for chunk in x.split(1 if x.is_cpu else len(x))]
            slopes = [torch.autograd.grad(self.discriminator(part)["score"].sum(), part)[0] for part in parts]
        return torch.cat(slopes)

    def forward(self, levels: Tensor) -> dict[str, Tensor]:
        """Gradient pictures (B, 3, 256, 256) in whole levels 0..255, RGB -> stages and `logits` (B, 1)."""
        how = self.options["input"]
        if "bgr" in how:
            levels = levels.flip(1)
        if self.training:
            top, left = torch.randint(FRAME - SIDE + 1, (2,)).tolist()
            levels = levels[..., top : top + SIDE, left : left + SIDE]
            levels = levels.flip(-1) if torch.rand(()) < 0.5 else levels
        elif how.endswith("crop224"):
            first = (FRAME - SIDE) // 2
            levels = levels[..., first : first + SIDE, first : first + SIDE]
        stages: dict[str, Tensor] = self.resnet(normalised(levels / 255))
        return stages | {"logits": self.fc(stages["pooled"])}

    def run(self, inputs: Sequence[Tensor]) -> Output:
        return by_shape(inputs, lambda x: Output(self(as_levels(self.gradient(x)))["logits"][:, 0]))


def as_levels(slope: Tensor) -> Tensor:
    """Gradients (B, 3, H, W) -> whole levels 0..255: each picture's least to its greatest, over all channels."""
    rows = slope.flatten(1)
    rows = rows - rows.amin(dim=1, keepdim=True)
    greatest = rows.amax(dim=1, keepdim=True)
    rows = rows / torch.where(greatest > 0, greatest, torch.ones_like(greatest))
    return (rows * 255).round().clamp(0, 255).view_as(slope)
