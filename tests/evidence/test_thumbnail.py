"""What a user may rely on: a thumbnail that shows something else than the picture is named, a fitting one is not."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pixelsleuth.evidence.inspection import inspect_file
from pixelsleuth.evidence.thumbnail import read_thumbnail, thumbnail_findings


def scene(seed: int, height: int = 240, width: int = 320) -> Image.Image:
    """A picture of large soft shapes."""
    blocks = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC)


def exif(thumbnail: Image.Image, size: int | None = None) -> bytes:
    stream = io.BytesIO()
    thumbnail.save(stream, "JPEG", quality=70)
    content = stream.getvalue()
    length = len(content) if size is None else size
    entries = struct.pack("<HHIIHHII", 0x0201, 4, 1, 44, 0x0202, 4, 1, length)
    return b"II*\0" + struct.pack("<IHIH", 8, 0, 14, 2) + entries + bytes(4) + content


def small(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2))


def kinds(block: bytes | None, picture: Image.Image, orientation: int = 1) -> list[str]:
    return [finding.strength for finding in thumbnail_findings(block, orientation, np.asarray(picture))]


@pytest.mark.parametrize("fit", [ImageOps.pad, ImageOps.fit, lambda picture, size: picture.resize(size)])
def test_a_thumbnail_with_bars_cut_or_stretched_fits(fit) -> None:
    assert kinds(exif(fit(scene(0, 240, 400), (160, 120))), scene(0, 240, 400)) == []


def test_a_change_of_tone_says_nothing() -> None:
    assert kinds(exif(small(scene(1))), scene(1).point(lambda value: value // 2)) == []


def test_another_picture_is_shown() -> None:
    assert kinds(exif(small(scene(2))), scene(3)) == ["shows"]


def test_a_turned_picture_is_a_hint() -> None:
    assert kinds(exif(small(scene(4))), ImageOps.flip(scene(4))) == ["hints"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_thumbnail_may_lie_as_the_picture_is_stored_or_upright(orientation: int) -> None:
    stored = scene(5)
    stored.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(stored)
    assert kinds(exif(small(scene(5))), upright, orientation) == []
    assert kinds(exif(small(upright)), upright, orientation) == []


@pytest.mark.parametrize(
    "block", [None, b"", b"II*\0", b"Exif\0\0", exif(small(scene(6)))[:60], exif(scene(6), 30)]
)
def test_broken_and_missing_thumbnails_say_nothing(block: bytes | None) -> None:
    assert kinds(block, scene(7)) == []


def test_a_thumbnail_too_large_to_be_one_is_not_read() -> None:
    assert read_thumbnail(exif(Image.new("L", (2000, 40)))) is None


def test_inspect_compares_the_thumbnail_and_fast_leaves_it_out(tmp_path: Path) -> None:
    path = str(tmp_path / "a.jpg")
    scene(8).save(path, exif=b"Exif\0\0" + exif(small(scene(9))))
    assert "thumbnail" in [finding.kind for finding in inspect_file(path).findings]
    assert "thumbnail" not in [finding.kind for finding in inspect_file(path, fast=True).findings]
