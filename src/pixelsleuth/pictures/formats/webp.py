"""WebP: the first frame. Source: RFC 9649."""

from __future__ import annotations

from pixelsleuth.pictures.formats.base import Header, corrupt, pillow, truncated

WORKING_BYTES_PER_PIXEL = 12
"""Pillow uses libwebp's animation decoder: two canvases of four bytes a pixel, and a copy of the first."""
MAX_CHUNKS = 10_000


def read(data: memoryview, name: str) -> Header:
    """Read the size of the canvas."""
    if len(data) < 30:
        raise truncated(name)
    kind = bytes(data[12:16])
    animated = False
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        animated = bool(data[20] & 2)
    elif kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    elif kind == b"VP8 " and bytes(data[23:26]) == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    else:
        raise corrupt(name, "its header is none of WebP's")
    if not width or not height:
        raise corrupt(name, "its header says that it has no pixels")
    header = Header("WEBP", width, height, pillow("WebP", name), metadata={"bit_depth": "8"})
    header.working = WORKING_BYTES_PER_PIXEL * width * height + 2 * len(data)
    if animated:
        header.covered = _first_frame(data, width, height)
        header.warnings.append("An animation: only its first picture was judged.")
    return header


def _first_frame(data: memoryview, width: int, height: int) -> tuple[int, int, int, int] | None:
    """The box of the canvas that the first frame covers; None where it covers all of it, or none is found."""
    at = 12
    for _ in range(MAX_CHUNKS):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 24 > len(data):
            return None
        if bytes(data[at : at + 4]) == b"ANMF":
            x, y, w, h = (int.from_bytes(data[at + 8 + i : at + 11 + i], "little") for i in (0, 3, 6, 9))
            box = (2 * x, 2 * y, min(2 * x + w + 1, width), min(2 * y + h + 1, height))
            return None if box == (0, 0, width, height) else box
        at += 8 + size + size % 2
    return None
