"""What is recognised only to be refused by name: pictures of other formats, documents, archives, videos."""

from __future__ import annotations

import re

# Suffixes of pictures that are not read: in a folder each becomes an error record, never passed over in
# silence.
_NAMES = (
    "sgi rgb rgba bw j2k jp2 jpc j2c jpf jpx jpm jxl jxr wdp fli flc blp dds p7 pam ppm pgm pbm pnm pfm psd psb xcf"
    " ico cur icns tga pcx exr hdr qoi bpg flif dpx xbm xpm svg eps"
    " cr2 cr3 nef arw dng raf orf rw2 pef srw x3f 3fr iiq"
)
UNREAD_SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())

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


def other(head: bytes) -> str | None:
    """Return what begins with `head`, picture or not, or None where it is unknown."""
    found = unread_picture(head)
    if found is not None:
        return found
    return next((what for magic, what in (*_SHORT, *_NO_PICTURES) if head.startswith(magic)), None)
