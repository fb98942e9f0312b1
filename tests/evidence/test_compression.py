"""What a user may rely on: how a JPEG was last saved is named, with the software where the file names it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import pytest
from PIL import Image

from pixelsleuth.evidence.compression import Compression, compression_findings, compression_of
from pixelsleuth.pictures.formats import read_header

# N. Robidoux's table at mozjpeg's quality 75: half of it, rounded; the first row, and the last entries of each row.
ROBIDOUX = [
    16, 16, 16, 18, 25, 37, 56, 85, 16, 17, 20, 27, 34, 40, 53, 75, 16, 20, 24, 31, 43, 62, 91, 135,
    18, 27, 31, 40, 53, 74, 106, 156, 25, 34, 43, 53, 69, 94, 131, 189, 37, 40, 62, 74, 94, 124, 169, 238,
    56, 53, 91, 106, 131, 169, 226, 311, 85, 75, 135, 156, 189, 238, 311, 418,
]  # fmt: skip
OWN = [3 + i // 8 + i % 8 for i in range(64)]


def saved(**options: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), "grey").save(stream, "JPEG", **options)
    return stream.getvalue()


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    return data[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


def examined(data: bytes) -> Compression | None:
    return compression_of(memoryview(data), read_header(memoryview(data), "a"))


@pytest.mark.parametrize("quality", [1, 30, 50, 75, 92, 99])
def test_the_quality_of_standard_tables_is_exact(quality: int) -> None:
    assert examined(saved(quality=quality, subsampling=2)) == Compression(quality, True, "4:2:0")


def test_other_tables_are_named_as_such() -> None:
    compression = examined(saved(qtables=[OWN, OWN]))
    assert compression is not None
    assert not compression.standard
    assert compression.encoder == ""


def test_the_tables_of_mozjpeg_are_known() -> None:
    tables = [[(value * 50 + 50) // 100 for value in ROBIDOUX]] * 2
    compression = examined(saved(qtables=tables))
    assert compression is not None
    assert compression.encoder == "mozjpeg"


def test_photoshop_and_save_for_web_are_named_with_their_own_quality() -> None:
    resource = b"Photoshop 3.0\x008BIM\x04\x06\0\0" + struct.pack(">IhH", 4, 6, 0)
    compression = examined(with_segment(saved(qtables=[OWN, OWN]), 0xED, resource))
    assert compression is not None
    assert (compression.encoder, compression.own_quality) == ("Adobe Photoshop", "its quality 10 of 12")
    ducky = b"Ducky\0\1\0\4\0\0\0\x3c\0\0"
    compression = examined(with_segment(saved(qtables=[OWN, OWN]), 0xEC, ducky))
    assert compression is not None
    assert (compression.encoder, compression.own_quality) == ("Adobe's Save for Web", "its quality 60 of 100")


def test_marks_of_photoshop_left_by_an_earlier_save_are_not_believed() -> None:
    resource = b"Photoshop 3.0\x008BIM\x04\x06\0\0" + struct.pack(">IhH", 4, 6, 0)
    compression = examined(with_segment(saved(quality=80), 0xED, resource))
    assert compression is not None
    assert compression.encoder == ""


@pytest.mark.parametrize(
    "body", [b"Photoshop 3.0\0", b"Photoshop 3.0\x008BIM\x04\x06\0\0\xff\xff\xff\xff\0", b"Ducky"]
)
@pytest.mark.parametrize("marker", [0xEC, 0xED])
def test_broken_marks_say_nothing_and_break_nothing(body: bytes, marker: int) -> None:
    compression = examined(with_segment(saved(qtables=[OWN, OWN]), marker, body))
    assert compression is not None
    assert compression.own_quality == ""


def test_the_finding_is_a_hint_and_other_formats_have_none(png: Callable[..., bytes]) -> None:
    data = memoryview(saved(quality=90))
    (finding,) = compression_findings(data, read_header(data, "a"))
    assert (finding.strength, finding.detail["quality"]) == ("hints", 90)
    assert "no sign of a forgery" in finding.statement
    other = memoryview(png())
    assert not compression_findings(other, read_header(other, "a"))
