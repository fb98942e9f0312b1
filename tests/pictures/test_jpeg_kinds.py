"""JPEGs that are not quite as the standard has them: which are read, with what warning, how the others are named."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelsleuth.errors import CorruptPicture, PictureError, UnsupportedFormat
from pixelsleuth.pictures.images import open_picture


def jpeg(size=(96, 64), mode="RGB", seed=0, **options):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1] // 4 + 1, size[0] // 4 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **({"quality": 80} | options))
    return buffer.getvalue()


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def exif(*entries, order="<", count=None, after=b""):
    """EXIF whose directory claims `count` entries (type, tag, count, value)."""
    table = b"".join(struct.pack(order + "HHI", tag, kind, 1) + (
        struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
    ) for tag, kind, value in entries)  # fmt: skip
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(order + "I", 8) + struct.pack(order + "H", count or len(entries))
    return b"Exif\0\0" + head + table + after


def with_segments(data, *bodies, marker=0xE1):
    return data[:2] + b"".join(segment(marker, body) for body in bodies) + data[2:]


KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "4:4:4": {"subsampling": 0},
    "grey": {"mode": "L"},
    "cmyk": {"mode": "CMYK"},
    "restart markers": {"restart_marker_rows": 1},
    "restart markers, dense": {"restart_marker_blocks": 2},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(96, 64), (131, 97), (17, 33)])
def test_a_file_that_lacks_only_its_end_marker_is_read_with_a_warning(kind, size):
    data = jpeg(size, **KINDS[kind])
    whole = open_picture(data)
    for lacking in (1, 2):
        picture = open_picture(data[:-lacking])
        assert np.array_equal(picture.pixels, whole.pixels)
        assert picture.warnings == ("The end marker of the file is missing; the picture itself is complete.",)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_lacks_data_is_cut_off(kind):
    """Never a picture with other pixels: a bit more than the end marker missing may still leave it whole."""
    for seed in range(6):
        data = jpeg((131, 97), seed=seed, **KINDS[kind])
        whole = open_picture(data).pixels
        for lacking in (3, 4, 5, 6, 8, 12, 20, 50, len(data) // 3):
            try:
                picture = open_picture(data[:-lacking])
            except CorruptPicture as error:
                assert "cut off" in str(error)  # noqa: PT017
            else:
                assert np.array_equal(picture.pixels, whole)
                assert picture.warnings
                assert lacking < 6


def test_a_progressive_picture_that_lacks_its_last_scans_is_cut_off():
    data = jpeg((96, 64), progressive=True)
    scans = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xda"]
    for start in scans[1:]:
        tables = data.rfind(b"\xff\xc4", 0, start)
        for end in (start, tables):
            with pytest.raises(CorruptPicture):
                open_picture(data[:end])


@pytest.mark.parametrize(
    "marker, precision, name",
    [(0xC3, 8, "lossless"), (0xCB, 8, "lossless"), (0xC5, 8, "hierarchical"), (0xCD, 8, "hierarchical"),
     (0xC7, 8, "lossless and hierarchical"), (0xC1, 12, "12 bits"), (0xC2, 12, "12 bits"), (0xF7, 8, "JPEG-LS"),
     (0xDE, 8, "hierarchical"), (0xC3, 16, "lossless")],
)  # fmt: skip
def test_a_rare_kind_is_named(marker, precision, name):
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, precision
    with pytest.raises(UnsupportedFormat, match=rf"\({name}\)"):
        open_picture(bytes(data))


def test_a_height_that_stands_behind_the_data_is_named():
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 7] = b"\0\0"
    with pytest.raises(UnsupportedFormat, match="DNL"):
        open_picture(bytes(data))


ORIENTATION, MAKE = 0x0112, 0x010F


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [3, 4])
def test_orientation_is_read_in_either_byte_order_and_width(order, kind):
    data = with_segments(jpeg(), exif((ORIENTATION, kind, 6), order=order))
    assert (open_picture(data).width, open_picture(data).height) == (64, 96)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("count", [2, 3, 200, 60_000])
def test_a_directory_that_claims_more_entries_than_it_has_gives_those_that_are_there(order, count):
    for after in (b"", b"\0\0\0", b"\xff" * 30, bytes(40)):
        data = with_segments(jpeg(), exif((ORIENTATION, 3, 6), order=order, count=count, after=after))
        assert open_picture(data).width == 64


def test_the_first_block_that_states_an_orientation_counts():
    plain, turned = exif((0x0128, 3, 2)), exif((ORIENTATION, 3, 6))
    straight, broken = exif((ORIENTATION, 3, 1)), b"Exif\0\0nonsense"
    for blocks, width in (
        ((plain, turned), 64),
        ((broken, plain, turned), 64),
        ((straight, turned), 96),
        ((turned, straight), 64),
        ((plain,), 96),
    ):
        assert open_picture(with_segments(jpeg(), *blocks)).width == width


@pytest.mark.parametrize("text", [b'<x tiff:Orientation="6"/>', b"<tiff:Orientation>6</tiff:Orientation>",
                                  b"<x tiff:Orientation = '6'/>"])  # fmt: skip
def test_orientation_in_xmp_counts_where_no_exif_states_one(text):
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + text
    assert open_picture(with_segments(jpeg(), xmp)).width == 64
    assert open_picture(with_segments(jpeg(), exif((0x0128, 3, 2)), xmp)).width == 64
    assert open_picture(with_segments(jpeg(), xmp, exif((ORIENTATION, 3, 1)))).width == 96


def test_an_orientation_of_the_thumbnail_is_not_the_picture_s():
    first = exif((0x0128, 3, 2))
    second = struct.pack("<H", 1) + struct.pack("<HHIHH", ORIENTATION, 3, 1, 6, 0) + bytes(4)
    data = with_segments(jpeg(), first + struct.pack("<I", 8 + 2 + 12 + 4) + second)
    assert open_picture(data).width == 96


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
    st.integers(1, 40),
)
def test_mutated_files_without_an_end_give_a_picture_or_a_named_error(kind, edits, cut):
    data = bytearray(with_segments(jpeg((33, 17), **KINDS[kind]), exif((ORIENTATION, 3, 6), count=9)))
    for where, value in edits:
        data[int(where * (len(data) - 1))] = value
    try:
        picture = open_picture(bytes(data[:-cut]), max_megapixels=4)
    except PictureError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert picture.pixels.shape == (picture.height, picture.width, 3)
