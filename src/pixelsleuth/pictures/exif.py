"""Reads TIFF directories: EXIF fields and the first page of a TIFF file.

Pillow's reader keeps the bytes of every field, and 65,535 fields may all claim the same megabytes: a file of one
megabyte then fills the memory. This one reads the table, and of the fields only those that are needed.

Source: TIFF 6.0, section 2; BigTIFF; EXIF 2.32, section 4.6.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

UNIT = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}

ORIENTATION = 0x0112


@dataclass(frozen=True)
class Field:
    """One entry: `raw` is its 12 (BigTIFF 20) bytes, `offset` where its value lies."""

    tag: int
    type: int
    count: int
    offset: int
    raw: bytes

    @property
    def size(self) -> int:
        return self.count * UNIT.get(self.type, 1)


@dataclass(frozen=True)
class Directory:
    """One table of fields (the first of each tag), where it lies, and where the next table is (0: none)."""

    data: memoryview
    order: str
    big: bool
    start: int
    stop: int
    fields: dict[int, Field]
    next: int

    def value(self, tag: int) -> bytes:
        """The bytes of a field; empty where it is absent or lies outside the data."""
        field = self.fields.get(tag)
        if field is None or field.offset + field.size > len(self.data):
            return b""
        return bytes(self.data[field.offset : field.offset + field.size])

    def numbers(self, tag: int, limit: int = 16) -> tuple[int, ...]:
        """The first `limit` integers of a field; empty where it is absent or of another type."""
        field = self.fields.get(tag)
        if field is None or field.type not in _CODES:
            return ()
        count = min(field.count, limit)
        end = field.offset + count * UNIT[field.type]
        if end > len(self.data):
            return ()
        return struct.unpack(f"{self.order}{count}{_CODES[field.type]}", self.data[field.offset : end])

    def number(self, tag: int, default: int = 0) -> int:
        values = self.numbers(tag, 1)
        return values[0] if values else default

    def text(self, tag: int) -> str:
        field = self.fields.get(tag)
        if field is None or field.type not in (2, 7, 129) or field.size > 65536:
            return ""
        return self.value(tag).partition(b"\0")[0].decode("utf-8", "replace")


def read_directory(data: memoryview, offset: int | None = None, *, whole: bool = True) -> Directory | None:
    """Return the first directory of TIFF `data`, or the one at `offset`; None where none can be read.

    Without `whole`, a directory that claims more entries than the data hold gives those that are there, up to the first
    of an unknown type.
    """
    head = bytes(data[:16])
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    magic = struct.unpack(order + "H", head[2:4])[0]
    if magic not in (42, 43) or (magic == 43 and len(head) < 16):
        return None
    big = magic == 43
    if offset is None:
        offset = (
            struct.unpack(order + "Q", head[8:16])[0] if big else struct.unpack(order + "I", head[4:8])[0]
        )
    width, entry, word = (8, 20, "Q") if big else (2, 12, "I")
    if offset < 8 or offset + width > len(data):
        return None
    count = struct.unpack(order + ("Q" if big else "H"), data[offset : offset + width])[0]
    start = offset + width
    stop = start + count * entry
    claimed = stop
    if stop > len(data) and not whole:
        stop = start + (len(data) - start) // entry * entry
    if count > 65535 or stop > len(data):
        return None
    fields: dict[int, Field] = {}
    inline = 8 if big else 4
    for at in range(start, stop, entry):
        tag, kind, number = struct.unpack(order + "HH" + word, data[at : at + entry - inline])
        here = at + entry - inline
        if claimed > stop and kind not in UNIT:
            break
        if number * UNIT.get(kind, 1) > inline:
            here = struct.unpack(order + word, data[here : here + inline])[0]
        fields.setdefault(tag, Field(tag, kind, number, here, bytes(data[at : at + entry])))
    tail = bytes(data[stop : stop + inline])
    following = struct.unpack(order + word, tail)[0] if len(tail) == inline else 0
    return Directory(data, order, big, offset, stop, fields, following)


_TEXTS = {0x010F: "camera_make", 0x0110: "camera_model", 0x0131: "software", 0x0132: "datetime"}
_ORIGINAL = 0x9003  # DateTimeOriginal, in the Exif sub-directory
_EXIF_POINTER = 0x8769
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")
MAX_XMP = 1 << 20


def read_exif(blocks: Sequence[bytes], xmp: bytes | None = None) -> tuple[int, dict[str, str]]:
    """Return (orientation 1..8, texts) of all EXIF blocks of a file: the first that states a value counts.

    Texts are camera_make, camera_model, software and datetime, as far as they are stated. A block may begin with
    "Exif\\0\\0". A broken block is ignored. The orientation of an XMP packet counts where no block states one.
    """
    orientation: int | None = None
    texts: dict[str, str] = {}
    for data in blocks:
        view = memoryview(data)
        while bytes(view[:5]) == b"Exif\0":
            view = view[6:]
        directory = read_directory(view, whole=False)
        if directory is None:
            continue
        stated, more = fields_of(directory)
        texts = more | texts
        if orientation is None and ORIENTATION in directory.fields:
            orientation = stated
    return orientation or xmp_orientation(xmp) or 1, texts


def xmp_orientation(xmp: bytes | None) -> int | None:
    """Return the orientation 1..8 that an XMP packet states, or None."""
    match = _XMP_ORIENTATION.search(xmp[:MAX_XMP]) if xmp else None
    return int(match[1]) if match else None


def fields_of(directory: Directory) -> tuple[int, dict[str, str]]:
    """Return (orientation 1..8, texts) of a directory, as `read_exif` does."""
    texts = {name: directory.text(tag) for tag, name in _TEXTS.items()}
    pointer = directory.number(_EXIF_POINTER)
    if pointer:
        inner = read_directory(directory.data, pointer, whole=False)
        if inner is not None and inner.text(_ORIGINAL):
            texts["datetime"] = inner.text(_ORIGINAL)
    orientation = directory.number(ORIENTATION, 1)
    return (orientation if 1 <= orientation <= 8 else 1), {
        name: text for name, text in texts.items() if text.strip()
    }


def claimed_bytes(data: memoryview) -> int:
    """Return what the fields of the first directory claim together, which a naive reader would load."""
    directory = read_directory(data, whole=False)
    return 0 if directory is None else sum(min(f.size, len(data)) for f in directory.fields.values())
