"""PNG and APNG (its default picture). Source: PNG specification, third edition."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pixelsleuth.pictures.exif import MAX_XMP, read_exif
from pixelsleuth.pictures.formats.base import MAX_ICC, Header, corrupt, pillow, truncated

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_DECODER_NEEDS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_RAW_PROFILE = b"Raw profile type "
XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
USUAL_GAMMA = (43_000, 48_000)  # hundred-thousandths; 45455 is that of sRGB
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
    header = Header("PNG", width, height, pillow("Png"), metadata={"bit_depth": str(depth)})
    header.pixel_bytes = {1: 1 if depth <= 8 else 2, 2: 4, 3: 4, 4: 4}[_CHANNELS[colour]]
    header.parts = _walk(data, name, header)
    return header


def open_low_bytes(stream: io.RawIOBase) -> ImageFile:
    """An image of 16-bit colour whose lower bytes are decoded in place of the upper ones."""
    image: Any = pillow("Png")(stream)
    image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
    return image


class _Walk:
    """What one pass over the chunks gathers."""

    def __init__(self, data: memoryview) -> None:
        self.depth, self.colour = data[24], data[25]
        self.parts = [(0, 8)]
        self.keys: list[str] = []
        self.texts: dict[str, bytes] = {}
        self.exif: list[bytes] = []
        self.gamma = 0
        self.is_srgb = False

    def add(self, start: int, stop: int) -> None:
        """Let the decoder have these bytes."""
        if self.parts[-1][1] == start:
            self.parts[-1] = (self.parts[-1][0], stop)
        else:
            self.parts.append((start, stop))


class Chunk(NamedTuple):
    """A chunk's type and content; `stop` lies beyond the data where the chunk is cut off."""

    kind: bytes
    start: int
    stop: int
    body: memoryview


def chunks(data: memoryview) -> Iterator[Chunk]:
    """Yield the chunks of a PNG file, as many as there are, one more than MAX_CHUNKS at most."""
    at = 8
    for _ in range(MAX_CHUNKS + 1):
        if at + 8 > len(data):
            return
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield Chunk(bytes(data[at + 4 : at + 8]), at, stop, data[at + 8 : stop - 4])
        at = stop


def text_of(kind: bytes, body: memoryview, most: int) -> tuple[str, bytes]:
    """Return (key, text) of a text chunk, at most `most` bytes of it; the text is empty where it is broken."""
    key = bytes(body[:80]).partition(b"\0")[0].decode("latin-1")
    return key, _content(kind, body, most)


def _walk(data: memoryview, name: str, header: Header) -> list[tuple[int, int]]:
    walk = _Walk(data)
    for number, chunk in enumerate(chunks(data)):
        if number == MAX_CHUNKS:
            raise corrupt(name, "hundreds of thousands of chunks")
        if chunk.kind in _DECODER_NEEDS:
            walk.add(chunk.start, min(chunk.stop, len(data)))
        if chunk.kind not in _DECODER_NEEDS or chunk.kind == b"tRNS":
            _chunk(walk, header, chunk.kind, chunk.body)
        if chunk.kind == b"IEND":
            if walk.keys:
                header.metadata["text_chunks"] = ", ".join(walk.keys)
            break
    profiles = [walk.texts[key] for key in ("exif", "app1", "xmp") if key in walk.texts]
    blocks = [profile for profile in profiles if not profile.startswith(XMP_START)]
    packets = [profile for profile in profiles if profile.startswith(XMP_START)]
    xmp = walk.texts.get("packet") or next(iter(packets), None) or walk.texts.get("xmp")
    header.orientation, texts = read_exif([*walk.exif, *blocks], xmp)
    header.metadata = texts | header.metadata
    header.exif = next(iter([*walk.exif, *blocks]), None)
    other = header.icc is not None or walk.is_srgb or header.codes is not None
    if walk.gamma and not other and not USUAL_GAMMA[0] <= walk.gamma <= USUAL_GAMMA[1]:
        header.warnings.append(f"The file states a gamma of {walk.gamma / 1e5:.3g}, which was not applied.")
    return walk.parts


def _chunk(walk: _Walk, header: Header, kind: bytes, body: memoryview) -> None:
    """Take from a chunk what matters for pixels and people, and what the decoder would get wrong."""
    if kind == b"tRNS":
        header.transparent = _transparent(walk, body)
    elif kind == b"iCCP":
        header.icc = _inflate_profile(body)
    elif kind == b"cICP" and len(body) >= 4:
        if body[2] or body[3] != 1:
            header.warnings.append("The colours are coded as in a video (cICP) and were taken as sRGB.")
        else:
            header.codes = (body[0], body[1])
    elif kind == b"sRGB":
        walk.is_srgb = True
    elif kind == b"gAMA" and len(body) >= 4:
        walk.gamma = int.from_bytes(body[:4], "big")
    elif kind == b"eXIf":
        walk.exif.append(bytes(body))
    elif kind in _TEXTS and len(walk.keys) < 20:
        _text(walk, header, kind, body)
    elif kind == b"acTL" and len(body) >= 8 and int.from_bytes(body[:4], "big") > 1:
        header.warnings.append("An animation: only its first picture was judged.")


def _transparent(walk: _Walk, body: memoryview) -> tuple[int, ...] | None:
    """The transparent grey or colour as samples of 8 or 16 bits; None where the chunk is too short."""
    values = [int.from_bytes(body[i : i + 2], "big") for i in range(0, 2 * _CHANNELS[walk.colour], 2)]
    if walk.colour not in (0, 2) or len(body) < 2 * len(values):
        return None
    top = (1 << walk.depth) - 1
    scale = 255 // top if walk.depth < 8 else 1  # grey of 1, 2, 4 bits is spread over 0..255
    return tuple((value & top) * scale for value in values)


def _text(walk: _Walk, header: Header, kind: bytes, body: memoryview) -> None:
    key, _, text = bytes(body[:300]).partition(b"\0")
    walk.keys.append(key.decode("latin-1"))
    if kind == b"tEXt" and key == b"Software":
        header.metadata.setdefault("software", text.decode("latin-1"))
    if key == b"XML:com.adobe.xmp" and "packet" not in walk.texts:
        walk.texts["packet"] = _content(kind, body)
    elif key.startswith(_RAW_PROFILE) and (named := key[len(_RAW_PROFILE) :].decode("latin-1").lower()) in (
        "exif",
        "app1",
        "xmp",
    ):
        walk.texts.setdefault(named, _raw_profile(_content(kind, body)))


def _content(kind: bytes, body: memoryview, most: int = MAX_XMP) -> bytes:
    """The text of a text chunk, unpacked where it is packed; empty where it is broken or longer than a megabyte."""
    text = bytes(body[: 2 * most]).partition(b"\0")[2]
    packed = kind == b"zTXt"
    if kind == b"zTXt":
        text = text[1:]
    elif kind == b"iTXt":
        packed = text[:1] == b"\1"
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    return (_inflate(text, most) or b"") if packed else text[:most]


def _raw_profile(text: bytes) -> bytes:
    """The bytes that ImageMagick writes as text: a line with the name, one with the length, then hex digits."""
    lines = text.strip().split(b"\n", 2)
    try:
        return bytes.fromhex(lines[2].decode("ascii")) if len(lines) == 3 else b""
    except ValueError:
        return b""


def _inflate_profile(body: memoryview) -> bytes | None:
    """Unpack an iCCP chunk (name, 0, method 0, zlib stream); None where it is broken or far too large."""
    start = bytes(body[:81]).find(b"\0")
    return None if start < 0 else _inflate(bytes(body[start + 2 :]), MAX_ICC)


def _inflate(packed: bytes, most: int) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(packed, most)
    except zlib.error:
        return None
    return unpacked if unpacker.eof else None
