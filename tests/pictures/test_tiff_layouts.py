"""TIFF of every layout gives the pixels that ImageMagick and libvips give, or is refused by name.

When these tests were made, 2,700 files of all combinations of photometric, depth, format, planes, compression,
predictor, tiles, byte order, fill order and extra samples were compared with the formulas below, and some of every kind
with both programs.
"""

import io
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelsleuth.errors import CorruptPicture, PictureError, UnsupportedFormat
from pixelsleuth.pictures.images import open_picture

HEIGHT, WIDTH = 37, 45
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773


def scene(channels):
    """(H, W, channels) in 0..1, smooth, without symmetry; the fourth channel has steps, as transparency has."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramps = [x / (WIDTH - 1), y / (HEIGHT - 1), (x + 2 * y) / (WIDTH - 1 + 2 * (HEIGHT - 1))]
    ramps += [np.where(x < WIDTH // 3, 0.25, np.where(x < WIDTH // 2, 1, 0.8)), (x % 7) / 7]
    pixels = np.stack(ramps, axis=-1)
    pixels[:8, :6, :3] = (0.9, 0.15, 0.25)
    return pixels[..., :channels]


def quantised(values, bits):
    return np.floor(values * ((1 << bits) - 1) + 0.5).astype(np.int64)


def expected(photometric, values):
    if photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        grey = values[..., :1] if photometric == BLACK_IS_ZERO else 1 - values[..., :1]
        return np.repeat(grey, 3, axis=2) * 255
    if photometric == CMYK:
        return (1 - values[..., :3]) * (1 - values[..., 3:4]) * 255
    if photometric == YCBCR:
        luma, blue, red = (values[..., i] * 255 for i in range(3))
        rgb = (luma + 1.402 * (red - 128), luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
               luma + 1.772 * (blue - 128))  # fmt: skip
        return np.stack(rgb, axis=-1).clip(0, 255)
    return values[..., :3] * 255


def distance(picture, truth):
    return float(np.abs(picture.pixels.astype(float) - truth).max())


LAYOUTS = [
    (photometric, channels, bits, order, planar, compression)
    for (photometric, channels, depths) in (
        (WHITE_IS_ZERO, 1, (1, 2, 4, 8, 12, 16)),
        (BLACK_IS_ZERO, 1, (1, 2, 4, 6, 8, 12, 14, 16)),
        (RGB, 3, (2, 4, 8, 10, 16)),
        (CMYK, 4, (8, 16)),
    )
    for bits, order, compression in itertools.product(depths, "<>", (NONE, LZW, DEFLATE, PACKBITS))
    for planar in ((1, 2) if channels > 1 else (1,))
]


@pytest.mark.parametrize("photometric, channels, bits, order, planar, compression", LAYOUTS)
def test_every_layout_gives_the_same_picture(
    photometric, channels, bits, order, planar, compression, write_tiff
):
    samples = quantised(scene(channels), bits)
    truth = expected(photometric, samples / ((1 << bits) - 1))
    for tile, fill in ((None, 1), ((16, 16), 1), (None, 2)):
        picture = open_picture(
            write_tiff(samples, photometric=photometric, bits=bits, order=order, planar=planar,
                       compression=compression, tile=tile, fill=fill)
        )  # fmt: skip
        assert distance(picture, truth) <= 1.01, (tile, fill)
        assert picture.warnings == ()


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("big", [False, True])
def test_differences_in_place_of_values_are_undone(bits, order, planar, big, write_tiff):
    samples = quantised(scene(3), bits)
    for compression in (LZW, DEFLATE):
        picture = open_picture(
            write_tiff(samples, photometric=RGB, bits=bits, order=order, planar=planar, big=big,
                       compression=compression, predictor=2)
        )  # fmt: skip
        assert distance(picture, scene(3) * 255) <= 1.01


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
def test_floats_of_every_size_and_order_are_read(bits, order, compression, write_tiff):
    for photometric, channels in ((BLACK_IS_ZERO, 1), (WHITE_IS_ZERO, 1), (RGB, 3)):
        values = scene(channels).astype(f"f{bits // 8}")
        data = write_tiff(values, photometric=photometric, bits=bits, order=order, sample_format=3,
                          compression=compression)  # fmt: skip
        assert distance(open_picture(data), expected(photometric, scene(channels))) <= 1.01


def test_the_float_predictor_is_undone(write_tiff):
    """Adobe's predictor: bytes of a row sorted by significance, then their differences (Technical Note 3)."""
    values = scene(1)[..., 0].astype(">f4")
    split = values.view(np.uint8).reshape(HEIGHT, WIDTH, 4).swapaxes(1, 2).reshape(HEIGHT, -1)
    coded = np.diff(split, axis=1, prepend=np.uint8(0))
    data = write_tiff(
        coded[..., None].astype(np.int64), photometric=BLACK_IS_ZERO, bits=8, compression=DEFLATE, order=">",
        tags={256: ("I", [WIDTH]), 258: ("H", [32]), 317: ("H", [3]), 339: ("H", [3])},
    )  # fmt: skip
    assert distance(open_picture(data), np.repeat(scene(1) * 255, 3, axis=2)) <= 0.51


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
def test_a_ramp_of_32_bits_stays_a_ramp_over_the_whole_range(order, compression, write_tiff):
    ramp = np.repeat(np.linspace(0, (1 << 32) - 1, 64).astype(np.int64)[None], 32, axis=0)
    picture = open_picture(
        write_tiff(ramp, photometric=BLACK_IS_ZERO, bits=32, order=order, compression=compression)
    )
    row = picture.pixels[0, :, 0].astype(int)
    assert (np.diff(row) > 0).all()
    assert (row[0], row[-1]) == (0, 255)
    assert "stretched" in picture.warnings[0]


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
def test_signed_values_keep_their_order(bits, order, compression, write_tiff):
    top = 1 << (bits - 1)
    ramp = np.repeat(np.linspace(-top, top - 1, 64).astype(np.int64)[None], 32, axis=0)
    picture = open_picture(
        write_tiff(
            ramp, photometric=BLACK_IS_ZERO, bits=bits, order=order, sample_format=2, compression=compression
        )
    )
    assert (np.diff(picture.pixels[0, :, 0].astype(int)) > 0).all()
    assert "stretched" in picture.warnings[0]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
def test_transparency_is_laid_on_white_and_other_extra_samples_are_left_out_with_a_warning(
    bits, planar, compression, write_tiff
):
    for photometric, colours in ((RGB, 3), (BLACK_IS_ZERO, 1)):
        values = np.concatenate([scene(colours), scene(4)[..., 3:]], axis=2)
        alpha = values[..., -1:]
        over_white = expected(photometric, values) * alpha + 255 * (1 - alpha)
        options = {"photometric": photometric, "bits": bits, "planar": planar, "compression": compression}
        straight = write_tiff(quantised(values, bits), extra=(2,), **options)
        assert distance(open_picture(straight), over_white) <= 1.6
        assert open_picture(straight).warnings == ("Transparent areas were laid on white.",)
        multiplied = np.concatenate([values[..., :-1] * alpha, alpha], axis=2)
        assert (
            distance(open_picture(write_tiff(quantised(multiplied, bits), extra=(1,), **options)), over_white)
            <= 2
        )
        unnamed = open_picture(write_tiff(quantised(values, bits), extra=(0,), **options))
        assert distance(unnamed, expected(photometric, values)) <= 1.01
        assert "extra channel" in unnamed.warnings[0]
    five = open_picture(
        write_tiff(quantised(scene(5), bits), photometric=RGB, bits=bits, planar=planar, extra=(0, 0))
    )
    assert distance(five, scene(3) * 255) <= 1.01
    assert "extra channel" in five.warnings[0]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("top", [65535, 255])
def test_palettes_are_read_also_where_their_writer_gave_them_eight_bits(bits, top, write_tiff):
    index = quantised(scene(1), bits)
    ramp = np.arange(1 << bits) * top // ((1 << bits) - 1)
    table = np.stack([ramp, ramp[::-1], ramp * 3 % (top + 1)], axis=1)
    tags = {320: ("H", [int(value) for value in table.T.ravel()])}
    for order, compression in itertools.product("<>", (NONE, LZW)):
        picture = open_picture(
            write_tiff(index, photometric=PALETTE, bits=bits, order=order, compression=compression, tags=tags)
        )
        assert distance(picture, table[index[..., 0]] * (255 / top)) <= 1.01


def test_ycbcr_with_reduced_colour_is_read_also_where_it_is_not_compressed(write_tiff):
    """A unit of 2 x 2 pixels: four times Y, then Cb and Cr of all four."""
    units = np.zeros((20, 24, 6), np.int64)
    units[..., :4] = 81
    units[..., 4], units[..., 5] = 90, 240  # red
    units[:, 12:] = (145, 145, 145, 145, 54, 34)  # green
    data = write_tiff(
        units, photometric=YCBCR, bits=8,
        tags={256: ("I", [48]), 257: ("I", [40]), 258: ("H", [8, 8, 8]), 277: ("H", [3]), 278: ("I", [32]),
              339: ("H", [1, 1, 1]), 530: ("H", [2, 2])},
    )  # fmt: skip
    pixels = open_picture(data).pixels
    assert pixels.shape == (40, 48, 3)
    assert np.abs(pixels[:, :20].astype(int) - (238, 14, 14)).max() <= 2
    assert np.abs(pixels[:, 28:].astype(int) - (13, 237, 14)).max() <= 2


@pytest.mark.parametrize(
    "code, name",
    [(34712, "JPEG 2000"), (33005, "JPEG 2000"), (50001, "WebP"), (50002, "JPEG XL"), (34661, "JBIG"),
     (34887, "LERC"), (34677, "SGI LogLuv"), (32809, "ThunderScan"), (4711, "4711")],
)  # fmt: skip
def test_a_compression_that_is_not_read_is_named(code, name, write_tiff):
    data = write_tiff(quantised(scene(3), 8), photometric=RGB, bits=8, tags={259: ("H", [code])})
    with pytest.raises(UnsupportedFormat, match=name):
        open_picture(data)


@pytest.mark.parametrize(
    "options, what",
    [
        ({"photometric": RGB, "bits": 8, "tags": {258: ("H", [5, 6, 5])}}, "different depths"),
        ({"photometric": 4, "bits": 8}, "transparency mask"),
        ({"photometric": 32803, "bits": 8}, "camera raw"),
        ({"photometric": 77, "bits": 8}, "77"),
        ({"photometric": 8, "bits": 16}, "Lab"),
        ({"photometric": RGB, "bits": 8, "sample_format": 5}, "format 5"),
    ],
)
def test_other_kinds_are_refused_by_name(options, what, write_tiff):
    with pytest.raises(UnsupportedFormat, match=what):
        open_picture(write_tiff(quantised(scene(3), 8), **options))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE])
@pytest.mark.parametrize("how", ["missing", "cut", "no_tile"])
def test_strips_that_end_before_the_picture_does_are_an_error(bits, planar, compression, how, write_tiff):
    def shorten(pieces):
        if how == "cut":
            return [*pieces[:-1], pieces[-1][: len(pieces[-1]) // 2]]
        return pieces[:-1]

    data = write_tiff(
        quantised(scene(3), bits), photometric=RGB, bits=bits, planar=planar, compression=compression,
        shorten=shorten, tile=(16, 16) if how == "no_tile" else None,
    )  # fmt: skip
    with pytest.raises(CorruptPicture):
        open_picture(data)


def test_a_strip_that_counts_fewer_bytes_than_its_rows_take_is_an_error(write_tiff):
    samples = quantised(scene(3), 8)
    good = write_tiff(samples, photometric=RGB, bits=8, rows=HEIGHT)
    assert distance(open_picture(good), scene(3) * 255) <= 0.51
    for claimed in (1, HEIGHT * WIDTH * 3 - 1):
        with pytest.raises(CorruptPicture):
            open_picture(
                write_tiff(samples, photometric=RGB, bits=8, rows=HEIGHT, tags={279: ("I", [claimed])})
            )


def test_orientation_in_xmp_alone_is_applied_to_a_tiff(write_tiff):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    picture = open_picture(
        write_tiff(quantised(scene(3), 8), photometric=RGB, bits=8, tags={700: ("B", list(xmp))})
    )
    assert (picture.width, picture.height) == (HEIGHT, WIDTH)


SEEDS = [
    (RGB, 3, 16, 2, NONE), (RGB, 3, 16, 2, LZW), (WHITE_IS_ZERO, 1, 16, 1, DEFLATE),
    (BLACK_IS_ZERO, 1, 12, 1, PACKBITS),
    (CMYK, 4, 16, 2, DEFLATE), (BLACK_IS_ZERO, 2, 16, 1, NONE), (RGB, 3, 32, 1, NONE), (YCBCR, 3, 8, 1, NONE),
]  # fmt: skip
EDIT = st.tuples(st.one_of(st.floats(0, 1), st.floats(0.8, 1)), st.integers(0, 255))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(EDIT, min_size=1, max_size=8),
    cut=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_mutated_layouts_give_a_picture_or_a_named_error(write_tiff, seed, edits, cut):
    photometric, channels, bits, planar, compression = seed
    data = bytearray(
        write_tiff(quantised(scene(channels), bits), photometric=photometric, bits=bits, planar=planar,
                   compression=compression, order="<>"[len(edits) % 2])
    )  # fmt: skip
    for where, value in edits:
        data[int(where * (len(data) - 1))] = value
    try:
        picture = open_picture(bytes(data[: max(1, int(cut * len(data)))]), max_megapixels=4)
    except PictureError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert picture.pixels.shape == (picture.height, picture.width, 3)


def test_sizes_that_need_more_memory_than_there_is_are_refused_before_anything_is_unpacked(write_tiff):
    tags = {256: ("I", [9000]), 257: ("I", [9000]), 322: ("I", [1 << 20]), 323: ("I", [1 << 20])}
    data = write_tiff(
        quantised(scene(1), 12), photometric=0, bits=12, compression=DEFLATE, tile=(16, 16), tags=tags
    )
    with pytest.raises(PictureError, match="GiB to decode"):
        open_picture(data)


def test_a_mask_in_such_a_file_keeps_its_values(write_tiff):
    """A mask is values, not colours: what is read by other code as Pillow's image is there too."""
    from pixelsleuth.data.masks import read_mask

    marked = scene(1)[..., 0] > 0.5
    for bits in (8, 16):
        samples = (marked * ((1 << bits) - 1))[..., None]
        for photometric, truth in ((BLACK_IS_ZERO, marked), (WHITE_IS_ZERO, ~marked)):
            data = write_tiff(samples, photometric=photometric, bits=bits, order=">", big=True)
            assert np.array_equal(read_mask(data, (WIDTH, HEIGHT)).pixels, truth)


def test_a_usual_tiff_of_pillow_is_read_as_before():
    image = Image.fromarray(quantised(scene(3), 8).astype(np.uint8))
    for options in ({}, {"compression": "tiff_lzw"}, {"compression": "jpeg", "quality": 100}):
        buffer = io.BytesIO()
        image.save(buffer, "TIFF", **options)
        truth = np.asarray(Image.open(buffer).convert("RGB"))
        assert np.array_equal(open_picture(buffer.getvalue()).pixels, truth)
