"""Mild re-saves of a picture, as messengers and web pages make them; a verdict that they overturn is not conclusive.

`jpeg:QUALITY` compresses (4:2:0), `resize:FACTOR` reduces by averaging over areas. Training scores its left-out
pictures with the same functions.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
RESAVES = ("jpeg:85", "resize:0.75")
"""The two that a conclusive verdict must survive."""
BAND = 256
"""Output rows that are averaged at once: bounded memory for the largest pictures."""


def resave(pixels: Pixels, spec: str) -> Pixels:
    """(H, W, 3) uint8 after `jpeg:QUALITY` or `resize:FACTOR`. Raises ValueError for another spec."""
    name, value = check_resave(spec)
    return jpeg(pixels, int(value)) if name == "jpeg" else reduced(pixels, value)


def check_resave(spec: str) -> tuple[str, float]:
    """(name, value) of a spec: JPEG quality 1 to 100, or a factor from 0.25 to 1. Raises ValueError.

    >>> check_resave("jpeg:85"), check_resave("resize:0.75")
    (('jpeg', 85.0), ('resize', 0.75))
    """
    name, _, text = spec.partition(":")
    limits = {"jpeg": (1.0, 100.0), "resize": (0.25, 1.0)}
    value = float(text) if name in limits else 0.0
    if name not in limits or not limits[name][0] <= value <= limits[name][1]:
        raise ValueError(f"{spec!r} is no re-save; write jpeg:85 or resize:0.75")
    return name, value


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """The picture after JPEG of this quality, colour at half resolution."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=2)
    buffer.seek(0)
    with Image.open(buffer, formats=["JPEG"]) as image:
        return np.array(image.convert("RGB"))


def reduced(pixels: Pixels, factor: float) -> Pixels:
    """The picture at `factor` of its size, each new pixel the mean of the area that it covers.

    >>> reduced(np.full((8, 12, 3), 7, np.uint8), 0.75).shape
    (6, 9, 3)
    """
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    result = np.empty((height, width, 3), np.uint8)
    down, across = _coverage(pixels.shape[0], height), _coverage(pixels.shape[1], width)
    for top in range(0, height, BAND):
        rows = slice(top, min(height, top + BAND))
        band = np.zeros((rows.stop - top, pixels.shape[1], 3), np.float32)
        for index, weights in down:
            band += weights[rows, None, None] * pixels[index[rows]]
        mean = np.zeros((rows.stop - top, width, 3), np.float32)
        for index, weights in across:
            mean += weights[None, :, None] * band[:, index]
        result[rows] = np.rint(mean)
    return result


def _coverage(old: int, new: int) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """For each new place the old places that it covers, and the share of each: pairs of (new,) arrays."""
    edges = np.arange(new + 1) * (old / new)
    first = np.floor(edges[:-1] + 1e-9).astype(np.int64)
    pairs = []
    for step in range(int(np.ceil(old / new)) + 1):
        index = first + step
        overlap = np.minimum(edges[1:], index + 1) - np.maximum(edges[:-1], index)
        share = (overlap.clip(0) * new / old).astype(np.float32)
        pairs.append((index.clip(0, old - 1), share))
    return pairs
