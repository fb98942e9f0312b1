"""Pictures for the report as data URIs: thumbnails and heat-map layers.

The heat map is a layer of its own (a small palette PNG with transparency) over the picture: the reader can switch it
off, and the picture is embedded once.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

LEVELS = 64
"""Steps of the colour scale: enough to look continuous, few enough for a small PNG."""


def colour_table(levels: int = LEVELS, *, finding: bool = True) -> NDArray[np.uint8]:
    """The colour scale of `core.overlay` as (levels, 4) uint8 RGBA, from probability 0 to 1."""
    import numpy as np

    from pixelsleuth.core.overlay import ramp_table

    colours, opacity = ramp_table(finding=finding)
    at = np.linspace(0, len(opacity) - 1, levels).round().astype(int)
    return np.concatenate([colours[at], opacity[at, None]], axis=1)


def heat_layer(heatmap: NDArray[np.float32], *, max_side: int = 400, finding: bool = True) -> Image.Image:
    """`heatmap` ((h, w), 0..1) as a palette picture with transparency, at most `max_side` a side.

    The scale is absolute: the same colour means the same probability in every picture. NaN counts as 0.
    """
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(heatmap, dtype=np.float32), nan=0.0, posinf=1.0, neginf=0.0).clip(
        0.0, 1.0
    )
    layer = Image.fromarray(values)
    if max(layer.size) > max_side:
        layer.thumbnail((max_side, max_side), Image.Resampling.BOX)
    index = (np.asarray(layer) * (LEVELS - 1)).round().astype(np.uint8)
    picture = Image.fromarray(index, mode="L").convert("P")
    table = colour_table(finding=finding)
    picture.putpalette(table[:, :3].tobytes())
    picture.info["transparency"] = table[:, 3].tobytes()
    return picture


def thumbnail(pixels: NDArray[np.uint8], max_side: int) -> Image.Image:
    """(H, W, 3) uint8 `pixels` as a picture whose longer side is at most `max_side`."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    factor = max(picture.size) // (2 * max_side)
    if factor > 1:  # a cheap box filter first: Lanczos on 100 megapixels would take seconds
        picture = picture.reduce(factor)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return picture


def fills_column(picture: Image.Image) -> bool:
    """True where a picture fills the column, enlarged a little if need be; upright or tiny ones keep their size."""
    return picture.width >= 400 and picture.height <= 1.1 * picture.width


def jpeg_uri(picture: Image.Image, quality: int = 86) -> str:
    """`picture` as a `data:image/jpeg` URI."""
    return _uri(picture, "jpeg", quality=quality, optimize=True)


def png_uri(picture: Image.Image) -> str:
    """`picture` as a `data:image/png` URI, with its transparency."""
    return _uri(picture, "png", optimize=True, transparency=picture.info.get("transparency"))


def _uri(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind.upper(), **{key: value for key, value in options.items() if value is not None})
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
