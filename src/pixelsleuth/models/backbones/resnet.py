"""ResNets of transformers under the names that published checkpoints use (torchvision's)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

PATTERNS = (
    (r"^conv1\.", "embedder.embedder.convolution."),
    (r"^bn1\.", "embedder.embedder.normalization."),
    (r"^layer(\d)\.(\d+)\.conv(\d)\.", ("stages", "convolution")),
    (r"^layer(\d)\.(\d+)\.bn(\d)\.", ("stages", "normalization")),
    (r"^layer(\d)\.(\d+)\.downsample\.0\.", "encoder.stages.{0}.layers.{1}.shortcut.convolution."),
    (r"^layer(\d)\.(\d+)\.downsample\.1\.", "encoder.stages.{0}.layers.{1}.shortcut.normalization."),
)


class ResNet(nn.Module):
    """(B, C, H, W) -> feature maps.

    Args:
        depths: blocks of each stage.
        widths: channels behind each stage.
        stem: channels of the first convolution.
        small_stem: the first convolution is 3 x 3, not 7 x 7.
        basic: blocks of two convolutions, not bottlenecks.
        channels: of the input.
    """

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        stem: int = 64,
        small_stem: bool = False,
        basic: bool = False,
        channels: int = 3,
    ) -> None:
        super().__init__()
        config = ResNetConfig(
            num_channels=channels,
            embedding_size=stem,
            hidden_sizes=list(widths),
            depths=list(depths),
            layer_type="basic" if basic else "bottleneck",
        )
        model = ResNetModel(config)
        if small_stem:
            model.embedder.embedder.convolution = nn.Conv2d(channels, stem, 3, 2, 1, bias=False)
        self.embedder, self.encoder = model.embedder, model.encoder

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`first` and `stem` (before and behind the first pooling), `layer1` and on, and `pooled` (B, width)."""
        first = self.embedder.embedder(x)
        x = self.embedder.pooler(first)
        stages = {"first": first, "stem": x}
        for number, stage in enumerate(self.encoder.stages, start=1):
            stages[f"layer{number}"] = x = stage(x)
        return stages | {"pooled": x.mean(dim=(2, 3))}


def resnet50(*, width: float = 1.0, channels: int = 3) -> ResNet:
    """ResNet-50 with the stride in the 3 x 3 convolution; `width` scales its channels."""
    widths = [int(width * channels) for channels in (256, 512, 1024, 2048)]
    return ResNet((3, 4, 6, 3), widths, stem=int(64 * width), channels=channels)


def ours(key: str, prefix: str = "resnet.") -> str:
    """Our name of a published key; keys that are not a ResNet's stay.

    >>> ours("layer1.0.conv2.weight"), ours("fc.bias")
    ('resnet.encoder.stages.0.layers.0.layer.1.convolution.weight', 'fc.bias')
    """
    for pattern, new in PATTERNS:
        match = re.match(pattern, key)
        if not match:
            continue
        if isinstance(new, tuple):
            stage, block, place = (int(part) for part in match.groups())
            name = f"encoder.stages.{stage - 1}.layers.{block}.layer.{place - 1}.{new[1]}."
        elif match.groups():
            name = new.format(int(match[1]) - 1, match[2])
        else:
            name = new
        return prefix + name + key[match.end() :]
    return key
