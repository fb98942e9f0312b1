"""Text hidden in the lowest bits of a picture, as NovelAI and the "stealth pnginfo" extension write it.

The bits run down the columns, column by column: a signature of 15 letters, the length of the text in bits (32 bits, big
endian), the text, gzipped where the signature says so. In alpha one bit a pixel, in RGB three. Only files without loss
carry it. Source: the public sources of both tools. A look at the signature spares most files their decoding.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.errors import PictureError
from pixelsleuth.evidence.texts import LONGEST, Text
from pixelsleuth.pictures.decode import guarded, translated
from pixelsleuth.pictures.formats import Header
from pixelsleuth.pictures.formats.base import stream_of
from pixelsleuth.pictures.formats.png import chunks

MOST_PIXELS = 40_000_000
"""Of a picture that is decoded to look for hidden text."""

_LETTERS = 15
_SIGNATURES = {
    b"stealth_pnginfo": (True, False),
    b"stealth_pngcomp": (True, True),
    b"stealth_rgbinfo": (False, False),
    b"stealth_rgbcomp": (False, True),
}
"""Signature -> (in alpha, gzipped)."""


def hidden_in(data: memoryview, header: Header) -> Text | None:
    """Return the text hidden in a PNG or WebP file; None where there is none, or the file cannot be decoded."""
    if header.format not in ("PNG", "WEBP") or header.width * header.height > MOST_PIXELS:
        return None
    if _signed_png(data, header) is False or (header.format == "WEBP" and not _lossless(data)):
        return None
    try:
        with translated("the picture"), guarded():
            image: Any = header.opener(stream_of(data, header.parts))
            if image.mode not in ("RGB", "RGBA"):
                return None
            return hidden_text(np.asarray(image))
    except PictureError:
        return None  # whoever judges the picture says so


def hidden_text(pixels: NDArray[np.uint8]) -> Text | None:
    """Return the text hidden in `pixels`, (H, W, 4) or (H, W, 3) as stored; None where there is none."""
    for planes in ([pixels[..., 3:]] if pixels.shape[2] == 4 else []) + [pixels[..., :3]]:
        columns = -(-8 * _LETTERS // max(1, planes.shape[0] * planes.shape[2]))
        signature = _letters(planes[:, :columns].transpose(1, 0, 2).reshape(-1)[: 8 * _LETTERS])
        known = _SIGNATURES.get(signature)
        if known is None or known[0] != (planes.shape[2] == 1):
            continue
        bits = planes.transpose(1, 0, 2).reshape(-1)
        start = 8 * _LETTERS + 32
        length = int.from_bytes(_letters(bits[8 * _LETTERS : start]), "big")
        packed = _letters(bits[start : start + min(length, 8 * LONGEST)])
        content = _unpacked(packed) if known[1] else packed
        if content:
            place = "hidden in the alpha channel" if known[0] else "hidden in the colours"
            return Text(place, "parameters", content.decode("utf-8", "replace"))
    return None


def _signed_png(data: memoryview, header: Header) -> bool | None:
    """Whether the first column of a PNG begins with a signature; None where that takes a decoder.

    Of the first column a row's filter needs the row above only (PNG, 9.2): Sub leaves it, Up and Paeth add it, Average
    adds half of it. So the rows of the signature are unpacked, and nothing else.
    """
    head = bytes(data[16:29])
    depth, colour, interlaced = head[8:9], head[9:10], head[12:13]
    rows = 8 * _LETTERS
    if depth != b"\x08" or colour not in (b"\2", b"\6") or interlaced != b"\0" or header.height < rows:
        return None
    samples = 3 if colour == b"\2" else 4
    stride = 1 + header.width * samples
    unpacker, lines = zlib.decompressobj(), bytearray()
    try:
        for chunk in chunks(data):
            if chunk.kind == b"IDAT" and len(lines) < rows * stride:
                lines += unpacker.decompress(chunk.body, rows * stride - len(lines))
            elif lines:
                break
    except zlib.error:
        return None
    if len(lines) < rows * stride:
        return None
    table = np.frombuffer(lines, np.uint8, rows * stride).reshape(rows, stride)
    column, above = np.zeros((rows, 1, samples), np.uint8), np.zeros(samples, np.uint8)
    for row, (filtered, values) in enumerate(zip(table[:, 0], table[:, 1 : 1 + samples], strict=True)):
        added = above if filtered in (2, 4) else above // 2 if filtered == 3 else 0
        above = values + added
        column[row, 0] = above
    kinds = [column[..., 3:], column[..., :3]] if samples == 4 else [column]
    return any(_letters(planes.reshape(-1)[: 8 * _LETTERS]) in _SIGNATURES for planes in kinds)


def _lossless(data: memoryview) -> bool:
    """Whether the colours or the alpha of a WebP file are kept without loss (RFC 9649: chunks VP8L, ALPH)."""
    at = 12
    for _ in range(64):
        kind = bytes(data[at : at + 4])
        if kind in (b"VP8L", b"ALPH", b"ANMF"):
            return True
        if len(kind) < 4:
            break
        at += 8 + (size := int.from_bytes(data[at + 4 : at + 8], "little")) + size % 2
    return False


def _letters(values: NDArray[np.uint8]) -> bytes:
    """The lowest bits of samples as bytes, the first bit the highest."""
    return np.packbits(values & 1).tobytes()


def _unpacked(packed: bytes) -> bytes:
    unpacker: Any = zlib.decompressobj(wbits=31)
    try:
        content: bytes = unpacker.decompress(packed, LONGEST)
    except zlib.error:
        return b""
    return content
