"""AVIF (Pillow's own decoder) and HEIC (where pillow-heif is installed).

Source: ISO/IEC 23008-12; AV1 Image File Format 1.1; AV1 in ISOBMFF 1.2 (av1C).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from pixelsleuth.errors import UnsupportedFormat, install_command
from pixelsleuth.pictures.exif import claimed_bytes
from pixelsleuth.pictures.formats.base import Header, corrupt
from pixelsleuth.pictures.formats.boxes import colour_codes

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_TIFF = re.compile(rb"II\*\0|MM\0\*")
MAX_EXIF_CLAIM = 64 << 20
MAX_EXIF_BLOCKS = 100
# Bytes a pixel of the decoded planes (8 bits, 4:2:0), with a margin for the decoder's own buffers, and of the
# 8-bit RGB that they are converted to.
PLANES, RGB = 2.0, 3.0


def read_avif(data: memoryview, name: str) -> Header:
    """Return a header without a size: the decoder tells it from the boxes before any pixel is decoded."""
    _bound_exif(data, name)

    def opener(stream: io.RawIOBase) -> ImageFile:
        from PIL import features

        if not features.check("avif"):
            raise UnsupportedFormat(
                f"{name} is AVIF, which this build of Pillow cannot read; save it as JPEG or PNG."
            )
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile(stream)  # type: ignore[arg-type]

    return _header("AVIF", opener, colour_codes(data), *_av1_layout(data))


def read_heif(data: memoryview, name: str) -> Header:
    """Return a header without a size; raises UnsupportedFormat where pillow-heif is not installed."""
    _bound_exif(data, name)
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise UnsupportedFormat(
            f"{name} is HEIC, which needs one more package; run in a clone of PixelSleuth: "
            f"{install_command('heif')}"
        ) from None

    def opener(stream: io.RawIOBase) -> ImageFile:
        return HeifImageFile(stream)

    return _header("HEIF", opener, colour_codes(data), *_hevc_layout(data))


def _bound_exif(data: memoryview, name: str) -> None:
    """Refuse a file whose EXIF claims more than it can hold: both decoders load every field while opening."""
    for number, found in enumerate(_TIFF.finditer(data)):
        if number > MAX_EXIF_BLOCKS or claimed_bytes(data[found.start() :]) > MAX_EXIF_CLAIM:
            raise corrupt(name, "its EXIF fields claim more than the file holds")


def _header(
    kind: str,
    opener: Callable[[io.RawIOBase], ImageFile],
    codes: tuple[int, int] | None,
    depth: int,
    samples: float,
) -> Header:
    working = PLANES * samples / 1.5 * (1 if depth == 8 else 2) + RGB
    return Header(
        kind, 0, 0, opener, working_per_pixel=working, codes=codes, metadata={"bit_depth": str(depth)}
    )


def _configuration(data: memoryview, box: bytes, size: int) -> bytes:
    """Return the first bytes of the first decoder configuration in the file; empty where there is none."""
    start = bytes(data[:65536])
    at = start.find(box)
    found = start[at + 4 : at + 4 + size] if at >= 0 else b""
    return found if len(found) == size else b""


def _av1_layout(data: memoryview) -> tuple[int, float]:
    """Return (bits a sample, samples a pixel) of an AVIF file."""
    configuration = _configuration(data, b"av1C", 3)
    if not configuration:
        return 8, 1.5
    flags = configuration[2]
    depth = (12 if flags & 0x20 else 10) if flags & 0x40 else 8
    if flags & 0x10:
        return depth, 1.0  # one plane, no colour
    return depth, {0x0C: 1.5, 0x08: 2.0}.get(flags & 0x0C, 3.0)


def _hevc_layout(data: memoryview) -> tuple[int, float]:
    """Return (bits a sample, samples a pixel) of a HEIC file."""
    configuration = _configuration(data, b"hvcC", 18)
    if not configuration:
        return 8, 1.5
    return 8 + (configuration[17] & 7), (1.0, 1.5, 2.0, 3.0)[configuration[16] & 3]
