"""MVSS-Net (Chen et al., ICCV 2021; Dong et al., TPAMI 2022): edges and noise beside colour, a mask by dual attention.

Two dilated ResNet-50: one sees the picture, the other a constrained convolution of its grey version. An edge branch
reads the Sobel response of the first one's four stages; the head attends over places and over channels of both.

    pixelsleuth check picture.jpg --model mvss_net --weights mvssnet_casia.pt --option planes=rgb
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.hrnet import Bottleneck, resized
from pixelsleuth.models.baseline import Localizer, Output, by_shape
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.inputs import (
    IMAGENET,
    Mask,
    bilinear_8bit,
    blur_jpeg,
    mirrored,
    resized_mask,
    targets,
)
from pixelsleuth.models.preparation import Steps

SIDE = 512
STAGES = ((64, 1, (1, 1, 1)), (128, 2, (1, 1, 1, 1)), (256, 2, (1, 1, 1, 1, 1, 1)), (512, 1, (1, 2, 4)))
"""Width, stride, and the dilation of each block, of every stage."""
GREY = (0.114, 0.587, 0.2989)
"""Weights of planes 0, 1, 2, which are blue, green, red where the pictures are stored as OpenCV has them."""
SOBEL = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))
DICE, CLASS, EDGE = 0.16, 0.04, 0.80
"""Weights of the three losses (TPAMI version, section 3.4)."""


class DilatedResNet(nn.Module):
    """ResNet-50 whose last stage keeps its size (dilations 1, 2, 4); `fc` is part of the checkpoints and unused."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inside = 64
        for number, (width, stride, dilations) in enumerate(STAGES, start=1):
            blocks = []
            for i, dilation in enumerate(dilations):
                step = stride if i == 0 else 1
                blocks.append(Bottleneck(inside, width, stride=step, dilation=dilation, momentum=0.1))
                inside = 4 * width
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inside, 1000)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> four stages of 256, 512, 1024, 2048 channels at 1/4, 1/8, 1/16, 1/16."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        stages = []
        for number in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{number}")(x)
            stages.append(x)
        return stages


class NoiseBranch(nn.Module):
    """The second ResNet, under the name that the checkpoints give it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = DilatedResNet()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> the last stage."""
        last: Tensor = self.model(x)[-1]
        return last


class BayarConvolution(nn.Module):
    """1 -> 3 planes, 5x5, centre -1, the other 24 numbers of each filter sum to 1 (Bayar & Stamm 2018).

    The authors rescale the stored numbers at every forward; here a test leaves them as they are and uses the rescaled
    ones, so that an answer does not depend on the pictures before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.rand(1, 3, 24))

    def forward(self, grey: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, 3, H, W)."""
        if self.training:
            with torch.no_grad():
                self.kernel.div_(self.kernel.sum(dim=-1, keepdim=True))
            ring: Tensor = self.kernel
        else:
            ring = self.kernel / self.kernel.sum(dim=-1, keepdim=True)
        centre = -torch.ones_like(ring[..., :1])
        filters = torch.cat([ring[..., :12], centre, ring[..., 12:]], dim=-1).reshape(3, 1, 5, 5)
        return F.conv2d(grey, filters, padding=2)


class EdgeBlock(nn.Module):
    """Residual block that brings a stage to one channel."""

    def __init__(self, inside: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, 1, 1)
        self.conv2 = nn.Conv2d(1, 1, 3, padding=1)
        self.bn = nn.BatchNorm2d(1)
        self.conv3 = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor, *, relu: bool = True) -> Tensor:
        """(B, inside, h, w) -> (B, 1, h, w)."""
        x = self.conv1(x)
        x = x + self.conv3(F.relu(self.bn(self.conv2(x))))
        return F.relu(x) if relu else x


class PlaceAttention(nn.Module):
    """Every place attends to every other one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))
        self.conv_b = nn.Conv2d(channels, channels // 8, 1)
        self.conv_c = nn.Conv2d(channels, channels // 8, 1)
        self.conv_d = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        query, key, value = (conv(x).flatten(2) for conv in (self.conv_b, self.conv_c, self.conv_d))
        weights = (query.transpose(1, 2) @ key).softmax(dim=-1)
        return self.alpha * (value @ weights.transpose(1, 2)).reshape(x.shape) + x


class ChannelAttention(nn.Module):
    """Every channel attends to those that are least like it."""

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        flat = x.flatten(2)
        alike = flat @ flat.transpose(1, 2)
        weights = (alike.amax(dim=-1, keepdim=True) - alike).softmax(dim=-1)
        return self.beta * (weights @ flat).reshape(x.shape) + x


class DualAttentionHead(nn.Module):
    """DANet's head: both attentions side by side, added, one channel out."""

    def __init__(self, inside: int) -> None:
        super().__init__()
        width = inside // 4
        for letter in ("p", "c"):
            setattr(self, f"conv_{letter}1", _conv3(inside, width))
            setattr(self, f"conv_{letter}2", _conv3(width, width))
        self.pam = PlaceAttention(width)
        self.cam = ChannelAttention()
        self.out = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, h, w) -> mask logits (B, 1, h, w)."""
        places = self.get_submodule("conv_p2")(self.pam(self.get_submodule("conv_p1")(x)))
        channels = self.get_submodule("conv_c2")(self.cam(self.get_submodule("conv_c1")(x)))
        mask: Tensor = self.out(places + channels)
        return mask


class Maps(NamedTuple):
    """`edge`: logits (B, 1, H / 4, W / 4); `mask`: logits (B, 1, H, W)."""

    edge: Tensor
    mask: Tensor


class MvssNet(Localizer):
    """Mask and edges at 512 x 512. Options: `planes`, the order in which the network sees the colours; `loss`."""

    facts = Facts(
        name="mvss_net",
        title="MVSS-Net",
        paper="Chen, Dong, Ji, Cao, Li: MVSS-Net, ICCV 2021; Dong, Chen, Hu, Cao, Li: MVSS-Net, TPAMI 2022",
        source="dong03/MVSS-Net@cc2aed7; loss: scu-zjz/IMDLBenCo@3efef9b",
        licence="no licence file",
        where="linked from the page of the authors' repository (trained on CASIA v2, or on DEFACTO)",
        files=("mvssnet_casia.pt",),
        made_for=Label.TAMPERED,
        options={"planes": ("bgr", "rgb"), "loss": ("imdlbenco", "paper")},
        parameters=146_880_335,
        localizes=True,
        known_by="constrain_conv.kernel",
    )

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        self.model = DilatedResNet()
        for number, (width, *_) in enumerate(STAGES, start=1):
            setattr(self, f"sobel_x{number}", _sobel(4 * width, SOBEL))
            setattr(self, f"sobel_y{number}", _sobel(4 * width, tuple(zip(*SOBEL, strict=True))))
            setattr(self, f"erb_db_{number}", EdgeBlock(4 * width))
        for number in (1, 2, 3):
            setattr(self, f"erb_trans_{number}", EdgeBlock(1))
        self.noise_extractor = NoiseBranch()
        self.constrain_conv = BayarConvolution()
        self.head = DualAttentionHead(2 * 4 * STAGES[-1][0])

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, 512, 512): OpenCV's 8-bit bilinear, then ImageNet's statistics in the order of the
        planes, whatever colours they hold."""
        return [*([["bgr"]] if self.options["planes"] == "bgr" else []), ["opencv", SIDE], IMAGENET]

    def forward(self, pixels: Tensor) -> Maps:
        """(B, 3, H, W) -> edge and mask logits."""
        stages = self.model(pixels)
        weights = pixels.new_tensor(GREY).reshape(1, 3, 1, 1)
        noise = self.noise_extractor(self.constrain_conv((pixels * weights).sum(dim=1, keepdim=True)))
        low = self.head(torch.cat([stages[-1], noise], dim=1))
        return Maps(self._edges(stages), resized(low, pixels.shape[-2:]))

    def _edges(self, stages: Sequence[Tensor]) -> Tensor:
        """The edge branch: one stage after the other is added at the size of the first."""
        parts = []
        for number, stage in enumerate(stages, start=1):
            across = self.get_submodule(f"sobel_x{number}")(stage)
            down = self.get_submodule(f"sobel_y{number}")(stage)
            edges = (across.square() + down.square()).sqrt().sigmoid() * stage
            parts.append(self.get_submodule(f"erb_db_{number}")(edges))
        total: Tensor = parts[0]
        for number, part in enumerate(parts[1:], start=1):
            block = self.get_submodule(f"erb_trans_{number}")
            total = block(total + resized(part, total.shape[-2:]), relu=number < 3)
        return total

    def run(self, inputs: Sequence[Tensor]) -> Output:
        """The largest mask logit, and the mask at 512 x 512."""
        return by_shape(inputs, self._run, alone=True)

    def _run(self, batch: Tensor) -> Output:
        mask = self(batch).mask
        return Output(mask.amax(dim=(1, 2, 3)), list(mask[:, 0]))

    def saved(self, mask: Tensor, height: int, width: int) -> NDArray[np.uint8]:
        """The 8-bit mask (height, width) that the authors' script writes for mask logits (512, 512)."""
        eight = (mask.sigmoid() * 255).to(torch.uint8).cpu().numpy()
        return bilinear_8bit(eight, (height, width))

    def pair(
        self, pixels: NDArray[np.uint8], mask: Mask | None, random: np.random.Generator
    ) -> tuple[Tensor, Mask | None]:
        """Blur and JPEG on the picture, both mirrored; the training code was never released, the paper names these."""
        pixels, mask = mirrored(blur_jpeg(pixels, random, 0.5), mask, random)
        return self.prepare(pixels), resized_mask(mask, SIDE)

    def loss(
        self, inputs: Sequence[Tensor], labels: Tensor, masks: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        """Dice of the mask, Dice of its edges, cross entropy of the largest mask value.

        `imdlbenco` (the only code that is public): edges at full size, Dice over the batch as a whole, and the
        probability, not the logit, is given to the cross entropy. `paper`: edges at a quarter of the size, mask and
        edge losses on forged pictures alone, the logit itself.
        """
        maps = self(torch.stack(list(inputs)))
        labels = labels.to(maps.mask.dtype)
        truth = targets(masks, tuple(maps.mask.shape[-2:]), maps.mask)
        if self.options["loss"] == "paper":
            forged = labels > 0
            edge_truth = (F.max_pool2d(edges_of(truth), 4) > 0).to(truth.dtype)
            pixel = _dice(maps.mask[forged].sigmoid(), truth[forged])
            edge = _dice(maps.edge[forged].sigmoid(), edge_truth[forged])
            strongest = maps.mask.amax(dim=(1, 2, 3))
        else:
            pixel = _dice(maps.mask.sigmoid(), truth)
            edge = _dice(resized(maps.edge, truth.shape[-2:]).sigmoid(), edges_of(truth))
            strongest = maps.mask.sigmoid().amax(dim=(1, 2, 3))
        label = F.binary_cross_entropy_with_logits(strongest, labels)
        total = DICE * pixel + CLASS * label + EDGE * edge
        return {"dice_mask": pixel, "bce_label": label, "dice_edge": edge, "loss": total}


def edges_of(mask: Tensor, reach: int = 3) -> Tensor:
    """Mask (B, 1, H, W) of 0 and 1 -> its edge: within `reach` places, along rows or columns, of both kinds."""

    def grown(x: Tensor) -> Tensor:
        along = F.max_pool2d(x, (1, 2 * reach + 1), 1, (0, reach))
        return torch.maximum(along, F.max_pool2d(x, (2 * reach + 1, 1), 1, (reach, 0)))

    return grown(mask) * grown(1 - mask)


def _dice(chance: Tensor, truth: Tensor) -> Tensor:
    """One minus Dice with squared sums, over all pixels given, smoothed by 1."""
    overlap = (chance * truth).sum()
    return 1 - (2 * overlap + 1) / (truth.square().sum() + chance.square().sum() + 1)


def _conv3(inside: int, outside: int) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())


def _sobel(channels: int, kernel: Sequence[Sequence[float]]) -> nn.Sequential:
    """A fixed kernel over all channels, then batch normalisation of its response."""
    conv = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
    conv.weight = nn.Parameter(torch.tensor(kernel).expand(1, channels, 3, 3).clone(), requires_grad=False)
    return nn.Sequential(conv, nn.BatchNorm2d(1))
