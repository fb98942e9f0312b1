"""Every set that comes as folders: written in its layout, recognised, read with labels, masks, groups and makers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import UsageError

REAL, SYNTHETIC, TAMPERED = Label.REAL, Label.FULL_SYNTHETIC, Label.TAMPERED
BOX = (slice(4, 20), slice(8, 24))


def opened(build, name, **settings) -> dict[str, Sample]:
    """The samples by relative path, after the layout was recognised as `name`."""
    data = open_data(build.root, **settings)
    assert data.spec.name == name
    return {sample.path.relative_to(build.root).as_posix(): sample for sample in data}


def labels(samples) -> dict[str, Label]:
    return {name: sample.label for name, sample in samples.items()}


def marked(sample) -> np.ndarray:
    picture, mask = sample.load()
    assert mask.pixels.shape == picture.pixels.shape[:2]
    return mask.pixels


def test_sid_set_tells_its_splits_and_pairs_masks_by_name(build):
    for split in ("train", "validation"):
        build.picture(f"{split}/real/9f2c2560a72d603c.jpg")
        build.picture(f"{split}/full_synthetic/full_synthetic_1.png")
        build.picture(f"{split}/tampered/tampered_1.png")
        build.mask(f"{split}/masks/tampered_1_mask.png")
    samples = opened(build, "sid_set")
    assert len(samples) == 6
    assert {sample.split for sample in samples.values()} == {"train", "validation"}
    assert marked(samples["train/tampered/tampered_1.png"])[BOX].all()
    only = opened(build, "sid_set", split="validation")
    assert {sample.split for sample in only.values()} == {"validation"}
    with pytest.raises(UsageError, match="no split 'test'; it has: train, validation"):
        opened(build, "sid_set", split="test")


def test_a_folder_that_an_archive_unpacked_into_is_gone_into(build):
    build.picture("SID_Set/SID_Set/train/full_synthetic/a.png")
    build.picture("SID_Set/SID_Set/train/tampered/b.png")
    assert len(opened(build, "sid_set")) == 2


def test_sid_set_descriptions_find_their_pictures_whatever_the_suffix(build):
    grammar = "Type: {object tampered} Areas:<left> .. Tampered Content:<dog> .. Visual Inconsistencies:<edges> [end]"
    build.picture("train/tampered/t.png")
    build.mask("train/masks/t_mask.png")
    build.picture("train/real/r.jpg")
    build.json(
        "train/description/tampered_GT.json", {"t.png": grammar, "../../secret.png": "no", "gone.png": "no"}
    )
    build.json("train/description/real_GT.json", {"r.png": "The given image is real."})
    data = open_data(build.root)
    samples = {sample.path.stem: sample for sample in data}
    assert data.spec.name == "sid_set_description"
    assert samples["t"].description == grammar
    assert samples["r"].path.name == "r.jpg"
    assert marked(samples["t"]).any()
    assert data.left_out == {"path outside the folder of the set": 1, "description without its picture": 1}


def fakeclue(build, label, text, name="ff++/fake/Deepfakes/c23/frames/071_054/160.png", category="deepfake"):
    question = "<image>Does the image looks real/fake?"
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": text}]
    return {
        "image": name,
        "label": label,
        "cate": category,
        "width": 48,
        "height": 32,
        "conversations": turns,
    }


def test_fakeclue_takes_zero_for_fake_and_face_swaps_for_tampered(build):
    fake, real = "This is a fake image. The mouth is blurred.", "This is a real image. The light is even."
    records = [
        fakeclue(build, 0, fake),
        fakeclue(build, 1, real, "ff++/real/youtube/c23/frames/054/1.png"),
        fakeclue(build, 0, fake, "chameleon/fake/1b.jpg", "animal"),
        fakeclue(build, 0, real, "chameleon/fake/2c.jpg", "animal"),
        fakeclue(build, 1, real, "chameleon/real/gone.jpg", "animal"),
        fakeclue(build, 1, real, "../outside.jpg", "animal"),
    ]
    for record in records[:4]:
        build.picture(f"test/{record['image']}")
    build.json("data_json/test.json", records)
    data = open_data(build.root, split="test")
    assert data.spec.name == "fakeclue"
    swap, face, animal = data
    assert (swap.label, face.label, animal.label) == (TAMPERED, REAL, SYNTHETIC)
    assert (swap.generator, swap.group, swap.tamper) == ("Deepfakes", "054_071", "face manipulation")
    assert swap.description == fake
    assert swap.extra["question"] == "<image>Does the image looks real/fake?"
    assert data.left_out == {
        "record whose label and explanation disagree, or that has no label": 1,
        "picture file that is not there": 1,
        "path outside the folder of the set": 1,
    }
    first = next(open_data(build.root, deepfake="full_synthetic"))
    assert first.label is SYNTHETIC


def test_the_pictures_of_fakeclue_may_lie_in_a_folder_of_their_own(build, tmp_path):
    record = fakeclue(build, 0, "This is a fake image.")
    elsewhere = tmp_path / "disk" / record["image"]
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(build.bytes())
    build.json("data_json/train.json", [record, {**record, "image": "../set/data_json/train.json"}])
    data = open_data(build.root, images=str(tmp_path / "disk"))
    (sample,) = data
    assert sample.open().width == 48
    assert data.left_out == {"path outside the folder of the set": 1}


def test_loki_yields_a_picture_once_though_it_is_asked_of_twice(build):
    rows = []
    for label, name in (("real", "a.png"), ("fake", "b.jpg")):
        build.picture(f"media_data/image/{name}")
        kinds = [f"image_tf_image_{label}_ask_{question}_satellite" for question in ("fake", "real")]
        rows += [
            {"image_path": f"media_data/image/{name}", "question_type": kind, "answer": "Yes"}
            for kind in kinds
        ]
    build.json("data_json/image/true_or_false.json", rows)
    samples = opened(build, "loki")
    assert labels(samples) == {"media_data/image/a.png": REAL, "media_data/image/b.jpg": SYNTHETIC}
    assert {sample.source for sample in samples.values()} == {"LOKI satellite"}


def test_dd_vqa_finds_the_crops_that_the_user_brings(build):
    question = "Does the image looks real/fake?"
    build.json(
        "DQ_FF++/train_set/Deepfakes/Deepfakes.json",
        {
            "0_071_054": {"1": {"question": question, "answer": ["The image looks fake.", "Fake."]},
                          "2": {"question": "How does the nose look?", "answer": ["The nose looks blurred."]}},
            "0_003_000": {"1": {"question": question, "answer": ["The image looks fake."]}},
        },
    )  # fmt: skip
    build.json(
        "DQ_FF++/test_set/Original/Original.json",
        {"5_044": {"1": {"question": question, "answer": ["The image looks real."]}}},
    )
    build.picture("images/0_071_054.png")
    build.picture("images/Original/5_044.jpg")
    data = open_data(build.root)
    fake, real = data
    assert data.spec.name == "dd_vqa"
    assert (fake.label, fake.generator, fake.group, fake.split) == (TAMPERED, "Deepfakes", "054_071", "train")
    assert fake.description == "The image looks fake. The nose looks blurred."
    assert (real.label, real.group, real.split) == (REAL, "044", "test")
    assert data.left_out == {"face crop that is not there (the set ships none)": 1}


def faces(build):
    for frame in ("000", "160"):
        build.picture(f"manipulated_sequences/Deepfakes/c23/frames/071_054/{frame}.png")
        build.mask(f"manipulated_sequences/Deepfakes/c23/masks/071_054/{frame}.png")
        build.picture(f"original_sequences/youtube/c23/frames/071/{frame}.png")
        build.picture(f"original_sequences/youtube/c23/frames/054/{frame}.png")


def test_faceforensics_keeps_both_directions_and_both_originals_in_one_group(build):
    faces(build)
    build.picture("manipulated_sequences/FaceSwap/c23/frames/054_071/000.png")
    samples = opened(build, "faceforensics")
    assert len(samples) == 7
    assert {sample.group for sample in samples.values()} == {"054_071"}
    fake = samples["manipulated_sequences/Deepfakes/c23/frames/071_054/160.png"]
    assert (fake.label, fake.generator) == (TAMPERED, "Deepfakes")
    assert marked(fake)[BOX].all()
    assert samples["original_sequences/youtube/c23/frames/054/160.png"].label is REAL


def test_faceforensics_splits_go_by_the_lists_of_pairs(build):
    faces(build)
    build.json("splits/train.json", [["003", "000"]])
    build.json("splits/test.json", [["071", "054"]])
    assert {sample.split for sample in open_data(build.root)} == {"test"}
    assert not list(open_data(build.root, split="test", compression="c40"))


def test_faceforensics_videos_give_evenly_spaced_frames(build):
    cv2 = pytest.importorskip("cv2")
    path = build.file("manipulated_sequences/FaceSwap/c40/videos/071_054.mp4", b"")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for level in range(0, 240, 20):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    frames = list(open_data(build.root, frames="3"))
    assert [frame.path.name for frame in frames] == ["071_054.mp4#2", "071_054.mp4#6", "071_054.mp4#10"]
    means = [frame.open().pixels.mean() for frame in frames]
    assert means == pytest.approx([40, 120, 200], abs=12)
    (build.root / "manipulated_sequences/FaceSwap/c40/videos/000_001.mp4").write_bytes(b"no video")
    data = open_data(build.root, frames="3")
    assert len(list(data)) == 3
    assert data.left_out == {"video that cannot be decoded": 1}


def test_dmimage_applies_the_published_operations_when_asked(build):
    build.picture("TestSet/glide_text2img/1.png", size=(320, 304))
    build.picture("TestSet/real_coco_valid/2.png", size=(320, 304))
    build.file(
        "TestSet/operations.csv",
        "src,cropsize,x1,y1,jpegQF\nglide_text2img/1.png,160,8,16,70\nreal_coco_valid/2.png,256,0,0,90\n"
        "glide_text2img/1.png,900,0,0,70\n../../etc/passwd,1,1,1,1\n",
    )
    samples = opened(build, "dmimage")
    assert labels(samples) == {
        "TestSet/glide_text2img/1.png": SYNTHETIC,
        "TestSet/real_coco_valid/2.png": REAL,
    }
    assert samples["TestSet/glide_text2img/1.png"].generator == "glide_text2img"
    data = open_data(build.root, operations="apply")
    pictures = [sample.open() for sample in data]
    assert [(picture.width, picture.height, picture.format) for picture in pictures] == [
        (200, 200, "JPEG")
    ] * 2
    assert data.left_out == {
        "picture to which operations.csv cannot be applied": 1,
        "path outside the folder of the set": 1,
    }


@pytest.mark.parametrize("inner", ["", "imagenet_ai_0419_biggan/"])
def test_genimage_is_walked_until_ai_and_nature(build, inner):
    for split in ("train", "val"):
        build.picture(f"BigGAN/{inner}{split}/ai/1.png")
        build.picture(f"BigGAN/{inner}{split}/nature/n1.JPEG")
    samples = opened(build, "genimage", split="val")
    assert labels(samples) == {
        f"BigGAN/{inner}val/ai/1.png": SYNTHETIC,
        f"BigGAN/{inner}val/nature/n1.JPEG": REAL,
    }
    assert samples[f"BigGAN/{inner}val/ai/1.png"].generator == "BigGAN"


def test_forensynths_has_classes_in_some_generators_only(build):
    for folder in ("test/progan/airplane", "test/deepfake"):
        build.picture(f"{folder}/0_real/1.png")
        build.picture(f"{folder}/1_fake/2.png")
    samples = opened(build, "forensynths", split="test")
    assert len(samples) == 4
    fake = samples["test/progan/airplane/1_fake/2.png"]
    assert (fake.label, fake.generator, fake.extra["category"]) == (SYNTHETIC, "progan", "airplane")
    assert samples["test/deepfake/0_real/1.png"].generator == ""


def test_chameleon(build):
    build.picture("test/0_real/1.jpg")
    build.picture("test/1_fake/2.png")
    assert labels(opened(build, "chameleon")) == {"test/0_real/1.jpg": REAL, "test/1_fake/2.png": SYNTHETIC}


def test_casia_v1_masks_come_in_three_modes_and_one_is_missing(build):
    build.picture("Au/Au_ani_0001.jpg")
    names = [
        "Sp_D_NRN_A_cha0011_sec0011_0542",
        "Sp_S_NRN_A_ani0001_ani0001_0001",
        "Sp_D_CND_A_pla0005_art0023_0281",
    ]
    for name, mode in zip(names, (None, "RGB", "RGBA"), strict=True):
        build.picture(f"Tp/Sp/{name}.jpg")
        if mode is not None:
            build.mask(f"CASIA 1.0 groundtruth/Sp/{name}_gt.png")
            path = build.root / f"CASIA 1.0 groundtruth/Sp/{name}_gt.png"
            Image.open(path).convert(mode).save(path)
    samples = opened(build, "casia_v1")
    missing, moved, spliced = (samples[f"Tp/Sp/{name}.jpg"] for name in names)
    assert (missing.mask, missing.tamper, missing.group) == (None, "splice", "cha0011")
    assert (moved.tamper, moved.group) == ("copy-move", "ani0001")
    assert marked(moved).sum() == marked(spliced).sum() == 256
    assert samples["Au/Au_ani_0001.jpg"].group == moved.group
    assert spliced.extra["sources"] == ["pla0005", "art0023"]


def test_casia_v2_skips_and_renames_what_its_errata_name(build):
    build.picture("Au/Au_ani_00001.jpg")
    good = "Tp_D_CRN_S_N_cha00063_art00014_11818"
    third = "Tp_D_NRD_S_N_cha10002_cha10001_20094"
    build.picture(f"Tp/{good}.tif")
    build.mask(f"CASIA 2 Groundtruth/{good}_gt.png")
    build.picture(f"Tp/{third}.jpg")
    build.mask(f"CASIA 2 Groundtruth/{third}_gt3.png")
    build.picture("Tp/Tp_D_NRD_S_B_ani20002_nat20042_02437.tif")
    data = open_data(build.root)
    samples = {sample.path.stem: sample for sample in data}
    assert data.spec.name == "casia_v2"
    assert set(samples) == {"Au_ani_00001", good, third}
    assert marked(samples[good])[BOX].all()
    assert marked(samples[third])[BOX].all()
    assert data.left_out == {"picture on the list of those to skip": 1}


@pytest.mark.parametrize("inserted, expected", [("green", (8, 24)), ("red", (24, 40))])
def test_columbia_masks_are_read_by_hue_bright_and_regular_alike(build, inserted, expected):
    build.picture("4cam_auth/canong3_02_sub_01.tif")
    build.picture("4cam_splc/canong3_canonxt_sub_01.tif")
    colours = np.zeros((32, 48, 3), np.uint8)
    colours[:, 8:16], colours[:, 16:24] = (0, 200, 0), (0, 255, 0)
    colours[:, 24:32], colours[:, 32:40] = (255, 0, 0), (200, 0, 0)
    path = build.file("4cam_splc/edgemask/canong3_canonxt_sub_01_edgemask.jpg", b"")
    Image.fromarray(colours).save(path, "JPEG", quality=95, subsampling=0)
    samples = opened(build, "columbia", inserted=inserted)
    assert samples["4cam_auth/canong3_02_sub_01.tif"].label is REAL
    mask = marked(samples["4cam_splc/canong3_canonxt_sub_01.tif"])
    assert mask[:, slice(*expected)].mean() > 0.97
    assert mask.mean() == pytest.approx(1 / 3, abs=0.02)


def test_coverage_uses_the_forged_mask_of_its_three(build):
    for name in ("1", "1t", "41", "41t"):
        build.picture(f"image/{name}.tif")
    for number in ("1", "41"):
        build.mask(f"mask/{number}forged.tif", kind="TIFF")
        for other in ("copy", "paste"):
            build.mask(f"mask/{number}{other}.tif", box=(0, 0, 48, 32), kind="TIFF")
    samples = opened(build, "coverage")
    assert labels(samples) == {
        "image/1.tif": REAL,
        "image/1t.tif": TAMPERED,
        "image/41.tif": REAL,
        "image/41t.tif": TAMPERED,
    }
    assert marked(samples["image/1t.tif"]).sum() == 256
    assert samples["image/41.tif"].group == samples["image/41t.tif"].group == "41"


def test_nist16_probes_without_a_reference_are_real_and_the_kind_is_told(build):
    for number in ("1893", "2000", "0007"):
        build.picture(f"probe/NC2016_{number}.jpg")
    build.mask("reference/splice/mask/NC2016_1893_splice.png", inverted=True)
    build.mask("reference/manipulation/mask/NC2016_1893.png", inverted=True)
    build.mask("reference/removal/mask/NC2016_2000.png", box=(0, 0, 8, 8), inverted=True)
    samples = opened(build, "nist16")
    spliced, removed, real = (samples[f"probe/NC2016_{number}.jpg"] for number in ("1893", "2000", "0007"))
    assert (spliced.label, spliced.tamper, removed.tamper, real.label) == (
        TAMPERED,
        "splice",
        "removal",
        REAL,
    )
    assert marked(spliced)[BOX].all()
    assert marked(removed).sum() == 64


def test_imd2020_folders_are_groups(build):
    build.picture("a1b/c8tjzi7_orig.jpg")
    build.picture("a1b/c8tjzi7_0.jpg")
    build.mask("a1b/c8tjzi7_0_mask.png")
    build.picture("z14/00030_fake.jpg")
    build.mask("z14/00030_fake_mask.png", size=(24, 16), box=(0, 0, 12, 16))
    samples = opened(build, "imd2020")
    assert labels(samples) == {
        "a1b/c8tjzi7_0.jpg": TAMPERED,
        "a1b/c8tjzi7_orig.jpg": REAL,
        "z14/00030_fake.jpg": TAMPERED,
    }
    assert samples["a1b/c8tjzi7_0.jpg"].group == "a1b"
    assert marked(samples["z14/00030_fake.jpg"])[:, :24].all()


def test_dso1_knows_normal_from_splicing(build):
    build.picture("tifs-database/DSO-1/normal-01.png")
    build.picture("tifs-database/DSO-1/splicing-01.png")
    build.mask("tifs-database/DSO-1-Fake-Images-Masks/splicing-01.png", inverted=True)
    samples = opened(build, "dso1")
    assert labels(samples) == {
        "tifs-database/DSO-1/normal-01.png": REAL,
        "tifs-database/DSO-1/splicing-01.png": TAMPERED,
    }


def openforensics(build):
    left = [4.0, 4.0, 20.0, 4.0, 20.0, 20.0, 4.0, 20.0]
    right = [[30, 4, 44, 4, 44, 20, 30, 20]]
    build.picture("Images/Val/one.jpg")
    build.picture("Images/Val/two.jpg")
    return {
        "images": [{"id": 1, "file_name": "Images/Val/one.jpg"}, {"id": 2, "file_name": "Images/Val/two.jpg"},
                   {"id": 3, "file_name": "Images/Val/gone.jpg"}, {"id": 4, "file_name": "../../x.jpg"}],
        "annotations": [{"id": 9, "image_id": 2, "category_id": 0, "segmentation": [left]},
                        {"id": 8, "image_id": 1, "category_id": 1, "segmentation": [left]},
                        {"id": 7, "image_id": 1, "category_id": 0, "segmentation": right}],
        "categories": [{"id": 0, "name": "Real"}, {"id": 1, "name": "Fake"}],
    }  # fmt: skip


def test_openforensics_masks_are_the_fake_faces_only(build):
    build.json("Val_poly.json", openforensics(build))
    data = open_data(build.root, split="Val")
    tampered, real = data
    assert data.spec.name == "openforensics"
    assert (tampered.label, real.label) == (TAMPERED, REAL)
    assert tampered.extra["faces"] == 2
    mask = marked(tampered)
    assert mask[6:18, 6:18].all()
    assert not mask[:, 28:].any()
    assert data.left_out == {"picture file that is not there": 1, "path outside the folder of the set": 1}


def test_openforensics_goes_by_the_names_of_its_categories(build):
    annotations = openforensics(build)
    annotations["categories"] = [{"id": 0, "name": "Fake"}, {"id": 1, "name": "Real"}]
    build.json("Val_poly.json", annotations)
    assert {sample.path.stem: sample.label for sample in open_data(build.root)} == {
        "one": TAMPERED,
        "two": TAMPERED,
    }
    annotations["categories"] = [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}]
    build.json("Val_poly.json", annotations)
    with pytest.raises(UsageError, match="does not name the categories"):
        list(open_data(build.root))


def test_autosplice_shares_one_mask_among_variants_and_keeps_forgeries_without_one(build):
    build.picture("Authentic/17.jpg")
    for quality in ("75", "90", "100"):
        for name in ("17_0", "17_1", "18_0"):
            build.picture(f"Forged_JPEG{quality}/{name}.jpg")
    build.mask("Mask/17_mask.png")
    samples = opened(build, "autosplice")
    assert len(samples) == 4
    assert marked(samples["Forged_JPEG75/17_1.jpg"]).sum() == 256
    assert samples["Forged_JPEG75/18_0.jpg"].label is TAMPERED
    assert samples["Forged_JPEG75/17_1.jpg"].group == samples["Authentic/17.jpg"].group == "17"
    assert len(opened(build, "autosplice", quality="all")) == 10
    assert marked(opened(build, "autosplice", marks="black")["Forged_JPEG75/17_0.jpg"]).sum() == 48 * 32 - 256


def test_tgif_tells_pasted_from_regenerated(build):
    build.picture("original/airplane_208901.png")
    build.mask("masks/airplane_208901_bbox.png")
    build.mask("masks/airplane_208901_segm.png", box=(0, 0, 8, 8))
    build.picture("sd2-sp/airplane_208901_bbox_0.png")
    build.picture("sd2-fr/airplane_208901_segm_2.png")
    samples = opened(build, "tgif")
    assert samples["original/airplane_208901.png"].label is REAL
    pasted, whole = samples["sd2-sp/airplane_208901_bbox_0.png"], samples["sd2-fr/airplane_208901_segm_2.png"]
    assert (pasted.extra["paste"], whole.extra["paste"]) == ("sp", "fr")
    assert (pasted.generator, pasted.group) == ("SD2", "208901")
    assert marked(pasted).sum() == 256
    assert marked(whole).sum() == 64
    assert (
        opened(build, "tgif", regenerated="full_synthetic")["sd2-fr/airplane_208901_segm_2.png"].label
        is SYNTHETIC
    )


@pytest.mark.parametrize("split", ["", "test/"])
def test_a_plain_folder_needs_no_more_than_real_and_fake(build, split):
    build.picture(f"{split}real/a.png")
    build.picture(f"{split}fake/b.png")
    assert labels(opened(build, "folder")) == {f"{split}real/a.png": REAL, f"{split}fake/b.png": SYNTHETIC}
    build.mask(f"{split}masks/b.png")
    forged = opened(build, "folder", fake="tampered")[f"{split}fake/b.png"]
    assert forged.label is TAMPERED
    assert marked(forged).sum() == 256


def test_annotations_that_are_damaged_are_told_by_name(build):
    build.picture("test/a.jpg")
    build.file("data_json/test.json", json.dumps([{"image": "a.jpg", "label": 1}])[:-4])
    with pytest.raises(UsageError, match=r"test\.json is damaged"):
        list(open_data(build.root))
