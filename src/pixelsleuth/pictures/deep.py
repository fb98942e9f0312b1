"""Samples of any depth, format and number of channels (`Samples`) to one upright array of 8-bit sRGB."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.pictures.colour import ON_WHITE, Pixels, assemble, on_white, scale_of
from pixelsleuth.pictures.formats.tiff_layout import FLOAT, UNSIGNED, WHITE_IS_ZERO
from pixelsleuth.pictures.formats.tiff_samples import Samples
from pixelsleuth.pictures.profiles import plain, transform_of

if TYPE_CHECKING:
    from PIL import Image


def render_samples(
    samples: Samples, icc: bytes | None, orientation: int
) -> tuple[Pixels, list[str], str | None]:
    """Return (pixels, warnings, name of the colour profile) of loaded samples, as `colour.render` does of an image."""
    warnings: list[str] = []
    to_srgb, profile = transform_of(samples.mode, icc, warnings)
    to_eight = _to_eight(samples, warnings)

    def band(y0: int, y1: int) -> Pixels:
        image, alpha = _picture(samples, y0, y1, to_eight)
        rgb = plain(image, to_srgb)
        if alpha is None or (alpha == 255).all():
            return rgb
        if ON_WHITE not in warnings:
            warnings.append(ON_WHITE)
        return on_white(rgb, alpha)

    return assemble(samples.width, samples.height, band, orientation), warnings, profile


def image_of(samples: Samples) -> Image.Image:
    """Return a Pillow image of loaded samples as they are stored: masks are values, not colours.

    Grey of more than 8 bits keeps its values (modes "I;16", "I" or "F"), all else becomes "L", "RGB" or "CMYK", with
    transparency "LA" or "RGBA".
    """
    from PIL import Image

    layout = samples.layout
    if layout.colours == 1 and samples.palette is None and layout.alpha is None and layout.bits > 8:
        values = samples.rows(0, layout.height)[..., 0]
        if layout.photometric == WHITE_IS_ZERO:
            values = (1.0 if layout.sample_format == FLOAT else (1 << layout.bits) - 1) - values
        if layout.sample_format == UNSIGNED and layout.bits <= 16:
            return Image.fromarray(values.astype(np.uint16))
        return Image.fromarray(values.astype(np.float32))
    image, alpha = _picture(samples, 0, layout.height, _to_eight(samples, []))
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    return image


def _picture(
    samples: Samples, y0: int, y1: int, to_eight: Callable[[NDArray[Any]], Pixels]
) -> tuple[Image.Image, Pixels | None]:
    """(image of mode L, RGB or CMYK, transparency (rows, width) uint8 or None) of some rows."""
    from PIL import Image

    layout = samples.layout
    values = samples.rows(y0, y1)
    if samples.palette is not None:
        colours = samples.palette[values[..., 0]]
    else:
        colours = to_eight(values[..., : layout.colours])
    alpha = None if layout.alpha is None else _alpha(values[..., layout.alpha], layout)
    if alpha is not None and layout.multiplied:
        share = np.maximum(alpha, 1)[..., None].astype(np.uint16)
        colours = np.minimum((colours.astype(np.uint16) * 255 + share // 2) // share, 255).astype(np.uint8)
    if layout.photometric == WHITE_IS_ZERO:
        colours = 255 - colours
    flat = np.ascontiguousarray(colours[..., 0] if samples.mode == "L" else colours)
    return Image.fromarray(flat, samples.mode), alpha


def _to_eight(samples: Samples, warnings: list[str]) -> Callable[[NDArray[Any]], Pixels]:
    """What turns values into 8 bits: integers of up to 16 bits have their type's range, others are scaled."""
    layout = samples.layout
    if layout.sample_format == UNSIGNED and layout.bits <= 16:
        return lambda values: _narrowed(values, layout.bits)
    return scale_of(
        lambda y0, y1: samples.rows(y0, y1)[..., : layout.colours],
        (layout.width, layout.height),
        layout.sample_format == FLOAT,
        warnings,
    )


def _narrowed(values: NDArray[Any], bits: int) -> Pixels:
    if bits == 8:
        return values.astype(np.uint8)
    top = (1 << bits) - 1
    return ((values.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)


def _alpha(values: NDArray[Any], layout: Any) -> Pixels:
    """Transparency as 8 bits; its range is that of its type, 0..1 for floats."""
    if layout.sample_format == UNSIGNED and layout.bits <= 16:
        return _narrowed(values, layout.bits)
    top = (
        1.0
        if layout.sample_format == FLOAT
        else 2.0 ** (layout.bits - (layout.sample_format != UNSIGNED)) - 1
    )
    share = np.nan_to_num(values.astype(np.float64) / top).clip(0, 1)
    return (share * 255 + 0.5).astype(np.uint8)
