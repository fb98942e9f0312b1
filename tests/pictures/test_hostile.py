"""No file crashes, hangs or floods the process: it gives a Picture or a named error."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelsleuth.errors import CorruptPicture, PictureError, PictureTooLarge, UnsupportedFormat
from pixelsleuth.pictures.images import open_picture

GIB = 1 << 30
READ = """
import json, resource, sys
try:
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))  # threads reserve what they never use
except (ValueError, OSError):
    pass
from pixelsleuth.errors import PictureError
from pixelsleuth.pictures.images import open_picture
for path in sys.argv[1:]:
    try:
        picture = open_picture(path)
        print(json.dumps(["picture", picture.width, picture.height, list(picture.warnings)]))
    except PictureError as error:
        print(json.dumps([error.code, str(error)]))
# Not ru_maxrss where it can be helped: a child inherits that of the process which started it.
try:
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(["peak", peak * 1024]))
"""


def read_apart(*paths, seconds=60):
    """Read files in a process of their own; return (outcomes, peak memory in bytes)."""
    pytest.importorskip("resource", reason="this system cannot bound a process")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    *outcomes, (_, peak) = map(json.loads, done.stdout.splitlines())
    return outcomes, peak


def saved(kind, size=(64, 48), mode="RGB", **options):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (size[1] // 8 + 1, size[0] // 8 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_every_broken_sample_gives_a_picture_or_a_named_error(shared):
    samples = sorted((shared / "samples" / "broken").iterdir())
    assert samples
    for first in range(0, len(samples), 12):  # a process a file would cost more than all the reading
        some = samples[first : first + 12]
        outcomes, peak = read_apart(*some)
        for sample, outcome in zip(some, outcomes, strict=True):
            assert outcome[0] == "picture" or (outcome[1].count("\n") == 0 and str(sample) in outcome[1])
        assert peak < GIB / 4, some


def test_the_bombs_among_the_samples_are_refused_by_their_size(shared):
    for name in ("decompression_bomb.gif", "png-ImageTestSuite-c-817f96555e2d683e7b12f778c4e38022.png"):
        with pytest.raises(PictureTooLarge, match="megapixels"):
            open_picture(shared / "samples" / "broken" / name)


def test_a_truncated_file_is_called_cut_off():
    for kind in ("JPEG", "PNG", "TIFF", "GIF", "BMP"):
        data = saved(kind, (200, 150))
        with pytest.raises(CorruptPicture, match=r"cut off|damaged"):
            open_picture(data[: len(data) * 2 // 3])


def huge_png(width, height, channels):
    """A valid, highly compressed PNG of any size, made without holding its pixels."""
    packer = zlib.compressobj(1)
    row = b"\0" + bytes(range(256)) * (width * channels // 256) + bytes(width * channels % 256)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    colour = {1: 0, 3: 2, 4: 6}[channels]

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.slow
def test_a_hundred_megapixels_stay_below_one_gibibyte(tmp_path, profiles):
    (tmp_path / "rgba.png").write_bytes(huge_png(10_000, 10_000, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10_000, 10_000), (200, 100, 50)).save(
        tmp_path / "turned.jpg", exif=exif, icc_profile=profiles.rgb, quality=50
    )
    for name in ("rgba.png", "turned.jpg"):
        (outcome,), peak = read_apart(tmp_path / name, seconds=200)
        assert outcome[:3] == ["picture", 10_000, 10_000]
        assert peak < GIB


def test_bombs_are_refused_before_they_unfold(tmp_path):
    (tmp_path / "bomb.png").write_bytes(
        huge_png(20_000, 1_000, 3).replace(
            struct.pack(">II", 20_000, 1_000), struct.pack(">II", 60_000, 60_000), 1
        )
    )
    (tmp_path / "bomb.gif").write_bytes(
        b"GIF89a"
        + struct.pack("<HH", 65535, 65535)
        + b"\0\0\0,"
        + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
        + b"\x08\x01\x00\0;"
    )
    webp = bytearray(saved("WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"))
    at = webp.index(b"VP8X")
    webp[at + 12 : at + 18] = b"\xfe\x3f\0\xfe\x3f\0"
    (tmp_path / "bomb.webp").write_bytes(webp)
    bmp = bytearray(saved("BMP"))
    bmp[18:26] = struct.pack("<ii", 50_000, -50_000)
    (tmp_path / "bomb.bmp").write_bytes(bmp)
    paths = sorted(tmp_path.iterdir())
    outcomes, peak = read_apart(*paths)
    assert [outcome[0] for outcome in outcomes] == ["picture_too_large"] * 4
    assert peak < GIB / 4


def test_decoders_that_would_need_too_much_are_not_started():
    data = bytearray(saved("JPEG", progressive=True, subsampling=0))
    at = data.index(b"\xff\xc2")
    data[at + 5 : at + 9] = struct.pack(">HH", 10_000, 10_000)
    with pytest.raises(PictureTooLarge, match="GiB to decode"):
        open_picture(bytes(data))


def test_a_jpeg_of_a_thousand_scans_is_refused():
    data = saved("JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(PictureTooLarge, match="scans"):
        open_picture(data[:-2] + last * 2_000 + data[-2:])


def test_run_length_bmp_is_read_when_small_and_refused_when_large():
    def rle(width, height, rows):
        palette = b"".join(bytes([i, i, 255 - i, 0]) for i in range(256))
        head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
        offset = 14 + 40 + len(palette)
        return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + head + palette + rows

    small = open_picture(rle(32, 32, (bytes([32, 9]) + b"\0\0") * 32 + b"\0\1"))
    assert tuple(small.pixels[0, 0]) == (246, 9, 9)
    with pytest.raises(PictureTooLarge, match="run-length"):
        open_picture(rle(9_000, 9_000, b"\0\0" * 9_000))


def exif_amplified(entries=5_000, size=60_000):
    """EXIF whose 5,000 fields claim the same 60 kB: 300 MB for a reader that keeps each."""
    fields = b"".join(struct.pack("<HHII", 0x8000 + i, 7, size, 8) for i in range(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + fields + b"\0\0\0\0"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_exif_that_claims_more_than_it_holds_takes_no_memory(kind, tmp_path):
    exif = exif_amplified()
    harmless = b"II*\0\x08\0\0\0".ljust(len(exif), b"\0")
    data = saved(kind, exif=b"Exif\0\0" + harmless if kind != "AVIF" else harmless)
    assert harmless in data
    (tmp_path / "picture").write_bytes(data.replace(harmless, exif))
    (outcome,), peak = read_apart(tmp_path / "picture")
    assert outcome[0] in ("picture", "corrupt_picture")
    assert peak < GIB / 5


def test_tiff_fields_that_claim_the_same_megabytes_take_no_memory(tmp_path):
    data = bytearray(saved("TIFF", (600, 400)))
    at = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[at : at + 2])[0]
    old = bytes(data[at + 2 : at + 2 + 12 * count])
    new = b"".join(struct.pack("<HHII", 40_000 + i, 7, 700_000, 8) for i in range(4_000))
    table = struct.pack("<H", count + 4_000) + old + new + b"\0\0\0\0"
    data[4:8] = struct.pack("<I", len(data))
    (tmp_path / "picture.tif").write_bytes(bytes(data) + table)
    (outcome,), peak = read_apart(tmp_path / "picture.tif")
    assert outcome[:3] == ["picture", 600, 400]
    assert peak < GIB / 5


def test_baggage_in_front_of_the_picture_is_skipped_quickly():
    """Naive readers glue comments together block by block: minutes for ten megabytes."""
    gif = saved("GIF", mode="P")
    at = 13 + (3 << (gif[10] & 7) + 1)
    comment = b"!\xfe" + (b"\xff" + bytes(range(1, 256))) * 40_000 + b"\0"
    assert open_picture(gif[:at] + comment + gif[at:]).width == 64
    jpeg = saved("JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 60_002 + 6) + b"Exif\0\0" + bytes(60_000)
    assert open_picture(jpeg[:2] + segment * 300 + jpeg[2:]).width == 64
    png = saved("PNG")
    chunk = struct.pack(">I", 0) + b"teST" + struct.pack(">I", zlib.crc32(b"teST"))
    assert open_picture(png[:33] + chunk * 50_000 + png[33:]).width == 64
    with pytest.raises(CorruptPicture, match="chunks"):
        open_picture(png[:33] + chunk * 400_000 + png[33:])
    with pytest.raises(CorruptPicture, match="garbage"):
        open_picture(jpeg[:2] + b"\xff" * 200_000 + jpeg[2:])


def test_camera_raw_and_other_formats_are_named():
    tiff = bytearray(saved("TIFF"))
    tiff[8:10] = b"CR"
    with pytest.raises(UnsupportedFormat, match="camera raw"):
        open_picture(bytes(tiff))
    for start, what in (
        (b"%PDF-1.7\n", "PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\0\x20ftypisom", "video"),
        (b"<svg xmlns=", "SVG"),
    ):
        with pytest.raises(UnsupportedFormat, match=what):
            open_picture(start.ljust(200, b" "))
    with pytest.raises(PictureError, match="web page"):
        open_picture(b"<!DOCTYPE html><html>not found</html>")


def test_a_file_too_large_to_read_is_refused_unread(tmp_path):
    path = tmp_path / "large.tif"
    with open(path, "wb") as file:
        file.write(b"II*\0")
        os.truncate(path, 3 * GIB)  # takes no room on the disk
    with pytest.raises(PictureTooLarge, match="MiB"):
        open_picture(path)


SEEDS = [
    saved("JPEG"),
    saved("JPEG", progressive=True),
    saved("JPEG", mode="CMYK"),
    saved("PNG"),
    saved("PNG", mode="P"),
    saved("TIFF", compression="tiff_lzw"),
    saved("TIFF", compression="tiff_adobe_deflate"),
    saved("TIFF"),
    saved("GIF", mode="P"),
    saved("BMP"),
    saved("BMP", mode="P"),
    saved("WEBP", lossless=True),
    saved("WEBP"),
    saved("AVIF", quality=50, speed=10),
]


def mutated(seed, edits, cut):
    data = bytearray(seed)
    for where, value in edits:
        data[int(where * (len(data) - 1))] = value
    return bytes(data[: max(1, int(cut * len(data)))])


# Half of the edits fall into the first 200 bytes, where the headers are.
EDIT = st.tuples(st.one_of(st.floats(0, 1), st.floats(0, 0.05)), st.integers(0, 255))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(SEEDS), st.lists(EDIT, min_size=1, max_size=12), st.one_of(st.just(1.0), st.floats(0, 1))
)
def test_mutated_files_give_a_picture_or_a_named_error(seed, edits, cut):
    try:
        picture = open_picture(mutated(seed, edits, cut), max_megapixels=4)
    except PictureError as error:
        assert str(error).startswith("The file in memory ")  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert picture.pixels.shape == (picture.height, picture.width, 3)
    assert picture.pixels.dtype == np.uint8
    assert all(text.isprintable() for text in picture.metadata.values())


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        [
            b"",
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"RIFF\0\0\0\0WEBPVP8 ",
            b"II*\0",
            b"GIF89a",
            b"BM",
            b"\0\0\0\x20ftypavif",
        ]
    ),
    st.binary(max_size=400),
)
def test_random_bytes_give_a_named_error(start, tail):
    with pytest.raises(PictureError):
        open_picture(start + tail)
