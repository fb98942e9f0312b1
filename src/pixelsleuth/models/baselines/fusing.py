"""Fusing (PSM): a ResNet-50 on the whole picture and on six patches that it selects itself (Ju et al., ICIP 2022).

pixelsleuth check picture.jpg --model fusing --weights PSM.pth
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.resnet import ours, resnet50
from pixelsleuth.models.baseline import Baseline, Output
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.inputs import MOST_PIXELS, at_most, blur_jpeg, centre_crop, imagenet, short_side

SIDE, LOAD = 224, 256
AUGMENT = 0.1
GRID = 7
"""Cells of the feature map, each way."""
SCALES = ((3, 224), (2, 112))
"""Cells (each way) over which a patch's score is averaged, and the patch's side in pixels."""
PATCHES = 3
"""Patches of each scale."""


class Attention(nn.Module):
    """Self-attention over the sequence and a perceptron, each with a residual and a norm after it."""

    def __init__(self, width: int = 128, heads: int = 4) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(width, heads)
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(L, B, width) -> the same shape."""
        x = self.ln1(x + self.mha(x, x, x, need_weights=False)[0])
        out: Tensor = self.ln2(x + self.fc2(self.fc1(x).relu()))
        return out


class Fusing(Baseline):
    """One logit, of the last of seven tokens. Option: `input`, of the global view."""

    facts = Facts(
        name="fusing",
        title="Fusing (PSM)",
        paper="Ju, Jia, Ke, Xue, Nagano, Lyu: Fusing global and local features, ICIP 2022",
        source="littlejuyan/FusingGlobalandLocal@0cb3d26; Ekko-zn/AIGCDetectBenchmark@5cd41a6 has the same",
        licence="CC BY-NC-SA 4.0",
        where="linked from the page of the authors' repository; in dkarageo/sidbench on the hub, folder fusing",
        files=("PSM.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": ("resize224_crop224", "sidbench_crop_only_no_resize", "sidbench_resize256_crop224")
        },
        parameters=26_118_185,
        published="published: mean accuracy 0.684 on the 16 sets of AIGCDetectBenchmark",
        known_by="mha_list.0.mha.in_proj_weight",
        no_graph="it cuts patches of each picture at places that it finds on the way, in numpy",
    )

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        self.resnet = resnet50()
        self.resnet_fc = nn.Linear(2048, 1000)  # in the checkpoint, and unused
        self.fc1 = nn.Linear(2048, 128)
        self.mha_list = nn.ModuleList(Attention() for _ in range(3))
        self.fc = nn.Linear(128, 1)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        def name(key: str) -> str:
            inside = key.removeprefix("resnet.")
            return (
                key.replace("resnet.fc.", "resnet_fc.")
                if inside == key or inside[:3] == "fc."
                else ours(inside)
            )

        return {name(key): value for key, value in state.items()}

    def prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 -> (H, W, 3) uint8, at most two megapixels: both views are cut from it."""
        return torch.from_numpy(np.array(at_most(pixels, MOST_PIXELS)))

    def view(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 -> the global view (3, 224, 224)."""
        how = self.options["input"]
        if how != "sidbench_crop_only_no_resize":
            pixels = short_side(pixels, SIDE if how == "resize224_crop224" else LOAD)
        return imagenet(centre_crop(pixels, SIDE))

    def forward(self, pictures: Sequence[Tensor]) -> dict[str, Tensor]:
        """B pictures (H, W, 3) uint8 of any sizes -> views, boxes, sequences and `logits` (B, 1).

        Global views go through the ResNet together, and so do the patches of all pictures.
        """
        device = pictures[0].device
        windows: list[Tensor] = []
        sizes = [tuple(picture.shape[:2]) for picture in pictures]
        pixels = [picture.cpu().numpy() for picture in pictures]
        views = torch.stack([self.view(array) for array in pixels]).to(device)
        stages = self.resnet(views)
        scores = stages["layer4"].sum(dim=1)
        boxes = [choose(score, *size) for score, size in zip(scores, sizes, strict=True)]
        for array, cut in zip(pixels, boxes, strict=True):
            full = imagenet(array).to(device)
            windows += [window(full, box) for box in cut]
        patches = self.resnet(torch.stack(windows))["pooled"].unflatten(0, (len(pixels), -1))
        first = self.fc1(torch.cat([patches, stages["pooled"][:, None]], dim=1)).relu()
        last = first.transpose(0, 1)
        for attention in self.mha_list:
            last = attention(last)
        return {
            "input": views, "featuremap": stages["layer4"], "embedding": stages["pooled"], "score7x7": scores,
            "boxes": torch.tensor(boxes), "patches": torch.stack(windows).unflatten(0, patches.shape[:2]),
            "patch_embedding": patches, "sequence_in": first, "sequence_out": last.transpose(0, 1),
            "logits": self.fc(last[-1]),
        }  # fmt: skip

    def run(self, inputs: Sequence[Tensor]) -> Output:
        """All together, as batch normalisation needs it; when judging on a processor singly, which is faster."""
        alone = inputs[0].is_cpu and not self.training
        parts = [[tensor] for tensor in inputs] if alone else [inputs]
        return Output(torch.cat([self(part)["logits"][:, 0] for part in parts]))

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """Blur and JPEG at random, mirrored in half."""
        pixels = blur_jpeg(pixels, random, AUGMENT)
        return self.prepare(pixels[:, ::-1] if random.random() < 0.5 else pixels)


def choose(score: Tensor, height: int, width: int) -> list[list[int]]:
    """Score map (7, 7) -> six boxes (top, left, bottom, right): three maxima of each scale, neighbours struck out."""
    boxes = []
    for cells, patch in SCALES:
        pooled = F.avg_pool2d(score.detach()[None, None], cells, 1)
        grid = pooled.shape[-1]
        for _ in range(PATCHES):
            best = pooled.max()
            place = int(pooled.flatten().argmax())
            boxes.append(box_of(place // grid, place % grid, grid, patch, height, width))
            pooled = pooled * (F.max_pool2d(pooled, 3, 1, 1) != best)
    return boxes


def box_of(row: int, column: int, grid: int, patch: int, height: int, width: int) -> list[int]:
    """The box of a cell of the score grid, shifted inside the picture.

    >>> box_of(0, 0, 5, 224, 300, 400)
    [0, 2, 224, 226]
    """
    short = min(height, width)
    spans = []
    for index, length in ((row, height), (column, width)):
        centre = (length - short) // 2 + short * (2 * index + GRID + 1 - grid) // (2 * GRID)
        first, last = centre - patch // 2, centre + patch // 2
        if first < 0:
            first, last = 0, last - first
        if last > length:
            first, last = max(0, first - (last - length)), length
        spans.append((first, last))
    (top, bottom), (left, right) = spans
    return [top, left, bottom, right]


def window(full: Tensor, box: Sequence[int]) -> Tensor:
    """(3, H, W) -> (3, 224, 224) of a box; its pixels are copied where it has that size."""
    top, left, bottom, right = box
    part = full[:, top:bottom, left:right]
    if part.shape[1:] == (SIDE, SIDE):
        return part
    return F.interpolate(part[None], (SIDE, SIDE), mode="bilinear", align_corners=True)[0]
