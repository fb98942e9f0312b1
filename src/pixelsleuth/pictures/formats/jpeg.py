"""JPEG and MPO (several JPEGs in a file; the first is the picture).

Source: ITU-T T.81, annex B; Exif 2.32; CIPA DC-007 (MPO).
"""

from __future__ import annotations

import functools
import re

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.errors import UnsupportedFormat
from pixelsleuth.pictures.exif import read_exif
from pixelsleuth.pictures.formats.base import MAX_ICC, Header, corrupt, pillow, truncated
from pixelsleuth.pictures.formats.jpeg_scans import (
    DQT,
    EOI,
    MAX_PIXELS,
    MAX_SEGMENTS,
    MISSING,
    SOS,
    Segment,
    bound_scans,
    mended,
    quantisation_tables,
    segments,
)  # fmt: skip

_SOF = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_PROGRESSIVE = {0xC2, 0xCA}
# Tables of Huffman, arithmetic coding, quantisation; restart interval.
_DECODER_NEEDS = {0xC4, 0xCC, 0xDB, 0xDD}
_END = re.compile(rb"\xff\xd9")

_XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
# What the other frame headers mean (ITU-T T.81, table B.1; T.87 for JPEG-LS).
_RARE = {0xC3: "lossless", 0xCB: "lossless", 0xC7: "lossless and hierarchical", 0xCF: "lossless and hierarchical",
         0xC5: "hierarchical", 0xC6: "hierarchical", 0xCD: "hierarchical", 0xCE: "hierarchical",
         0xDE: "hierarchical", 0xF7: "JPEG-LS"}  # fmt: skip
_DHP, _JPEG_LS = 0xDE, 0xF7

MAX_EXIF_BLOCKS = 20
MAX_JUNK = 65_536

# ITU-T T.81, table K.1 (luminance), in zigzag order.
_LUMINANCE = (
    "16 11 12 14 12 10 16 14 13 14 18 17 16 19 24 40 26 24 22 22 24 49 "
    "35 37 29 40 58 51 61 60 57 51 56 55 64 72 92 78 64 68 87 69 55 56 "
    "80 109 81 87 95 98 103 104 103 62 77 113 121 112 100 120 92 101 103 99"
)


class _Walk:
    """What one pass over the marker segments before the first scan gathers."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, int]] = [(0, 2)]
        self.sof: tuple[int, bytes] | None = None
        self.exif: list[bytes] = []
        self.xmp: bytes | None = None
        self.icc: dict[int, bytes] = {}
        self.tables: dict[int, tuple[int, ...]] = {}
        self.mpo = False
        self.scan_start = 0
        self.first_scan_components = 0


def read(data: memoryview, name: str) -> Header:
    """Read the header; refuses (UnsupportedFormat, by name) JPEG-LS, lossless, hierarchical and 12-bit JPEG."""
    walk = _walk(data, name)
    if walk.sof is None:
        raise corrupt(name, "no picture header before its data")
    marker, frame = walk.sof
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    components = [tuple(frame[6 + 3 * i : 9 + 3 * i]) for i in range(frame[5])]
    rare = _RARE.get(marker)
    if rare is None and frame[0] != 8:
        rare = f"{frame[0]} bits"
    if rare is None and height == 0:
        rare = "its height stands behind its data, in a DNL segment"
    if rare is not None:
        raise UnsupportedFormat(f"{name} is a rare kind of JPEG ({rare}); save it as a usual JPEG or PNG.")
    if len(components) not in (1, 3, 4) or any(
        len(c) != 3 or not c[1] >> 4 or not c[1] & 15 for c in components
    ):
        raise corrupt(name, "its header names impossible components")
    if width == 0:
        raise corrupt(name, "its header says that it has no columns")
    working = 0
    if marker in _PROGRESSIVE or walk.first_scan_components < len(components):
        bound_scans(data, walk.scan_start, width * height, name)
        working = _coefficients(width, height, components)
    orientation, metadata = read_exif(walk.exif, walk.xmp)
    metadata |= _describe(walk, marker, components)
    header = Header(
        format="MPO" if walk.mpo else "JPEG",
        width=width,
        height=height,
        opener=pillow("Jpeg"),
        parts=[*walk.parts, (walk.scan_start, len(data))],
        working=working,
        pixel_bytes=1 if len(components) == 1 else 4,
        orientation=orientation,
        exif=next(iter(walk.exif), None),
        steps=walk.tables.get(components[0][2]),
        icc=b"".join(walk.icc[i] for i in sorted(walk.icc)) if walk.icc else None,
        metadata=metadata,
    )
    if _END.search(data, walk.scan_start) is None:
        if width * height > MAX_PIXELS:
            raise truncated(name)
        header.opener = functools.partial(mended, frame=frame)
        header.warnings.append(MISSING)
    return header


def _walk(data: memoryview, name: str) -> _Walk:
    walk = _Walk()
    at, junk = 2, 0
    for count, segment in enumerate(segments(data)):
        # Fill bytes and stray bytes between segments are skipped, as decoders do, but not without end.
        junk += segment.start - at
        if junk > MAX_JUNK:
            raise corrupt(name, "garbage in its header")
        if segment.start + 4 > len(data) or segment.stop > len(data):
            raise truncated(name)
        if segment.marker == EOI:
            raise corrupt(name, "it holds no picture data")
        if count >= MAX_SEGMENTS:
            raise corrupt(name, "thousands of segments in its header")
        if segment.marker == SOS:
            walk.scan_start = segment.start
            walk.first_scan_components = segment.body[0] if len(segment.body) else 0
            return walk
        _take(walk, segment)
        at = segment.stop
    raise corrupt(name, "garbage in its header") if junk + len(data) - at > MAX_JUNK else truncated(name)


def _take(walk: _Walk, segment: Segment) -> None:
    """Take from a segment what the decoder needs and what matters to people."""
    marker, body, where = segment.marker, segment.body, (segment.start, segment.stop)
    start = bytes(body[:12])
    if marker in _SOF or marker in (_DHP, _JPEG_LS):
        if walk.sof is None and len(body) >= 6:
            walk.sof = (marker, bytes(body))
        walk.parts.append(where)
    elif marker in _DECODER_NEEDS:
        walk.parts.append(where)
        if marker == DQT:
            walk.tables = quantisation_tables(body) | walk.tables
    elif (marker, start[:5]) in ((0xE0, b"JFIF\0"), (0xEE, b"Adobe")):
        walk.parts.append(where)  # they decide whether three components are YCbCr or RGB
    elif marker == 0xE1 and start[:5] == b"Exif\0" and len(walk.exif) < MAX_EXIF_BLOCKS:
        walk.exif.append(bytes(body[6:]))
    elif marker == 0xE1 and walk.xmp is None and bytes(body[: len(_XMP_START)]) == _XMP_START:
        walk.xmp = bytes(body[len(_XMP_START) :])
    elif marker == 0xE2 and start == b"ICC_PROFILE\0" and len(body) > 14:
        if sum(map(len, walk.icc.values())) < MAX_ICC:
            walk.icc.setdefault(body[12], bytes(body[14:]))
    elif marker == 0xE2 and start[:4] == b"MPF\0":
        walk.mpo = True


def _coefficients(width: int, height: int, components: list[tuple[int, ...]]) -> int:
    """Bytes of the coefficients (two each), all of which a decoder holds when they come in several scans."""
    most_h, most_v = max(c[1] >> 4 for c in components), max(c[1] & 15 for c in components)
    total = 0
    for _, sampling, _ in components:
        total += -(-width * (sampling >> 4) // most_h) * -(-height * (sampling & 15) // most_v) * 2
    return total


def _describe(walk: _Walk, marker: int, components: list[tuple[int, ...]]) -> dict[str, str]:
    metadata = {"bit_depth": "8"}
    if marker in _PROGRESSIVE:
        metadata["jpeg_progressive"] = "yes"
    quality = _quality(walk.tables.get(components[0][2]))
    if quality:
        metadata["jpeg_quality"] = quality
    if len(components) == 3:
        h, v = components[0][1] >> 4, components[0][1] & 15
        metadata["jpeg_subsampling"] = {
            (1, 1): "4:4:4",
            (2, 1): "4:2:2",
            (2, 2): "4:2:0",
            (4, 1): "4:1:1",
        }.get((h, v), f"{h}x{v}")
    return metadata


def _quality(table: tuple[int, ...] | None) -> str | None:
    """Estimate the IJG quality 1..100: the scaled copy of the standard's table nearest to this one."""
    if table is None:
        return None
    off = np.abs(scaled_tables() - np.asarray(table, np.int32)).sum(axis=1)
    best = int(off.argmin())
    return str(best + 1) if off[best] == 0 else f"about {best + 1}"


@functools.cache
def scaled_tables() -> NDArray[np.int32]:
    """Return the standard's luminance table scaled to the qualities 1..100: (100, 64) int32, in zigzag order."""
    quality = np.arange(1, 101, dtype=np.int32)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    base = np.array(_LUMINANCE.split(), dtype=np.int32)
    return ((base * scale + 50) // 100).clip(1, 255).astype(np.int32)
