"""PSCC-Net (Liu et al., IEEE TCSVT 2022): masks from coarse to fine over HRNet's four maps, and a class head.

The backbone runs at the picture's own size by default, as the authors' test does; its maps are resized to 256, 128, 64
and 32 before both heads, so the finest mask has 256 x 256 places whatever the picture.

    pixelsleuth check picture.jpg --model pscc_net --weights FOLDER --option input=resize256
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.hrnet import CHANNELS, Bottleneck, HRNet, NonLocal, conv_bn, resized
from pixelsleuth.models.baseline import Localizer, Output, by_shape
from pixelsleuth.models.facts import Facts, Origin, Remote
from pixelsleuth.models.inputs import IMAGENET, Mask, dihedral, imagenet, logits_of, targets, unit
from pixelsleuth.models.preparation import Steps

SIDE = 256
FOLDS = (4, 2, 2, 1)
"""Neighbours folded into channels before the attention, finest map first."""
CLASS_WEIGHTS = (1 / 0.25, 1 / 0.75)
"""Authentic, forged: one of the author's four training classes is authentic."""


@dataclass
class Maps:
    """`features`: HRNet's four maps; `masks`: (B, 1, h, w) at 256, 128, 64, 32 before the sigmoid; `classes` (B, 2)."""

    features: list[Tensor]
    masks: list[Tensor]
    classes: Tensor


class MaskHead(NonLocal):
    """Non-local attention over places and channels, then a one-channel mask before its sigmoid."""

    def __init__(self, channels: int, fold: int) -> None:
        super().__init__(channels, fold, across=True)
        self.getmask = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 1, h, w)."""
        mask: Tensor = self.getmask(self.attend(x))
        return mask


class Masks(nn.Module):
    """Four masks, each finer map multiplied by the coarser one's mask; `raw` leaves the sigmoid out (IMDLBenCo)."""

    def __init__(self, *, raw: bool) -> None:
        super().__init__()
        self.raw = raw
        for i, (channels, fold) in enumerate(zip(CHANNELS, FOLDS, strict=True), start=1):
            setattr(self, f"getmask{i}", MaskHead(channels, fold))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Four maps, finest first -> four masks (B, 1, h, w) before the sigmoid, finest first."""
        masks: list[Tensor] = []
        for i in (4, 3, 2, 1):
            x = maps[i - 1]
            if masks:
                gate = masks[0] if self.raw else masks[0].sigmoid()
                x = x * resized(gate, x.shape[-2:])
            masks.insert(0, self.get_submodule(f"getmask{i}")(x))
        return masks


class ClassHead(nn.Module):
    """HRNet's classification head: every map widened, added up from fine to coarse, pooled -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.incre_modules = nn.ModuleList(
            nn.Sequential(Bottleneck(channels, channels, expansion=2)) for channels in CHANNELS
        )
        self.downsamp_modules = nn.ModuleList(
            conv_bn(2 * fine, 2 * coarse, stride=2, bias=True) for fine, coarse in pairwise(CHANNELS)
        )
        self.final_layer = conv_bn(2 * CHANNELS[-1], 128, 1, bias=True)
        self.classifier = nn.Sequential(nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps, finest first -> logits of authentic and forged."""
        total = self.incre_modules[0](maps[0])
        for down, widen, x in zip(self.downsamp_modules, self.incre_modules[1:], maps[1:], strict=True):
            total = widen(x) + down(total)
        classes: Tensor = self.classifier(self.final_layer(total).mean(dim=(-2, -1)))
        return classes


class PsccNet(Localizer):
    """HRNet, four masks, two classes. Option `input`: how a picture is brought to the network."""

    facts = Facts(
        name="pscc_net",
        title="PSCC-Net",
        paper="Liu, Liu, Chen, Liu: PSCC-Net, IEEE TCSVT 2022",
        source="proteus1991/PSCC-Net@53e5ff7",
        licence="MIT",
        where="in the authors' repository, folder checkpoint",
        files=("HRNet.pth", "NLCDetection.pth", "DetectionHead.pth"),
        made_for=Label.TAMPERED,
        options={"input": ("native", "resize256", "imdlbenco256")},
        parameters=3_667_942,
        localizes=True,
        known_by="getmask4.W_c.weight",
        origins=(
            Origin(
                "proteus1991/PSCC-Net",
                "53e5ff77d8dc5feddda060cd085f9b765761f816",
                (
                    Remote(
                        "checkpoint/HRNet_checkpoint/HRNet.pth",
                        "d3b21edc4930187a6801cc818bd7b999fb5d8078d8f2e2193572e91ea5160096",
                        8_305_545,
                    ),
                    Remote(
                        "checkpoint/NLCDetection_checkpoint/NLCDetection.pth",
                        "11ea3461253cf059b299ad4b6b89008485f94a2d2b2da83ec28c2282a095b00b",
                        2_900_709,
                    ),
                    Remote(
                        "checkpoint/DetectionHead_checkpoint/DetectionHead.pth",
                        "a17581e8a3489a360257a266ca9b2db1b7c9b43337fbcc4aeb8d751f593f66f5",
                        3_739_969,
                    ),
                ),
                host="github",
            ),
        ),
    )

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        self.kind = self.options["input"]
        self.backbone = HRNet((2, 3, 4))
        self.masks = Masks(raw=self.kind == "imdlbenco256")
        self.head = ClassHead()

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The keys of the three files, none of which occurs twice, under the three parts."""
        return {_own_key(key): value for key, value in state.items()}

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, h, w) in 0..1; `imdlbenco256` has ImageNet's statistics."""
        if self.kind == "imdlbenco256":
            return [["opencv", SIDE], IMAGENET]
        return [["squeeze", SIDE] if self.kind == "resize256" else ["at_most"], ["unit", 255]]

    def forward(self, pixels: Tensor) -> Maps:
        """(B, 3, H, W) -> maps, masks and classes."""
        features = self.backbone(pixels)
        small = [resized(x, (SIDE >> i, SIDE >> i)) for i, x in enumerate(features)]
        return Maps(features, self.masks(small), self.head(small))

    def run(self, inputs: Sequence[Tensor]) -> Output:
        """The class logit, and the finest mask at the size of the network's input."""
        return by_shape(inputs, self._run, alone=True)

    def _run(self, batch: Tensor) -> Output:
        maps = self(batch)
        return Output(
            maps.classes[:, 1] - maps.classes[:, 0], list(logits_of(self.mask_at(maps, batch))[:, 0])
        )

    def mask_at(self, maps: Maps, batch: Tensor) -> Tensor:
        """The finest mask's probabilities (B, 1, H, W) at the size of the input."""
        return resized(maps.masks[0].sigmoid(), batch.shape[-2:])

    def pair(
        self, pixels: NDArray[np.uint8], mask: Mask | None, random: np.random.Generator
    ) -> tuple[Tensor, Mask | None]:
        """Both squeezed to 256 x 256 (Pillow bicubic), one of eight turns and mirror images."""
        small = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        if mask is not None:
            grey = Image.fromarray(mask).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            mask = ((np.asarray(grey) > 127) * 255).astype(np.uint8)
        small, mask = dihedral(small, mask, random)
        return imagenet(small) if self.kind == "imdlbenco256" else unit(small), mask

    def loss(
        self, inputs: Sequence[Tensor], labels: Tensor, masks: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        """Four mask losses, each balanced over the batch, and the class loss (train.py; of IMDLBenCo's port in its
        variant, which weighs no class)."""
        maps = self(torch.stack(list(inputs)))
        target = labels.long()
        parts: dict[str, Tensor] = {}
        for i, mask in enumerate(maps.masks, start=1):
            truth = targets(masks, tuple(mask.shape[-2:]), mask, bicubic=True)
            parts[f"mask{i}"] = F.binary_cross_entropy_with_logits(mask, truth, weight=_balance(truth))
        parts["seg"] = parts["mask1"] + parts["mask2"] + parts["mask3"] + parts["mask4"]
        if self.kind == "imdlbenco256":
            chance = maps.classes.softmax(dim=1)[:, 1]
            parts["cls"] = F.binary_cross_entropy(chance, target.to(chance.dtype))
        else:
            parts["cls"] = F.cross_entropy(maps.classes, target, maps.classes.new_tensor(CLASS_WEIGHTS))
        parts["loss"] = parts["seg"] + parts["cls"]
        return parts


def _balance(truth: Tensor) -> Tensor:
    """Weights that let forged and authentic pixels of the batch count the same; 1 where none is forged."""
    share = truth.mean()
    if share == 0:
        return torch.ones_like(truth)
    return torch.where(truth > 0, 0.5 / share, 0.5 / (1 - share))


def _own_key(key: str) -> str:
    part = key.partition(".")[0]
    if part in ("backbone", "masks", "head"):
        return key
    if part.startswith("getmask"):
        return f"masks.{key}"
    heads = ("incre_modules", "downsamp_modules", "final_layer", "classifier")
    return f"head.{key}" if part in heads else f"backbone.{key}"
