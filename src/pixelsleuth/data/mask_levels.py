"""The file of a mask as levels 0..255: of any bit depth, with or without transparency; in doubt it is refused.

Masks come as 0 and 255, as 0 and 1, in 1, 8, 16 or 32 bits, as floats, in a palette, in the alpha channel, as class
ids. Where a threshold would give an empty mask or the whole picture (no level reaches half, colours and transparency
disagree), `UnsupportedFormat` names what is stored and the setting `marks` that reads it.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.errors import CorruptPicture, PictureTooLarge, UnsupportedFormat

if TYPE_CHECKING:
    from PIL import Image

    from pixelsleuth.pictures.formats import Header

Levels = NDArray[np.uint8]
MAX_MASK_PIXELS = 100_000_000
LEVEL = 128
"""The grey level from which a pixel counts as marked, unless a protocol sets another (`Protocol.mask_level`)."""
NEARLY_WHITE = 240
FEW = 32
"""Up to so many levels, none of them nearly white, are class ids rather than a soft edge."""
SMALL = 64
"""Class ids below this, beside 255 for the void between objects, as in PASCAL VOC."""
AGREE = 0.1
"""Colours and transparency agree where they differ on no more than this share of the opaque pixels."""


class Marks(StrEnum):
    """What marks the tampered pixels in a stored mask."""

    WHITE = "white"  # the brightest channel above 127
    BLACK = "black"  # the brightest channel at most 127: inverted sets (DSO-1, NIST16)
    ALPHA = "alpha"  # transparent pixels (MagicBrush); the colours under them mean nothing
    OPAQUE = "opaque"  # pixels that are not transparent
    NONZERO = "nonzero"  # every level but 0: class ids
    RED = "red"  # red stronger than green (Columbia's edge masks)
    GREEN = "green"
    ALL = "all"  # every pixel: nothing is stored
    NONE = "none"  # no pixel: nothing is stored


def open_stored(file: Path | bytes | None) -> tuple[Image.Image, Header, str]:
    """Decode a mask file as it is stored: (Pillow image of its own mode, its header, its name).

    The header is read and the size checked before Pillow decodes. Raises PictureError.
    """
    import io

    from pixelsleuth.pictures.decode import guarded, translated
    from pixelsleuth.pictures.deep import image_of
    from pixelsleuth.pictures.files import MAX_FILE_BYTES, file_too_large, read_file
    from pixelsleuth.pictures.formats import read_header
    from pixelsleuth.pictures.formats.base import stream_of
    from pixelsleuth.pictures.formats.tiff_samples import Samples

    if isinstance(file, bytes):
        name, data = "mask", bytearray(file)
    else:
        name = os.fspath(file) if file is not None else "mask"
        data = read_file(name, name)
    if len(data) > MAX_FILE_BYTES:
        raise file_too_large(name, len(data))
    header = read_header(memoryview(data), name)
    with translated(name), guarded():
        whole = header.format == "TIFF"
        stream: Any = io.BytesIO(data) if whole else stream_of(memoryview(data), header.parts)
        image: Any = header.opener(stream)
        for width, height in ((header.width, header.height), image.size):
            if width * height > MAX_MASK_PIXELS:
                raise PictureTooLarge(f"{name} is a mask of {width} x {height} pixels; scale it down.")
        image.load()
        if isinstance(image, Samples):
            image = image_of(image)
    return image, header, name


def levels_of(image: Image.Image, header: Header, name: str, marks: Marks) -> Levels:
    """(h, w) uint8, 255 where the stored mask fully marks a pixel.

    Raises UnsupportedFormat where the file can be understood in more than one way, CorruptPicture where `marks` is a
    transparency and there is none.
    """
    alpha = _alpha(image)
    if marks in (Marks.ALPHA, Marks.OPAQUE):
        if alpha is None:
            raise CorruptPicture(
                f"{name} has no transparency, but its set marks forgeries by it; get it again."
            )
        return 255 - alpha if marks is Marks.ALPHA else alpha
    raw = brightest(image)
    if marks is Marks.NONZERO:
        return np.where(raw != 0, np.uint8(255), np.uint8(0))
    values = _eight_bit(raw, name)
    _ensure_no_low_bytes(image, header, values, name)
    if values.max(initial=0) == 1 and header.format != "JPEG":
        values = values * np.uint8(255)
    if alpha is not None and alpha.min() < LEVEL <= alpha.max():
        _ensure_agreement(values < LEVEL if marks is Marks.BLACK else values >= LEVEL, alpha, name)
    _ensure_no_ids(values, name, marks, lossy=header.format == "JPEG")
    return 255 - values if marks is Marks.BLACK else values


def hue(image: Image.Image, name: str, level: int, *, green: bool) -> NDArray[np.bool_]:
    """(h, w) bool: pixels that are more red than green, or more green than red."""
    colours = np.asarray(image.convert("RGB"))
    red, other = colours[..., 0], colours[..., 1]
    marked = (other >= level) & (other > red) if green else (red >= level) & (red >= other)
    return np.asarray(marked)


def brightest(image: Image.Image) -> NDArray[Any]:
    """(h, w) of the image's own type: the brightest channel of each pixel, transparency left aside.

    Grey by luma would lose red (76) and green (150) masks, and palette masks, whose indices are colours first.
    """
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * np.uint8(255)
    if image.mode in ("L", "LA"):
        return np.asarray(image.getchannel("L"))
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image)
    return np.asarray(np.asarray(image.convert("RGB")).max(axis=2))


def _alpha(image: Image.Image) -> Levels | None:
    if "A" in image.getbands():
        return np.asarray(image.getchannel("A"))
    if "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        return np.asarray(image.convert("RGBA").getchannel("A"))
    return None


def _eight_bit(raw: NDArray[Any], name: str) -> Levels:
    """Levels of any type as 8 bits: values of up to 255 are 8 bits in a wider type, others use the wider range."""
    if raw.dtype == np.uint8 or not raw.size:
        return raw.astype(np.uint8, copy=False)
    low, high = float(raw.min()), float(raw.max())
    if not 0 <= low <= high <= 65535:  # NaN as well
        raise UnsupportedFormat(
            f"{name} is a mask of levels from {low:g} to {high:g}; save it with 8 bits, 0 and 255."
        )
    if raw.dtype.kind == "f" and high <= 1:
        return (raw * 255 + 0.5).astype(np.uint8)
    return (raw if high <= 255 else raw.astype(np.uint32) // 257).astype(np.uint8)


def _ensure_no_low_bytes(image: Image.Image, header: Header, values: Levels, name: str) -> None:
    """Refuse an empty mask of 16 bits a channel: the decoder hands over the high bytes alone, and 1 or 255 is lost."""
    if image.mode not in ("RGB", "RGBA", "LA") or values.any():
        return
    if int(header.metadata.get("bit_depth", "8")) > 8:
        raise UnsupportedFormat(
            f"{name} is a mask of 16 bits a channel whose levels all lie below 256; save it with 8 bits, 0 and 255."
        )


def _ensure_agreement(coloured: NDArray[np.bool_], alpha: Levels, name: str) -> None:
    opaque = alpha >= LEVEL
    if np.count_nonzero(coloured != opaque) > AGREE * np.count_nonzero(opaque):
        raise UnsupportedFormat(
            f"{name} marks other pixels by its transparency than by its colours; say which counts: marks=opaque, "
            "marks=alpha (transparent pixels), or save it without transparency."
        )


def _ensure_no_ids(values: Levels, name: str, marks: Marks, *, lossy: bool) -> None:
    """Refuse levels that a threshold at half would misread: class ids, and masks too dark to mark anything."""
    from PIL import Image

    if not ((values != 0) & (values != 255)).any():
        return
    counts = np.array(Image.fromarray(np.ascontiguousarray(values)).histogram())
    levels = np.flatnonzero(counts[1:]) + 1
    if not levels.size or (marks is Marks.BLACK and levels[-1] >= LEVEL):
        return
    dark = levels[-1] < LEVEL
    several = len(levels) > 1 and not lossy
    ids = several and levels[-1] < NEARLY_WHITE and len(levels) <= FEW
    void = (
        several and levels[-1] == 255 and levels[-2] < SMALL and int(counts[1:255].sum()) > int(counts[255])
    )
    if dark or ids or void:
        shown = ", ".join(map(str, [*levels[:4], *(["..."] if len(levels) > 4 else [])]))
        raise UnsupportedFormat(
            f"{name} is a mask of the levels 0 and {shown}, which look like class ids: it does not say which are "
            "tampered; set marks=nonzero if all but 0 are, or save it with 0 and 255."
        )
