"""Frames, canvases and colour spaces of AVIF, WebP and GIF."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from pixelsleuth.errors import PictureError
from pixelsleuth.pictures.formats.heif import colour_codes
from pixelsleuth.pictures.images import open_picture

ON_WHITE = "Transparent areas were laid on white."
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this build of Pillow has no AVIF")


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def webp_animation(canvas, *frames, alpha=False):
    """A WebP of frames (x, y, image), put together by hand: encoders trim frames to what changes."""

    def chunk(kind, body):
        return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)

    def three(value):
        return struct.pack("<I", value)[:3]

    body = chunk(
        b"VP8X", bytes([2 | (16 if alpha else 0), 0, 0, 0]) + three(canvas[0] - 1) + three(canvas[1] - 1)
    )
    body += chunk(b"ANIM", bytes([255, 255, 255, 255, 0, 0]))
    for x, y, image in frames:
        data = saved(image, "WEBP", lossless=True)[12:]
        place = three(x // 2) + three(y // 2) + three(image.width - 1) + three(image.height - 1)
        body += chunk(b"ANMF", place + three(100) + b"\2" + data)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("place", [(10, 4), (0, 0), (44, 38)])
def test_what_the_first_frame_of_a_webp_does_not_cover_is_white(alpha, place):
    frame = Image.new("RGB", (20, 10), (200, 30, 60))
    data = webp_animation((64, 48), (*place, frame), (0, 0, Image.new("RGB", (64, 48), "green")), alpha=alpha)
    picture = open_picture(data)
    expected = np.full((48, 64, 3), 255, np.uint8)
    expected[place[1] : place[1] + 10, place[0] : place[0] + 20] = (200, 30, 60)
    assert np.array_equal(picture.pixels, expected)
    assert picture.warnings == ("An animation: only its first picture was judged.", ON_WHITE)


def test_a_webp_frame_that_covers_the_canvas_stays_as_it_is():
    frame = Image.new("RGB", (64, 48), (200, 30, 60))
    picture = open_picture(
        webp_animation((64, 48), (0, 0, frame), (0, 0, Image.new("RGB", (64, 48), "green")))
    )
    assert (picture.pixels == (200, 30, 60)).all()
    assert ON_WHITE not in picture.warnings


@pytest.mark.parametrize("place", [(10, 4), (0, 0), (44, 38)])
@pytest.mark.parametrize("background", [0, 3])
def test_what_the_frame_of_a_gif_does_not_cover_is_white(place, background):
    gif = bytearray(saved(Image.new("P", (20, 10), 1), "GIF", optimize=False))
    palette_at = 13
    palette = bytes([10, 10, 10, 200, 30, 60, 0, 0, 255, 9, 99, 9])
    size = 3 << ((gif[10] & 7) + 1)
    gif[palette_at : palette_at + min(size, 12)] = palette[: min(size, 12)]
    gif[6:10], gif[11] = struct.pack("<HH", 64, 48), background
    at = gif.index(b",", palette_at + size)
    assert gif[at + 1 : at + 9] == struct.pack("<HHHH", 0, 0, 20, 10)
    gif[at + 1 : at + 5] = struct.pack("<HH", *place)
    picture = open_picture(bytes(gif))
    assert (picture.width, picture.height) == (64, 48)
    inside = np.zeros((48, 64), bool)
    inside[place[1] : place[1] + 10, place[0] : place[0] + 20] = True
    assert (picture.pixels[~inside] == 255).all()
    assert len(np.unique(picture.pixels[inside], axis=0)) == 1
    assert (picture.pixels[inside] != 255).any()
    assert picture.warnings == (ON_WHITE,)


FLAT = Image.new("RGB", (64, 48), (200, 100, 50))


def with_codes(data, primaries, transfer):
    """An AVIF whose nclx box names another colour space; its pixels stay coded as they are."""
    at = data.index(b"colrnclx")
    return data[: at + 8] + struct.pack(">HH", primaries, transfer) + data[at + 12 :]


@needs_avif
@pytest.mark.parametrize(
    "codes, name, expected",
    [((12, 13), "Display P3", (215, 93, 31)), ((9, 13), "BT.2020", (241, 76, 29)),
     ((1, 8), "BT.709, gamma 1", (229, 168, 123))],
)  # fmt: skip
def test_a_colour_space_that_an_avif_names_by_nclx_is_converted(codes, name, expected):
    data = saved(FLAT, "AVIF", quality=100)
    picture = open_picture(with_codes(data, *codes))
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 4
    assert picture.metadata["colour_profile"] == name
    assert picture.warnings == ()
    assert np.array_equal(open_picture(with_codes(data, 1, 13)).pixels, open_picture(data).pixels)


@needs_avif
@pytest.mark.parametrize("codes, words", [((9, 16), "PQ"), ((9, 18), "HLG"), ((99, 13), "not known")])
def test_a_colour_space_of_an_avif_that_cannot_be_converted_is_told(codes, words):
    data = saved(FLAT, "AVIF", quality=100)
    picture = open_picture(with_codes(data, *codes))
    assert np.array_equal(picture.pixels, open_picture(data).pixels)
    assert words in picture.warnings[0]


@needs_avif
def test_an_icc_profile_stands_above_nclx(profiles):
    data = saved(FLAT, "AVIF", quality=100, icc_profile=profiles.rgb)
    if b"colrnclx" not in data:
        pytest.skip("this encoder writes no nclx beside a profile")
    assert open_picture(with_codes(data, 12, 13)).metadata["colour_profile"] == "Test"


@needs_avif
def test_an_avif_of_several_frames_is_judged_by_its_first_with_a_warning():
    frames = [Image.new("RGB", (64, 48), colour) for colour in ((200, 30, 60), (0, 200, 0))]
    picture = open_picture(saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=100))
    assert np.abs(picture.pixels.astype(int) - (200, 30, 60)).max() <= 4
    assert "only the first" in picture.warnings[0]
    assert open_picture(saved(frames[0], "AVIF")).warnings == ()


@needs_avif
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6), st.floats(0, 1))
def test_mutated_boxes_give_codes_or_none(edits, cut):
    data = bytearray(saved(FLAT, "AVIF", quality=50, speed=10)[:400])
    for where, value in edits:
        data[int(where * (len(data) - 1))] = value
    colour_codes(memoryview(data)[: int(cut * len(data))])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6), st.floats(0.2, 1))
def test_mutated_frames_give_a_picture_or_a_named_error(edits, cut):
    frame = Image.new("RGB", (20, 10), (200, 30, 60))
    data = bytearray(webp_animation((64, 48), (10, 4, frame), (0, 0, frame)))
    for where, value in edits:
        data[int(where * (len(data) - 1))] = value
    try:
        picture = open_picture(bytes(data[: int(cut * len(data))]), max_megapixels=4)
    except PictureError:
        return
    assert picture.pixels.shape == (picture.height, picture.width, 3)
