"""NPR: what differs between a pixel and the one that stands for its 2 x 2 block (Tan et al., CVPR 2024).

pixelsleuth check picture.jpg --model npr --weights NPR.pth
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.resnet import ResNet, ours
from pixelsleuth.models.baseline import Baseline, Output, by_shape
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.inputs import IMAGENET, imagenet, random_crop, square
from pixelsleuth.models.preparation import Steps

SIDE, LOAD = 224, 256


class Npr(Baseline):
    """One logit, of a ResNet-50 that ends behind its second stage. Option: `input`."""

    facts = Facts(
        name="npr",
        title="NPR",
        paper="Tan, Liu, Zhao, Wei, Gu, Wei: Rethinking the up-sampling operations, CVPR 2024",
        source="chuangchuangtan/NPR-DeepfakeDetection@73cde1c; crops: mever-team/sidbench@b33f51c",
        licence="no licence file",
        where="in the authors' repository, or in dkarageo/sidbench on the hub, folder npr",
        files=("NPR.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": ("official_resize256", "native_even", "crop224", "tile_crop224", "square256_crop224")
        },
        parameters=1_437_761,
        published="its authors: mean accuracy 0.917 on the 16 sets of AIGCDetectBenchmark",
    )

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        self.resnet = ResNet((3, 4), (256, 512), small_stem=True)
        self.fc1 = nn.Linear(512, 1)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {ours(key): value for key, value in state.items()}

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, 256, 256), (3, 224, 224), or the picture itself less an odd last row or column."""
        crop = ["crop", SIDE]
        ways: dict[str, list[list[Any]]] = {
            "official_resize256": [["square", LOAD]],
            "native_even": [["even"]],
            "crop224": [crop],
            "tile_crop224": [["tile", SIDE], crop],
            "square256_crop224": [["square", LOAD], crop],
        }
        return [*ways[self.options["input"]], IMAGENET]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W), both even -> `npr`, the stages and `logits` (B, 1)."""
        blocks = F.interpolate(x[..., ::2, ::2], scale_factor=2.0, mode="nearest")
        taps = {"npr": (x - blocks) * 2.0 / 3.0}
        taps |= self.resnet(taps["npr"])
        return taps | {"logits": self.fc1(taps["pooled"])}

    def run(self, inputs: Sequence[Tensor]) -> Output:
        return by_shape(inputs, lambda x: Output(self(x)["logits"][:, 0]))

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """Squeezed to 256, a random crop, mirrored in half; no blur and no JPEG."""
        return imagenet(random_crop(square(pixels, LOAD), SIDE, random))
