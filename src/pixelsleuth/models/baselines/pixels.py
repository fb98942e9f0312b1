"""From pictures to tensors, for all baselines: scales, statistics, resizes as their authors' libraries make them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
MOST_PIXELS = 1 << 21
"""What networks of full resolution look at; larger pictures are shrunk to it, since memory grows with every pixel."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Pixels = NDArray[np.uint8]


def unit(pixels: Pixels, greatest: int = 255) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32, divided by `greatest`."""
    return torch.from_numpy(
        np.ascontiguousarray(pixels).transpose(2, 0, 1).astype(np.float32) / np.float32(greatest)
    )


def normalised(x: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """(..., 3, H, W) in 0..1 -> minus a mean (ImageNet's), over a standard deviation."""
    shift, scale = (x.new_tensor(values)[:, None, None] for values in (mean, std))
    return (x - shift) / scale


def imagenet(pixels: Pixels) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) with ImageNet's statistics."""
    return normalised(unit(pixels))


def at_most(pixels: Pixels, most: int) -> Pixels:
    """The picture (H, W, 3), shrunk to at most `most` pixels (Pillow bicubic) where it has more."""
    height, width = pixels.shape[:2]
    if height * width <= most:
        return pixels
    scale = (most / (height * width)) ** 0.5
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def short_side(pixels: Pixels, side: int, how: Image.Resampling = Image.Resampling.BILINEAR) -> Pixels:
    """(H, W, 3): the shorter side brought to `side`, the longer to the whole part of its share (by Pillow)."""
    height, width = pixels.shape[:2]
    short, long = min(height, width), max(height, width)
    other = int(side * long / short)
    size = (side, other) if width <= height else (other, side)
    return np.asarray(Image.fromarray(pixels).resize(size, how))


def square(pixels: Pixels, side: int) -> Pixels:
    """(H, W, 3) squeezed to side x side (Pillow bilinear)."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def centre_crop(pixels: Pixels, side: int) -> Pixels:
    """The middle side x side of (H, W, 3); what is smaller gets black around it."""
    height, width = pixels.shape[:2]
    short = [(max(0, side - length) // 2, (max(0, side - length) + 1) // 2) for length in (height, width)]
    padded = np.pad(pixels, [*short, (0, 0)])
    top, left = (round((length - side) / 2) for length in padded.shape[:2])
    return padded[top : top + side, left : left + side]


def random_crop(pixels: Pixels, side: int, random: np.random.Generator) -> Pixels:
    """Any side x side of (H, W, 3), mirrored in half of all cases; what is smaller gets black around it."""
    height, width = pixels.shape[:2]
    pixels = np.pad(pixels, [(0, max(0, side - height)), (0, max(0, side - width)), (0, 0)])
    height, width = pixels.shape[:2]
    top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    cut = pixels[top : top + side, left : left + side]
    return np.ascontiguousarray(cut[:, ::-1] if random.random() < 0.5 else cut)


def bilinear_8bit(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """(H, W) or (H, W, C) uint8 -> (h, w[, C]): OpenCV's bilinear resize in fixed point, without anti-aliasing."""
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    left, right, across, rest = _taps(planes.shape[1], size[1], clamp_weight=True)
    wide = (
        planes[:, left].astype(np.int64) * rest[:, None] + planes[:, right].astype(np.int64) * across[:, None]
    )
    above, below, down, up = _taps(planes.shape[0], size[0], clamp_weight=False)
    top, bottom = wide[above] >> 4, wide[below] >> 4
    summed = ((up[:, None, None] * top) >> 16) + ((down[:, None, None] * bottom) >> 16) + 2
    return (summed >> 2).clip(0, 255).astype(np.uint8).reshape(*size, *pixels.shape[2:])


def _taps(length: int, wanted: int, *, clamp_weight: bool) -> tuple[NDArray[np.int64], ...]:
    """Both neighbours of every new place and their weights, of 2048 (the second neighbour's first)."""
    scale = np.float64(length) / wanted
    place = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    weight = place - first.astype(np.float32)
    if clamp_weight:
        weight = np.where((first < 0) | (first >= length - 1), np.float32(0), weight)
        first = first.clip(0, length - 1)
    second = np.rint(weight * np.float32(2048)).astype(np.int64)
    other = np.rint((1 - weight) * np.float32(2048)).astype(np.int64)
    return first.clip(0, length - 1), (first + 1).clip(0, length - 1), second, other


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """The picture after one JPEG (4:2:0) of this quality."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def blur_jpeg(pixels: Pixels, random: np.random.Generator, chance: float) -> Pixels:
    """Gaussian blur of sigma 0 to 3 and JPEG of quality 30 to 100, each with this probability (Wang et al. 2020)."""
    if random.random() < chance:
        blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(random.uniform(0, 3)))
        pixels = np.asarray(blurred)
    return jpeg(pixels, int(random.integers(30, 101))) if random.random() < chance else pixels
