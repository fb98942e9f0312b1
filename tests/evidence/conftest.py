"""Makers of small files that carry texts the way generators, editors and cameras write them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo


@pytest.fixture
def png() -> Callable[..., bytes]:
    """A PNG of 32 x 32 with text chunks, by key; `packed` ones are compressed."""

    def make(packed: bool = False, **texts: str) -> bytes:
        info, stream = PngInfo(), io.BytesIO()
        for key, text in texts.items():
            info.add_text(key.replace("__", " "), text, zip=packed)
        Image.new("RGB", (32, 32), "grey").save(stream, "PNG", pnginfo=info)
        return stream.getvalue()

    return make


@pytest.fixture
def jpeg() -> Callable[..., bytes]:
    """A JPEG of 32 x 32 with segments put behind its first marker: (marker, content)."""

    def make(*segments: tuple[int, bytes], comment: str = "", **fields: str) -> bytes:
        exif = Image.Exif()
        for name, text in fields.items():
            exif[{"Software": 0x0131, "Make": 0x010F, "Model": 0x0110, "ImageDescription": 0x010E}[name]] = (
                text
            )
        if comment:
            exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + comment.encode("utf-16-be")
        stream = io.BytesIO()
        Image.new("RGB", (32, 32), "grey").save(
            stream, "JPEG", **({"exif": exif} if len(exif) or comment else {})
        )
        data = stream.getvalue()
        added = b"".join(
            b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
        )
        return data[:2] + added + data[2:]

    return make


@pytest.fixture
def xmp() -> Callable[[str], tuple[int, bytes]]:
    """The APP1 segment of an XMP packet around properties of rdf:Description."""

    def make(properties: str) -> tuple[int, bytes]:
        packet = (
            '<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
            'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
            'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">'
            f'<rdf:Description rdf:about="" {properties}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
        )
        return 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet.encode()

    return make
