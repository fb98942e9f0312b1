"""Every text that a picture file carries: PNG text, EXIF, XMP, IPTC, comments; bounded, and nothing is decoded.

Sources: PNG specification, third edition, 11.3.3; EXIF 2.32; XMP specification, part 3; IPTC IIM 4.2; RFC 9649; GIF89a;
ISO/IEC 23008-12 (items of AVIF and HEIC). Broken parts say nothing: a file that lies about itself is no error here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pixelsleuth.evidence import xmp as packets
from pixelsleuth.pictures.exif import Directory, read_directory
from pixelsleuth.pictures.formats import sniff
from pixelsleuth.pictures.formats.heif import boxes
from pixelsleuth.pictures.formats.jpeg_scans import segments
from pixelsleuth.pictures.formats.png import XMP_START, chunks, text_of

LONGEST = 1 << 20
"""Characters of one text."""
MOST_BYTES = 8 << 20
"""Characters of all texts of a file together."""
MOST_TEXTS = 500
_EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
_IPTC_HEADER = b"Photoshop 3.0\0"
_SOS = 0xDA
_EXIF = {
    0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software", 0x013B: "Artist",
    0x8298: "Copyright", 0x9C9B: "XPTitle", 0x9C9C: "XPComment", 0x9C9D: "XPAuthor", 0x9C9E: "XPKeywords",
    0x9C9F: "XPSubject",
}  # fmt: skip
_EXIF_INNER = {0x9286: "UserComment", 0xA420: "ImageUniqueID", 0x9003: "DateTimeOriginal"}
_IPTC = {
    5: "ObjectName", 25: "Keywords", 40: "SpecialInstructions", 65: "OriginatingProgram", 80: "By-line",
    105: "Headline", 110: "Credit", 115: "Source", 116: "CopyrightNotice", 120: "Caption", 122: "Writer",
}  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A text with its key, and the place in the file where it stands ("PNG text", "EXIF", "XMP", "IPTC", "comment")."""

    place: str
    key: str
    value: str


def texts_of(data: bytes | bytearray | memoryview) -> list[Text]:
    """Return the texts of a picture file in the order of the file; empty where there are none, or it is no picture."""
    view = memoryview(data)
    kind = sniff(bytes(view[:64]))
    readers: dict[str, Callable[[memoryview], Iterator[Text]]] = {
        "JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "GIF": _gif, "TIFF": _tiff, "AVIF": _items, "HEIF": _items,
    }  # fmt: skip
    kept: list[Text] = []
    room = MOST_BYTES
    for text in readers.get(kind or "", lambda _: iter(()))(view):
        if room <= 0 or len(kept) >= MOST_TEXTS:
            break
        value = text.value[: min(LONGEST, room)].strip("\0 \t\r\n")
        if value:
            kept.append(Text(text.place, text.key, value))
            room -= len(value)
    return kept


def _jpeg(data: memoryview) -> Iterator[Text]:
    extended: dict[int, bytes] = {}
    for segment in segments(data):
        body = segment.body
        if segment.marker == _SOS:
            break
        if segment.marker == 0xFE:
            yield Text("comment", "comment", _decoded(bytes(body[:LONGEST])))
        elif segment.marker == 0xE1 and bytes(body[:5]) == b"Exif\0":
            yield from exif_texts(body[6:])
        elif segment.marker == 0xE1 and bytes(body[: len(XMP_START)]) == XMP_START:
            yield from _xmp(bytes(body[len(XMP_START) :]))
        elif segment.marker == 0xE1 and bytes(body[: len(_EXTENDED)]) == _EXTENDED:
            part = bytes(body[len(_EXTENDED) + 40 :])
            if sum(map(len, extended.values())) < LONGEST:
                extended[int.from_bytes(body[len(_EXTENDED) + 36 : len(_EXTENDED) + 40], "big")] = part
        elif segment.marker == 0xED and bytes(body[: len(_IPTC_HEADER)]) == _IPTC_HEADER:
            yield from _photoshop(body[len(_IPTC_HEADER) :])
    if extended:
        yield from _xmp(b"".join(extended[at] for at in sorted(extended)))


def _png(data: memoryview) -> Iterator[Text]:
    for chunk in chunks(data):
        if chunk.kind == b"eXIf":
            yield from exif_texts(chunk.body)
        elif chunk.kind in (b"tEXt", b"zTXt", b"iTXt"):
            key, content = text_of(chunk.kind, chunk.body, LONGEST)
            if key == "XML:com.adobe.xmp":
                yield from _xmp(content)
            else:
                value = _decoded(content) if chunk.kind == b"iTXt" else _latin_or_utf8(content)
                yield Text("PNG text", key, value)


def _webp(data: memoryview) -> Iterator[Text]:
    at = 12
    for _ in range(MOST_TEXTS):
        kind, size = bytes(data[at : at + 4]), int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        if len(kind) < 4:
            return
        if kind == b"EXIF":
            yield from exif_texts(body[6:] if bytes(body[:5]) == b"Exif\0" else body)
        elif kind == b"XMP ":
            yield from _xmp(bytes(body[:LONGEST]))
        at += 8 + size + size % 2


def _gif(data: memoryview) -> Iterator[Text]:
    for kind, content in _gif_extensions(data):
        if kind == 0xFE:
            yield Text("comment", "comment", _decoded(content))


def _gif_extensions(data: memoryview) -> Iterator[tuple[int, bytes]]:
    """(label, content) of the extensions before the first frame."""
    at = 13 + (3 << ((data[10] & 7) + 1) if len(data) > 13 and data[10] & 0x80 else 0)
    for _ in range(MOST_TEXTS):
        if at + 2 > len(data) or data[at] != 0x21:
            return
        label, content, at = data[at + 1], b"", at + 2
        while at < len(data) and data[at] and len(content) < LONGEST:
            content += bytes(data[at + 1 : at + 1 + data[at]])
            at += 1 + data[at]
        at += 1
        yield label, content


def _tiff(data: memoryview) -> Iterator[Text]:
    yield from exif_texts(data)
    directory = read_directory(data, whole=False)
    if directory is not None:
        yield from _xmp(_bounded(directory, 700))
        yield from _records(memoryview(_bounded(directory, 33723)))


def _items(data: memoryview) -> Iterator[Text]:
    """EXIF and XMP of AVIF and HEIC lie anywhere in the file; they are found by how they begin."""
    meta = next((content for kind, content in boxes(data) if kind == b"meta"), None)
    listed = bytes(meta[:65536]) if meta is not None else b""
    if b"Exif" in listed:
        raw = bytes(data[: 64 << 20])
        at = raw.find(b"Exif\0\0")
        if at >= 0:
            yield from exif_texts(data[at + 6 : at + 6 + LONGEST])
    if b"application/rdf+xml" in listed:
        raw = bytes(data[: 64 << 20])
        at = raw.find(b"<x:xmpmeta")
        end = raw.find(b"</x:xmpmeta>", at)
        if 0 <= at < end:
            yield from _xmp(raw[at : min(end + 12, at + LONGEST)])


def exif_texts(block: memoryview) -> Iterator[Text]:
    """The texts of an EXIF block or a TIFF file."""
    directory = read_directory(block, whole=False)
    if directory is None:
        return
    yield from _fields(directory, _EXIF)
    pointer = directory.number(0x8769)
    inner = read_directory(block, pointer, whole=False) if pointer else None
    if inner is not None:
        yield from _fields(inner, _EXIF_INNER)


def _fields(directory: Directory, names: dict[int, str]) -> Iterator[Text]:
    for tag, name in names.items():
        raw = _bounded(directory, tag)
        if raw:
            wide = name.startswith("XP")
            value = raw.decode("utf-16-le", "replace") if wide else _comment(raw, directory.order)
            yield Text("EXIF", name, value)


def _bounded(directory: Directory, tag: int) -> bytes:
    entry = directory.fields.get(tag)
    return directory.value(tag) if entry is not None and entry.size <= 4 * LONGEST else b""


def _comment(raw: bytes, order: str) -> str:
    """A text of EXIF; UserComment begins with the name of its encoding, and writers disagree on the byte order."""
    head, rest = raw[:8], raw[8:]
    if head == b"UNICODE\0":
        zeros = (rest[0:400:2].count(0), rest[1:400:2].count(0))
        big = zeros[0] > zeros[1] if max(zeros) else order == ">"
        return rest.decode("utf-16-be" if big else "utf-16-le", "replace").lstrip("\ufeff")
    if head in (b"ASCII\0\0\0", bytes(8), b"JIS\0\0\0\0\0"):
        return _decoded(rest)
    return _decoded(raw)


def _photoshop(body: memoryview) -> Iterator[Text]:
    """The IPTC block among Photoshop's image resources."""
    at = 0
    for _ in range(MOST_TEXTS):
        if bytes(body[at : at + 4]) != b"8BIM" or at + 12 > len(body):
            return
        number = int.from_bytes(body[at + 4 : at + 6], "big")
        name = body[at + 6] + 1
        at += 6 + name + name % 2
        size = int.from_bytes(body[at : at + 4], "big")
        if number == 0x0404:
            yield from _records(body[at + 4 : at + 4 + size])
        at += 4 + size + size % 2


def _records(body: memoryview) -> Iterator[Text]:
    at = 0
    for _ in range(MOST_TEXTS):
        if at + 5 > len(body) or body[at] != 0x1C:
            return
        record, number, size = body[at + 1], body[at + 2], int.from_bytes(body[at + 3 : at + 5], "big")
        if record == 2 and number in _IPTC:
            yield Text("IPTC", _IPTC[number], _decoded(bytes(body[at + 5 : at + 5 + size])))
        at += 5 + size


def _xmp(packet: bytes) -> Iterator[Text]:
    for key, value in packets.properties(packet[: 2 * LONGEST]):
        yield Text("XMP", key, value)


def _decoded(raw: bytes) -> str:
    return raw.partition(b"\0\0\0")[0].decode("utf-8", "replace")


def _latin_or_utf8(raw: bytes) -> str:
    """tEXt is Latin-1 by the standard; most generators write UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
