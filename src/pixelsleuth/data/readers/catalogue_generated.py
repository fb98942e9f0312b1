"""Sets of generated and inpainted pictures, and of faces: what is known of each."""

from __future__ import annotations

from pixelsleuth.data.readers.source import ReaderSpec, Setting

THREE = "real, full_synthetic, tampered"
SYNTHETIC_MASK = Setting(
    "none",
    "mask of wholly generated pictures: none, zeros (no local edit) or ones (all edited)",
    ("none", "zeros", "ones"),
)
MISSING_MASK = Setting(
    "keep", "a tampered picture whose mask is missing is kept without one, or dropped", ("keep", "drop")
)
LOCAL = {"synthetic_mask": SYNTHETIC_MASK, "missing_mask": MISSING_MASK}

GENERATED = (
    ReaderSpec(
        name="sid_set_description",
        title="SID-Set, 3,000 described pictures",
        reader="sid_set:read_described",
        licence="CC BY 4.0 (SID-Set's; not stated of its own)",
        size="3,000 pictures, about 1,000 a class",
        classes=THREE,
        get="hf:saberzl/SID_Set_description, or text_label_images.zip linked from the SIDA repository",
        folders=(("*/description/*_GT.json",), ("description/*_GT.json",)),
        columns=frozenset({"image", "label", "description", "mask"}),
        hubs=("saberzl/SID_Set_description",),
        settings=LOCAL,
        masked=True,
    ),
    ReaderSpec(
        name="sid_set",
        title="SID-Set",
        reader="sid_set:read",
        licence="CC BY 4.0",
        size="300,000 pictures, 140 GB for train and validation",
        classes=THREE,
        get="hf:saberzl/SID_Set (train, validation); test.zip linked from the SIDA repository",
        folders=(
            ("*/full_synthetic", "*/tampered"),
            ("full_synthetic", "masks"),
            ("*/full_synthetic", "*/masks"),
        ),
        columns=frozenset({"img_id", "image", "mask", "width", "height", "label"}),
        hubs=("saberzl/SID_Set",),
        settings=LOCAL,
        expects={"train": 210_000, "validation": 30_000, "test": 60_000},
        masked=True,
    ),
    ReaderSpec(
        name="so_fake_ood",
        title="So-Fake-OOD, versions 1 to 3",
        reader="so_fake:read_ood",
        licence="CC BY-NC 4.0",
        size="about 100,000 pictures, 104 to 135 GB; test only",
        classes=THREE,
        get="hf:saberzl/So-Fake-OOD (the revision chooses the version)",
        columns=frozenset({"image", "label", "mask", "filename"}),
        hubs=("saberzl/So-Fake-OOD",),
        settings=LOCAL,
    ),
    ReaderSpec(
        name="so_fake_ood_v3",
        title="So-Fake-OOD, version 3",
        reader="so_fake:read_ood",
        licence="CC BY-NC 4.0",
        size="91,370 pictures, others as links only; 135 GB; test only",
        classes=THREE,
        get="hf:saberzl/So-Fake-OOD",
        columns=frozenset({"image", "scope", "release_form", "filename", "version"}),
        settings=LOCAL,
        expects={"test_image": 91_370},
    ),
    ReaderSpec(
        name="so_fake_set",
        title="So-Fake-Set",
        reader="so_fake:read_set",
        licence="not stated here; see its card",
        size="2.23 million pictures, 1.28 TB",
        classes=THREE,
        get="hf:saberzl/So-Fake-Set",
        columns=frozenset({"image", "mask", "label", "generator"}),
        hubs=("saberzl/So-Fake-Set",),
        settings=LOCAL,
        masked=True,
    ),
    ReaderSpec(
        name="fakeclue",
        title="FakeClue",
        reader="fakeclue:read",
        licence="Apache-2.0",
        size="more than 100,000 pictures; train 28 GB, test 1.3 GB (5,000)",
        classes="real, full_synthetic, tampered (face manipulation)",
        get="hub lingcco/FakeClue: data_json/, train.zip, test.zip, unpacked side by side",
        folders=(("data_json/t*.json",),),
        settings={
            "images": Setting(
                "",
                "folder of the pictures; by default the first of SPLIT, SPLIT/SPLIT, images and . that fits",
            ),
            "deepfake": Setting(
                "tampered", "label of fakes of the category deepfake", ("tampered", "full_synthetic")
            ),
        },
        expects={"test": 5_000},
    ),
    ReaderSpec(
        name="loki",
        title="LOKI, images",
        reader="loki:read",
        licence="Apache-2.0 on the hub",
        size="2,217 pictures (900 real, 1,317 fake)",
        classes="real, full_synthetic",
        get="hub bczhou/LOKI: data_json/, loki_media.zip",
        folders=(("data_json/image/true_or_false.json",), ("image/true_or_false.json",)),
        settings={
            "reference_text": Setting(
                "global+regional",
                "how a description is made of the listed problems; the benchmark's own recipe is not public",
                ("global+regional", "global", "regional", "none"),
            ),
        },
        expects={"": 2_217},
    ),
    ReaderSpec(
        name="dd_vqa",
        title="DD-VQA",
        reader="dd_vqa:read",
        licence="none stated; pictures under FaceForensics++'s terms",
        size="1,692 faces with 8,635 questions",
        classes="real, tampered",
        get="questions: Reality-Defender/Research-DD-VQA; pictures: hub iamjinchen/DD-VQA, or your own face crops",
        folders=(("DQ_FF++",), ("train_set", "test_set")),
        columns=frozenset({"image", "text"}),
        hubs=("iamjinchen/DD-VQA",),
        settings={
            "images": Setting(
                "images", "folder of the face crops KEY.png or MANIPULATION/KEY.png; none are shipped"
            )
        },
        expects={"train": 1_430, "test": 262},
    ),
    ReaderSpec(
        name="faceforensics",
        title="FaceForensics++",
        reader="faceforensics:read",
        licence="own terms, by form; code MIT",
        size="1,000 videos and 1,000 fakes a method",
        classes="real, tampered",
        get="the form in the repository ondyari/FaceForensics; frames extracted as DeepfakeBench does",
        folders=(("manipulated_sequences",), ("original_sequences",)),
        settings={
            "compression": Setting("all", "which compression is read", ("all", "raw", "c0", "c23", "c40")),
            "frames": Setting("32", "frames taken from each video that has no extracted frames"),
        },
    ),
    ReaderSpec(
        name="dmimage",
        title="DMimageDetection, test set",
        reader="dmimage:read",
        licence="non-profit use",
        size="fakes of each generator; the reals are not shipped",
        classes="real, full_synthetic",
        get="grip-unina/DMimageDetection; reals from COCO, ImageNet and UCID into real_coco_valid/ and so on",
        folders=(("TestSet/operations.csv",), ("operations.csv",), ("TestSet", "operations.csv")),
        settings={
            "operations": Setting(
                "ignore", "apply: crop, resize to 200 and JPEG as operations.csv says", ("ignore", "apply")
            ),
        },
    ),
    ReaderSpec(
        name="magicbrush",
        title="MagicBrush",
        reader="magicbrush:read",
        licence="CC BY 4.0",
        size="8,807 edits to train on, 528 for dev; the test split is not for training",
        classes="real, tampered",
        get="hf:osunlp/MagicBrush",
        columns=frozenset({"img_id", "turn_index", "source_img", "mask_img", "instruction", "target_img"}),
        hubs=("osunlp/MagicBrush",),
        expects={"train": 8_807, "dev": 528},
        masked=True,
    ),
    ReaderSpec(
        name="genimage",
        title="GenImage",
        reader="genimage:read",
        licence="CC BY-NC-SA, from memory; check",
        size="eight generators; more than a million pictures, from memory",
        classes="real, full_synthetic",
        get="GenImage-Dataset/GenImage; copies on the hub (jzousz/GenImage, ENSTA-U2IS/GenImage)",
        folders=tuple((f"{'*/' * depth}ai", f"{'*/' * depth}nature") for depth in range(4)),
    ),
    ReaderSpec(
        name="chameleon",
        title="Chameleon",
        reader="forensynths:read_chameleon",
        licence="academic use, by e-mail; test only",
        size="not stated here",
        classes="real, full_synthetic",
        get="ask the authors of AIDE",
        folders=(("0_real", "1_fake"), ("test/0_real", "test/1_fake"), ("val/0_real", "val/1_fake")),
    ),
    ReaderSpec(
        name="forensynths",
        title="ForenSynths (CNNDetection)",
        reader="forensynths:read",
        licence="CC BY-NC-SA, from memory; check",
        size="13 test sets; training part about 720,000, from memory",
        classes="real, full_synthetic",
        get="hub sywang/CNNDetection",
        folders=tuple((f"{'*/' * depth}0_real",) for depth in range(1, 4)),
    ),
    ReaderSpec(
        name="autosplice",
        title="AutoSplice",
        reader="autosplice:read",
        licence="non-commercial, by form",
        size="3,621 forged, 2,273 authentic",
        classes="real, tampered",
        get="the form in shanface33/AutoSplice_Dataset",
        folders=(("Authentic", "Forged_JPEG*"),),
        settings={
            "quality": Setting(
                "75", "which of Forged_JPEG100, 90, 75; the authentic have 75", ("75", "90", "100", "all")
            ),
            "marks": Setting(
                "white", "what marks a forgery in its masks; not verified on its bytes", ("white", "black")
            ),
        },
        masked=True,
    ),
    ReaderSpec(
        name="cocoglide",
        title="CocoGlide",
        reader="cocoglide:read",
        licence="non-profit use",
        size="512 real, 512 tampered, 256 x 256",
        classes="real, tampered",
        get="grip-unina/TruFor, or hf:nebula/CocoGlide",
        folders=(("fake/glide_inpainting_*", "mask"),),
        columns=frozenset({"key", "image", "mask", "label", "prompt"}),
        hubs=("nebula/CocoGlide",),
        expects={"": 1_024},
        masked=True,
    ),
    ReaderSpec(
        name="tgif",
        title="TGIF",
        reader="tgif:read",
        licence="CC BY-SA 4.0",
        size="about 75,000 inpainted pictures",
        classes="real, tampered",
        get="IDLabMedia/tgif-dataset: fakes, originals and masks, each archive into a folder of its own name",
        folders=tuple(
            (originals, masks, fakes)
            for originals in ("*orig*", "*real*")
            for masks in ("*mask*",)
            for fakes in ("*sp", "*fr", "*/sp", "*/fr", "*-sp*", "*-fr*")
        ),
        settings={
            "originals": Setting(
                "orig", "a folder whose name holds this has originals; the layout is not published"
            ),
            "masks": Setting("mask", "a folder whose name holds this has masks"),
            "regenerated": Setting(
                "tampered", "label of whole regenerated frames (fr)", ("tampered", "full_synthetic")
            ),
        },
        masked=True,
    ),
    ReaderSpec(
        name="opensdi",
        title="OpenSDI",
        reader="opensdi:read",
        licence="CC BY-SA 4.0",
        size="200,824 to train on, 100,000 to test on",
        classes=THREE,
        get="hf:nebula/OpenSDI_train, hf:nebula/OpenSDI_test",
        columns=frozenset({"key", "image", "mask", "label"}),
        hubs=("nebula/OpenSDI_train", "nebula/OpenSDI_test"),
        settings={
            "synthetic_mask": Setting(
                "ones",
                "mask of wholly generated pictures; ones is this set's own convention",
                ("none", "zeros", "ones"),
            )
        },
    ),
    ReaderSpec(
        name="openforensics",
        title="OpenForensics",
        reader="openforensics:read",
        licence="academic use",
        size="115,325 pictures, 334,000 faces",
        classes="real, tampered",
        get="Zenodo record 5528418",
        folders=(("*_poly.json",), ("*/*_poly.json",)),
        masked=True,
    ),
)
