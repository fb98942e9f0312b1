"""Draws the heat map and the regions over the picture, readable on any background and in print.

The heat map runs from transparent through gold and orange to magenta. Lightness falls steadily as the probability
rises, so the order survives colour blindness and grey printing. Low probabilities are not painted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from pixelsleuth.core.region import Region

# (probability, red, green, blue, opacity)
RAMP = (
    (0.00, 255, 236, 150, 0.00),
    (0.25, 255, 226, 120, 0.00),
    (0.40, 255, 205, 70, 0.22),
    (0.50, 255, 176, 44, 0.40),
    (0.70, 245, 105, 52, 0.54),
    (0.85, 216, 48, 104, 0.62),
    (1.00, 152, 18, 128, 0.68),
)

WEAK = (
    (0.00, 128, 132, 140, 0.00),
    (0.30, 128, 132, 140, 0.00),
    (0.60, 104, 124, 160, 0.18),
    (1.00, 52, 96, 190, 0.34),
)
"""The scale of a map that is no finding ("where to look"): grey to blue, half as opaque."""


def draw_overlay(
    pixels: NDArray[np.uint8],
    heatmap: NDArray[np.floating[Any]] | None,
    regions: Sequence[Region] = (),
    max_side: int | None = None,
    *,
    finding: bool = True,
) -> Image.Image:
    """Return an RGB image: `pixels` (H, W, 3) uint8 under `heatmap` (h, w) in 0..1 and `regions`' boxes.

    Without `finding` the map only shows where to look, and is drawn weaker in another colour.
    Boxes are in pixels of `pixels`; `max_side` bounds the longer side of the result, which is never enlarged.
    """
    from PIL import Image, ImageDraw

    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels)
    scale = 1.0
    if max_side is not None and max(height, width) > max_side:
        scale = max_side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if heatmap is not None:
        image = blend(image, heatmap, finding=finding)
    draw = ImageDraw.Draw(image)
    ranked = sorted(regions, key=lambda region: -region.score)
    drawn = [_draw_box(draw, region, scale, image.size) for region in ranked]
    if len(ranked) > 1:
        _draw_numbers(draw, drawn, image.size)
    return image


def place_tags(
    boxes: Sequence[tuple[float, float, float, float]],
    tags: Sequence[tuple[float, float]],
    size: tuple[float, float],
) -> list[tuple[float, float]]:
    """Return (x, y) of the upper left corner of each box's tag, so that no tag covers another.

    `boxes` are (x0, y0, x1, y1), `tags` (width, height), `size` the picture's (width, height), all in one unit. A tag
    stands above its box where there is room, else in or around it, else at the nearest free place. Tags overlap only in
    a picture that is too small for all of them.

    >>> place_tags([(10, 20, 50, 60), (10, 20, 30, 40)], [(8, 8)] * 2, (100, 100))
    [(10, 12), (10, 20)]
    """
    placed: list[tuple[float, float, float, float]] = []
    for box, (wide, high) in zip(boxes, tags, strict=True):
        right, low = max(0, size[0] - wide), max(0, size[1] - high)
        spots = ((min(max(0, x), right), min(max(0, y), low)) for x, y in _spots(box, wide, high, size))
        first: tuple[float, float] | None = None
        for x, y in spots:
            first = first or (x, y)
            if not any(x < b[2] and b[0] < x + wide and y < b[3] and b[1] < y + high for b in placed):
                break
        else:
            x, y = first or (0, 0)
        placed.append((x, y, x + wide, y + high))
    return [(x, y) for x, y, _, _ in placed]


def _spots(
    box: tuple[float, float, float, float], wide: float, high: float, size: tuple[float, float]
) -> Iterator[tuple[float, float]]:
    x0, y0, x1, y1 = box
    if y0 >= high:
        yield x0, y0 - high
    yield from ((x, y) for y in (y0, y1 - high, y0 - high, y1) for x in (x0, x1 - wide, x0 - wide, x1))
    grid = [
        (column * wide, row * high)
        for row in range(max(1, int(size[1] / high)))
        for column in range(max(1, int(size[0] / wide)))
    ]
    yield from sorted(grid, key=lambda spot: (spot[0] - x0) ** 2 + (spot[1] - y0) ** 2)


def blend(image: Image.Image, heatmap: NDArray[np.floating[Any]], *, finding: bool = True) -> Image.Image:
    """Return the RGB `image` with the heat map (any size, 0..1, NaN counts as 0) laid over it."""
    from PIL import Image

    values = np.nan_to_num(np.asarray(heatmap, dtype=np.float32), nan=0.0).clip(0.0, 1.0)
    levels = Image.fromarray((values * 255 + 0.5).astype(np.uint8))
    levels = levels.resize(image.size, Image.Resampling.BILINEAR)
    colours, opacity = ramp_table(finding=finding)
    painted = Image.merge("RGB", [levels.point(colours[:, c].tolist()) for c in range(3)])
    # A table lookup and a masked paste: both run in Pillow's C code, without an array of floats the size of
    # the picture.
    return Image.composite(painted, image, levels.point(opacity.tolist()))


def ramp_table(*, finding: bool = True) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (256, 3) colours and (256,) opacities, both uint8, for probability i / 255.

    >>> colours, opacity = ramp_table()
    >>> int(opacity[0]), int(opacity[255])
    (0, 173)
    """
    stops = np.asarray(RAMP if finding else WEAK)
    level = np.arange(256) / 255
    columns = [np.interp(level, stops[:, 0], stops[:, column]) for column in range(1, 5)]
    colours = np.stack(columns[:3], axis=1).round().astype(np.uint8)
    return colours, (columns[3] * 255).round().astype(np.uint8)


def _draw_box(
    draw: ImageDraw.ImageDraw, region: Region, scale: float, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Draw a white box between dark lines, which stands out on any background; return its (x0, y0, x1, y1)."""
    line = _line(size)
    x0, y0, x1, y1 = (round(edge * scale) for edge in region.box)
    x0, y0 = min(x0, size[0] - 1), min(y0, size[1] - 1)
    x1, y1 = max(x0, x1 - 1), max(y0, y1 - 1)  # half open
    for outset, colour in ((2 * line, (20, 20, 24)), (line, (255, 255, 255)), (0, (20, 20, 24))):
        box = (
            max(0, x0 - outset),
            max(0, y0 - outset),
            min(size[0] - 1, x1 + outset),
            min(size[1] - 1, y1 + outset),
        )
        draw.rectangle(box, outline=colour, width=line)
    return x0, y0, x1 + 1, y1 + 1


def _draw_numbers(
    draw: ImageDraw.ImageDraw, boxes: Sequence[tuple[int, int, int, int]], size: tuple[int, int]
) -> None:
    from PIL import ImageFont

    line = _line(size)
    font = ImageFont.load_default(size=max(11, 8 * line))
    pad = 2 + line
    texts = [str(number) for number in range(1, len(boxes) + 1)]
    shapes = [draw.textbbox((0, 0), text, font=font) for text in texts]
    tags = [(right - left + 2 * pad + 1, bottom - top + 2 * pad + 1) for left, top, right, bottom in shapes]
    for text, (left, top, _, _), tag, (x, y) in zip(
        texts, shapes, tags, place_tags(boxes, tags, size), strict=True
    ):
        draw.rectangle((x, y, x + tag[0] - 1, y + tag[1] - 1), fill=(20, 20, 24))
        draw.text((x + pad - left, y + pad - top), text, fill=(255, 255, 255), font=font)


def _line(size: tuple[int, int]) -> int:
    return max(1, round(max(size) / 350))
