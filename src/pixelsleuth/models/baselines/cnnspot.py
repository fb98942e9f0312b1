"""CnnSpot: a ResNet-50 on pictures blurred and compressed at random (Wang et al., CVPR 2020).

pixelsleuth check picture.jpg --model cnnspot --weights blur_jpg_prob0.1.pth
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.resnet import ours, resnet50
from pixelsleuth.models.baseline import Baseline, Output, by_shape
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.inputs import IMAGENET, blur_jpeg, imagenet, random_crop, short_side
from pixelsleuth.models.preparation import Steps

SIDE, LOAD = 224, 256
AUGMENT = 0.1
"""Chance of blur and of JPEG in training; the authors' other model has 0.5."""


class CnnSpot(Baseline):
    """One logit. Options: `input`, the preparation; `width`, of all its channels."""

    facts = Facts(
        name="cnnspot",
        title="CnnSpot",
        paper="Wang, Wang, Zhang, Owens, Efros: CNN-generated images are surprisingly easy to spot, CVPR 2020",
        source="PeterWang512/CNNDetection@ea0b562; default input: Ekko-zn/AIGCDetectBenchmark@5cd41a6",
        licence="CC BY-NC-SA 4.0",
        where="linked from the page of the authors' repository",
        files=("blur_jpg_prob0.1.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": ("benchmark_resize256_crop224", "official_crop224", "native", "square256_crop224"),
            "width": ("full", "quarter"),
        },
        parameters=23_510_081,
        published="published: mean accuracy 0.708 on the 16 sets of AIGCDetectBenchmark",
    )

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        width = 1.0 if self.options["width"] == "full" else 0.25
        self.resnet = resnet50(width=width)
        self.fc = nn.Linear(int(2048 * width), 1)
        nn.init.normal_(self.fc.weight, std=0.02)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {ours(key): value for key, value in state.items()}

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, 224, 224), or (3, H, W) for `native`."""
        how = self.options["input"]
        if how == "native":
            return [IMAGENET]
        first = {
            "benchmark_resize256_crop224": [["short_side", LOAD]],
            "square256_crop224": [["square", LOAD]],
        }
        return [*first.get(how, []), ["crop", SIDE], IMAGENET]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> the stages and `logits` (B, 1)."""
        stages: dict[str, Tensor] = self.resnet(x)
        return stages | {"logits": self.fc(stages["pooled"])}

    def run(self, inputs: Sequence[Tensor]) -> Output:
        return by_shape(inputs, lambda x: Output(self(x)["logits"][:, 0]))

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """Short side 256, blur and JPEG at random, a random crop, mirrored in half."""
        return imagenet(random_crop(blur_jpeg(short_side(pixels, LOAD), random, AUGMENT), SIDE, random))
