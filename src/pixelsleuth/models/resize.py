"""Resizes and crops of 8-bit pictures as the baselines' authors make them: Pillow and numpy, no torch.

Both runtimes prepare pictures with these functions, so their inputs are equal bit by bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_PIXELS = 1 << 21
"""What networks of full resolution look at; larger pictures are shrunk to it, since memory grows with every pixel."""

Pixels = NDArray[np.uint8]


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


def squeezed(pixels: Pixels, side: int) -> Pixels:
    """(H, W, 3) squeezed to side x side (Pillow bicubic)."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def at_least(pixels: Pixels, side: int) -> Pixels:
    """(H, W, 3), each side that is shorter than `side` brought to it (Pillow bicubic)."""
    height, width = pixels.shape[:2]
    if min(height, width) >= side:
        return pixels
    size = (max(width, side), max(height, side))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def tiled(pixels: Pixels, side: int) -> Pixels:
    """(H, W, 3) repeated until both sides have at least `side` pixels."""
    height, width = pixels.shape[:2]
    return np.tile(pixels, (-(-side // height), -(-side // width), 1))


def framed(pixels: Pixels, side: int) -> Pixels:
    """The centre side x side of (H, W) or (H, W, C), black where the picture is smaller."""
    framed = np.zeros((side, side, *pixels.shape[2:]), np.uint8)
    (top, there), (left, across) = (window(length, side) for length in pixels.shape[:2])
    rows, columns = min(side, pixels.shape[0]), min(side, pixels.shape[1])
    framed[there : there + rows, across : across + columns] = pixels[top : top + rows, left : left + columns]
    return framed


def window(length: int, side: int) -> tuple[int, int]:
    """Where a centred crop of `side` begins in a row of `length` pixels, and where the row begins in the crop.

    >>> window(700, 518), window(100, 518)
    ((91, 0), (0, 209))
    """
    return max(0, round((length - side) / 2)), max(0, (side - length) // 2)


def centre_crop(pixels: Pixels, side: int) -> Pixels:
    """The middle side x side of (H, W, 3); what is smaller gets black around it."""
    height, width = pixels.shape[:2]
    short = [(max(0, side - length) // 2, (max(0, side - length) + 1) // 2) for length in (height, width)]
    padded = np.pad(pixels, [*short, (0, 0)])
    top, left = (round((length - side) / 2) for length in padded.shape[:2])
    return padded[top : top + side, left : left + side]


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
