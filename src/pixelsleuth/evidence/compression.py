"""How a JPEG file was last compressed: its quality, whose quantisation tables it uses, and which software says so.

Any re-save changes all of it: it names software, it is no sign of a forgery. Sources: ITU-T T.81, annex K (standard
tables, scaled as the Independent JPEG Group does); Adobe Photoshop file formats specification (resource 1030, JPEG
quality); mozjpeg (the table of N. Robidoux that it uses by default).
"""

from __future__ import annotations

from dataclasses import dataclass

from pixelsleuth.evidence.finding import Finding
from pixelsleuth.pictures.formats.base import Header
from pixelsleuth.pictures.formats.jpeg_scans import DQT, SOS, quantisation_tables, segments

MOST_SEGMENTS = 2_000
_PHOTOSHOP, _DUCKY = b"Photoshop 3.0\0", b"Ducky"
_JPEG_QUALITY = 0x0406
# In natural order, row by row; the table is symmetrical but for three entries.
_ROBIDOUX = (
    "16 16 16 18 25 37 56 85 16 17 20 27 34 40 53 75 16 20 24 31 43 62 91 135 18 27 31 40 53 74 106 156 "
    "25 34 43 53 69 94 131 189 37 40 62 74 94 124 169 238 56 53 91 106 131 169 226 311 85 75 135 156 189 238 311 418"
)


@dataclass(frozen=True)
class Compression:
    """How a JPEG was last saved.

    `quality` is on the scale of the Independent JPEG Group, 1 to 100; `standard` is True where the luminance table is
    the standard's at that quality, False where that quality is only the nearest. `encoder` names the software whose
    marks or tables the file carries, `own_quality` is its own scale; "" where nothing says so.
    """

    quality: int
    standard: bool
    subsampling: str
    encoder: str = ""
    own_quality: str = ""


def compression_of(data: memoryview, header: Header) -> Compression | None:
    """Return how a JPEG file was last saved; None for other formats and for files without tables."""
    words = header.metadata.get("jpeg_quality", "")
    if not words:
        return None
    quality, standard = int(words.removeprefix("about ")), not words.startswith("about")
    # A later save with the standard tables may carry the marks of an earlier program along.
    encoder, own_quality = ("", "") if standard else _encoder(data)
    return Compression(
        quality, standard, header.metadata.get("jpeg_subsampling", "grey"), encoder, own_quality
    )


def compression_findings(data: memoryview, header: Header) -> list[Finding]:
    """Return one finding for a JPEG file: its last compression. It hints at software, never at a forgery."""
    compression = compression_of(data, header)
    if compression is None:
        return []
    if compression.encoder:
        at = compression.own_quality or f"near quality {compression.quality} of 100"
        whose = f"by {compression.encoder}, {at}"
    elif compression.standard:
        whose = f"at quality {compression.quality} of 100 with the standard tables, as most software does"
    else:
        whose = f"near quality {compression.quality} of 100 with tables of its own, as cameras and some software do"
    detail = {
        "quality": compression.quality,
        "standard_tables": compression.standard,
        "subsampling": compression.subsampling,
    }
    if compression.encoder:
        detail |= {"encoder": compression.encoder, "encoder_quality": compression.own_quality}
    statement = f"The JPEG was last saved {whose}; that is no sign of a forgery."
    return [Finding("compression", statement, "hints", detail=detail)]


def _encoder(data: memoryview) -> tuple[str, str]:
    """(software, quality in its own words) as the file's marks or tables name them; ("", "") where they do not."""
    tables: dict[int, tuple[int, ...]] = {}
    photoshop, quality = False, ""
    for count, segment in enumerate(segments(data)):
        if segment.marker == SOS or count >= MOST_SEGMENTS:
            break
        body = segment.body
        if segment.marker == DQT:
            tables = quantisation_tables(body) | tables
        elif segment.marker == 0xEC and bytes(body[:5]) == _DUCKY:
            if bytes(body[5:9]) == b"\0\1\0\4":
                quality = f"its quality {int.from_bytes(body[9:13], 'big')} of 100"
            return "Adobe's Save for Web", quality
        elif segment.marker == 0xED and bytes(body[:14]) == _PHOTOSHOP:
            value = _resource(body, _JPEG_QUALITY)
            if len(value) >= 2:
                # Stored as -4 to 8 for 0 to 12.
                step = int.from_bytes(value[:2], "big", signed=True) + 4
                photoshop, quality = True, f"its quality {step} of 12" if 0 <= step <= 12 else ""
    if photoshop:
        return "Adobe Photoshop", quality
    return ("mozjpeg", "") if 0 in tables and _is_robidoux(tables[0]) else ("", "")


def _resource(body: memoryview, number: int) -> bytes:
    """The content of one of Photoshop's image resources; empty where it is absent."""
    at = len(_PHOTOSHOP)
    for _ in range(MOST_SEGMENTS):
        if bytes(body[at : at + 4]) != b"8BIM" or at + 12 > len(body):
            return b""
        name = body[at + 6] + 1
        content = at + 6 + name + name % 2
        size = int.from_bytes(body[content : content + 4], "big")
        if int.from_bytes(body[at + 4 : at + 6], "big") == number:
            return bytes(body[content + 4 : content + 4 + min(size, 64)])
        at = content + 4 + size + size % 2
    return b""


def _is_robidoux(table: tuple[int, ...]) -> bool:
    """True where a table (64 steps in zigzag order) is N. Robidoux's, scaled to a quality from 5 to 97."""
    base = [int(value) for value in _ROBIDOUX.split()]
    ordered = [base[8 * y + x] for y, x in zigzag()]
    for quality in range(5, 98):
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        if table == tuple(max(1, min(255, (value * scale + 50) // 100)) for value in ordered):
            return True
    return False


def zigzag() -> list[tuple[int, int]]:
    """Return (row, column) of the 64 coefficients in zigzag order (ITU-T T.81, figure A.6)."""
    places = [(y, x) for y in range(8) for x in range(8)]
    return sorted(places, key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]))
