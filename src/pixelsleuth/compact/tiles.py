"""What the graphs get of a picture: its tiles, with the same result as in one pass, its windows, and reduced copies.

The local stage has a receptive field below 64 px on either side. A tile with a halo of 64 px therefore gives, inside
the halo, exactly what the whole picture would: no seams. The maps of very large pictures are averaged in blocks (2, 4
or 8 places), which bounds what compares every place with the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Array = np.ndarray
STRIDE = 4
TILE = 768
WHOLE = 1024
PLACES = 65536
"""Most places (at stride 4) of the map that is compared as a whole: 1 megapixel, or larger pictures averaged."""
STATISTICS_SIDE = 512
WINDOW, MOST, GRID = 256, 3, 32
"""Side of a window that EfficientNet describes, the most along one side of a picture, and the grid of its strides."""


def pooling(height: int, width: int) -> int:
    """Block size, 1, 2, 4 or 8, that keeps the map of a picture below about PLACES places."""
    return next((k for k in (1, 2, 4) if (height / 4 / k) * (width / 4 / k) <= PLACES * 1.02), 8)


def pad_to(pixels: Array, multiple: int) -> Array:
    """Repeat the last rows and columns of (H, W, C) until both sides are multiples."""
    height, width = pixels.shape[:2]
    if height % multiple == 0 and width % multiple == 0:
        return pixels
    return np.pad(pixels, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="edge")


def spans(length: int, tile: int, halo: int) -> Iterator[tuple[int, int, int, int]]:
    """(start, stop) of each tile's core and (first, last) of what is read for it."""
    for start in range(0, length, tile):
        stop = min(start + tile, length)
        yield start, stop, max(start - halo, 0), min(stop + halo, length)


def block_mean(x: Array, k: int) -> Array:
    """Average blocks of k x k places of (1, C, h, w); h and w are multiples of k."""
    if k == 1:
        return x
    _, channels, height, width = x.shape
    return x.reshape(1, channels, height // k, k, width // k, k).mean(axis=(3, 5))


def traced(pixels: Array, run: Callable[[Array], Array], halo: int) -> Array:
    """Traces (1, C, h, w) of (H, W, 3) uint8 at stride 4, averaged by `pooling`.

    `run` maps a tile (1, H, W, 3) uint8, sides multiples of 8, to its traces.
    """
    k = pooling(*pixels.shape[:2])
    pixels = pad_to(pixels, 8 * k)
    height, width = pixels.shape[:2]
    if max(height, width) <= WHOLE:
        return block_mean(run(np.ascontiguousarray(pixels)[None]), k)
    traces: Array | None = None
    for top, bottom, first_row, last_row in spans(height, TILE, halo):
        for left, right, first_column, last_column in spans(width, TILE, halo):
            tile = np.ascontiguousarray(pixels[first_row:last_row, first_column:last_column])[None]
            y, x = (top - first_row) // STRIDE, (left - first_column) // STRIDE
            core = run(tile)[:, :, y : y + (bottom - top) // STRIDE, x : x + (right - left) // STRIDE]
            core = block_mean(core, k)
            if traces is None:
                shape = (1, core.shape[1], height // STRIDE // k, width // STRIDE // k)
                traces = np.empty(shape, np.float32)
            y, x = top // STRIDE // k, left // STRIDE // k
            traces[:, :, y : y + core.shape[2], x : x + core.shape[3]] = core
    assert traces is not None
    return traces


def windows(pixels: Array) -> Array:
    """Up to MOST x MOST windows of at most WINDOW px, spread evenly over (H, W, 3): (N, h, w, 3) uint8.

    Sides are multiples of GRID; a picture smaller than that is repeated at its edges.
    """
    pixels = pad_to(pixels, GRID) if min(pixels.shape[:2]) < GRID else pixels
    sides = [min(WINDOW, length // GRID * GRID) for length in pixels.shape[:2]]
    starts = [_starts(length, side) for length, side in zip(pixels.shape[:2], sides, strict=True)]
    return np.stack([pixels[y : y + sides[0], x : x + sides[1]] for y in starts[0] for x in starts[1]])


def _starts(length: int, side: int) -> list[int]:
    """Where windows begin along one side, on the JPEG grid: in the middle, or from the start to the end."""
    count = min(MOST, max(1, round(length / WINDOW)))
    starts = np.linspace(0, length - side, count) if count > 1 else [(length - side) / 2]
    return [int(start) // 8 * 8 for start in starts]


def reduced(pixels: Array, most: int) -> Array:
    """The picture (H, W, 3) reduced to at most `most` pixels, averaged over areas."""
    from PIL import Image

    scale = (most / (pixels.shape[0] * pixels.shape[1])) ** 0.5
    size = (max(16, int(pixels.shape[1] * scale)), max(16, int(pixels.shape[0] * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def small(pixels: Array, most: int, grid: int) -> Array:
    """The picture at a working size: the longer side at most `most` px, sides multiples of `grid`, at least 32."""
    from PIL import Image

    scale = min(1.0, most / max(pixels.shape[:2]))
    width, height = (
        max(32, round(side * scale / grid) * grid) for side in (pixels.shape[1], pixels.shape[0])
    )
    if (height, width) == pixels.shape[:2]:
        return np.ascontiguousarray(pixels)
    return np.array(
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    )


def middle(pixels: Array) -> Array:
    """The middle of the picture, at most STATISTICS_SIDE px a side, at least 32 (by repetition), on the JPEG grid."""
    top, left = (max(0, (side - STATISTICS_SIDE) // 2) // 8 * 8 for side in pixels.shape[:2])
    part = pixels[top : top + STATISTICS_SIDE, left : left + STATISTICS_SIDE]
    repeat = [-(-32 // side) for side in part.shape[:2]]
    return np.ascontiguousarray(np.tile(part, (*repeat, 1)))
