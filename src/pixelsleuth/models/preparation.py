"""How a picture becomes a network's input, written as a list of steps that numpy carries out.

Steps are data, not code: a baseline states them once, its torch form carries them out, and `pixelsleuth models convert`
writes them beside the ONNX graph. The first steps map (H, W, 3) uint8 to the same; the last makes numbers of it:
`["unit", 255]`, `["normalise", mean, deviation]`, `["levels"]` (0..255 as they are) or `["log_dct"]`.

>>> steps = [["short_side", 8], ["crop", 4], ["unit", 255]]
>>> prepared(np.full((9, 12, 3), 255, np.uint8), steps).shape
(3, 4, 4)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.errors import UsageError
from pixelsleuth.models import resize as resizing
from pixelsleuth.models.resize import Pixels

Steps = Sequence[Sequence[Any]]
LONGEST_SIDE = 4096
"""No network looks at squares larger than this."""
MOST_STEPS = 16
FLOOR = 1e-12
"""Added to the cosine transform before its logarithm."""

EIGHT_BIT: dict[str, Callable[..., Pixels]] = {
    "short_side": resizing.short_side,
    "square": resizing.square,
    "squeeze": resizing.squeezed,
    "crop": resizing.centre_crop,
    "frame": resizing.framed,
    "tile": resizing.tiled,
    "at_least": resizing.at_least,
    "opencv": lambda pixels, side: resizing.bilinear_8bit(np.ascontiguousarray(pixels), (side, side)),
}
"""Steps with one number, a side in pixels."""
PLAIN: dict[str, Callable[[Pixels], Pixels]] = {
    "at_most": lambda pixels: resizing.at_most(pixels, resizing.MOST_PIXELS),
    "even": lambda pixels: pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2],
    "bgr": lambda pixels: pixels[..., ::-1],
}
"""Steps without a number."""


def prepared(pixels: Pixels, steps: Steps) -> NDArray[Any]:
    """(H, W, 3) uint8 -> what the network sees: (3, h, w) float32, or float64 after `log_dct`.

    `steps` must have passed `checked` where they come from a file.
    """
    for name, *values in steps[:-1]:
        pixels = PLAIN[name](pixels) if name in PLAIN else EIGHT_BIT[name](pixels, *values)
    name, *values = steps[-1]
    return LAST[name](pixels, *values)


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


LAST: dict[str, Callable[..., NDArray[Any]]] = {
    "unit": unit,
    "normalise": normalised,
    "levels": levels,
    "log_dct": log_dct,
}


def checked(steps: Any, where: str) -> Steps:
    """Steps out of a file, once they are known to be such. Raises UsageError."""
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
