"""Properties of an XMP packet, flat: (prefix:name, text). Source: XMP specification, part 1, section 7.

Packets that declare entities are not read: XMP has none, and one line of them can unfold into gigabytes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from xml.parsers import expat

MOST = 2_000
"""Properties of a packet."""
DEEPEST = 64
_PREFIXES = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": "stEvt",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://purl.org/dc/terms/": "dcterms",
}
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


class _EnoughError(Exception):
    """Enough was read, or more is not safe."""


def properties(packet: bytes) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of every property of a packet, attributes and nested ones too; what is broken ends it."""
    start = packet.find(b"<")
    if start < 0 or re.search(rb"<!(DOCTYPE|ENTITY)", packet):
        return
    entries: list[tuple[str, str]] = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    path: list[str] = []
    texts: list[list[str]] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        if len(path) >= DEEPEST or len(entries) >= MOST:
            raise _EnoughError
        path.append(name)
        texts.append([])
        for key, value in attributes.items():
            space = key.rpartition(" ")[0]
            if key == f"{_RDF} resource":
                entries.append((_named(path), value))
            elif space and space != _RDF:
                entries.append((_short(key), value))

    def end(name: str) -> None:
        text = "".join(texts.pop()).strip()
        if text:
            entries.append((_named(path), text))
        path.pop()

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: texts[-1].append(text) if texts else None
    with contextlib.suppress(expat.ExpatError, _EnoughError, ValueError):
        parser.Parse(packet[start:].rstrip(b"\0 \n\r\t"), True)
    yield from entries


def _named(path: list[str]) -> str:
    """The innermost element that is a property; rdf:li, rdf:Alt and their like only hold it."""
    return next((_short(name) for name in reversed(path) if not name.startswith(_RDF)), "")


def _short(name: str) -> str:
    space, _, local = name.rpartition(" ")
    prefix = _PREFIXES.get(space)
    return f"{prefix}:{local}" if prefix else local
