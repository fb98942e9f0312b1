"""JPEG files that lack only their end marker: told from those that lack data, and decoded.

A decoder fills what is missing with anything and says nothing, so the file is decoded with several endings put behind
it: where all data are there, the picture does not depend on them. Source: ITU-T T.81, annexes B.1.1.2, G.1.1.
"""

from __future__ import annotations

import hashlib
import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# Bits that a decoder would take for codes: zeros, ones and mixtures (a byte FF in the data is followed by 00), and
# every restart marker, without which nothing more is decoded where one is due. Long: near the end of the data
# libjpeg-turbo fills a block with nothing rather than decode what is left.
LENGTH = 8192
_RESTARTS = b"".join(b"\xff" + bytes([0xD0 + i]) + b"\x5a\x33\xa6\x0f" * 32 for i in range(8))
ENDINGS = (bytes(LENGTH), *(bytes([byte]) * LENGTH for byte in (0xAA, 0x55, 0x77)), _RESTARTS * 8)
END = b"\xff\xd9"
MISSING = "The end marker of the file is missing; the picture itself is complete."
MAX_PIXELS = 40_000_000
"""Of a picture that is decoded several times."""
ROWS = 256
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")


def mended(stream: io.RawIOBase, frame: bytes) -> ImageFile:
    """Return the loaded image of a file without an end marker; `frame` is the content of its frame header.

    Raises OSError ("truncated ...") where more than the end marker is missing.
    """
    from PIL.JpegImagePlugin import JpegImageFile

    data = stream.read() or b""
    if data[-1:] == b"\xff":
        data = data[:-1]  # half of the marker
    if not _all_scans(data, frame):
        raise OSError("image file is truncated")
    image: Any = None
    seen: set[bytes] = set()
    for ending in ENDINGS:
        image = JpegImageFile(io.BytesIO(data + ending + END))
        image.load()
        seen.add(_digest(image))
        if len(seen) > 1:
            raise OSError("image file is truncated")
    return image


def _digest(image: Any) -> bytes:
    digest = hashlib.sha256()
    for y in range(0, image.height, ROWS):
        digest.update(image.crop((0, y, image.width, min(y + ROWS, image.height))).tobytes())
    return digest.digest()


def _all_scans(data: bytes, frame: bytes) -> bool:
    """True where the scans hold every coefficient in full precision, each scan with all its restart markers."""
    lacking = {(frame[6 + 3 * i], k) for i in range(frame[5]) for k in range(64)}
    interval, at = 0, 2
    while (found := _MARKER.search(data, at)) is not None:
        at = found.start()
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + size]
        at += 2 + size
        if marker == 0xDD:
            interval = int.from_bytes(body[:2], "big")
        if marker != 0xDA:
            continue
        if len(body) < 4 or len(body) < 4 + 2 * body[0]:
            return False
        named = body[1 : 1 + 2 * body[0] : 2]
        first, last, precision = body[1 + 2 * body[0] :][:3]
        if precision & 15 == 0:
            lacking -= {(component, k) for component in named for k in range(first, min(last, 63) + 1)}
        behind = _MARKER.search(data, at)
        end = behind.start() if behind else len(data)
        if interval and len(_RESTART.findall(data, at, end)) < -(-_units(frame, named) // interval) - 1:
            return False
    return not lacking


def _units(frame: bytes, named: bytes) -> int:
    """How many units (MCUs) a scan of these components has: blocks where it is one, else groups of blocks."""
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    factors = {frame[6 + 3 * i]: (frame[7 + 3 * i] >> 4, frame[7 + 3 * i] & 15) for i in range(frame[5])}
    most_h, most_v = max(h for h, _ in factors.values()), max(v for _, v in factors.values())
    if len(named) != 1:
        return _ceil(width, 8 * most_h) * _ceil(height, 8 * most_v)
    h, v = factors.get(named[0], (1, 1))
    return _ceil(_ceil(width * h, most_h), 8) * _ceil(_ceil(height * v, most_v), 8)


def _ceil(value: int, step: int) -> int:
    return -(-value // step)
