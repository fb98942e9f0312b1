"""Tells picture formats apart by their first bytes and reads their headers before anything is decoded.

The decoders are Pillow's. They get only the bytes that make pixels: the size limit comes before any decoder runs, and
comments, texts and EXIF never reach them: their readers are slow or take gigabytes on crafted files. A format is one
file of this folder, its function `read`, and its lines here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from pixelsleuth.errors import NotAPicture, UnsupportedFormat
from pixelsleuth.pictures.formats.base import Header as Header

# What `find_pictures` looks for in a folder; reading goes by content alone.
_NAMES = "jpg jpeg jpe jfif mpo png apng webp tif tiff gif bmp dib avif heic heif hif"
SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())
# Suffixes of pictures that are not read: in a folder each becomes an error record, so that no loss is silent.
_UNREAD = (
    "sgi rgb rgba bw j2k jp2 jpc j2c jpf jpx jpm jxl jxr wdp fli flc blp dds p7 pam ppm pgm pbm pnm pfm psd psb xcf"
    " ico cur icns tga pcx exr hdr qoi bpg flif dpx xbm xpm svg eps"
    " cr2 cr3 nef arw dng raf orf rw2 pef srw x3f 3fr iiq"
)
UNREAD_SUFFIXES = frozenset(f".{name}" for name in _UNREAD.split())

_PICTURES = (
    (b"8BPS", "a Photoshop document"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"v/1\1", "OpenEXR"),
    (b"#?RADIANCE", "a Radiance picture"),
    (b"DDS ", "a DirectDraw texture"),
    (b"BLP1", "a BLP texture"),
    (b"BLP2", "a BLP texture"),
    (b"qoif", "QOI"),
    (b"gimp xcf", "a GIMP document"),
    (b"icns", "an icon"),
    (b"FLIF", "FLIF"),
    (b"BPG\xfb", "BPG"),
    (b"FUJIFILMCCD-RAW", "a camera raw file"),
    (b"IIU\0", "a camera raw file"),
    (b"IIRO", "a camera raw file"),
)
# Signatures so short that other files begin with them by chance; good enough to name a file that was given.
_SHORT = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\1\0", "an icon"),
    (b"\x01\xda", "an SGI picture"),
)
_NO_PICTURES = (
    (b"%PDF", "a PDF document"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"PK\3\4", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a compressed archive"),
)
_NETPBM = re.compile(rb"P[1-6]\s+(#|\d+\s+\d+\s)|P7\s+(#|332\s|WIDTH|HEIGHT|DEPTH|MAXVAL)")

_AVIF = {b"avif", b"avis"}
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}


def sniff(head: bytes) -> str | None:
    """Return the format of a file that begins with `head` (64 bytes do); None for any format that is not read."""
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


def unread_picture(head: bytes) -> str | None:
    """Return which picture of a format that is not read begins with `head` (64 bytes do), or None.

    Strict enough for a walk over folders: a text or a program is not taken for a picture.
    """
    for magic, what in _PICTURES:
        if head.startswith(magic):
            return what
    if _NETPBM.match(head):
        return "a Netpbm picture"
    if head[:2] == b"\x01\xda" and head[2:3] in (b"\0", b"\1") and head[3:4] in (b"\1", b"\2"):
        return "an SGI picture"
    if head[:4] in (b"\0\0\1\0", b"\0\0\2\0") and head[4:5] != b"\0" and head[5:6] == b"\0" == head[9:10]:
        return "an icon"
    if head[4:6] in (b"\x11\xaf", b"\x12\xaf") and head[12:14] == b"\x08\0":
        return "an FLI or FLC animation"
    if head[4:12] == b"ftypcrx ":
        return "a camera raw file"
    return None


def read_header(data: memoryview, name: str) -> Header:
    """Return what the header of the file `data` says.

    Raises NotAPicture, UnsupportedFormat, CorruptPicture or PictureTooLarge; `name` is how their
    messages call the file.
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
    others = (what for magic, what in (*_SHORT, *_NO_PICTURES) if head.startswith(magic))
    what = unread_picture(head) or next(others, None)
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
    return all(letter.isprintable() or letter in "\t\r\n" for letter in text)
