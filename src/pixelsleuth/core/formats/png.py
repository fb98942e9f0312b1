"""PNG and APNG (its default picture). Source: PNG specification, third edition."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING

from pixelsleuth.core.exif import read_exif
from pixelsleuth.core.formats.base import MAX_ICC, Header, corrupt, truncated

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_DECODER_NEEDS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
MAX_CHUNKS = 300_000  # 100 megapixels in chunks of 8 kB are fewer than 60,000


def read(data: memoryview, name: str) -> Header:
    """Read the header. Text chunks are only named, never unpacked."""
    if len(data) < 33:
        raise truncated(name)
    if bytes(data[12:16]) != b"IHDR":
        raise corrupt(name, "its header is missing")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    depth, colour = data[24], data[25]
    if not width or not height or colour not in _CHANNELS or depth not in (1, 2, 4, 8, 16):
        raise corrupt(name, "its header names an impossible picture")
    header = Header("PNG", width, height, _open, metadata={"bit_depth": str(depth)})
    header.pixel_bytes = {1: 1 if depth <= 8 else 2, 2: 4, 3: 4, 4: 4}[_CHANNELS[colour]]
    header.parts = _walk(data, name, header)
    return header


def _open(stream: io.RawIOBase) -> ImageFile:
    from PIL.PngImagePlugin import PngImageFile

    return PngImageFile(stream)  # type: ignore[arg-type]


def _walk(data: memoryview, name: str, header: Header) -> list[tuple[int, int]]:
    parts = [(0, 8)]
    keys: list[str] = []
    at = 8
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data):
            return parts
        size, kind = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8])
        stop = min(at + 12 + size, len(data))
        body = data[at + 8 : at + 8 + size]
        if kind in _DECODER_NEEDS:
            if parts[-1][1] == at:
                parts[-1] = (parts[-1][0], stop)
            else:
                parts.append((at, stop))
        elif kind == b"iCCP":
            header.icc = _inflate_profile(body)
        elif kind == b"eXIf":
            header.orientation, texts = read_exif(bytes(body))
            header.metadata |= texts
        elif kind in _TEXTS and len(keys) < 20:
            key, _, rest = bytes(body[:300]).partition(b"\0")
            keys.append(key.decode("latin-1"))
            if kind == b"tEXt" and key == b"Software":
                header.metadata.setdefault("software", rest.decode("latin-1"))
        elif kind == b"acTL" and size >= 8 and int.from_bytes(body[:4], "big") > 1:
            header.warnings.append("An animation: only its first picture was judged.")
        if kind == b"IEND":
            if keys:
                header.metadata["text_chunks"] = ", ".join(keys)
            return parts
        at += 12 + size
    raise corrupt(name, "hundreds of thousands of chunks")


def _inflate_profile(body: memoryview) -> bytes | None:
    """Unpack an iCCP chunk (name, 0, method 0, zlib stream); None where it is broken or far too large."""
    start = bytes(body[:81]).find(b"\0")
    if start < 0:
        return None
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(bytes(body[start + 2 :]), MAX_ICC)
    except zlib.error:
        return None
    return profile if unpacker.eof else None
