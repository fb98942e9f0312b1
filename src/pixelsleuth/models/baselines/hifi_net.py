"""HiFi-Net (Guo et al., CVPR 2023): HRNet with a frequency stem, classes in four levels, a mask, a metric space.

Two heads were published. `api` (general forgeries) squeezes the picture to 256 x 256; `loc` (edited pictures) runs the
backbone at the picture's own size and adds a feature pyramid. Two rules give a mask: the mask's own probability, for
edited pictures, or the distance of a pixel's 18 features from the centre of the real ones, for generated ones.

    pixelsleuth check picture.jpg --model hifi_net --weights FOLDER --option head=loc
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models.backbones.hrnet import CHANNELS, FrequencyHRNet, NonLocal, conv_bn, resized
from pixelsleuth.models.baseline import Localizer, Output, by_shape
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.inputs import Mask, dihedral, logits_of, resized_mask, targets, unit
from pixelsleuth.models.preparation import Steps

SIDE = 256
FEATURES = 18
LEVELS = {4: 3, 3: 5, 2: 7, 1: 14}
"""Classes of each level, coarsest first."""
PARENTS = {3: (0, 1, 1, 2, 2), 2: (0, 1, 1, 2, 2, 3, 4), 1: (0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4, 4, 4)}
"""The class of the coarser level that re-weights each class. The last five of level 1 take class 4, as in the released
code, though 5 and 6 were meant."""
EDITED = {1: 11, 2: 6, 3: 4, 4: 2}
"""The class of an edited picture at every level; the author's tree has four diffusion models, four GANs, two face
swaps and three editors behind class 0, the real pictures."""
DISTANCE = 2.3
"""Pixels at least this far from the centre are forged (api; the loss cuts at 1.85 times the radius)."""
BEYOND = 2.5
"""Forged pixels are pushed this many radii away from the centre."""


@dataclass
class Maps:
    """`features`: HRNet's maps; `places` (B, 18, 256, 256) for the distance; `mask` probabilities (B, 1, 256, 256);
    `partial`: the partial convolution's map (B, 1, 31, 31); `levels`: class logits by level."""

    features: list[Tensor]
    places: Tensor
    mask: Tensor
    partial: Tensor
    levels: Mapping[int, Tensor]


class PartialConvolution(nn.Module):
    """A convolution divided by the share of its window inside the mask; 3x3, stride 2, no padding."""

    def __init__(self, outside: int) -> None:
        super().__init__()
        self.input_conv = nn.Conv2d(3, outside, 3, 2)
        self.mask_conv = nn.Conv2d(3, outside, 3, 2, bias=False).requires_grad_(False)
        nn.init.ones_(self.mask_conv.weight)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Masked x and mask, both (B, 3, h, w) -> output and the mask of where there was anything."""
        held = self.mask_conv(mask.detach())
        empty = held == 0
        bias = self.input_conv.bias
        assert bias is not None
        bias = bias.reshape(1, -1, 1, 1)
        out = (self.input_conv(x) - bias) / held.masked_fill(empty, 1) + bias
        return out.masked_fill(empty, 0), (~empty).to(x.dtype)


class MaskHead(NonLocal):
    """Attention over places, then features for the distance, a mask, and partial convolutions of the masked picture."""

    def __init__(self, channels: int, *, loc: bool) -> None:
        super().__init__(channels, 4, across=False)
        self.loc = loc
        if loc:
            self.conv_1 = nn.Conv2d(channels, FEATURES, 3, padding=1)
            self.conv_2 = nn.Conv2d(FEATURES, 1, 3, padding=1)
        else:
            self.getmask = nn.Sequential(
                nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)
            )
        self.Pconv_1, self.Pconv_2 = PartialConvolution(3), PartialConvolution(3)
        self.Pconv_3 = PartialConvolution(1)

    def forward(self, x: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, h, w) and the picture (B, 3, h, w) -> features (B, 18, h, w), mask (B, 1, h, w), partial map."""
        attended = self.attend(x)
        if self.loc:
            before = self.conv_1(attended)
            places, mask = before.sigmoid(), self.conv_2(F.relu(before)).sigmoid()
        else:
            places, mask = attended, self.getmask(attended).sigmoid()
        three = mask.expand(-1, 3, -1, -1)
        partial, held = self.Pconv_1(pixels * three, three)
        partial, held = self.Pconv_2(partial, held)
        partial, _ = self.Pconv_3(partial, held)
        return places, mask, partial.detach()


class Level(nn.Module):
    """Class logits of one level."""

    def __init__(self, inside: int, classes: int) -> None:
        super().__init__()
        self.branch_cls = nn.Sequential(
            nn.Conv2d(inside, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, FEATURES, 3, padding=1), nn.ReLU()
        )
        self.bn = nn.BatchNorm1d(FEATURES)
        self.fc = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, h, w) -> (B, classes)."""
        logits: Tensor = self.fc(self.bn(self.branch_cls(x).mean(dim=(-2, -1))))
        return logits


class Pyramid(nn.Module):
    """Feature pyramid of the `loc` head: 64 channels, coarse maps doubled and added to finer ones."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        for i, channels in enumerate(CHANNELS, start=1):
            smooth = nn.Sequential(nn.Conv2d(channels, width, 1), nn.Conv2d(width, width, 3, padding=1))
            setattr(self, f"smooth_s{i}", smooth)
            setattr(self, f"fpn{i}", conv_bn(width, width, momentum=0.1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps, finest first, each half as large as the one before -> (B, 64, h, w) of the finest."""
        total: Tensor | None = None
        for i in (4, 3, 2, 1):
            x = self.get_submodule(f"smooth_s{i}")(maps[i - 1])
            total = x if total is None else x + F.interpolate(total, scale_factor=2, mode="nearest")
            total = self.get_submodule(f"fpn{i}")(total)
        assert total is not None
        return total


class HifiNet(Localizer):
    """Options: `head`, the published head; `mask`, the rule for the mask; `loss`, how its parts are weighted."""

    facts = Facts(
        name="hifi_net",
        title="HiFi-Net",
        paper="Guo, Liu, Ren, Grosz, Masi, Liu: HiFi-Net, CVPR 2023",
        source="CHELSEA234/HiFi_IFDL@2266804",
        licence="MIT",
        where="HRNet and NLCDetection are linked from the page of the authors' repository (750001 for api, 225000 for "
        "loc, renamed); radius_center.pth lies in it (folders center and center_loc)",
        files=("HRNet.pth", "NLCDetection.pth", "radius_center.pth"),
        made_for=Label.TAMPERED,
        options={
            "head": ("api", "loc", "loc256"),
            "mask": ("probability", "distance"),
            "loss": ("full", "local"),
        },
        parameters=6_890_320,
        localizes=True,
        known_by="laplacian.conv_1x1.0.weight",
    )

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        self.loc = self.options["head"] != "api"
        self.backbone = FrequencyHRNet()
        finest = 64 if self.loc else CHANNELS[0]
        self.getmask = MaskHead(finest, loc=self.loc)
        if self.loc:
            self.FPN_LOC = Pyramid()
        inside = 0
        for level, channels in zip((4, 3, 2, 1), (*CHANNELS[:0:-1], finest + 1), strict=True):
            inside += channels
            setattr(self, f"branch_cls_level_{level}", Level(inside, LEVELS[level]))
        self.centre = nn.Buffer(torch.zeros(FEATURES))
        self.radius = nn.Buffer(torch.zeros(()))

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The keys of both files; the centre of real pixels and its radius where the folder holds them too."""
        adapted = {_own_key(key): value for key, value in state.items()}
        for name in ("centre", "radius"):
            own: Tensor = self.get_buffer(name)
            adapted[name] = adapted[name].reshape(own.shape) if name in adapted else own
        return adapted

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, h, w) in 0..1: 256 x 256 by Pillow's bicubic, but for `loc` the size is kept."""
        return [["at_most"] if self.options["head"] == "loc" else ["squeeze", SIDE], ["unit", 255]]

    def forward(self, pixels: Tensor) -> Maps:
        """(B, 3, H, W) -> maps, mask and classes."""
        features = self.backbone(pixels)
        maps, small = list(features), pixels
        if self.loc:
            maps = [resized(x, (SIDE >> i, SIDE >> i)) for i, x in enumerate(features)]
            small = resized(pixels, (SIDE, SIDE))
        finest = self.FPN_LOC(maps) if self.loc else maps[0]
        places, mask, partial = self.getmask(finest, small)
        finest = torch.cat([finest, resized(partial, finest.shape[-2:])], dim=1)
        return Maps(features, places, mask, partial, self._levels([finest, *maps[1:]]))

    def _levels(self, maps: Sequence[Tensor]) -> dict[int, Tensor]:
        """Class logits, coarsest level first: each reads the maps so far, and its parent's probabilities raise it."""
        read = maps[3]
        levels: dict[int, Tensor] = {}
        parent: Tensor | None = None
        for level in (4, 3, 2, 1):
            if level < 4:
                here = maps[level - 1]
                read = torch.cat([resized(read, here.shape[-2:]), here], dim=1)
            logits = self.get_submodule(f"branch_cls_level_{level}")(read)
            levels[level] = logits
            if parent is not None:
                levels[level] = logits * (1 + parent[:, list(PARENTS[level])])
            parent = logits.masked_fill(logits <= 0, -9e15).softmax(dim=1)
        return levels

    def distance(self, maps: Maps) -> Tensor:
        """Euclidean distance of every place from the centre of the real ones (B, h, w); 1e-6 is added to each
        difference, as torch's PairwiseDistance does.

        Raises:
            UsageError: no centre was loaded.
        """
        if not self.radius > 0:
            raise UsageError(
                "HiFi-Net's distance rule needs radius_center.pth beside the weights: copy it from folder "
                "center (center_loc for head=loc) of the authors' repository, or use --option mask=probability."
            )
        difference = maps.places - self.centre.reshape(1, -1, 1, 1) + 1e-6
        return difference.square().sum(dim=1).sqrt()

    def run(self, inputs: Sequence[Tensor]) -> Output:
        """The log odds of every class but the first of level 1, and the mask at 256 x 256."""
        return by_shape(inputs, self._run, alone=True)

    def _run(self, batch: Tensor) -> Output:
        maps = self(batch)
        logs = maps.levels[1].log_softmax(dim=1)
        score = logs[:, 1:].logsumexp(dim=1) - logs[:, 0]
        if self.options["mask"] == "distance":
            cut = 1.85 * self.radius if self.loc else DISTANCE
            return Output(score, list(self.distance(maps) - cut))
        return Output(score, list(logits_of(maps.mask)[:, 0]))

    def pair(
        self, pixels: NDArray[np.uint8], mask: Mask | None, random: np.random.Generator
    ) -> tuple[Tensor, Mask | None]:
        """Squeezed to 256 x 256, turned or mirrored. The authors' training loop is not public."""
        small = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        small, mask = dihedral(small, resized_mask(mask, SIDE), random)
        return unit(small), mask

    def loss(
        self, inputs: Sequence[Tensor], labels: Tensor, masks: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        """`full`: 100 map + levels 1 to 3 + 100 level 4 + mask; `local`: map + 1e-5 of all levels.

        A data set that does not name its editors trains every forged picture as the first of them (`EDITED`).
        """
        maps = self(torch.stack(list(inputs)))
        truth = targets(masks, (SIDE, SIDE), maps.mask)
        parts = self.map_loss(maps, truth[:, 0])
        for level, edited in EDITED.items():
            parts[f"level{level}"] = F.cross_entropy(maps.levels[level], (labels > 0).long() * edited)
        parts["mask"] = F.binary_cross_entropy(maps.mask, truth)
        coarse, fine = parts["level4"], parts["level1"] + parts["level2"] + parts["level3"]
        if self.options["loss"] == "local":
            parts["loss"] = parts["map"] + 1e-5 * (fine + coarse)
        else:
            parts["loss"] = 100 * parts["map"] + fine + 100 * coarse + parts["mask"]
        return parts

    def map_loss(self, maps: Maps, truth: Tensor) -> dict[str, Tensor]:
        """Real pixels near the centre, forged ones beyond 2.5 radii; truth (B, h, w) of 0 and 1."""
        if not self.radius > 0:
            self.set_centre(maps, truth)
        distance = self.distance(maps)
        forged = truth > 0
        nothing = distance.sum() * 0
        natural = distance[~forged].mean() if (~forged).any() else nothing
        lacking = (BEYOND * self.radius - distance[forged]).clamp_min(0)
        manipulated = lacking.mean() if forged.any() else nothing
        return {"natural": natural, "manipulated": manipulated, "map": natural + manipulated}

    @torch.no_grad()
    def set_centre(self, maps: Maps, truth: Tensor) -> None:
        """Set the centre where none was loaded: the mean of the batch's real pixels, their mean distance as radius."""
        real = maps.places.movedim(1, -1)[truth <= 0]
        if not len(real):
            real = maps.places.movedim(1, -1).flatten(0, 2)
        self.centre.copy_(real.mean(dim=0))
        self.radius.copy_((real - self.centre).norm(dim=-1).mean().clamp_min(1e-3))


def _own_key(key: str) -> str:
    """Our name of a published key: the backbone's under `backbone.`, the centre under `centre`."""
    part = key.partition(".")[0]
    if part in ("center", "centre", "radius"):
        return {"center": "centre"}.get(part, part)
    own = part in ("backbone", "getmask", "FPN_LOC") or part.startswith("branch_cls_level_")
    return key if own else f"backbone.{key}"
