"""The marker segments of a JPEG file and its scans: walked over, bounded, and checked for missing data.

Where only the end marker is missing, the picture is complete; where data are missing, a decoder fills the gap and says
nothing. To tell them apart, the file is decoded with several endings: where all data are there, the picture does not
depend on the ending. Source: ITU-T T.81, annexes B and G.1.1.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pixelsleuth.errors import PictureTooLarge
from pixelsleuth.pictures.formats.base import corrupt

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

SOS, EOI, DQT, DRI = 0xDA, 0xD9, 0xDB, 0xDD
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_AFTER_DATA = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")

MAX_SEGMENTS = 20_000
# Every scan passes over the whole picture again, even when it holds no data: 100 megapixels may have 12,
# small pictures hundreds. Without a bound a file of 100 kB keeps a decoder busy for minutes.
MAX_SCAN_MEGAPIXELS = 1_200
MAX_SCANS = 1_000

# Endings of bits that a decoder would take for codes: zeros, ones and mixtures (a byte FF in the data is followed by
# 00), and every restart marker, without which nothing more is decoded where one is due. They are long because near the
# end of the data libjpeg-turbo fills a block with nothing rather than decode what is left.
LENGTH = 8192
_RESTARTS = b"".join(b"\xff" + bytes([0xD0 + i]) + b"\x5a\x33\xa6\x0f" * 32 for i in range(8))
ENDINGS = (bytes(LENGTH), *(bytes([byte]) * LENGTH for byte in (0xAA, 0x55, 0x77)), _RESTARTS * 8)
END = b"\xff\xd9"
MISSING = "The end marker of the file is missing; the picture itself is complete."
MAX_PIXELS = 40_000_000
"""Of a picture that is decoded several times."""
ROWS = 256


class Segment(NamedTuple):
    """A marker and its content; `stop` lies beyond the data where the content is cut off."""

    marker: int
    start: int
    stop: int
    body: memoryview


def segments(data: memoryview, at: int = 2, *, coded: bool = False) -> Iterator[Segment]:
    """The marker segments from byte `at` on, as many as there are; bytes between them are passed over.

    With `coded` these bytes may be the coded data of scans, and restart markers belong to them. Markers without content
    (EOI, SOI, TEM, restarts) have an empty body.
    """
    pattern = _AFTER_DATA if coded else _MARKER
    while (match := pattern.search(data, at)) is not None:
        start = match.start()
        marker, at = data[start + 1], start + 2
        if marker in (1, EOI) or (0xD0 <= marker <= 0xD8):
            yield Segment(marker, start, at, data[:0])
            continue
        stop = at + max(2, int.from_bytes(data[at : at + 2], "big"))
        yield Segment(marker, start, stop, data[at + 2 : stop])
        at = stop


def quantisation_tables(body: memoryview) -> dict[int, tuple[int, ...]]:
    """The tables of a DQT segment by their number, 64 steps each in zigzag order; not one that is cut off."""
    tables: dict[int, tuple[int, ...]] = {}
    at = 0
    while at < len(body):
        step, number = 2 if body[at] >> 4 else 1, body[at] & 15
        values = body[at + 1 : at + 1 + 64 * step]
        if len(values) < 64 * step:
            break
        tables[number] = tuple(int.from_bytes(values[i : i + step], "big") for i in range(0, 64 * step, step))
        at += 1 + 64 * step
    return tables


def bound_scans(data: memoryview, at: int, pixels: int, name: str) -> None:
    """Raise PictureTooLarge where the scans from byte `at` on would keep a decoder busy for too long."""
    allowed = max(4, min(MAX_SCANS, int(MAX_SCAN_MEGAPIXELS * 1e6 / max(pixels, 1))))
    scans = 0
    for count, segment in enumerate(segments(data, at, coded=True)):
        if count > MAX_SEGMENTS:
            raise corrupt(name, "thousands of segments among its data")
        if segment.marker == EOI:
            return
        scans += segment.marker == SOS
        if scans > allowed:
            raise PictureTooLarge(
                f"{name} repeats its picture in more than {allowed} scans, more than is safe to decode; "
                "save it as a usual JPEG."
            )


def mended(stream: io.RawIOBase, frame: bytes) -> ImageFile:
    """Return the loaded image of a file without an end marker; `frame` is the content of its frame header.

    Raises OSError ("truncated ...") where more than the end marker is missing.
    """
    from PIL.JpegImagePlugin import JpegImageFile

    data = stream.read() or b""
    if data[-1:] == b"\xff":
        data = data[:-1]  # half of the marker
    if not _all_scans(memoryview(data), frame):
        raise OSError("image file is truncated")
    image: Any = None
    digests: set[bytes] = set()
    for ending in ENDINGS:
        image = JpegImageFile(io.BytesIO(data + ending + END))
        image.load()
        digests.add(_digest(image))
        if len(digests) > 1:
            raise OSError("image file is truncated")
    return image


def _digest(image: Any) -> bytes:
    digest = hashlib.sha256()
    for y in range(0, image.height, ROWS):
        digest.update(image.crop((0, y, image.width, min(y + ROWS, image.height))).tobytes())
    return digest.digest()


def _all_scans(data: memoryview, frame: bytes) -> bool:
    """True where the scans hold every coefficient in full precision, each scan with all its restart markers."""
    lacking = {(frame[6 + 3 * i], k) for i in range(frame[5]) for k in range(64)}
    interval = 0
    ends = Segment(EOI, len(data), len(data), data[:0])
    for segment, following in itertools.pairwise(itertools.chain(segments(data, coded=True), [ends])):
        body = segment.body
        if segment.marker == DRI:
            interval = int.from_bytes(body[:2], "big")
        if segment.marker != SOS:
            continue
        if len(body) < 4 or len(body) < 4 + 2 * body[0]:
            return False
        components = bytes(body[1 : 1 + 2 * body[0] : 2])
        first, last, precision = body[1 + 2 * body[0] :][:3]
        if precision & 15 == 0:
            lacking -= {(component, k) for component in components for k in range(first, min(last, 63) + 1)}
        restarts = len(_RESTART.findall(data, segment.stop, following.start)) if interval else 0
        if interval and restarts < -(-_units(frame, components) // interval) - 1:
            return False
    return not lacking


def _units(frame: bytes, components: bytes) -> int:
    """How many units (MCUs) a scan of these components has: blocks where it is one, else groups of blocks."""
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    factors = {frame[6 + 3 * i]: (frame[7 + 3 * i] >> 4, frame[7 + 3 * i] & 15) for i in range(frame[5])}
    most_h, most_v = max(h for h, _ in factors.values()), max(v for _, v in factors.values())
    if len(components) != 1:
        return _ceil(width, 8 * most_h) * _ceil(height, 8 * most_v)
    h, v = factors.get(components[0], (1, 1))
    return _ceil(_ceil(width * h, most_h), 8) * _ceil(_ceil(height * v, most_v), 8)


def _ceil(value: int, step: int) -> int:
    return -(-value // step)
