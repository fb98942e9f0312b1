"""Just enough of ISO base media files (AVIF, HEIC) to find the colour space of the picture that is shown.

Source: ISO/IEC 14496-12, sections 4.2, 8.11; ISO/IEC 23008-12, sections 6.5.5, 9.3.
"""

from __future__ import annotations

from collections.abc import Iterator

MAX_BOXES = 2_000


def boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(type, content) of the boxes that follow each other in `data`; ends at the first that does not fit."""
    at = 0
    for _ in range(MAX_BOXES):
        if at + 8 > len(data):
            return
        size, kind, start = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8]), at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        elif size == 0:
            size = len(data) - at
        if size < start - at or at + size > len(data):
            return
        yield kind, data[start : at + size]
        at += size


def colour_codes(data: memoryview) -> tuple[int, int] | None:
    """(primaries, transfer function) of the primary picture's nclx box, by ITU-T H.273; None where there is none."""
    meta = _child(data, b"meta")
    if meta is None:
        return None
    primary = _child(meta[4:], b"pitm")
    properties = _child(meta[4:], b"iprp")
    if primary is None or properties is None:
        return None
    wide = bool(len(primary)) and primary[0] > 0
    item = int.from_bytes(primary[4 : 8 if wide else 6], "big")
    listed = list(boxes(_child(properties, b"ipco") or memoryview(b"")))
    for kind, associations in boxes(properties):
        if kind != b"ipma":
            continue
        for index in _properties_of(associations, item):
            name, content = listed[index - 1] if 0 < index <= len(listed) else (b"", memoryview(b""))
            if name == b"colr" and bytes(content[:4]) == b"nclx" and len(content) >= 10:
                return int.from_bytes(content[4:6], "big"), int.from_bytes(content[6:8], "big")
    return None


def _child(data: memoryview, kind: bytes) -> memoryview | None:
    return next((content for name, content in boxes(data) if name == kind), None)


def _properties_of(content: memoryview, item: int) -> list[int]:
    """The indexes (from 1 on) of the properties that belong to an item."""
    if len(content) < 8:
        return []
    id_bytes, index_bytes = (4 if content[0] else 2), (2 if content[3] & 1 else 1)
    at = 8
    for _ in range(min(int.from_bytes(content[4:8], "big"), MAX_BOXES)):
        if at + id_bytes >= len(content):
            return []
        number = int.from_bytes(content[at : at + id_bytes], "big")
        count = content[at + id_bytes]
        at += id_bytes + 1
        stop = at + count * index_bytes
        if number == item:
            mask = 0x7FFF if index_bytes == 2 else 0x7F  # the first bit says whether it is essential
            return [
                int.from_bytes(content[i : i + index_bytes], "big") & mask
                for i in range(at, min(stop, len(content)), index_bytes)
            ]
        at = stop
    return []
