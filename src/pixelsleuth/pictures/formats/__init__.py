"""Which bytes are which picture format, and what their headers say before anything is decoded.

The decoders are Pillow's, but they are handed only the bytes that make pixels: headers are read here first,
so that the size limit comes before any decoder runs, and so that comments, text, EXIF and other baggage,
whose readers have been slow or hungry on crafted files, never reach them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pixelsleuth.errors import NotAPicture, UnsupportedFormat
from pixelsleuth.pictures.formats.base import Header as Header
from pixelsleuth.pictures.formats.others import UNREAD_SUFFIXES as UNREAD_SUFFIXES
from pixelsleuth.pictures.formats.others import other
from pixelsleuth.pictures.formats.others import unread_picture as unread_picture

# What `find_pictures` looks for in a folder; reading goes by content alone.
_NAMES = "jpg jpeg jpe jfif mpo png apng webp tif tiff gif bmp dib avif heic heif hif"
SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())

_AVIF = {b"avif", b"avis"}
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}


def sniff(head: bytes) -> str | None:
    """Return the format of a file that begins with `head` (64 bytes do); None where no such is read."""
    if head[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    # "BM" alone is also how texts begin; the size of the second header must be one that exists.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124):
        return "BMP"
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in range(8, min(len(head), 64), 4)}
        if brands & _AVIF:
            return "AVIF"
        if brands & _HEIF:
            return "HEIF"
    return None


def read_header(data: memoryview, name: str) -> Header:
    """Return what the header of the file `data` says.

    Raises NotAPicture, UnsupportedFormat, CorruptPicture or PictureTooLarge; `name` stands in their
    sentences.
    """
    head = bytes(data[:64])
    kind = sniff(head)
    if kind is None:
        raise _refusal(head, data, name)
    return _reader(kind)(data, name)


def _reader(kind: str) -> Callable[[memoryview, str], Header]:
    from pixelsleuth.pictures.formats import bmp, gif, heif, jpeg, png, tiff, webp

    readers: dict[str, Callable[[memoryview, str], Header]] = {
        "JPEG": jpeg.read,
        "PNG": png.read,
        "WEBP": webp.read,
        "TIFF": tiff.read,
        "GIF": gif.read,
        "BMP": bmp.read,
        "AVIF": heif.read_avif,
        "HEIF": heif.read_heif,
    }
    return readers[kind]


def _refusal(head: bytes, data: memoryview, name: str) -> NotAPicture | UnsupportedFormat:
    if not head:
        return NotAPicture(f"{name} is empty; copy or download it again.")
    advice = "save it as JPEG or PNG and check that."
    what = other(head)
    if what is not None:
        return UnsupportedFormat(f"{name} is {what}, which is not read; {advice}")
    if head[4:8] == b"ftyp":
        return UnsupportedFormat(f"{name} is a video or a camera raw file, which is not read; {advice}")
    if head[:2] == b"BM" and len(data) > 26:
        return UnsupportedFormat(f"{name} is a BMP with an unknown header, or no picture at all; {advice}")
    start = bytes(data[:512]).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return NotAPicture(f"{name} is a web page, not a picture; save the picture itself.")
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return UnsupportedFormat(f"{name} is an SVG drawing, which is not read; {advice}")
    suffix = os.path.splitext(name)[1].lower()
    if suffix in UNREAD_SUFFIXES:
        return UnsupportedFormat(f"{name} is called {suffix}, a kind of picture that is not read; {advice}")
    if _is_text(bytes(data[:512])):
        return NotAPicture(
            f"{name} is a text, not a picture; name the picture itself, or download it again if this should be it."
        )
    if suffix in SUFFIXES:
        return NotAPicture(f"{name} does not begin as a picture does; download or copy it again.")
    return NotAPicture(
        f"{name} is not a picture of a format that is read (JPEG, PNG, WebP, TIFF, GIF, BMP, AVIF, HEIC); {advice}"
    )


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # a character cut in half at the end does not count
            return False
        text = start[: error.start].decode("utf-8")
    return all(one.isprintable() or one in "\t\r\n" for one in text)
