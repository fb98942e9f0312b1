"""Text hidden in the lowest bits of a picture, as NovelAI and the "stealth pnginfo" extension write it.

The bits run down the columns, column by column: a signature of 15 letters, the length of the text in bits (32 bits, big
endian), the text, gzipped where the signature says so. In alpha one bit a pixel, in RGB three. Only files without loss
carry it. Source: the public sources of both tools.
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
        bits = planes.transpose(1, 0, 2).reshape(-1)
        signature = _letters(bits[: 8 * _LETTERS])
        known = _SIGNATURES.get(signature)
        if known is None or known[0] != (planes.shape[2] == 1):
            continue
        start = 8 * _LETTERS + 32
        length = int.from_bytes(_letters(bits[8 * _LETTERS : start]), "big")
        packed = _letters(bits[start : start + min(length, 8 * LONGEST)])
        content = _unpacked(packed) if known[1] else packed
        if content:
            place = "hidden in the alpha channel" if known[0] else "hidden in the colours"
            return Text(place, "parameters", content.decode("utf-8", "replace"))
    return None


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
