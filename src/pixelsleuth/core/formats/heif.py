"""AVIF (Pillow's own decoder) and HEIC (where pillow-heif is installed). Source: ISO/IEC 23008-12; AV1 ISOBMFF 1.2."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from pixelsleuth.core.errors import UnsupportedFormat
from pixelsleuth.core.exif import claimed_bytes
from pixelsleuth.core.formats.base import Header, corrupt

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_TIFF = re.compile(rb"II\*\0|MM\0\*")
MAX_EXIF_CLAIM = 64 << 20
MAX_EXIF_BLOCKS = 100
# Decoded planes and their conversion to 8-bit RGB.
WORKING_BYTES_PER_PIXEL = 6


def read_avif(data: memoryview, name: str) -> Header:
    """Return a header without a size: Pillow's decoder tells it from the boxes, before any pixel is decoded."""
    _bound_exif(data, name)

    def opener(stream: io.RawIOBase) -> ImageFile:
        from PIL import features

        if not features.check("avif"):
            raise UnsupportedFormat(
                f"{name} is AVIF, which this build of Pillow cannot read; save it as JPEG or PNG."
            )
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile(stream)  # type: ignore[arg-type]

    return Header("AVIF", 0, 0, opener, metadata=_depth(data, b"av1C"))


def read_heif(data: memoryview, name: str) -> Header:
    """Return a header without a size, as `read_avif`; raises UnsupportedFormat where pillow-heif is not installed."""
    _bound_exif(data, name)
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise UnsupportedFormat(
            f"{name} is HEIC, which needs one more package; run: pip install 'pixelsleuth[heif]'"
        ) from None

    def opener(stream: io.RawIOBase) -> ImageFile:
        return HeifImageFile(stream)  # type: ignore[no-any-return]

    return Header("HEIF", 0, 0, opener)


def _bound_exif(data: memoryview, name: str) -> None:
    """Refuse a file whose EXIF claims more than it can hold: both decoders load every field while opening."""
    for number, found in enumerate(_TIFF.finditer(data)):
        if number > MAX_EXIF_BLOCKS or claimed_bytes(data[found.start() :]) > MAX_EXIF_CLAIM:
            raise corrupt(name, "its EXIF fields claim more than the file holds")


def _depth(data: memoryview, box: bytes) -> dict[str, str]:
    at = bytes(data[:65536]).find(box)
    if at < 0 or at + 7 > len(data):
        return {}
    flags = data[at + 6]
    return {"bit_depth": ("12" if flags & 0x20 else "10") if flags & 0x40 else "8"}
