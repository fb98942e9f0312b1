"""AVIF (Pillow's own decoder) and HEIC (where pillow-heif is installed).

Of their boxes only those are read that name the colour space of the picture that is shown. Source: ISO/IEC 14496-12,
sections 4.2, 8.11; ISO/IEC 23008-12, sections 6.5.5, 9.3; AV1 Image File Format 1.1; AV1 in ISOBMFF 1.2 (av1C).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pixelsleuth.errors import UnsupportedFormat, install_command
from pixelsleuth.pictures.exif import claimed_bytes
from pixelsleuth.pictures.formats.base import Header, corrupt, pillow

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_TIFF = re.compile(rb"II\*\0|MM\0\*")
MAX_EXIF_CLAIM = 64 << 20
MAX_EXIF_BLOCKS = 100
MAX_BOXES = 2_000
# Bytes a pixel of the decoded planes (8 bits, 4:2:0), with a margin for the decoder's own buffers, and of the
# 8-bit RGB that they are converted to.
PLANES, RGB = 2.0, 3.0


def read_avif(data: memoryview, name: str) -> Header:
    """Return a header without a size: the decoder reads it from the boxes before any pixel is decoded."""
    _bound_exif(data, name)

    return _header("AVIF", pillow("Avif", name), colour_codes(data), *_av1_layout(data))


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
    return _header("HEIF", HeifImageFile, colour_codes(data), *_hevc_layout(data))


def _bound_exif(data: memoryview, name: str) -> None:
    """Refuse a file whose EXIF claims more than it can hold: both decoders load every field while opening."""
    for number, match in enumerate(_TIFF.finditer(data)):
        if number > MAX_EXIF_BLOCKS or claimed_bytes(data[match.start() :]) > MAX_EXIF_CLAIM:
            raise corrupt(name, "its EXIF fields claim more than the file holds")


def _header(
    kind: str,
    opener: Callable[[Any], ImageFile],
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
    content = start[at + 4 : at + 4 + size] if at >= 0 else b""
    return content if len(content) == size else b""


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


def boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(type, content) of the boxes that follow each other in `data`; ends at the first that does not fit."""
    at = 0
    for _ in range(MAX_BOXES):
        if at + 8 > len(data):
            return
        size, kind, start = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8]), at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        elif size == 0:
            size = len(data) - at
        if size < start - at or at + size > len(data):
            return
        yield kind, data[start : at + size]
        at += size


def colour_codes(data: memoryview) -> tuple[int, int] | None:
    """(primaries, transfer function) of the primary picture's nclx box, by ITU-T H.273; None where there is none."""
    meta = _child(data, b"meta")
    if meta is None:
        return None
    primary = _child(meta[4:], b"pitm")
    properties = _child(meta[4:], b"iprp")
    if primary is None or properties is None:
        return None
    wide = bool(len(primary)) and primary[0] > 0
    item = int.from_bytes(primary[4 : 8 if wide else 6], "big")
    listed = list(boxes(_child(properties, b"ipco") or memoryview(b"")))
    for kind, associations in boxes(properties):
        if kind != b"ipma":
            continue
        for index in _properties_of(associations, item):
            name, content = listed[index - 1] if 0 < index <= len(listed) else (b"", memoryview(b""))
            if name == b"colr" and bytes(content[:4]) == b"nclx" and len(content) >= 10:
                return int.from_bytes(content[4:6], "big"), int.from_bytes(content[6:8], "big")
    return None


def _child(data: memoryview, kind: bytes) -> memoryview | None:
    return next((content for name, content in boxes(data) if name == kind), None)


def _properties_of(content: memoryview, item: int) -> list[int]:
    """The indexes (from 1 on) of the properties that belong to an item."""
    if len(content) < 8:
        return []
    id_bytes, index_bytes = (4 if content[0] else 2), (2 if content[3] & 1 else 1)
    at = 8
    for _ in range(min(int.from_bytes(content[4:8], "big"), MAX_BOXES)):
        if at + id_bytes >= len(content):
            return []
        number = int.from_bytes(content[at : at + id_bytes], "big")
        count = content[at + id_bytes]
        at += id_bytes + 1
        stop = at + count * index_bytes
        if number == item:
            mask = 0x7FFF if index_bytes == 2 else 0x7F  # the first bit says whether it is essential
            return [
                int.from_bytes(content[i : i + index_bytes], "big") & mask
                for i in range(at, min(stop, len(content)), index_bytes)
            ]
        at = stop
    return []
