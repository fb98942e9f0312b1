"""The header of a picture file as numbers: the features of the header audit. No pixel is decoded.

At most the first mebibyte is read and nothing is unpacked; a file that is cut off gives the features up to there.
Sources: ITU-T T.81 annex B (JPEG), the PNG specification, RFC 9649 (WebP).
"""

from __future__ import annotations

import itertools
import zlib
from pathlib import Path

from pixelsleuth.errors import PictureError
from pixelsleuth.pictures.formats import read_header, sniff
from pixelsleuth.pictures.formats.jpeg_scans import DQT, DRI, SOS, quantisation_tables, segments
from pixelsleuth.pictures.formats.png import chunks

HEAD = 1 << 20
"""Bytes from the start that are read."""
MAX_PARTS = 4096
"""Segments or chunks that are walked over at most."""

CONTAINERS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "HEIF")
SUFFIX_OF = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "PNG": (".png", ".apng"), "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"), "GIF": (".gif",), "BMP": (".bmp", ".dib"), "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}  # fmt: skip

GROUPS = {
    "container": (
        "container", "suffix_agrees", "suffix_known", "bit_depth", "colour_type", "interlaced", "components",
        "progressive", "restart", "sampling", "segments", "header_bytes", "first_data_chunk", "webp_kind",
    ),
    "picture size": ("width", "height", "aspect", "megapixels", "width_mod_8", "height_mod_8", "square"),
    "quantisation tables": (
        "tables", "table_id", "luma_mean", "luma_first", "luma_last", "chroma_mean", "chroma_first", "chroma_last",
    ),
    "file size": ("bytes", "bytes_per_pixel"),
    "EXIF and metadata": (
        "exif", "exif_fields", "exif_make", "exif_software", "exif_date", "icc", "xmp", "photoshop", "adobe",
        "jfif", "density", "jumbf", "comment", "text_chunks", "gamma", "physical_size", "srgb", "time",
    ),
}  # fmt: skip
"""The features by kind; each kind is also audited alone, which names the shortcut."""

FEATURES = tuple(name for names in GROUPS.values() for name in names)


def header_features(data: bytes | bytearray | memoryview, name: str = "") -> dict[str, float]:
    """Features of one file; `name` gives its suffix. Every key of FEATURES is there, 0 where it does not apply.

    Raises PictureError where the bytes are no picture, or of unknown size.
    """
    view = memoryview(data)
    kind = sniff(bytes(view[:64])) or ""
    header = read_header(view, name or "picture")
    width, height = header.width or 1, header.height or 1
    suffix = Path(name).suffix.lower()
    features = dict.fromkeys(FEATURES, 0.0)
    features["container"] = float(CONTAINERS.index(kind) + 1) if kind in CONTAINERS else 0.0
    features["suffix_known"] = float(any(suffix in names for names in SUFFIX_OF.values()))
    features["suffix_agrees"] = float(suffix in SUFFIX_OF.get(kind, ()))
    features |= {
        "width": width,
        "height": height,
        "aspect": width / height,
        "megapixels": width * height / 1e6,
    }
    features |= {"width_mod_8": width % 8, "height_mod_8": height % 8, "square": float(width == height)}
    features |= {"bytes": float(len(view)), "bytes_per_pixel": len(view) / (width * height)}
    fields = header.metadata
    features["exif"] = float(header.exif is not None)
    features["icc"] = float(header.icc is not None)
    features["exif_fields"] = float(len(fields))
    features["exif_make"] = float(any("camera" in key or "make" in key for key in fields))
    features["exif_software"] = float(any("software" in key for key in fields))
    features["exif_date"] = float(any("date" in key or "time" in key for key in fields))
    head = bytes(view[:HEAD])
    {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp}.get(kind, lambda head, features: None)(head, features)
    return features


def _jpeg(head: bytes, features: dict[str, float]) -> None:
    at = 2
    tables: dict[int, tuple[int, ...]] = {}
    for segment in itertools.islice(segments(memoryview(head)), MAX_PARTS):
        marker, body = segment.marker, bytes(segment.body)
        # What lies between segments, but for fill bytes, ends the header.
        if segment.start + 4 > len(head) or head[at : segment.start].strip(b"\xff"):
            break
        at = segment.start
        features["segments"] += 1
        if marker == SOS:
            break
        if marker == DQT:
            tables |= quantisation_tables(segment.body)
        elif marker == DRI:
            features["restart"] = 1.0
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) >= 8:
            features["progressive"] = float(marker in (0xC2, 0xC6, 0xCA, 0xCE))
            features |= {"bit_depth": body[0], "components": body[5], "sampling": body[7]}
        else:
            _jpeg_extra(marker, body, features)
        at = segment.stop
    features["header_bytes"] = float(at)
    _put_tables(tables, features)


def _jpeg_extra(marker: int, body: bytes, features: dict[str, float]) -> None:
    """Application segments and comments: whether they are there; their content is not read."""
    if marker == 0xE0 and body[:5] == b"JFIF\0" and len(body) >= 12:
        features["jfif"] = 1.0
        features["density"] = float(body[7] * 65536 + int.from_bytes(body[8:10], "big"))
    elif marker == 0xE1 and body[:4] == b"Exif":
        features["exif"] = 1.0
    elif marker == 0xE1 and b"ns.adobe.com/xap" in body[:40]:
        features["xmp"] = 1.0
    elif marker == 0xE2 and body[:11] == b"ICC_PROFILE":
        features["icc"] = 1.0
    elif marker == 0xEB:
        features["jumbf"] = 1.0
    elif marker == 0xED:
        features["photoshop"] = 1.0
    elif marker == 0xEE and body[:5] == b"Adobe":
        features["adobe"] = 1.0
    elif marker == 0xFE:
        features["comment"] += 1


def _put_tables(tables: dict[int, tuple[int, ...]], features: dict[str, float]) -> None:
    if not tables:
        return
    features["tables"] = float(len(tables))
    features["table_id"] = float(zlib.crc32(repr(sorted(tables.items())).encode()) or 1)
    first, last = tables[min(tables)], tables[max(tables)]
    features |= {"luma_mean": sum(first) / 64, "luma_first": first[0], "luma_last": first[-1]}
    features |= {"chroma_mean": sum(last) / 64, "chroma_first": last[0], "chroma_last": last[-1]}


_CHUNKS = {
    b"eXIf": "exif", b"iCCP": "icc", b"gAMA": "gamma", b"pHYs": "physical_size", b"sRGB": "srgb", b"tIME": "time",
    b"caBX": "jumbf",
}  # fmt: skip


def _png(head: bytes, features: dict[str, float]) -> None:
    if len(head) >= 29:
        features |= {"bit_depth": head[24], "colour_type": head[25], "interlaced": head[28]}
    for chunk in itertools.islice(chunks(memoryview(head)), MAX_PARTS):
        if chunk.kind == b"IDAT":
            size = chunk.stop - chunk.start - 12
            features |= {"first_data_chunk": float(size), "header_bytes": float(chunk.start)}
            break
        features["segments"] += 1
        if chunk.kind in (b"tEXt", b"zTXt", b"iTXt"):
            features["text_chunks"] += 1
        elif chunk.kind in _CHUNKS:
            features[_CHUNKS[chunk.kind]] = 1.0


def _webp(head: bytes, features: dict[str, float]) -> None:
    features["webp_kind"] = {b"VP8 ": 1.0, b"VP8L": 2.0, b"VP8X": 3.0}.get(head[12:16], 0.0)
    if head[12:16] == b"VP8X" and len(head) > 20:
        flags = head[20]
        features |= {
            "icc": float(bool(flags & 32)),
            "exif": float(bool(flags & 8)),
            "xmp": float(bool(flags & 4)),
        }


__all__ = ["FEATURES", "GROUPS", "PictureError", "header_features"]
