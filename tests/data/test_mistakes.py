"""Sixteen mistakes that public loaders of these sets make, each shown not to happen here, on the layout it happens
in.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.masks import read_mask
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import Sample, is_fake
from pixelsleuth.data.verify import Report, verify
from pixelsleuth.errors import PictureError, UsageError

BOX = (slice(4, 20), slice(8, 24))


def by_name(data) -> dict[str, Sample]:
    return {sample.path.stem: sample for sample in data}


def verified(path, *arguments, **settings) -> Report:
    *_, report = verify(open_data(path, *arguments, **settings))
    return report


def test_01_pictures_count_by_content_and_not_by_their_suffix(build):
    build.picture("train/real/a.JPG")
    build.picture("train/real/b.png", kind="PNG")  # the reference loader takes .jpg only
    build.picture("train/full_synthetic/c.jpeg")
    build.picture("train/tampered/d.png", kind="JPEG")  # JPEG bytes named .png
    build.picture("train/tampered/e")  # no suffix at all
    build.mask("train/masks/d_mask.png", kind="JPEG")
    build.mask("train/masks/e_mask.PNG")
    build.file("train/real/notes.txt", "no picture")
    samples = by_name(open_data(build.root))
    assert {name: str(sample.label) for name, sample in samples.items()} == {
        "a": "real", "b": "real", "c": "full_synthetic", "d": "tampered", "e": "tampered",
    }  # fmt: skip
    assert samples["d"].load()[0].format == "JPEG"
    assert samples["e"].mask is not None


def test_02_masks_with_alpha_or_a_palette_are_read_as_they_are_meant(build):
    red = Image.new("P", (48, 32))
    red.putpalette([0, 0, 0, 200, 0, 0])  # grey by luma would be 60: below half
    red.paste(1, (8, 4, 24, 20))
    red.save(build.file("red.png", b""))
    opaque = Image.fromarray(
        np.dstack(
            [np.asarray(Image.open(io.BytesIO(build.mask_bytes())))] * 3 + [np.full((32, 48), 255)]
        ).astype(np.uint8)
    )
    opaque.save(build.file("opaque.png", b""))
    for name in ("red.png", "opaque.png"):
        assert read_mask(build.root / name, (48, 32)).pixels[BOX].all()
        assert read_mask(build.root / name, (48, 32)).pixels.sum() == 16 * 16
    # MagicBrush: the hole is the mask, the colours under it are anything, here white outside and black inside.
    hole = np.full((32, 48, 4), 255, np.uint8)
    hole[BOX] = 0
    file = io.BytesIO()
    Image.fromarray(hole).save(file, "PNG")
    row = {
        "img_id": "7", "turn_index": 1, "source_img": build.bytes(), "mask_img": file.getvalue(),
        "instruction": "add a cat", "target_img": build.bytes(),
    }  # fmt: skip
    build.shard("train-00000-of-00001.parquet", [row])
    _, target = open_data(build.root)
    mask = target.load()[1]
    assert mask.pixels[BOX].all()
    assert mask.pixels.sum() == 16 * 16


def test_03_a_mask_belongs_to_the_picture_of_its_name_and_not_of_its_place(build):
    # Sorted, the masks (cat_900, dog_5) stand the other way round than the fakes (..._5, ..._900).
    for name, box in (("5", (0, 0, 8, 8)), ("900", (40, 24, 48, 32))):
        build.picture(f"fake/glide_inpainting_val2017_{name}_up.png")
        category = "dog" if name == "5" else "cat"
        build.picture(f"real/{category}_{name}.png")
        build.mask(f"mask/{category}_{name}_mask.png", box=box)
    samples = [
        sample for sample in open_data(build.root, reader="cocoglide") if sample.label is Label.TAMPERED
    ]
    masks = {sample.extra["id"]: sample.load()[1].pixels for sample in samples}
    assert masks["5"][:8, :8].all()
    assert masks["900"][24:, 40:].all()


def test_04_lossy_masks_are_cut_at_half_and_both_counts_are_told(build):
    build.picture("train/tampered/a.png", kind="PNG")
    build.picture("train/full_synthetic/b.png")
    stored = build.mask("train/masks/a_mask.png", box=(9, 5, 23, 19), kind="JPEG", quality=40)
    grey = np.asarray(Image.open(stored))
    assert (grey > 0).sum() > (grey > 127).sum()  # what `mask > 0` would flood
    mask = by_name(open_data(build.root))["a"].load()[1]
    assert (mask.pixels == (grey > 127)).all()
    assert mask.grey_levels > 0
    report = verified(build.root)
    assert report.findings["mask_with_greys"] == 1
    assert (report.over_zero, report.over_half) == ((grey > 0).sum(), (grey > 127).sum())


def test_05_a_mask_of_another_size_is_kept_resized_to_the_right_sides_and_counted(build):
    build.picture("test/tampered/a.png", size=(64, 64))
    build.picture("test/full_synthetic/b.png", size=(64, 64))
    build.mask("test/masks/a_mask.png", size=(40, 20), box=(0, 0, 20, 20))  # the left half
    mask = by_name(open_data(build.root))["a"].load()[1]
    assert mask.pixels.shape == (64, 64)
    assert mask.resized
    assert mask.stored == (40, 20)
    assert mask.pixels[:, :32].all()
    assert not mask.pixels[:, 32:].any()
    report = verified(build.root)
    assert report.findings["mask_of_other_size"] == 1
    assert report.ok


def test_06_masks_are_resized_without_inventing_levels_or_rims(build):
    board = (np.indices((4, 6)).sum(0) % 2 * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(board).save(file, "PNG")
    mask = read_mask(file.getvalue(), (48, 32))
    assert (mask.pixels == np.kron(board > 0, np.ones((8, 8), bool))).all()
    assert mask.grey_levels == 0


VERSION_1 = ("full_synthetic", "real", "tampered")
VERSION_2 = ("real", "tampered", "full_synthetic")


def ood_rows(build, names, order):
    return [
        {"image": build.bytes(), "label": order.index(name), "mask": None, "filename": f"0_{name}.png"}
        for name in names
    ]


@pytest.mark.parametrize("order", [VERSION_1, VERSION_2])
def test_07_labels_go_by_name_whatever_integers_a_version_uses(build, order):
    build.shard("data/test-00000-of-00001.parquet", ood_rows(build, order, order), labels=order)
    data = open_data(build.root)
    assert data.spec.name == "so_fake_ood"
    assert [sample.label for sample in data] == [Label(name) for name in order]


def test_07_labels_without_names_are_refused(build):
    build.shard("data/test-00000-of-00001.parquet", ood_rows(build, VERSION_1, VERSION_1))
    with pytest.raises(UsageError, match="without names"):
        list(open_data(build.root))


def test_08_a_picture_that_cannot_be_decoded_is_never_replaced_by_another(build):
    for name in "abc":
        build.picture(f"0_real/{name}.png")
    build.picture("1_fake/d.png")
    (build.root / "0_real/b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"broken" * 20)
    samples = by_name(open_data(build.root))
    assert sorted(samples) == ["a", "b", "c", "d"]
    with pytest.raises(PictureError):
        samples["b"].load()
    digests = {samples[name].load()[0].sha256 for name in "acd"}
    assert len(digests) == 3
    report = verified(build.root)
    assert report.findings["unreadable_picture"] == 1
    assert not report.ok


def test_09_a_truncated_picture_is_an_error_even_where_pillow_was_told_to_hide_it(build, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for kind in ("JPEG", "PNG"):
        whole = build.bytes((96, 64), kind)
        path = build.file(f"cut/{kind}", whole[: len(whole) * 2 // 3])
        with pytest.raises(PictureError):
            Sample(path, Label.REAL).load()


def test_10_labels_and_order_do_not_depend_on_how_the_disk_lists_a_folder(build, monkeypatch):
    for folder in ("0_real", "1_fake"):
        for name in "zma":
            build.picture(f"{folder}/{folder[2]}{name}.png")
    expected = [(sample.path.name, sample.label) for sample in open_data(build.root)]
    listed = os.scandir

    @contextlib.contextmanager
    def backwards(path):
        yield iter(sorted(listed(path), key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(os, "scandir", backwards)
    assert [(sample.path.name, sample.label) for sample in open_data(build.root)] == expected
    assert [name for name, _ in expected] == ["ra.png", "rm.png", "rz.png", "fa.png", "fm.png", "fz.png"]
    assert {name[0]: label for name, label in expected} == {"r": Label.REAL, "f": Label.FULL_SYNTHETIC}


@pytest.mark.parametrize(
    "picture, mask",
    [
        ("DSO-1/splicing-01.png", "DSO-1-Fake-Images-Masks/splicing-01.png"),
        ("probe/NC2016_1893.jpg", "reference/manipulation/mask/NC2016_1893_gt.png"),
    ],
)
def test_11_inverted_sets_are_turned_over(build, picture, mask):
    build.picture(picture)
    build.mask(mask, inverted=True)
    (sample,) = open_data(build.root)
    read = sample.load()[1]
    assert read.pixels[BOX].all()
    assert read.pixels.sum() == 16 * 16


def test_12_a_null_mask_means_no_local_edit_and_is_not_a_missing_file(build):
    rows = [
        {"img_id": "9f2c2560a72d603c", "image": build.bytes(), "mask": None, "width": 48, "height": 32, "label": 0},
        {"img_id": "full_synthetic_1", "image": build.bytes(), "mask": None, "width": 48, "height": 32, "label": 1},
        {"img_id": "tampered_1", "image": build.bytes(), "mask": build.mask_bytes(), "width": 48, "height": 32,
         "label": 2},
        {"img_id": "tampered_2", "image": build.bytes(), "mask": None, "width": 48, "height": 32, "label": 2},
    ]  # fmt: skip
    build.shard("data/train-00000-of-00001.parquet", rows)
    real, synthetic, tampered, bare = open_data(build.root)
    assert real.mask is None
    assert synthetic.mask is None
    assert tampered.load()[1].pixels[BOX].all()
    assert bare.mask is None
    zeros, ones = ([*open_data(build.root, synthetic_mask=how)][1].load()[1] for how in ("zeros", "ones"))
    assert not zeros.pixels.any()
    assert ones.pixels.all()
    report = verified(build.root)
    assert report.findings["tampered_without_mask"] == 1
    assert report.examples["tampered_without_mask"] == ["data/train-00000-of-00001.parquet#3"]
    dropping = open_data(build.root, missing_mask="drop")
    assert len(list(dropping)) == 3
    assert dropping.left_out == {"tampered picture without a mask": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_13_annotations_in_utf_16_are_read(build, encoding):
    build.picture("media_data/image/a.png")
    question = [
        {"image_path": "media_data/image/a.png", "question_type": f"image_tf_image_fake_ask_{question}_sence"}
        for question in ("fake", "real")
    ]
    build.json("data_json/image/true_or_false.json", question)
    problems = {"global": [{"desc": "Zwei Schatten fallen verschieden: \u00fcber Kreuz."}],
                "regional": [{"region": [1, 2.5, 3, 4], "desc": "The sign is unreadable."}]}  # fmt: skip
    record = [{"image_path": ["media_data/image/a.png"], "problems": problems, "answer": ""}]
    bom = "\ufeff" if encoding == "utf-16-be" else ""
    text = bom + json.dumps(record, ensure_ascii=False)
    build.file("data_json/image/open_ended_vqa.json", text.encode(encoding))
    (sample,) = open_data(build.root)
    assert sample.description == "Zwei Schatten fallen verschieden: \u00fcber Kreuz. The sign is unreadable."
    assert sample.extra["regions"] == [[1.0, 2.5, 3.0, 4.0]]
    assert sample.extra["category"] == "scene"


def test_14_the_label_is_the_stored_one_and_never_worked_out_from_the_mask(build):
    empty = build.mask_bytes(box=(0, 0, 0, 0))  # as after a crop that misses the edit
    rows = [
        {"key": "partial/sd15/fake/000651821.jpg", "image": build.bytes(), "mask": empty, "label": 1},
        {"key": "global/sd15/fake/000651822.jpg", "image": build.bytes(), "mask": None, "label": 1},
        {"key": "partial/sd15/real/000651823.jpg", "image": build.bytes(), "mask": None, "label": 0},
    ]
    build.shard("data/sd15-00000-of-00001.parquet", rows, labels=("real", "fake"))
    tampered, synthetic, real = open_data(build.root)
    assert (tampered.label, synthetic.label, real.label) == (Label.TAMPERED, Label.FULL_SYNTHETIC, Label.REAL)
    assert not tampered.load()[1].pixels.any()
    assert synthetic.load()[1].pixels.all()  # this set's own convention
    report = verified(build.root)
    assert report.findings["empty_mask"] == 1
    assert not report.ok


def test_15_an_answer_that_cannot_be_read_is_left_out_and_never_drawn_at_random(build):
    assert is_fake("It is unrealistic.") is None  # a substring test says real
    assert is_fake("Real or fake? I cannot say.") is None
    rows = [
        {"image": build.bytes(), "text": text}
        for text in ("The image looks fake. The nose is blurred.", "The image looks real.", "Who can tell?")
    ]
    build.shard("train-00000-of-00001.parquet", rows)
    runs = []
    for _ in range(3):
        data = open_data(build.root, reader="dd_vqa")
        runs.append([sample.label for sample in data])
        assert data.left_out == {"row whose text names no class": 1}
    assert runs == [[Label.TAMPERED, Label.REAL]] * 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_a_mask_turns_with_its_picture(build, orientation):
    """The tampered corner is painted white in the file; upright, the mask must lie on the white, for every EXIF
    value.
    """
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[2:14, 4:20] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "JPEG", quality=95, exif=exif)
    build.file("train/tampered/a.jpg", file.getvalue())
    build.picture("train/full_synthetic/b.png")
    build.mask("train/masks/a_mask.png", box=(4, 2, 20, 14))
    picture, mask = by_name(open_data(build.root))["a"].load()
    assert mask.pixels.shape == picture.pixels.shape[:2]
    assert (mask.pixels == (picture.pixels.mean(axis=2) > 127)).mean() > 0.99
    assert mask.turned == (orientation > 1)
    if orientation >= 5:  # a mask that is upright already is left as it is
        upright = mask.pixels.astype(np.uint8) * 255
        Image.fromarray(upright).save(build.root / "train/masks/a_mask.png")
        again = by_name(open_data(build.root))["a"].load()[1]
        assert not again.turned
        assert (again.pixels == mask.pixels).all()


def test_every_mistake_has_its_test():
    names = [name for name in globals() if name.startswith("test_") and name[5:7].isdigit()]
    assert {int(name[5:7]) for name in names} == set(range(1, 17))
    assert Path(__file__).name == "test_mistakes.py"
