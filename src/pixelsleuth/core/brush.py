"""Masks in Label Studio's own run lengths ("brush labels"): a stream of bits as a list of bytes.

32 bits: the number of values, four a pixel (red, green, blue, opacity), row by row from the top left. 5 bits: bits of a
value less one. Four times 4 bits: the sizes of a length, less one. Then runs: one bit (1: one value many times, 0: many
values), two bits that choose a size, the length less one, the value or values. Zeros fill the last byte.
Source: label-studio-sdk, `label_studio_sdk/converter/brush.py`, and rle-pack, which the editor uses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIZES = (3, 4, 8, 16)
"""Bits of a length, as the editor writes them."""
VALUE = 8
CHANNELS = 4
LONGEST = 1 << SIZES[-1]
MOST_PIXELS = 1 << 28
"""Of a mask that is read: a quarter of what 32 bits can count."""


def encode(mask: NDArray[np.bool_]) -> list[int]:
    """The bytes of a (height, width) mask; marked pixels are 255 in all four channels.

    >>> encode(np.array([[True, False]]))
    [0, 0, 0, 8, 57, 27, 252, 127, 241, 128, 0]
    """
    flat = np.ascontiguousarray(mask != 0).reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate(([0], edges, [flat.size]))) * CHANNELS
    bits = [f"{flat.size * CHANNELS:032b}", f"{VALUE - 1:05b}", *(f"{size - 1:04b}" for size in SIZES)]
    marked = bool(flat[0]) if flat.size else False
    for length in lengths.tolist():
        value = "1" * VALUE if marked else "0" * VALUE
        for start in range(0, length, LONGEST):
            piece = min(LONGEST, length - start)
            place = next(i for i, size in enumerate(SIZES) if piece <= 1 << size)
            bits.append(f"1{place:02b}{piece - 1:0{SIZES[place]}b}{value}")
        marked = not marked
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def decode(rle: Sequence[int], width: int, height: int) -> NDArray[np.bool_]:
    """The (height, width) mask of such bytes: pixels that are half opaque or more.

    Raises ValueError where they are damaged or of another size.
    """
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"a mask of {width} x {height} pixels is not read")
    text = "".join(f"{int(byte):08b}" for byte in rle)
    reader = _Bits(text)
    count, bits = reader.take(32), reader.take(5) + 1
    sizes = [reader.take(4) + 1 for _ in range(4)]
    if count != width * height * CHANNELS or len(text) != 8 * len(rle):
        raise ValueError(f"the mask does not have {width} x {height} pixels")
    values = np.zeros(count, np.uint16)
    place = 0
    while place < count:
        repeated = reader.take(1)
        end = place + 1 + reader.take(sizes[reader.take(2)])
        if end > count:
            raise ValueError("the mask has more pixels than it says")
        if repeated:
            values[place:end] = min(reader.take(bits), 0xFFFF)
        else:
            for i in range(place, end):
                values[i] = min(reader.take(bits), 0xFFFF)
        place = end
    return np.asarray(values[CHANNELS - 1 :: CHANNELS].reshape(height, width) >= 1 << (bits - 1))


class _Bits:
    """A text of bits that is read from the left. Raises ValueError where it ends too early."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0

    def take(self, count: int) -> int:
        end = self.place + count
        if end > len(self.text):
            raise ValueError("the mask ends too early")
        piece, self.place = self.text[self.place : end], end
        return int(piece, 2)
