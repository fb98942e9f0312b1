"""The picture with what was found drawn over it, readable on any background and in print.

The heat map runs from transparent through gold and orange to magenta: lightness falls steadily as the
probability rises, so that the order survives colour blindness and grey printing, and nothing is painted where
there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from pixelsleuth.core.verdict import Region

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


def draw_overlay(
    pixels: NDArray[np.uint8],
    heatmap: NDArray[np.floating[Any]] | None,
    regions: Sequence[Region] = (),
    max_side: int | None = None,
) -> Image.Image:
    """Return an RGB image: `pixels` (H, W, 3) uint8 under `heatmap` (h, w) in 0..1 and `regions`' boxes.

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
        image = blend(image, heatmap)
    draw = ImageDraw.Draw(image)
    for number, region in enumerate(sorted(regions, key=lambda one: -one.score), start=1):
        _draw_box(draw, region, number if len(regions) > 1 else 0, scale, image.size)
    return image


def blend(image: Image.Image, heatmap: NDArray[np.floating[Any]]) -> Image.Image:
    """Return the RGB `image` with the heat map (any size, 0..1, NaN counts as 0) laid over it."""
    from PIL import Image

    values = np.nan_to_num(np.asarray(heatmap, dtype=np.float32), nan=0.0).clip(0.0, 1.0)
    levels = Image.fromarray((values * 255 + 0.5).astype(np.uint8))
    levels = levels.resize(image.size, Image.Resampling.BILINEAR)
    colours, opacity = ramp_table()
    painted = Image.merge("RGB", [levels.point(colours[:, c].tolist()) for c in range(3)])
    # A table lookup and a masked paste: both run in Pillow's C code, without an array of floats the size of
    # the picture.
    return Image.composite(painted, image, levels.point(opacity.tolist()))


def ramp_table() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (256, 3) colours and (256,) opacities, both uint8, for probability i / 255.

    >>> colours, opacity = ramp_table()
    >>> int(opacity[0]), int(opacity[255])
    (0, 173)
    """
    stops = np.asarray(RAMP)
    level = np.arange(256) / 255
    columns = [np.interp(level, stops[:, 0], stops[:, column]) for column in range(1, 5)]
    colours = np.stack(columns[:3], axis=1).round().astype(np.uint8)
    return colours, (columns[3] * 255).round().astype(np.uint8)


def _draw_box(
    draw: ImageDraw.ImageDraw, region: Region, number: int, scale: float, size: tuple[int, int]
) -> None:
    """Draw white between two dark lines: one of the two stands out against whatever lies beneath."""
    line = max(1, round(max(size) / 350))
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
    if number:
        _draw_number(draw, str(number), x0, y0, line)


def _draw_number(draw: ImageDraw.ImageDraw, text: str, x: int, y: int, line: int) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(size=max(11, 8 * line))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = 2 + line
    draw.rectangle((x, y, x + right - left + 2 * pad, y + bottom - top + 2 * pad), fill=(20, 20, 24))
    draw.text((x + pad - left, y + pad - top), text, fill=(255, 255, 255), font=font)
