"""Pictures and masks as tensors, and their augmentation in training, as the baselines' authors do it.

Resizes and crops come from `models.preparation`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional as F

from pixelsleuth.models.preparation import MOST_PIXELS as MOST_PIXELS
from pixelsleuth.models.preparation import Pixels
from pixelsleuth.models.preparation import at_most as at_most
from pixelsleuth.models.preparation import bilinear_8bit as bilinear_8bit
from pixelsleuth.models.preparation import centre_crop as centre_crop
from pixelsleuth.models.preparation import short_side as short_side
from pixelsleuth.models.preparation import square as square
from pixelsleuth.models.preparation import unit as unit_array

Mask = Pixels
"""(H, W), 255 where tampered."""
LEAST = 1e-6
"""Probabilities are kept this far from 0 and 1, so that logits stay within 13.8."""
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
IMAGENET = ["normalise", list(MEAN), list(STD)]
"""The last step of a preparation with ImageNet's statistics."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CLIP = ["normalise", list(CLIP_MEAN), list(CLIP_STD)]
"""The same with CLIP's."""


def unit(pixels: Pixels, greatest: int = 255) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32, divided by `greatest`."""
    return torch.from_numpy(unit_array(pixels, greatest))


def normalised(x: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """(..., 3, H, W) in 0..1, less the mean and divided by the standard deviation (ImageNet's by default)."""
    shift, scale = (x.new_tensor(values)[:, None, None] for values in (mean, std))
    return (x - shift) / scale


def imagenet(pixels: Pixels) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) with ImageNet's statistics."""
    return normalised(unit(pixels))


def random_crop(pixels: Pixels, side: int, random: np.random.Generator) -> Pixels:
    """A random side x side of (H, W, 3), mirrored in half of all cases; smaller pictures are padded with black."""
    height, width = pixels.shape[:2]
    pixels = np.pad(pixels, [(0, max(0, side - height)), (0, max(0, side - width)), (0, 0)])
    height, width = pixels.shape[:2]
    top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    cut = pixels[top : top + side, left : left + side]
    return np.ascontiguousarray(cut[:, ::-1] if random.random() < 0.5 else cut)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """The picture after JPEG compression (4:2:0) of this quality."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def blur_jpeg(pixels: Pixels, random: np.random.Generator, chance: float) -> Pixels:
    """Gaussian blur of sigma 0 to 3 and JPEG of quality 30 to 100, each with `chance` (Wang et al. 2020)."""
    if random.random() < chance:
        blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(random.uniform(0, 3)))
        pixels = np.asarray(blurred)
    return jpeg(pixels, int(random.integers(30, 101))) if random.random() < chance else pixels


def dihedral(pixels: Pixels, mask: Mask | None, random: np.random.Generator) -> tuple[Pixels, Mask | None]:
    """Turn by a multiple of 90 degrees and perhaps mirror, at random, picture and mask alike."""
    turns, mirrored = int(random.integers(4)), bool(random.integers(2))
    turned = [None if array is None else np.rot90(array, turns) for array in (pixels, mask)]
    if mirrored:
        turned = [None if array is None else array[:, ::-1] for array in turned]
    first, second = turned
    assert first is not None
    return np.ascontiguousarray(first), None if second is None else np.ascontiguousarray(second)


def mirrored(pixels: Pixels, mask: Mask | None, random: np.random.Generator) -> tuple[Pixels, Mask | None]:
    """Mirror left and right in half of all cases, picture and mask alike."""
    if random.random() < 0.5:
        return pixels, mask
    return np.ascontiguousarray(pixels[:, ::-1]), None if mask is None else np.ascontiguousarray(
        mask[:, ::-1]
    )


def targets(
    masks: Sequence[Tensor | None], size: tuple[int, int], like: Tensor, *, bicubic: bool = False
) -> Tensor:
    """Masks (H, W) in 0..1 of any size, None where nothing is tampered -> (B, 1, h, w) of 0 and 1.

    Nearest neighbour by default; `bicubic`: Pillow's bicubic resize of the 8-bit mask, cut at one half.
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
    pixels: Pixels, mask: Mask | None, side: int, random: np.random.Generator
) -> tuple[Pixels, Mask | None]:
    """A random square of `side` pixels, the same of picture and mask; padded with black below and at the right."""
    height, width = pixels.shape[:2]
    top, left = (
        int(random.integers(max(0, height - side) + 1)),
        int(random.integers(max(0, width - side) + 1)),
    )

    def cut(array: Pixels) -> Pixels:
        part = array[top : top + side, left : left + side]
        short = [(0, side - part.shape[0]), (0, side - part.shape[1])]
        return np.pad(part, short + [(0, 0)] * (part.ndim - 2))

    return cut(pixels), None if mask is None else cut(mask)
