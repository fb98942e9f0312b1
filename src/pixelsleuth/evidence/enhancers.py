"""Pictures in which an edit may catch the eye: to look at, no finding. No number stands behind them.

Sources: error level, N. Krawetz, "A Picture's Worth: Digital Image Analysis and Forensics", 2007; noise residual by a
median filter, as in the forensic tool boxes; luminance gradient by I. Sobel's operator; JPEG ghosts, H. Farid,
"Exposing Digital Forgeries from JPEG Ghosts", IEEE Transactions on Information Forensics and Security 4(1), 2009.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.names import suggestion
from pixelsleuth.errors import UsageError

LABEL = "To look at, no finding."
"""What stands beside every one of these pictures."""
LARGEST = 1024
"""Longest side of the pictures, in pixels."""
BAND = 512
"""Rows of pixels that are examined at once, about: memory is bounded for the largest pictures."""
ERROR_LEVEL_QUALITY = 75
"""Quality at which the picture is saved once more; the usual one of public tools."""
JPEG_LARGEST = 65_488
"""Rows and columns of a JPEG at most: the largest multiple of 16 that libjpeg takes."""
GHOST_QUALITIES = tuple(range(55, 100, 5))
"""Qualities at which JPEG ghosts are looked for."""
GHOST_COLUMNS = 3
"""Maps in a row of the sheet of ghosts."""
GHOST_BLOCKS = 3
"""Blocks of 8 x 8, in each direction, over which a ghost's difference is averaged: 24 pixels (Farid takes 16)."""
BRIGHTEST = 99.5
"""Percentile that is shown white."""
MOST_GAIN = 32.0
"""Amplification at most: what is nearly nothing must not be blown up to look like something."""

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Enhancer:
    """One picture to look at. `image` is (h, w, 3) uint8, its longest side at most LARGEST; no finding."""

    name: str
    title: str
    what_to_look_for: str
    what_to_ignore: str
    image: Picture


@dataclass(frozen=True)
class _Method:
    title: str
    what_to_look_for: str
    what_to_ignore: str
    draw: Callable[[Picture], Picture]


def enhanced(pixels: Picture, names: Iterable[str] | None = None) -> list[Enhancer]:
    """Return the pictures to look at of an upright picture (H, W, 3) uint8, in the order of `names` (None: NAMES).

    Only what is named is computed. Raises UsageError where a name is not one of NAMES.
    """
    wanted = list(NAMES if names is None else names)
    for name in wanted:
        if name not in _METHODS:
            raise UsageError(f"no enhancer is called {name!r}{suggestion(name, NAMES)}.")
    return [_enhanced(name, pixels) for name in wanted]


def _enhanced(name: str, pixels: Picture) -> Enhancer:
    method = _METHODS[name]
    image = method.draw(np.ascontiguousarray(pixels))
    return Enhancer(name, method.title, method.what_to_look_for, method.what_to_ignore, image)


# --- the four --------------------------------------------------------------------------------------------------------


def _error_level(pixels: Picture) -> Picture:
    """What one more JPEG save changes, in each channel, amplified."""

    def change(band: Picture) -> Picture:
        saved = _saved(band, ERROR_LEVEL_QUALITY)
        return np.maximum(band, saved) - np.minimum(band, saved)

    return _amplified(_by_bands(pixels, change, margin=0))


def _noise_residual(pixels: Picture) -> Picture:
    """How far the luminance lies from the median of its 3 x 3 neighbours, amplified."""

    def residual(band: Picture) -> Picture:
        grey = _grey(band)
        median = _median(grey)
        return np.maximum(grey, median) - np.minimum(grey, median)

    return _amplified(_by_bands(pixels, residual, margin=1))


def _luminance_gradient(pixels: Picture) -> Picture:
    """The direction of the gradient as hue, its strength as brightness, of the picture reduced to its final size."""
    from PIL import Image

    grey = np.pad(_by_bands(pixels, _grey, margin=0), 1, mode="edge").astype(np.float32)
    down = grey[2:] - grey[:-2]
    across = grey[:, 2:] - grey[:, :-2]
    vertical = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    horizontal = across[:-2] + 2 * across[1:-1] + across[2:]
    strength = np.sqrt(
        np.hypot(vertical, horizontal)
    )  # the root: weak gradients of shaded surfaces show, too
    hue = (np.arctan2(vertical, horizontal) / (2 * np.pi) % 1.0 * 255).astype(np.uint8)
    value = _amplified(strength)[..., 0]
    saturation = np.full_like(value, 255)
    return np.asarray(Image.fromarray(np.stack([hue, saturation, value], axis=-1), mode="HSV").convert("RGB"))


def _jpeg_ghosts(pixels: Picture) -> Picture:
    """A sheet with a map a quality: where one more save at it changes little against the other qualities, dark.

    Each place is scaled to 0..1 over the qualities (Farid, equation 4), so that texture does not count.
    """
    from PIL import Image, ImageDraw

    blocks = _some_blocks(_grey(pixels))
    changes = np.stack([_block_change(blocks, quality) for quality in GHOST_QUALITIES])
    low, high = changes.min(axis=0), changes.max(axis=0)
    maps = (255 * (changes - low) / np.maximum(high - low, 1e-6)).astype(np.uint8)
    across = GHOST_COLUMNS
    height, width = pixels.shape[:2]
    scale = LARGEST // across / max(height, width)
    tile = (max(1, round(width * scale)), max(1, round(height * scale)))
    sheet = Image.new("L", (across * tile[0], -(-len(maps) // across) * tile[1]))
    for place, (quality, values) in enumerate(zip(GHOST_QUALITIES, maps, strict=True)):
        at = (place % across * tile[0], place // across * tile[1])
        sheet.paste(Image.fromarray(values).resize(tile, Image.Resampling.NEAREST), at)
        ImageDraw.Draw(sheet).text((at[0] + 4, at[1] + 2), str(quality), 255, stroke_width=2, stroke_fill=0)
    return np.repeat(np.asarray(sheet)[..., None], 3, axis=2)


# --- parts -----------------------------------------------------------------------------------------------------------


def _by_bands(pixels: Picture, draw: Callable[[Picture], Picture], *, margin: int) -> Picture:
    """`draw` of bands of rows, put together and reduced by a whole number to at most LARGEST a side.

    `draw` keeps the size; its result may depend on `margin` rows beside. Bands begin at multiples of 16 rows: saved as
    JPEG alone, they give what the whole picture gives.
    """
    from PIL import Image

    height = len(pixels)
    factor = _factor(pixels)
    rows = 16 * factor * max(1, BAND // (16 * factor))
    parts = []
    for top in range(0, height, rows):
        above = min(margin, top)
        part = draw(pixels[top - above : top + rows + margin])[above : above + rows]
        parts.append(np.asarray(Image.fromarray(part).reduce(factor)) if factor > 1 else part)
    return np.concatenate(parts)


def _factor(pixels: NDArray[Any]) -> int:
    return -(-max(pixels.shape[:2]) // LARGEST)


def _grey(pixels: Picture) -> Picture:
    """(H, W) uint8 luminance (ITU-R BT.601)."""
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).convert("L"))


def _saved(pixels: Picture, quality: int) -> Picture:
    """The picture, grey or RGB, after one JPEG save; as several beside each other where it is too large for one."""
    from PIL import Image

    for axis in (0, 1):
        if pixels.shape[axis] > JPEG_LARGEST:
            parts = np.split(pixels, range(JPEG_LARGEST, pixels.shape[axis], JPEG_LARGEST), axis)
            return np.concatenate([_saved(part, quality) for part in parts], axis)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    stream.seek(0)
    return np.asarray(Image.open(stream))


def _median(grey: Picture) -> Picture:
    """The median of each pixel's 3 x 3 neighbours, edges repeated: columns sorted, then the middle of three middles.

    The median of nine is the median of (largest of the columns' smallest, median of their middles, smallest of their
    largest): A. W. Paeth, "Median finding on a 3 x 3 grid", Graphics Gems, 1990.
    """
    padded = np.pad(grey, 1, mode="edge")
    low, middle, high = _sorted(padded[:-2], padded[1:-1], padded[2:])
    columns = [(plane[:, :-2], plane[:, 1:-1], plane[:, 2:]) for plane in (low, middle, high)]
    smallest = np.maximum(np.maximum(columns[0][0], columns[0][1]), columns[0][2])
    largest = np.minimum(np.minimum(columns[2][0], columns[2][1]), columns[2][2])
    return _sorted(smallest, _sorted(*columns[1])[1], largest)[1]


def _sorted(a: Picture, b: Picture, c: Picture) -> tuple[Picture, Picture, Picture]:
    """Three planes in rising order, pixel by pixel."""
    a, b = np.minimum(a, b), np.maximum(a, b)
    b, c = np.minimum(b, c), np.maximum(b, c)
    a, b = np.minimum(a, b), np.maximum(a, b)
    return a, b, c


def _amplified(image: NDArray[Any]) -> Picture:
    """(h, w, 3) uint8 of (h, w) or (h, w, 3): multiplied so that all but the brightest stay below white."""
    top = float(np.percentile(image, BRIGHTEST))
    gain = min(MOST_GAIN, 255 / top) if top > 0 else 1.0
    result = np.minimum(image * np.float32(gain), 255).astype(np.uint8)
    return result if result.ndim == 3 else np.repeat(result[..., None], 3, axis=2)


def _some_blocks(grey: Picture) -> Picture:
    """Whole blocks of 8 x 8, in large pictures only every second, third ... of each direction: at most LARGEST a side.

    A block of a JPEG does not depend on its neighbours: what is left shows the same ghosts.
    """
    factor = _factor(grey)
    grey = np.pad(grey, [(0, max(0, 8 - side)) for side in grey.shape], mode="edge")
    rows, columns = grey.shape[0] // 8, grey.shape[1] // 8
    blocks = grey[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8)[::factor, :, ::factor]
    return np.ascontiguousarray(blocks).reshape(8 * blocks.shape[0], 8 * blocks.shape[2])


def _block_change(grey: Picture, quality: int) -> Plane:
    """(H // 8, W // 8): the mean squared change that a save at `quality` makes around each block, from 0 to 1.

    As Farid: averaged over neighbours; here over GHOST_BLOCKS blocks.
    """
    change = grey.astype(np.float32) - _saved(grey, quality)
    rows, columns = grey.shape[0] // 8, grey.shape[1] // 8
    blocks = np.square(change, out=change).reshape(rows, 8, columns, 8).mean(axis=(1, 3))
    padded = np.pad(blocks, GHOST_BLOCKS // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (GHOST_BLOCKS, GHOST_BLOCKS))
    return windows.mean(axis=(2, 3))


_METHODS = {
    "error_level": _Method(
        "Error level",
        "A part that is clearly brighter or darker than other parts of the same texture and sharpness.",
        "Edges, fine texture and saturated colours are always bright, smooth areas always dark.",
        _error_level,
    ),
    "noise_residual": _Method(
        "Noise residual",
        "A smooth surface whose grain is finer, coarser or missing beside surfaces of the same brightness.",
        "Edges and texture are bright; sky, blur, very dark and very bright areas carry little grain anyway.",
        _noise_residual,
    ),
    "luminance_gradient": _Method(
        "Luminance gradient",
        "An object whose sides are lit from another direction (other colours) than its neighbours, or a seam.",
        "Every shape has many directions, and several lamps light the same scene differently.",
        _luminance_gradient,
    ),
    "jpeg_ghosts": _Method(
        "JPEG ghosts",
        "An area that is darker than the rest in one of the maps: it may have been saved at that quality before.",
        "Areas that differ little and in all maps alike: smooth, saturated and textured ones do so unedited.",
        _jpeg_ghosts,
    ),
}
NAMES = tuple(_METHODS)
"""The names of all enhancers."""
