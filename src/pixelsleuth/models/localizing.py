"""What the localizers share: picture and mask augmented as one, targets at a network's size, logits of probabilities.

A localizer trains on pictures with masks, so `example` alone cannot crop or flip: `pair` does it for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pixelsleuth.models.baseline import Baseline

LEAST = 1e-6
"""Probabilities nearer to 0 or 1 than this become the logit of this (13.8)."""

Mask = NDArray[np.uint8]
"""(H, W), 255 where tampered."""


class Localizer(Baseline):
    """A baseline that draws a mask and is trained on masks."""

    def pair(
        self, pixels: NDArray[np.uint8], mask: Mask | None, random: np.random.Generator
    ) -> tuple[Tensor, Mask | None]:
        """One training example: pixels (H, W, 3) and mask (H, W) uint8 0/255 (None: nothing is tampered) -> the
        network's input and the mask in its frame. By default: prepared as for a test, nothing moved."""
        del random
        return self.prepare(pixels), mask

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """A training example of a picture without a mask."""
        return self.pair(pixels, None, random)[0]


def dihedral(
    pixels: NDArray[np.uint8], mask: Mask | None, random: np.random.Generator
) -> tuple[NDArray[np.uint8], Mask | None]:
    """One of the eight turns and mirror images of a square, the same for both."""
    turns, mirrored = int(random.integers(4)), bool(random.integers(2))
    turned = [None if one is None else np.rot90(one, turns) for one in (pixels, mask)]
    if mirrored:
        turned = [None if one is None else one[:, ::-1] for one in turned]
    first, second = turned
    assert first is not None
    return np.ascontiguousarray(first), None if second is None else np.ascontiguousarray(second)


def mirrored(
    pixels: NDArray[np.uint8], mask: Mask | None, random: np.random.Generator
) -> tuple[NDArray[np.uint8], Mask | None]:
    """Left and right swapped in half of all cases, the same for both."""
    if random.random() < 0.5:
        return pixels, mask
    return np.ascontiguousarray(pixels[:, ::-1]), None if mask is None else np.ascontiguousarray(
        mask[:, ::-1]
    )


def targets(
    masks: Sequence[Tensor | None], size: tuple[int, int], like: Tensor, *, bicubic: bool = False
) -> Tensor:
    """Masks (H, W) in 0..1 of any size, None where nothing is tampered -> (B, 1, h, w) of 0 and 1.

    Nearest by default; `bicubic` is Pillow's bicubic resize of the 8-bit mask, cut at one half.
    """
    return torch.stack([_target(mask, size, bicubic) for mask in masks]).to(like.device, like.dtype)


def _target(mask: Tensor | None, size: tuple[int, int], bicubic: bool) -> Tensor:
    if mask is None:
        return torch.zeros(1, *size)
    mask = mask.detach().float().cpu()
    if tuple(mask.shape) == size:
        return (mask > 0.5).float()[None]
    if bicubic:
        grey = Image.fromarray((mask.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
        resized = np.asarray(grey.resize(size[::-1], Image.Resampling.BICUBIC))
        return torch.from_numpy(resized > 127).float()[None]
    return (F.interpolate(mask[None, None], size, mode="nearest-exact")[0] > 0.5).float()


def resized_mask(mask: Mask | None, side: int) -> Mask | None:
    """An 8-bit mask at side x side, nearest."""
    if mask is None:
        return None
    return np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))


def logits_of(probability: Tensor) -> Tensor:
    """The logits of probabilities in 0..1, kept finite."""
    return torch.logit(probability, eps=LEAST)


def cropped(
    pixels: NDArray[np.uint8], mask: Mask | None, side: int, random: np.random.Generator
) -> tuple[NDArray[np.uint8], Mask | None]:
    """A random square of `side` pixels, the same of both; what is smaller gets black below and at the right."""
    height, width = pixels.shape[:2]
    top, left = (
        int(random.integers(max(0, height - side) + 1)),
        int(random.integers(max(0, width - side) + 1)),
    )

    def cut(one: NDArray[np.uint8]) -> NDArray[np.uint8]:
        part = one[top : top + side, left : left + side]
        short = [(0, side - part.shape[0]), (0, side - part.shape[1])]
        return np.pad(part, short + [(0, 0)] * (part.ndim - 2))

    return cut(pixels), None if mask is None else cut(mask)
