"""Reads the TIFF layouts that Pillow reads wrongly or not at all: any depth, sample format, order and planes.

libtiff unpacks the strips or tiles as if they were rows of grey bytes; numpy puts the bytes together and reads them as
samples. Source: TIFF 6.0, sections 7, 8, 14; Adobe Technical Note 3 (float predictor).
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.pictures.exif import Directory
from pixelsleuth.pictures.formats.base import corrupt, truncated
from pixelsleuth.pictures.formats.tiff_layout import FLOAT, PALETTE, RAW, SIGNED, Layout

# Pieces are unpacked in groups: few calls, little memory.
GROUP_BYTES = 4 << 20
MOST_IN_A_GROUP = 4096
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


class Samples:
    """The samples of a picture; as far as `pictures.decode` goes, it looks like an image of Pillow.

    `load` unpacks the bytes; `rows(y0, y1)` then gives samples, (rows, width, samples) of their own type.
    """

    def __init__(self, data: memoryview, layout: Layout, directory: Directory, name: str) -> None:
        self.width, self.height = layout.width, layout.height
        self.size = (self.width, self.height)
        self.mode = "RGB" if layout.photometric == PALETTE else _MODES[layout.colours]
        self.info: dict[Any, Any] = {}
        self.layout = layout
        self.name = name
        self.palette = _palette(layout, directory, name)
        self.fp: memoryview | None = data
        tags = (324, 325) if layout.tiled else (273, 279)  # read now: the directory may be struck out later
        self._offsets = directory.numbers(tags[0], layout.pieces)
        self._sizes = directory.numbers(tags[1], layout.pieces)
        self._planes: list[NDArray[np.uint8]] = []

    def load(self) -> None:
        """Unpack all pieces. Raises CorruptPicture, or what libtiff says of damaged data."""
        layout = self.layout
        count = layout.samples if layout.planar else 1
        each = layout.pieces // count
        self._planes = [self._plane(range(plane * each, (plane + 1) * each)) for plane in range(count)]

    def _plane(self, pieces: range) -> NDArray[np.uint8]:
        """Bytes of one plane, (rows, bytes a row); tiles are laid out, so rows may be longer than the picture."""
        layout = self.layout
        row = layout.row_bytes
        out = np.zeros((layout.pieces_down * layout.down, layout.pieces_across * row), np.uint8)
        group = max(1, min(MOST_IN_A_GROUP, GROUP_BYTES // (row * layout.down)))
        for first in range(pieces.start, pieces.stop, group):
            some = range(first, min(first + group, pieces.stop))
            unpacked = self._unpacked(some)
            at = 0
            for piece in some:
                rows = layout.rows(piece)
                down, across = divmod(piece - pieces.start, layout.pieces_across)
                y, x = down * layout.down, across * row
                out[y : y + rows, x : x + row] = self._predicted(unpacked[at : at + rows])
                at += rows
        return out

    def _unpacked(self, pieces: range) -> NDArray[np.uint8]:
        """The bytes of neighbouring pieces one below the other, (rows, bytes a row)."""
        assert self.fp is not None
        layout = self.layout
        rows = [layout.rows(piece) for piece in pieces]
        if layout.compression == RAW:
            row = layout.row_bytes
            parts = [
                self.fp[self._offsets[piece] : self._offsets[piece] + count * row]
                for piece, count in zip(pieces, rows, strict=True)
            ]
            flat = np.frombuffer(b"".join(parts), np.uint8)
            if flat.size != sum(rows) * row:
                raise truncated(self.name)
            flat = flat.reshape(sum(rows), row)
            return _REVERSED[flat] if layout.fill == 2 else flat
        from PIL.TiffImagePlugin import TiffImageFile

        image = TiffImageFile(io.BytesIO(self._grey_file(pieces, sum(rows))))
        image.load()
        return np.asarray(image)

    def _grey_file(self, pieces: range, rows: int) -> bytes:
        """A TIFF of these pieces alone, as rows of grey bytes in strips, still packed as they are."""
        assert self.fp is not None
        layout = self.layout
        parts, where, sizes, at = [], [], [], 8
        for piece in pieces:
            size = self._sizes[piece] if piece < len(self._sizes) else 0
            # Packed data are hardly ever larger than what they unpack to; a claim of megabytes is not followed.
            most = 2 * layout.row_bytes * layout.rows(piece) + 4096
            part = bytes(self.fp[self._offsets[piece] :][: min(size or most, most)])
            parts.append(part)
            where.append(at)
            sizes.append(len(part))
            at += len(part)
        values = {
            256: [layout.row_bytes], 257: [rows], 258: [8], 259: [layout.compression], 262: [1],
            266: [layout.fill], 273: where, 277: [1], 278: [layout.down], 279: sizes,
        }  # fmt: skip
        table, later = struct.pack("<H", len(values)), b""
        behind = at + 2 + 12 * len(values) + 4
        for tag, numbers in values.items():
            packed = struct.pack(f"<{len(numbers)}I", *numbers)
            here = packed if len(numbers) == 1 else struct.pack("<I", behind + len(later))
            later += packed if len(numbers) > 1 else b""
            table += struct.pack("<HHI", tag, 4, len(numbers)) + here
        return struct.pack("<2sHI", b"II", 42, at) + b"".join(parts) + table + bytes(4) + later

    def _predicted(self, part: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Undo the differences between neighbours that stand in place of the values."""
        layout = self.layout
        if layout.predictor == 1 or layout.compression == RAW:
            return part
        count = 1 if layout.planar else layout.samples
        if layout.predictor == 2:
            kind = np.dtype(f"{'>' if layout.big_endian else '<'}u{layout.bits // 8}")
            values = np.ascontiguousarray(part).view(kind).reshape(part.shape[0], layout.across, count)
            summed = np.cumsum(values, axis=1, dtype=kind.newbyteorder("="))
            return summed.astype(kind).reshape(part.shape[0], -1).view(np.uint8)
        # Floats: differences of single bytes; the most significant bytes of a row stand first.
        size = layout.bits // 8
        summed = np.cumsum(part.reshape(part.shape[0], -1, count), axis=1, dtype=np.uint8)
        split = summed.reshape(part.shape[0], size, -1)
        order = slice(None) if layout.big_endian else slice(None, None, -1)
        return np.ascontiguousarray(split[:, order].swapaxes(1, 2)).reshape(part.shape[0], -1)

    def rows(self, y0: int, y1: int) -> NDArray[Any]:
        """Samples of the rows from `y0` on to before `y1`, (rows, width, samples)."""
        layout = self.layout
        planes = [self._values(plane[y0:y1]) for plane in self._planes]
        return np.concatenate(planes, axis=2) if layout.planar else planes[0]

    def _values(self, part: NDArray[np.uint8]) -> NDArray[Any]:
        layout = self.layout
        count = 1 if layout.planar else layout.samples
        width = layout.pieces_across * layout.across
        if layout.bits in (8, 16, 32, 64):
            letter = {SIGNED: "i", FLOAT: "f"}.get(layout.sample_format, "u")
            kind = np.dtype(f"{'>' if layout.big_endian else '<'}{letter}{layout.bits // 8}")
            values: NDArray[Any] = np.ascontiguousarray(part).view(kind).reshape(len(part), width, count)
            return values[:, : layout.width].astype(kind.newbyteorder("="), copy=False)
        # Samples that are no whole bytes follow each other without gaps; each row begins with a new byte.
        row = layout.row_bytes
        each = np.unpackbits(part.reshape(len(part), layout.pieces_across, row), axis=2)
        each = each[:, :, : layout.across * count * layout.bits]
        split = each.reshape(len(part), width, count, layout.bits)[:, : layout.width]
        values = np.zeros(split.shape[:3], np.uint32)
        for bit in range(layout.bits):
            values = (values << 1) | split[..., bit]
        return values


def _palette(layout: Layout, directory: Directory, name: str) -> NDArray[np.uint8] | None:
    if layout.photometric != PALETTE:
        return None
    count = 1 << layout.bits
    numbers = directory.numbers(320, 3 * count)
    if len(numbers) < 3 * count:
        raise corrupt(name, "its palette is missing or too short")
    table = np.asarray(numbers, np.uint32).reshape(3, count).T
    eight = table if table.max() < 256 else (table * 255 + 32767) // 65535  # some writers put 8 bits there
    return eight.astype(np.uint8)


def working_bytes(layout: Layout) -> int:
    """Memory that `Samples` takes beside the file and the result."""
    piece = layout.row_bytes * layout.down
    return piece * layout.pieces + 3 * max(piece, GROUP_BYTES) + MOST_IN_A_GROUP * 4096
