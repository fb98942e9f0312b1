"""How a picture becomes a network's input: a list of steps, carried out with numpy and Pillow, without torch.

Steps are data, not code: a baseline states them once, and `pixelsleuth models convert` writes them beside the ONNX
graph, so that both runtimes get the same input bit by bit. All steps but the last map (H, W, 3) uint8 to the same. The
last makes numbers of it: `["unit", 255]`, `["normalise", mean, deviation]`, `["levels"]` (0..255 as they are) or
`["log_dct"]`.

>>> steps = [["short_side", 8], ["crop", 4], ["unit", 255]]
>>> prepared(np.full((9, 12, 3), 255, np.uint8), steps).shape
(3, 4, 4)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelsleuth.errors import UsageError

Pixels = NDArray[np.uint8]
Steps = Sequence[Sequence[Any]]
MOST_PIXELS = 1 << 21
"""Networks of full resolution see at most this many: memory grows with every pixel."""
LONGEST_SIDE = 4096
"""No network looks at squares larger than this."""
MOST_STEPS = 16
FLOOR = 1e-12
"""Added to the cosine transform before its logarithm."""


def prepared(pixels: Pixels, steps: Steps) -> NDArray[Any]:
    """(H, W, 3) uint8 -> the network's input: (3, h, w) float32, or float64 after `log_dct`.

    Steps out of a file must have passed `checked`.
    """
    for name, *values in steps[:-1]:
        pixels = PLAIN[name](pixels) if name in PLAIN else EIGHT_BIT[name](pixels, *values)
    name, *values = steps[-1]
    return LAST[name](pixels, *values)


def at_most(pixels: Pixels, most: int) -> Pixels:
    """The picture (H, W, 3), shrunk to at most `most` pixels (Pillow bicubic) where it has more."""
    height, width = pixels.shape[:2]
    if height * width <= most:
        return pixels
    scale = (most / (height * width)) ** 0.5
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def short_side(pixels: Pixels, side: int, how: Image.Resampling = Image.Resampling.BILINEAR) -> Pixels:
    """(H, W, 3) resized by Pillow: the shorter side to `side`, the longer in proportion, rounded down."""
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
    """(H, W, 3), each side that is shorter than `side` stretched to it (Pillow bicubic)."""
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
    """The start of a centred crop of `side` in a row of `length` pixels, and the start of the row in the crop.

    >>> window(700, 518), window(100, 518)
    ((91, 0), (0, 209))
    """
    return max(0, round((length - side) / 2)), max(0, (side - length) // 2)


def centre_crop(pixels: Pixels, side: int) -> Pixels:
    """The middle side x side of (H, W, 3); smaller pictures are padded with black."""
    height, width = pixels.shape[:2]
    short = [(max(0, side - length) // 2, (max(0, side - length) + 1) // 2) for length in (height, width)]
    padded = np.pad(pixels, [*short, (0, 0)])
    top, left = (round((length - side) / 2) for length in padded.shape[:2])
    return padded[top : top + side, left : left + side]


def bilinear_8bit(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """(H, W) or (H, W, C) uint8 -> (h, w[, C]): OpenCV's bilinear resize in fixed point, without anti-aliasing."""
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    left, right, right_weight, left_weight = _taps(planes.shape[1], size[1], clamp_weight=True)
    wide = (
        planes[:, left].astype(np.int64) * left_weight[:, None]
        + planes[:, right].astype(np.int64) * right_weight[:, None]
    )
    above, below, below_weight, above_weight = _taps(planes.shape[0], size[0], clamp_weight=False)
    top, bottom = wide[above] >> 4, wide[below] >> 4
    summed = ((above_weight[:, None, None] * top) >> 16) + ((below_weight[:, None, None] * bottom) >> 16) + 2
    return (summed >> 2).clip(0, 255).astype(np.uint8).reshape(*size, *pixels.shape[2:])


def _taps(length: int, new_length: int, *, clamp_weight: bool) -> tuple[NDArray[np.int64], ...]:
    """For each new pixel: its first and second neighbour, the weight of the second and of the first, in 2048ths."""
    scale = np.float64(length) / new_length
    place = ((np.arange(new_length) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    weight = place - first.astype(np.float32)
    if clamp_weight:
        weight = np.where((first < 0) | (first >= length - 1), np.float32(0), weight)
        first = first.clip(0, length - 1)
    second = np.rint(weight * np.float32(2048)).astype(np.int64)
    other = np.rint((1 - weight) * np.float32(2048)).astype(np.int64)
    return first.clip(0, length - 1), (first + 1).clip(0, length - 1), second, other


def unit(pixels: Pixels, greatest: int = 255) -> NDArray[np.float32]:
    """(H, W, 3) uint8 -> (3, H, W) float32, divided by `greatest`."""
    planes = np.ascontiguousarray(pixels).transpose(2, 0, 1).astype(np.float32)
    return np.ascontiguousarray(planes / np.float32(greatest))


def normalised(pixels: Pixels, mean: Sequence[float], deviation: Sequence[float]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 -> (3, H, W) float32 in 0..1, minus a mean, over a deviation (a number a channel each)."""
    shift, scale = (np.array(values, np.float32)[:, None, None] for values in (mean, deviation))
    return (unit(pixels) - shift) / scale


def levels(pixels: Pixels) -> NDArray[np.float32]:
    """(H, W, 3) uint8 -> (3, H, W) float32 in 0..255."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32)


def log_dct(pixels: Pixels) -> NDArray[np.float64]:
    """(H, W, 3) uint8 -> (3, H, W) float64: natural logarithm of the orthonormal cosine transform (type 2)."""
    planes = pixels.astype(np.float64).transpose(2, 0, 1)
    height, width = planes.shape[1:]
    spectrum = cosines(height) @ planes @ cosines(width).T
    return np.log(np.abs(spectrum) + FLOOR)


def cosines(length: int) -> NDArray[np.float64]:
    """The orthonormal matrix (length, length) of the cosine transform, type 2."""
    place, frequency = np.arange(length) + 0.5, np.arange(length)[:, None]
    scale = np.where(frequency == 0, 1 / length, 2 / length) ** 0.5
    return np.cos(np.pi * frequency * place / length) * scale


EIGHT_BIT: dict[str, Callable[..., Pixels]] = {
    "short_side": short_side,
    "square": square,
    "squeeze": squeezed,
    "crop": centre_crop,
    "frame": framed,
    "tile": tiled,
    "at_least": at_least,
    "opencv": lambda pixels, side: bilinear_8bit(np.ascontiguousarray(pixels), (side, side)),
}
"""Steps with one number, a side in pixels."""
PLAIN: dict[str, Callable[[Pixels], Pixels]] = {
    "at_most": lambda pixels: at_most(pixels, MOST_PIXELS),
    "even": lambda pixels: pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2],
    "bgr": lambda pixels: pixels[..., ::-1],
}
"""Steps without a number."""
LAST: dict[str, Callable[..., NDArray[Any]]] = {
    "unit": unit,
    "normalise": normalised,
    "levels": levels,
    "log_dct": log_dct,
}
"""The last step."""


def checked(steps: Any, where: str) -> Steps:
    """Steps out of a file, checked against the known ones; `where` names the file. Raises UsageError."""
    wrong = UsageError(f"{where} names preparation steps that this version does not know: convert it again.")
    if not isinstance(steps, list) or not 1 <= len(steps) <= MOST_STEPS:
        raise wrong
    for number, step in enumerate(steps, start=1):
        if not isinstance(step, list) or not step or not isinstance(step[0], str):
            raise wrong
        if not (_is_last(step) if number == len(steps) else _is_first(step)):
            raise wrong
    return steps


def _is_first(step: Sequence[Any]) -> bool:
    name, *values = step
    if name in PLAIN:
        return not values
    return name in EIGHT_BIT and len(values) == 1 and _whole(values[0])


def _is_last(step: Sequence[Any]) -> bool:
    name, *values = step
    if name == "normalise":
        return len(values) == 2 and all(_three_numbers(value) for value in values) and 0 not in values[1]
    if name == "unit":
        return len(values) == 1 and _whole(values[0])
    return name in LAST and not values


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LONGEST_SIDE


def _three_numbers(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(part, int | float) and np.isfinite(part) for part in value)
    )
