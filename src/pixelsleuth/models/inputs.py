"""From pictures to tensors, for all baselines: scales, statistics, resizes as their authors' libraries make them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from pixelsleuth.models.resize import MOST_PIXELS as MOST_PIXELS
from pixelsleuth.models.resize import Pixels
from pixelsleuth.models.resize import at_most as at_most
from pixelsleuth.models.resize import bilinear_8bit as bilinear_8bit
from pixelsleuth.models.resize import centre_crop as centre_crop
from pixelsleuth.models.resize import short_side as short_side
from pixelsleuth.models.resize import square as square

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


def random_crop(pixels: Pixels, side: int, random: np.random.Generator) -> Pixels:
    """Any side x side of (H, W, 3), mirrored in half of all cases; what is smaller gets black around it."""
    height, width = pixels.shape[:2]
    pixels = np.pad(pixels, [(0, max(0, side - height)), (0, max(0, side - width)), (0, 0)])
    height, width = pixels.shape[:2]
    top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    cut = pixels[top : top + side, left : left + side]
    return np.ascontiguousarray(cut[:, ::-1] if random.random() < 0.5 else cut)


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
