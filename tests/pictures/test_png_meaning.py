"""What a PNG says of its pixels beside the pixels: a transparent colour, a colour space, an orientation.

Compared with ImageMagick and libvips when these tests were made (every depth and colour type, with and without tRNS).
"""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelsleuth.errors import PictureError
from pixelsleuth.pictures.images import open_picture
from pixelsleuth.pictures.profiles import profile_of

ON_WHITE = "Transparent areas were laid on white."
XMP = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/>'
XMP_ELEMENT = b"<rdf:Description><tiff:Orientation>%d</tiff:Orientation></rdf:Description>"


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(values, depth, colour, *chunks, after=()):
    """A PNG of samples (H, W) or (H, W, channels); `after` are chunks behind the pixels."""
    height, width = values.shape[:2]
    rows = values.reshape(height, -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = rows.astype(np.uint8)
    else:
        bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks)
    return start + chunk(b"IDAT", data) + b"".join(after) + chunk(b"IEND", b"")


def ramp(depth, channels=1):
    top = (1 << depth) - 1
    y, x = np.mgrid[:24, :32]
    grey = (x * top // 31 + y * top // 97) % (top + 1)
    return grey if channels == 1 else np.stack([grey, top - grey, (grey * 3) % (top + 1)], axis=-1)


@pytest.mark.parametrize(
    "depth, colour", [*((depth, 0) for depth in (1, 2, 4, 8, 16)), *((depth, 2) for depth in (8, 16))]
)
def test_a_transparent_grey_or_colour_is_white_at_every_depth_and_nothing_else_is(depth, colour):
    values = ramp(depth, 3 if colour == 2 else 1)
    key = np.atleast_1d(values[5, 9])
    hidden = (values.reshape(24, 32, -1) == key).all(axis=2)
    plain = open_picture(png(values, depth, colour))
    picture = open_picture(png(values, depth, colour, chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))))
    assert hidden.any()
    assert (picture.pixels[hidden] == 255).all()
    assert np.array_equal(picture.pixels[~hidden], plain.pixels[~hidden])
    assert picture.warnings == (ON_WHITE,)


@pytest.mark.parametrize("colour", [0, 2])
def test_a_colour_that_differs_in_the_lower_bits_alone_is_not_transparent(colour):
    values = ramp(16, 3 if colour == 2 else 1)
    key = np.atleast_1d(values[5, 9]).copy()
    key[0] ^= 1
    assert not (values.reshape(24, 32, -1) == key).all(axis=2).any()
    picture = open_picture(png(values, 16, colour, chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))))
    assert np.array_equal(picture.pixels, open_picture(png(values, 16, colour)).pixels)
    assert picture.warnings == ()


def test_a_transparent_palette_entry_is_white():
    values = ramp(2)
    palette = chunk(b"PLTE", bytes([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9]))
    picture = open_picture(png(values, 2, 3, palette, chunk(b"tRNS", bytes([0, 128]))))
    assert (picture.pixels[values == 0] == 255).all()
    assert np.abs(picture.pixels[values == 1].astype(int) - (127, 227, 127)).max() <= 1
    assert (picture.pixels[values == 2] == (0, 0, 200)).all()
    assert picture.warnings == (ON_WHITE,)


# A flat (200, 100, 50) by hand: the curve, the published matrix between the two spaces in linear light, sRGB's curve.
@pytest.mark.parametrize(
    "codes, name, expected",
    [
        ((12, 13), "Display P3", (215, 93, 31)),
        ((9, 13), "BT.2020", (241, 76, 29)),
        ((1, 8), "BT.709, gamma 1", (229, 168, 123)),
        ((1, 4), "BT.709, gamma 2.2", (200, 99, 47)),
    ],
)
def test_a_colour_space_named_by_cicp_is_converted(codes, name, expected):
    flat = np.broadcast_to(np.array([200, 100, 50]), (24, 32, 3))
    picture = open_picture(png(flat, 8, 2, chunk(b"cICP", bytes([*codes, 0, 1]))))
    assert np.abs(picture.pixels[3, 3].astype(int) - expected).max() <= 2
    assert picture.metadata["colour_profile"] == name
    assert picture.warnings == ()


def test_what_is_srgb_anyway_keeps_every_pixel():
    values = ramp(8, 3)
    for codes in ((1, 13), (1, 1), (2, 2)):
        picture = open_picture(png(values, 8, 2, chunk(b"cICP", bytes([*codes, 0, 1]))))
        assert np.array_equal(picture.pixels, values)
        assert picture.warnings == ()


@pytest.mark.parametrize(
    "body, words",
    [((9, 16, 0, 1), "PQ"), ((9, 18, 0, 1), "HLG"), ((77, 13, 0, 1), "not known"), ((1, 99, 0, 1), "not known"),
     ((12, 13, 0, 0), "video"), ((12, 13, 9, 1), "video")],
)  # fmt: skip
def test_a_colour_space_that_cannot_be_converted_is_told(body, words):
    values = ramp(8, 3)
    picture = open_picture(png(values, 8, 2, chunk(b"cICP", bytes(body))))
    assert np.array_equal(picture.pixels, values)
    assert words in picture.warnings[0]


def test_cicp_stands_above_an_icc_profile(profiles):
    values = ramp(8, 3)
    icc = chunk(b"iCCP", b"x\0\0" + zlib.compress(profiles.rgb))
    picture = open_picture(png(values, 8, 2, icc, chunk(b"cICP", bytes([1, 13, 0, 1]))))
    assert np.array_equal(picture.pixels, values)
    # one that is not known does not: the profile is there for such readers
    other = open_picture(png(values, 8, 2, icc, chunk(b"cICP", bytes([9, 16, 0, 1]))))
    assert np.array_equal(other.pixels, open_picture(png(values, 8, 2, icc)).pixels)
    assert other.warnings == ()


def test_grey_follows_the_curve_of_its_cicp():
    picture = open_picture(png(np.full((24, 32), 100), 8, 0, chunk(b"cICP", bytes([12, 8, 0, 1]))))
    assert np.abs(picture.pixels.astype(int) - 168).max() <= 1  # 100/255 of the light is 168 in sRGB


def test_an_unusual_gamma_is_told_and_a_usual_one_is_not():
    values = ramp(8, 3)
    for gamma, extra, warned in (
        (100_000, (), True),
        (45_455, (), False),
        (100_000, (chunk(b"sRGB", b"\0"),), False),
    ):
        picture = open_picture(png(values, 8, 2, chunk(b"gAMA", struct.pack(">I", gamma)), *extra))
        assert np.array_equal(picture.pixels, values)
        assert any("gamma" in warning for warning in picture.warnings) == warned


def exif(orientation):
    return b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0" + struct.pack("<HHI", orientation, 0, 0)


def raw_profile(name, content, packed=True):
    text = b"\n%s\n%8d\n" % (name, len(content)) + b"\n".join(
        content.hex().encode()[i : i + 72] for i in range(0, 2 * len(content), 72)
    )
    key = b"Raw profile type " + name + b"\0"
    return chunk(b"zTXt", key + b"\0" + zlib.compress(text)) if packed else chunk(b"tEXt", key + text)


def itxt(text, packed=False):
    head = b"XML:com.adobe.xmp\0" + (b"\1\0" if packed else b"\0\0") + b"\0\0"
    return chunk(b"iTXt", head + (zlib.compress(text) if packed else text))


WAYS = {
    "eXIf": lambda n: chunk(b"eXIf", exif(n)),
    "XMP": lambda n: itxt(XMP % n),
    "XMP, packed": lambda n: itxt(XMP_ELEMENT % n, packed=True),
    "raw profile exif": lambda n: raw_profile(b"exif", b"Exif\0\0" + exif(n)),
    "raw profile APP1": lambda n: raw_profile(b"APP1", b"Exif\0\0" + exif(n), packed=False),
    "raw profile APP1 with XMP": lambda n: raw_profile(b"APP1", b"http://ns.adobe.com/xap/1.0/\0" + XMP % n),
    "raw profile xmp": lambda n: raw_profile(b"xmp", XMP % n),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_wherever_a_png_states_it(way, orientation):
    values = ramp(8, 3)
    straight = open_picture(png(values, 8, 2, chunk(b"eXIf", exif(orientation)))).pixels
    for picture in (
        open_picture(png(values, 8, 2, WAYS[way](orientation))),
        open_picture(png(values, 8, 2, after=[WAYS[way](orientation)])),
    ):
        assert np.array_equal(picture.pixels, straight)


def test_exif_stands_above_xmp():
    values = ramp(8, 3)
    picture = open_picture(png(values, 8, 2, itxt(XMP % 6), chunk(b"eXIf", exif(1))))
    assert np.array_equal(picture.pixels, values)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(WAYS)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.sampled_from([b"tRNS", b"cICP", b"gAMA", b"iTXt", b"zTXt"]),
    st.binary(max_size=60),
)
def test_nonsense_in_these_chunks_gives_a_picture_or_a_named_error(way, edits, kind, body):
    extra = bytearray(WAYS[way](6))
    for where, value in edits:
        extra[8 + int(where * (len(extra) - 13))] = value
    extra[-4:] = struct.pack(">I", zlib.crc32(extra[4:-4]))
    for values, depth, colour in ((ramp(16, 3), 16, 2), (ramp(4), 4, 0)):
        try:
            picture = open_picture(png(values, depth, colour, bytes(extra), chunk(kind, body)))
        except PictureError:
            continue
        assert sorted(picture.pixels.shape) == [3, 24, 32]


def test_a_text_that_unpacks_to_gigabytes_is_not_unpacked():
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    values = ramp(8, 3)
    text = chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb)
    assert np.array_equal(open_picture(png(values, 8, 2, text)).pixels, values)


def test_profiles_made_of_codes_are_those_of_the_standards():
    """Display P3's published matrix (ICC.org): X of red, Y of green, Z of blue under D50."""
    profile, warning = profile_of(12, 13)
    assert warning is None

    def column(tag):
        at = next(i for i in range(132, 132 + 12 * 9, 12) if profile[i : i + 4] == tag)
        offset = int.from_bytes(profile[at + 4 : at + 8], "big")
        return [value / 65536 for value in struct.unpack(">3i", profile[offset + 8 : offset + 20])]

    assert column(b"rXYZ") == pytest.approx([0.5151, 0.2412, -0.0011], abs=3e-4)
    assert column(b"gXYZ") == pytest.approx([0.2920, 0.6922, 0.0419], abs=3e-4)
    assert column(b"bXYZ") == pytest.approx([0.1571, 0.0666, 0.7841], abs=3e-4)
