"""Turns any Pillow image or array into one upright array of 8-bit sRGB, band by band.

Bands save memory: only the decoded picture (up to four bytes a pixel) and the result (three bytes a pixel) exist whole.
Converting, compositing and turning whole pictures would hold up to four copies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.pictures.profiles import plain, transform_of, via

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]
Bands = Callable[[int, int], Pixels]  # (first row, past the last row) -> (rows, width, 3)

BAND_PIXELS = 1 << 20
ON_WHITE = "Transparent areas were laid on white."


def render(
    image: Image.Image,
    icc: bytes | None,
    orientation: int,
    *,
    transparent: tuple[int, ...] | None = None,
    low: Image.Image | None = None,
    covered: tuple[int, int, int, int] | None = None,
) -> tuple[Pixels, list[str], str | None]:
    """Return (pixels, warnings, name of the colour profile) of a loaded image.

    `pixels` is (height, width, 3) uint8, contiguous, upright; `orientation` is EXIF's 1..8. `transparent` is the grey
    or colour that stands for transparency. It has 16 bits where the image has 16-bit grey, or where `low` holds the
    lower bytes of 16-bit colours. What lies outside the box `covered` is transparent.
    """
    warnings: list[str] = []
    to_srgb, profile = transform_of(image.mode, icc, warnings)
    # Pillow compares a transparent grey or colour with samples of another depth, so `_keyed` does it.
    in_info = "transparency" in image.info and transparent is None
    has_alpha = in_info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa")
    if image.mode in ("I", "F"):
        band = _numeric(image, warnings)
    elif image.mode.startswith("I;16"):
        band = lambda y0, y1: grey(narrow(np.asarray(_crop(image, y0, y1))))  # noqa: E731
    elif has_alpha:
        band = _with_alpha(image, to_srgb, warnings)
    else:
        band = lambda y0, y1: plain(_crop(image, y0, y1), to_srgb)  # noqa: E731
    if image.mode.startswith("I;16") and to_srgb is not None:
        inner = band
        band = lambda y0, y1: via(inner(y0, y1), to_srgb)  # noqa: E731
    if transparent is not None:
        band = _keyed(image, low, transparent, band, warnings)
    if covered is not None:
        band = _within(band, covered, warnings)
    return assemble(image.width, image.height, band, orientation), warnings, profile


def _keyed(
    image: Image.Image, low: Image.Image | None, key: tuple[int, ...], inner: Bands, warnings: list[str]
) -> Bands:
    """Lay the pixels that have the transparent grey or colour on white."""
    transparent = np.asarray(key)

    def samples(y0: int, y1: int) -> NDArray[Any]:
        values = np.asarray(_crop(image, y0, y1))
        if values.dtype == bool:
            return values * np.uint8(255)
        return values if low is None else values.astype(np.uint16) << 8 | np.asarray(_crop(low, y0, y1))

    def band(y0: int, y1: int) -> Pixels:
        values = samples(y0, y1)
        hidden = values == transparent[0] if values.ndim == 2 else (values == transparent).all(axis=2)
        pixels = inner(y0, y1)
        if hidden.any():
            pixels = np.where(hidden[..., None], np.uint8(255), pixels)
            if ON_WHITE not in warnings:
                warnings.append(ON_WHITE)
        return pixels

    return band


def _within(inner: Bands, box: tuple[int, int, int, int], warnings: list[str]) -> Bands:
    """Lay what lies outside the box (x0, y0, x1, y1) on white."""
    x0, top, x1, bottom = box
    if ON_WHITE not in warnings:
        warnings.append(ON_WHITE)

    def band(y0: int, y1: int) -> Pixels:
        pixels = inner(y0, y1)
        kept = slice(max(top - y0, 0), max(bottom - y0, 0)), slice(x0, x1)
        white = np.full_like(pixels, 255)
        white[kept] = pixels[kept]
        return white

    return band


def assemble(width: int, height: int, band: Bands, orientation: int = 1) -> Pixels:
    """Build the upright picture from bands of the stored one, which is `width` x `height`."""
    turned = orientation >= 5
    out = np.empty((width, height, 3) if turned else (height, width, 3), np.uint8)
    stored = as_stored(out, orientation)
    rows = max(1, BAND_PIXELS // width)
    for y0 in range(0, height, rows):
        y1 = min(y0 + rows, height)
        stored[y0:y1] = band(y0, y1)
    return out


def as_stored(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return the view of an upright array (H, W, ...) that lies as the file stores it (EXIF tag 0x0112)."""
    stored = upright.swapaxes(0, 1) if orientation >= 5 else upright
    return stored[:: -1 if orientation in (3, 4, 6, 7) else 1, :: -1 if orientation in (2, 3, 7, 8) else 1]


def from_array(array: NDArray[Any], warnings: list[str]) -> Pixels:
    """Return the 8-bit RGB copy of the (H, W), (H, W, 3) or (H, W, 4) array `open_picture` takes."""
    height, width = array.shape[:2]
    opaque = True

    def band(y0: int, y1: int) -> Pixels:
        nonlocal opaque
        part = array[y0:y1]
        if part.dtype == np.uint16:
            part = narrow(part)
        elif part.dtype != np.uint8:
            part = (part * 255.0 + 0.5).astype(np.uint8)
        if part.ndim == 2:
            return grey(part)
        if part.shape[2] == 3:
            return part
        opaque = opaque and bool((part[..., 3] == 255).all())
        return on_white(part[..., :3], part[..., 3])

    pixels = assemble(width, height, band)
    if not opaque:
        warnings.append(ON_WHITE)
    return pixels


def _crop(image: Image.Image, y0: int, y1: int) -> Image.Image:
    whole = y0 == 0 and y1 == image.height
    return image if whole else image.crop((0, y0, image.width, y1))


def grey(values: Pixels) -> Pixels:
    return np.repeat(values[..., None], 3, axis=2)


def narrow(values: NDArray[Any]) -> Pixels:
    """16 bits to 8, rounded."""
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def on_white(rgb: Pixels, alpha: Pixels) -> Pixels:
    weight = alpha[..., None].astype(np.uint16)
    return ((rgb * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def _with_alpha(image: Image.Image, to_srgb: Any, warnings: list[str]) -> Bands:
    from PIL import Image

    def band(y0: int, y1: int) -> Pixels:
        part = _crop(image, y0, y1)
        try:
            part = part.convert("RGBA")
        except ValueError:  # a transparent colour that does not fit the mode marks nothing
            part.info.pop("transparency", None)
            part = part.convert("RGB").convert("RGBA")
        rgb = part.convert("RGB")
        if to_srgb is not None:
            rgb = Image.fromarray(via(np.asarray(rgb), to_srgb))
        alpha = part.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return np.asarray(rgb)
        if ON_WHITE not in warnings:
            warnings.append(ON_WHITE)
        white = Image.new("RGB", part.size, (255, 255, 255))
        white.paste(rgb, mask=alpha)
        return np.asarray(white)

    return band


def _numeric(image: Image.Image, warnings: list[str]) -> Bands:
    """Scale the integers and floats of an image; see `scale_of`."""
    scaled = scale_of(
        lambda y0, y1: np.asarray(_crop(image, y0, y1)),
        (image.width, image.height),
        image.mode == "F",
        warnings,
    )
    return lambda y0, y1: grey(scaled(np.asarray(_crop(image, y0, y1))))


def scale_of(
    values: Callable[[int, int], NDArray[Any]], size: tuple[int, int], real: bool, warnings: list[str]
) -> Callable[[NDArray[Any]], Pixels]:
    """Return what scales integers or floats, whose range no header states, to 8 bits.

    0..1 (where `real`), 0..255 and 0..65535 are taken as such; other values are stretched to black and white, with a
    warning. `values(first row, past the last row)` gives the values of an image of `size` (width, height).
    """
    width, height = size
    rows = max(1, BAND_PIXELS // width)
    low, high = np.inf, -np.inf
    for y0 in range(0, height, rows):
        part = values(y0, min(y0 + rows, height))
        part = part[np.isfinite(part)]
        if part.size:
            low, high = min(low, float(part.min())), max(high, float(part.max()))
    tops = [top for top in ((1.0,) if real else ()) + (255.0, 65535.0) if high <= top]
    if low >= 0 and tops:
        low, high = 0.0, tops[0]
    else:
        warnings.append("Values outside the usual ranges were stretched to black and white.")
    span = high - low if np.isfinite(high - low) and high > low else 1.0
    low = low if np.isfinite(low) else 0.0

    def scaled(part: NDArray[Any]) -> Pixels:
        eight = (part.astype(np.float64) - low) * (255.0 / span)
        return (np.nan_to_num(eight, nan=0.0, posinf=255.0, neginf=0.0).clip(0, 255) + 0.5).astype(np.uint8)

    return scaled
