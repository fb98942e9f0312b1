"""What a user may rely on when a good picture is read."""

import hashlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from pixelsleuth.errors import (
    NoPictures,
    NotAPicture,
    PictureNotFound,
    PictureTooLarge,
    PictureTooSmall,
    UnsupportedFormat,
    UsageError,
)
from pixelsleuth.pictures.files import find_pictures
from pixelsleuth.pictures.images import Picture, open_picture


def scene(width=64, height=48):
    """A smooth picture without symmetry, so that lossy formats stay close and every turn shows."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 255 / width, y * 255 / height, (x + 2 * y) * 255 / (width + 2 * height)], axis=-1)
    rgb[: height // 3, : width // 4] = (220, 40, 60)
    return Image.fromarray(rgb.astype(np.uint8))


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def distance(a, b):
    return float(np.abs(np.asarray(a).astype(float) - np.asarray(b).astype(float)).mean())


LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}
LOSSY = {"JPEG": {"quality": 95}, "AVIF": {"quality": 95}, "MPO": {"quality": 95}}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_are_read_exactly(kind):
    picture = open_picture(saved(scene(), kind, **LOSSLESS[kind]))
    assert picture.format == kind
    assert np.array_equal(picture.pixels, np.asarray(scene()))


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_formats_are_read_closely(kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this build of Pillow has no AVIF")
    options = dict(LOSSY[kind], save_all=True, append_images=[scene()]) if kind == "MPO" else LOSSY[kind]
    picture = open_picture(saved(scene(), kind, **options))
    assert picture.format == kind
    assert picture.warnings == ()
    assert distance(picture.pixels, scene()) < 6


def test_heic_is_read_where_the_plug_in_is_installed():
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(scene()).save(buffer, quality=95)
    picture = open_picture(buffer.getvalue())
    assert picture.format == "HEIF"
    assert distance(picture.pixels, scene()) < 6


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_tiff_compressions_are_read(compression):
    picture = open_picture(saved(scene(), "TIFF", compression=compression))
    assert distance(picture.pixels, scene()) < 6


def test_big_tiff_is_read():
    assert np.array_equal(open_picture(saved(scene(), "TIFF", big_tiff=True)).pixels, np.asarray(scene()))


def test_pixels_are_contiguous_uint8_rgb_whatever_the_mode():
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        picture = open_picture(
            saved(scene().convert("L").convert(mode) if mode == "I;16" else scene().convert(mode), "PNG")
        )
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.shape == (48, 64, 3)
        assert picture.pixels.flags.c_contiguous
        assert (picture.width, picture.height) == (64, 48)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} | ({"lossless": True} if kind == "WEBP" else {})
    data = saved(scene(), kind, **options)
    with Image.open(io.BytesIO(saved(scene(), "PNG", exif=exif))) as image:
        upright = ImageOps.exif_transpose(image)
    picture = open_picture(data)
    assert (picture.width, picture.height) == upright.size
    assert distance(picture.pixels, upright) < 4
    with Image.open(io.BytesIO(data)) as opened:
        if kind != "TIFF":  # Pillow itself turns a TIFF while loading
            assert distance(open_picture(opened).pixels, upright) < 4


def test_orientation_samples_are_all_the_same_scene(shared):
    for series in ("landscape", "portrait"):
        pictures = [
            open_picture(shared / "samples" / "orientation" / f"{series}_{i}.jpg") for i in range(1, 9)
        ]
        assert len({(p.width, p.height) for p in pictures}) == 1
        # each file also bears its number in the picture, so they are close, not equal
        assert all(distance(pictures[0].pixels, p.pixels) < 8 for p in pictures)


def test_colour_profile_is_converted_to_srgb(profiles):
    flat = Image.new("RGB", (32, 32), (200, 100, 50))
    for kind in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        picture = open_picture(saved(flat, kind, icc_profile=profiles.rgb, **options))
        assert distance(picture.pixels, np.broadcast_to([255, 80, 46], (32, 32, 3))) <= 2
        assert picture.metadata["colour_profile"] == "Test"


def test_an_srgb_profile_leaves_every_pixel_as_it_was():
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = open_picture(saved(scene(), "PNG", icc_profile=profile))
    assert np.array_equal(picture.pixels, np.asarray(scene()))
    assert "sRGB" in picture.metadata["colour_profile"]


def test_palettes_alpha_and_grey_follow_their_profile(profiles):
    flat = Image.new("RGB", (32, 32), (200, 100, 50))
    converted = np.broadcast_to([255, 80, 46], (32, 32, 3))
    assert (
        distance(
            open_picture(
                saved(flat.convert("P", palette=Image.Palette.ADAPTIVE), "PNG", icc_profile=profiles.rgb)
            ).pixels,
            converted,
        )
        <= 3
    )
    assert (
        distance(open_picture(saved(flat.convert("RGBA"), "PNG", icc_profile=profiles.rgb)).pixels, converted)
        <= 2
    )
    grey = open_picture(saved(Image.new("L", (32, 32), 100), "PNG", icc_profile=profiles.grey))
    assert distance(grey.pixels, np.full((32, 32, 3), 168)) <= 2  # 100/255 of the light is 168 in sRGB
    deep = Image.fromarray(np.full((32, 32), 100 * 257, np.uint16))
    assert (
        distance(
            open_picture(saved(deep, "PNG", icc_profile=profiles.grey)).pixels, np.full((32, 32, 3), 168)
        )
        <= 2
    )


def test_cmyk_is_read_with_and_without_a_profile(profiles):
    ink = scene().convert("CMYK")
    plain = open_picture(saved(ink, "JPEG", quality=95))
    assert distance(plain.pixels, scene()) < 8
    proofed = open_picture(
        saved(Image.new("CMYK", (32, 32), (255, 0, 0, 0)), "TIFF", icc_profile=profiles.cmyk)
    )
    red, green, blue = proofed.pixels[0, 0].astype(int)
    assert abs(red - green) < 8
    assert abs(green - blue) < 8
    assert 60 < green < 150


def test_a_broken_or_foreign_profile_is_ignored_with_a_warning(profiles):
    for profile in (b"nonsense" * 40, profiles.cmyk):
        picture = open_picture(saved(scene(), "PNG", icc_profile=profile))
        assert np.array_equal(picture.pixels, np.asarray(scene()))
        assert "ignored" in picture.warnings[0]


def test_sixteen_bits_keep_their_brightness():
    ramp = np.linspace(0, 65535, 64 * 32).reshape(32, 64).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        picture = open_picture(saved(Image.fromarray(ramp), kind))
        assert np.abs(picture.pixels[..., 0].astype(float) - ramp / 257).max() <= 0.51
        assert picture.metadata["bit_depth"] == "16"


def test_floats_and_wide_integers_are_scaled():
    ramp = np.linspace(0, 1, 64 * 32, dtype=np.float32).reshape(32, 64)
    assert (
        np.abs(open_picture(saved(Image.fromarray(ramp), "TIFF")).pixels[..., 0] - ramp * 255).max() <= 0.51
    )
    wide = (ramp * 1e6).astype(np.int32)
    picture = open_picture(saved(Image.fromarray(wide), "TIFF"))
    assert (int(picture.pixels.min()), int(picture.pixels.max())) == (0, 255)
    assert "stretched" in picture.warnings[0]
    odd = ramp.copy()
    odd[0, :4] = np.nan, np.inf, -np.inf, 0
    assert open_picture(saved(Image.fromarray(odd), "TIFF")).pixels.shape == (32, 64, 3)


def test_transparency_is_laid_on_white_with_a_warning():
    for mode in ("RGBA", "LA"):
        image = scene().convert(mode)
        image.putalpha(Image.new("L", image.size, 0))
        picture = open_picture(saved(image, "PNG"))
        assert (picture.pixels == 255).all()
        assert picture.warnings == ("Transparent areas were laid on white.",)
    opaque = open_picture(saved(scene().convert("RGBA"), "PNG"))
    assert opaque.warnings == ()
    palette = scene().convert("P")
    palette.info["transparency"] = 0
    assert open_picture(saved(palette, "PNG", transparency=0)).pixels.shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_read(kind):
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = open_picture(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert distance(picture.pixels, np.broadcast_to([255, 0, 0], (30, 40, 3))) < 2
    assert any("first" in warning for warning in picture.warnings)


def test_content_counts_not_the_suffix(tmp_path):
    wrong = tmp_path / "picture.txt"
    wrong.write_bytes(saved(scene(), "PNG"))
    assert open_picture(wrong).format == "PNG"
    text = tmp_path / "text.jpg"
    text.write_text("This is no picture.\n")
    with pytest.raises(NotAPicture, match=r"is a text.*name the picture itself"):
        open_picture(text)


def test_a_picture_that_lost_its_beginning_is_to_be_fetched_again(tmp_path):
    (tmp_path / "lost.jpg").write_bytes(saved(scene(), "JPEG")[100:])
    with pytest.raises(NotAPicture, match="download or copy it again"):
        open_picture(tmp_path / "lost.jpg")


def test_the_hash_is_of_the_file(tmp_path):
    data = saved(scene(), "TIFF", compression="tiff_lzw")  # whose reading patches the bytes in memory
    path = tmp_path / "picture.tif"
    path.write_bytes(data)
    for source in (path, str(path), data):
        assert open_picture(source).sha256 == hashlib.sha256(data).hexdigest()
    assert path.read_bytes() == data


def test_bytes_arrays_and_pil_images_give_the_same_picture():
    array = np.asarray(scene())
    pictures = [open_picture(source) for source in (saved(scene(), "PNG"), array, scene())]
    assert all(np.array_equal(picture.pixels, array) for picture in pictures)
    assert [picture.source for picture in pictures] == ["bytes", "array", "image"]
    assert pictures[1].sha256 == pictures[2].sha256
    assert open_picture(pictures[0]) is pictures[0]
    assert open_picture(array, name="mine").source == "mine"


def test_arrays_of_one_channel_of_bools_and_with_rounding_errors_are_read():
    grey = np.asarray(scene())[..., 0]
    assert np.array_equal(open_picture(grey[..., None]).pixels, open_picture(grey).pixels)
    assert np.array_equal(open_picture(grey > 99).pixels, open_picture((grey > 99) * np.uint8(255)).pixels)
    floats = grey / 255.0
    beyond = np.where(grey == grey.max(), 1.0000002, floats) - (grey == grey.min()) * 1e-7
    exact = np.where(grey == grey.max(), 1.0, floats)
    assert np.array_equal(open_picture(beyond.clip(-1e-7)).pixels, open_picture(exact).pixels)
    assert open_picture(np.full((32, 32), 1.0009, np.float16)).pixels.min() == 255
    for off in (1.01, -0.01, float("nan")):
        with pytest.raises(NotAPicture, match=r"0\.\.1"):
            open_picture(np.full((32, 32), off))
    with pytest.raises(NotAPicture, match=r"\(H, W, 1\)"):
        open_picture(np.zeros((32, 32, 2), np.uint8))


def test_a_picture_does_not_change_when_its_source_array_does():
    array = np.asarray(scene()).copy()
    picture = open_picture(array)
    array[:] = 0
    assert picture.pixels.any()


def test_arrays_of_other_types_are_scaled():
    array = np.asarray(scene())
    assert np.array_equal(open_picture(array.astype(np.uint16) * 257).pixels, array)
    assert np.array_equal(open_picture(array / 255.0).pixels, array)
    assert np.array_equal(open_picture(array[..., 0]).pixels[..., 2], array[..., 0])
    rgba = np.dstack([array, np.zeros((48, 64), np.uint8)])
    assert (open_picture(rgba).pixels == 255).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 48, 64), np.uint8),
        np.zeros((48, 64, 2), np.uint8),
        np.zeros(64, np.uint8),
        np.zeros((48, 64), np.int64),
        np.full((48, 64), 2.0),
        np.full((48, 64), np.nan),
        np.array([["a"]]),
    ],
)
def test_arrays_that_are_no_picture_are_refused(array):
    with pytest.raises(NotAPicture):
        open_picture(array)


@pytest.mark.parametrize("source", [None, 3, ["a.jpg"], object()])
def test_other_objects_are_refused(source):
    with pytest.raises(NotAPicture, match="give a path"):
        open_picture(source)


def test_limits_name_the_size_and_the_way_out():
    data = saved(scene(), "PNG")
    with pytest.raises(PictureTooLarge, match="64 x 48"):
        open_picture(data, max_megapixels=0.001)
    with pytest.raises(PictureTooLarge):
        open_picture(np.asarray(scene()), max_megapixels=0.001)
    with pytest.raises(PictureTooLarge):
        open_picture(scene(), max_megapixels=0.001)
    with pytest.raises(PictureTooSmall, match="at least 16"):
        open_picture(saved(scene(15, 40), "PNG"))


def test_paths_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(PictureNotFound, match="check the path"):
        open_picture(tmp_path / "absent.jpg")
    with pytest.raises(PictureNotFound, match="download it first"):
        open_picture("https://example.org/picture.jpg")
    with pytest.raises(PictureNotFound):
        open_picture("a\0b.jpg")
    with pytest.raises(PictureNotFound):
        open_picture("a" * 5000)
    with pytest.raises(NotAPicture, match="folder"):
        open_picture(tmp_path)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(NotAPicture, match="empty"):
        open_picture(tmp_path / "empty.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_pipes_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", "/dev/zero"):
        with pytest.raises(NotAPicture, match="not a regular file"):
            open_picture(path)


def test_metadata_is_short_and_printable():
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131] = "Maker", "Model\x1b[31m X", "S" * 5000
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    picture = open_picture(saved(scene(), "JPEG", exif=exif, quality=83, subsampling=2))
    data = picture.metadata
    assert (data["camera_make"], data["camera_model"]) == ("Maker", "Model [31m X")
    assert len(data["software"]) <= 200
    assert data["datetime"] == "2024:05:06 07:08:09"
    assert (data["jpeg_quality"], data["jpeg_subsampling"]) == ("83", "4:2:0")


@pytest.mark.parametrize("quality", [1, 2, 30, 49, 50, 51, 75, 99, 100])
def test_the_quality_of_a_jpeg_is_told_exactly_where_its_tables_are_the_standard_ones(quality):
    assert open_picture(saved(scene(), "JPEG", quality=quality)).metadata["jpeg_quality"] == str(quality)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling, name", [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_the_subsampling_of_a_jpeg_is_told_and_whether_it_is_progressive(progressive, subsampling, name):
    data = open_picture(saved(scene(), "JPEG", subsampling=subsampling, progressive=progressive)).metadata
    assert data["jpeg_subsampling"] == name
    assert data.get("jpeg_progressive") == ("yes" if progressive else None)


def test_a_jpeg_of_other_tables_gets_the_nearest_quality():
    tables = [[16] * 64, [17] * 64]
    quality = open_picture(saved(scene(), "JPEG", qtables=tables)).metadata["jpeg_quality"]
    assert quality.startswith("about ")
    assert 70 < int(quality.removeprefix("about ")) < 95


def test_text_chunks_are_named_and_not_unpacked():
    bomb = zlib.compress(bytes(50_000_000))
    chunk = struct.pack(">I", len(bomb) + 9) + b"zTXt" + b"comment\0\0" + bomb + b"\0\0\0\0"
    data = saved(scene(), "PNG")
    picture = open_picture(data[:33] + chunk + data[33:])
    assert np.array_equal(picture.pixels, np.asarray(scene()))
    assert picture.metadata["text_chunks"] == "comment"


def test_folders_are_walked_by_suffix_and_content(tmp_path):
    for name in ("b.jpg", "a.png", "deep/c.dat", "deep/.hidden.png", ".git/d.png", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"plain text" if name == "notes.txt" else saved(scene(), "PNG"))
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    paths = find_pictures([tmp_path])
    assert [os.path.relpath(path, tmp_path) for path in paths] == ["a.png", "b.jpg", "deep/c.dat"]


def test_files_are_taken_as_given_and_missing_ones_kept(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(saved(scene(), "PNG"))
    assert find_pictures([picture, "absent.jpg", picture]) == [str(picture), "absent.jpg"]


def test_a_folder_without_pictures_is_an_error_only_when_there_is_nothing_else(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(NoPictures, match="holds no picture"):
        find_pictures([empty])
    with pytest.raises(NoPictures):
        find_pictures([])
    (tmp_path / "a.png").write_bytes(saved(scene(), "PNG"))
    assert find_pictures([empty, tmp_path / "a.png"]) == [str(empty), str(tmp_path / "a.png")]


def test_width_and_height_are_those_of_the_upright_pixels():
    picture = Picture("x", "0" * 64, np.zeros((20, 30, 3), np.uint8))
    assert (picture.width, picture.height) == (30, 20)


def test_pictures_of_formats_that_are_not_read_are_named_in_a_folder(tmp_path):
    for name in ("scan.sgi", "texture.dds", "notes.txt"):
        (tmp_path / name).write_bytes(b"\x01\xda whatever")
    names = [os.path.basename(path) for path in find_pictures([tmp_path])]
    assert names == ["scan.sgi", "texture.dds"]
    with pytest.raises(UnsupportedFormat, match="save it as JPEG or PNG"):
        open_picture(tmp_path / "scan.sgi")


@pytest.mark.parametrize("kind", ["SGI", "PPM", "DDS", "ICO", "JPEG2000", "TGA", "PCX", "EPS", "QOI"])
def test_a_picture_of_another_format_in_a_folder_is_named_and_refused(kind, tmp_path):
    suffix = {"JPEG2000": "jp2"}.get(kind, kind.lower())
    try:
        scene().save(tmp_path / f"picture.{suffix}", kind)
    except (KeyError, OSError) as error:
        pytest.skip(f"this Pillow does not write {kind}: {error}")
    (path,) = find_pictures([tmp_path])
    with pytest.raises(UnsupportedFormat, match="save it as JPEG or PNG"):
        open_picture(path)


@pytest.mark.parametrize("kind", ["SGI", "PPM", "DDS", "ICO", "JPEG2000"])
def test_it_is_known_by_its_content_as_well(kind, tmp_path):
    scene().save(tmp_path / "picture", kind)
    assert find_pictures([tmp_path])


def test_documents_and_programs_in_a_folder_are_passed_over(tmp_path):
    for name, content in {
        "page.html": b"<html>",
        "paper.pdf": b"%PDF-1.7",
        "old.zip": b"PK\3\4",
        "notes": b"P1 is the first item",
        "font.ttf": b"\0\1\0\0\0\x0f",
        "film.mp4": b"\0\0\0\x18ftypmp42",
    }.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(NoPictures):
        find_pictures([tmp_path])


@pytest.mark.parametrize("limit", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_limit_that_limits_nothing_is_refused(limit):
    with pytest.raises(UsageError, match="positive number"):
        open_picture(saved(scene(), "PNG"), max_megapixels=limit)
