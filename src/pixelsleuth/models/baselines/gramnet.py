"""Gram-Net: a ResNet-18 with the texture of six of its stages, as Gram matrices (Liu et al., CVPR 2020).

    pixelsleuth check picture.jpg --model gramnet --weights Gram.pth

The original has two classes, fake (0) and real (1); its port in the unified benchmark has one logit, positive = fake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.resnet import ResNet, ours
from pixelsleuth.models.baseline import Baseline, Output, by_shape
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.inputs import IMAGENET, blur_jpeg, imagenet, random_crop, short_side
from pixelsleuth.models.preparation import Steps

SIDE, LOAD, ORIGINAL, SMALL = 224, 256, 512, 64
AUGMENT = 0.1
TAPS = {
    "input": ("conv_interi_0", "gi_fc1", "gi_fc2", 3),
    "stem": ("conv_inter0_0", "g0_fc1", "g0_fc2", 64),
    "pool": ("conv_inter1_0", "g_fc1r", "g_fc2r", 64),
    "layer1": ("conv_inter2_0", "g2_fc1", "g2_fc2", 64),
    "layer2": ("conv_inter3_0", "g3_fc1", "g3_fc2", 128),
    "layer3": ("conv_inter4_0", "g4_fc1", "g4_fc2", 256),
}
"""Where texture is measured: the published names of its three convolutions, and the channels there."""


class Scale(nn.Module):
    """One learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), 0.01))


class GramNet(Baseline):
    """One logit, or two log probabilities for the original's inputs. Option: `input`."""

    facts = Facts(
        name="gramnet",
        title="Gram-Net",
        paper="Liu, Qi, Torr: Global texture enhancement for fake face detection in the wild, CVPR 2020",
        source="the paper's repository by liuzhengzhe @a416145; default: Ekko-zn/AIGCDetectBenchmark@5cd41a6",
        licence="no licence file",
        where="the port in dkarageo/sidbench on the hub, folder gramnet; the original file is a pickle, and not read",
        files=("Gram.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": (
                "port_resize256_crop224",
                "port_crop224",
                "original_512",
                "original_64_512",
                "original_native",
            )
        },
        parameters=11_734_210,
        published="published: mean accuracy 0.687 on the 16 sets of AIGCDetectBenchmark",
        known_by="scale.scale",
    )

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        self.original = self.options["input"].startswith("original")
        self.resnet = ResNet((2, 2, 2, 2), (64, 128, 256, 512), basic=True)
        for first, second, third, channels in TAPS.values():
            self.add_module(first, _conv(channels, 32, 1))
            self.add_module(second, _conv(1, 16, 2))
            self.add_module(third, _conv(16, 32, 2))
        self.scale = Scale()
        last = nn.Linear(512, 2 if self.original else 1)
        self.fcnewr = nn.Sequential(nn.Linear(512 + 6 * 32, 512), nn.ReLU(), nn.Dropout(0.5), last)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {ours(key): value for key, value in state.items()}

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, 224, 224) normalised; for the original BGR in 0..255, (3, 512, 512) or native."""
        large = ["opencv", ORIGINAL]
        ways: dict[str, list[list[Any]]] = {
            "port_resize256_crop224": [["short_side", LOAD], ["crop", SIDE], IMAGENET],
            "port_crop224": [["crop", SIDE], IMAGENET],
            "original_512": [["bgr"], large, ["levels"]],
            "original_64_512": [["bgr"], ["opencv", SMALL], large, ["levels"]],
            "original_native": [["bgr"], ["levels"]],
        }
        return ways[self.options["input"]]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> stages, Gram matrices, `features` (B, 704), `raw` and `logits`."""
        stages = self.resnet(x)
        taps = {"input": x, "stem": stages["first"], "pool": stages["stem"]}
        taps |= {name: stages[name] for name in ("layer1", "layer2", "layer3")}
        outputs = {"stem": stages["first"], "layer4": stages["layer4"]}
        parts = [stages["pooled"]]
        for name, (first, second, third, _) in TAPS.items():
            outputs[f"gram_{name}"] = gram = _gram(self.get_submodule(first)(taps[name]))
            texture = self.get_submodule(third)(self.get_submodule(second)(gram))
            parts.append(texture.mean(dim=(2, 3)) * self.scale.scale)
        outputs["features"] = torch.cat(parts, dim=1)
        outputs["raw"] = self.fcnewr(outputs["features"])
        return outputs | {"logits": outputs["raw"].log_softmax(dim=1) if self.original else outputs["raw"]}

    def run(self, inputs: Sequence[Tensor]) -> Output:
        return by_shape(inputs, self._answer)

    def _answer(self, x: Tensor) -> Output:
        raw = self(x)["raw"]
        return Output(raw[:, 0] - raw[:, 1] if self.original else raw[:, 0])

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """As the benchmark trains its port; the original's input is that of its test."""
        if self.original:
            return self.prepare(pixels)
        return imagenet(random_crop(blur_jpeg(short_side(pixels, LOAD), random, AUGMENT), SIDE, random))


def _conv(inside: int, outside: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())


def _gram(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, C, C), over C H W."""
    rows = x.flatten(2)
    return (rows @ rows.transpose(1, 2) / (rows.shape[1] * rows.shape[2]))[:, None]
