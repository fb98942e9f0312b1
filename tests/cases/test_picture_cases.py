"""Pictures met in public bug reports: each row of `cases.csv` that is about pictures, through the command line too."""

import csv
import json
import runpy
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from pixelsleuth.cli.main import main
from pixelsleuth.errors import CorruptPicture, UnsupportedFormat
from pixelsleuth.pictures.images import open_picture

ON_WHITE = "laid on white"
TURNED = (48, 64)
PICTURES = ("tiff_", "png_", "avif_", "jpeg", "webp_", "write_small_jpeg")


@pytest.fixture(scope="module")
def cases(shared):
    folder = shared / "cases"
    if not (folder / "cases.csv").is_file():
        pytest.skip(f"needs the shared cases, which are not at {folder}")
    return folder


def means(picture):
    return picture.pixels.reshape(-1, 3).mean(axis=0)


def test_every_picture_of_the_list_has_a_test_here(cases):
    listed = {row["input"].split()[0] for row in csv.DictReader((cases / "cases.csv").open(newline=""))}
    pictures = {name for name in listed if name.startswith(PICTURES)}
    here = (
        set(COLOURS)
        | set(REFUSED)
        | {name for name, *_ in SEEN}
        | {"write_small_jpeg_no_eoi.py", "tiff_uint32.tif"}
    )
    here |= {"tiff_grey16_miniswhite.tif", "png_grey16_trns.png", "webp_anim_small_first_frame.webp"}
    assert pictures == here


# Means of the three channels, as ImageMagick 6.9 and libvips 8.14 give them (P3: as lcms converts them).
COLOURS = {
    "tiff_rgb16_planar_raw.tif": (130.0, 127.5, 85.0),
    "tiff_rgba_extrasample0.tif": (130.0, 127.5, 85.0),
    "avif_nclx_p3.avif": (126.25, 121.75, 54.25),
    "png_cicp_display_p3.png": (126.5, 121.25, 54.5),
}


@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_right(cases, name):
    assert means(open_picture(cases / name)) == pytest.approx(COLOURS[name], abs=1.5)


SEEN = [
    ("tiff_rgba_extrasample0.tif", "extra channel"),
    ("avif_animated_no_warning.avif", "only the first"),
    ("jpeg_exif_ifd_overcount_ori6.jpg", TURNED),
    ("jpeg_two_exif_second_has_ori6.jpg", TURNED),
    ("png_xmp_only_ori6.png", TURNED),
]


@pytest.mark.parametrize("name, seen", SEEN)
def test_warnings_and_orientation_are_right(cases, name, seen):
    picture = open_picture(cases / name)
    if isinstance(seen, str):
        assert any(seen in warning for warning in picture.warnings)
    else:
        assert (picture.width, picture.height) == seen


def test_min_is_white_is_honoured(cases):
    pixels = open_picture(cases / "tiff_grey16_miniswhite.tif").pixels[..., 0]
    assert (pixels[:, 0] == 255).all()
    assert (pixels[:, -1] == 0).all()


def test_a_ramp_of_32_bits_stays_monotone(cases):
    pixels = open_picture(cases / "tiff_uint32.tif").pixels[..., 0].astype(int)
    along = pixels[0] if pixels[0, 0] != pixels[0, -1] else pixels[:, 0]
    assert (np.diff(along) >= 0).all()
    assert (along[0], along[-1]) == (0, 255)


@pytest.mark.parametrize("name", ["png_grey16_trns.png", "webp_anim_small_first_frame.webp"])
def test_what_is_transparent_is_white(cases, name):
    picture = open_picture(cases / name)
    assert any(ON_WHITE in warning for warning in picture.warnings)
    assert (picture.pixels == 255).all(axis=2).mean() >= 0.5


REFUSED = {
    "tiff_jp2_compressed.tif": (UnsupportedFormat, "JPEG 2000"),
    "jpeg_lossless_8bit.jpg": (UnsupportedFormat, "lossless"),
    "jpeg_dnl_height0.jpg": (UnsupportedFormat, "DNL"),
    "jpegls.jls": (UnsupportedFormat, "JPEG-LS"),
    "tiff_short_strips.tif": (CorruptPicture, "cut off"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_by_name(cases, name):
    error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        open_picture(cases / name)


@pytest.mark.parametrize("lacking", ["1", "2"])
def test_a_jpeg_without_its_end_marker_is_read(cases, lacking, tmp_path, monkeypatch):
    target = tmp_path / "no_end.jpg"
    monkeypatch.setattr(sys, "argv", ["write", str(target), lacking])
    runpy.run_path(str(cases / "write_small_jpeg_no_eoi.py"))
    picture = open_picture(target)
    assert (picture.width, picture.height) == (512, 384)
    assert "end marker" in picture.warnings[0]


def test_the_command_line_gives_warnings_and_refusals_as_records(cases):
    names = ["png_grey16_trns.png", "jpegls.jls", "tiff_jp2_compressed.tif", "tiff_rgba_extrasample0.tif"]
    result = CliRunner().invoke(main, ["check", *(str(cases / name) for name in names), "--format", "jsonl"])
    assert result.exit_code == 1
    records = [json.loads(line) for line in result.stdout.splitlines()]
    errors = [record["error"] and record["error"]["code"] for record in records]
    assert errors == [None, "unsupported_format", "unsupported_format", None]
    assert any(ON_WHITE in warning for warning in records[0]["warnings"])
    assert any("extra channel" in warning for warning in records[3]["warnings"])
