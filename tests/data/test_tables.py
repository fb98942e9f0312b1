"""Sets that come as Parquet shards, manifests in all three forms, and the hub's path run on a local folder."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelsleuth.core.verdict import Label
from pixelsleuth.data import tables
from pixelsleuth.data.readers import open_data
from pixelsleuth.errors import UsageError

REAL, SYNTHETIC, TAMPERED = Label.REAL, Label.FULL_SYNTHETIC, Label.TAMPERED
NAMES = ("real", "full_synthetic", "tampered")


def sid_rows(build, count=3, start=0):
    ids = ("{:016x}", "full_synthetic_{:06d}", "tampered_{:05d}")
    return [
        {"img_id": ids[i % 3].format(i), "image": build.bytes(), "mask": build.mask_bytes() if i % 3 == 2 else None,
         "width": 48, "height": 32, "label": i % 3}
        for i in range(start, start + count)
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "hub"])
def test_the_hub_and_a_folder_of_shards_give_the_same_samples(build, form):
    build.shard("data/train-00000-of-00002.parquet", sid_rows(build, 9))
    build.shard("data/train-00001-of-00002.parquet", sid_rows(build, 6, 9))
    build.shard("data/validation-00000-of-00001.parquet", sid_rows(build, 3, 15))
    spec = f"hf:{build.root}" if form == "hub" else build.root
    data = open_data(spec)
    samples = list(data)
    assert data.spec.name == "sid_set"
    assert [sample.label for sample in samples] == [REAL, SYNTHETIC, TAMPERED] * 6
    assert [sample.split for sample in samples] == ["train"] * 15 + ["validation"] * 3
    assert len({sample.unit for sample in samples}) == 18
    picture, mask = samples[2].load()
    assert picture.pixels.shape == (32, 48, 3)
    assert mask.pixels.sum() == 256
    part = list(open_data(spec, split="validation"))
    assert [sample.extra["id"] for sample in part] == [sample.extra["id"] for sample in samples[15:]]
    with pytest.raises(UsageError, match="it has: train, validation"):
        list(open_data(spec, split="test"))


def test_the_plain_integers_of_sid_set_are_checked_against_its_ids(build):
    rows = sid_rows(build)
    rows[1]["label"] = 2
    build.shard("train-00000-of-00001.parquet", rows)
    with pytest.raises(UsageError, match="do not agree"):
        list(open_data(build.root))


def test_sid_set_descriptions_of_the_hub(build):
    rows = [
        {"image": build.bytes(), "mask": None, "label": 1, "description": "Type: synthetic ..."},
        {
            "image": build.bytes(),
            "mask": build.mask_bytes(),
            "label": 2,
            "description": "Type: {part tampered}",
        },
    ]
    build.shard("data/train-00000-of-00001.parquet", rows, labels=NAMES)
    data = open_data(build.root)
    synthetic, tampered = data
    assert data.spec.name == "sid_set_description"
    assert (synthetic.label, synthetic.mask) == (SYNTHETIC, None)
    assert tampered.description == "Type: {part tampered}"


@pytest.mark.parametrize("form", ["names", "strings"])
def test_so_fake_set_labels_come_as_names_or_strings(build, form):
    order = ("tampered", "real", "full_synthetic")
    rows = [
        {"image": build.bytes(), "mask": None, "label": name if form == "strings" else order.index(name),
         "generator": None if name == "real" else "FLUX.1-dev"}
        for name in NAMES
    ]  # fmt: skip
    build.shard("data/train-00000-of-02343.parquet", rows, labels=order if form == "names" else None)
    data = open_data(build.root)
    samples = list(data)
    assert data.spec.name == "so_fake_set"
    assert [str(sample.label) for sample in samples] == list(NAMES)
    assert [sample.generator for sample in samples] == ["", "FLUX.1-dev", "FLUX.1-dev"]


def test_so_fake_ood_3_leaves_out_and_counts_what_is_released_as_a_link(build):
    texts = {"authenticity": "x", "source_type": "social", "source_name": "Reddit r/pics", "source_platform": "Reddit",
            "width": 48, "height": 32, "version": "3"}  # fmt: skip
    rows = [
        {"image": build.bytes(), "id": "1", "scope": "REAL", "label": 0, "generator": None, "editor": None,
         "release_form": "image", "filename": "reddit_1.jpg", **texts},
        {"image": None, "id": "2", "scope": "REAL", "label": 0, "generator": None, "editor": None,
         "release_form": "url", "filename": "insta_2.jpg", **texts},
        {"image": build.bytes(), "id": "3", "scope": "FULL_SYNTHETIC", "label": 2, "generator": "GPT4o",
         "editor": None, "release_form": "image", "filename": "3.png", **texts},
        {"image": build.bytes(), "id": "4", "scope": "TAMPERED", "label": 1, "generator": None,
         "editor": "Ideogram3", "release_form": "image", "filename": "4.png", **texts},
    ]  # fmt: skip
    build.shard("data/test_image-00000-of-00046.parquet", rows)
    data = open_data(build.root, split="test_image")
    samples = list(data)
    assert data.spec.name == "so_fake_ood_v3"
    assert [sample.label for sample in samples] == [REAL, SYNTHETIC, TAMPERED]
    assert [sample.generator for sample in samples] == ["", "GPT4o", "Ideogram3"]
    assert data.left_out == {"picture released as a link only": 1}


def test_so_fake_ood_1_takes_the_generator_from_the_file_name(build):
    order = ("full_synthetic", "real", "tampered")
    names = ("reddit_18500.jpg", "06068_sd_tampered.png", "02730_openai_tampered.png")
    rows = [
        {"image": build.bytes(), "mask": None, "label": 1 if "reddit" in name else 2, "filename": name}
        for name in names
    ]
    build.shard("test-00000-of-00001.parquet", rows, labels=order)
    samples = list(open_data(build.root))
    assert [(sample.label, sample.generator) for sample in samples] == [
        (REAL, ""),
        (TAMPERED, "sd"),
        (TAMPERED, "openai"),
    ]


def test_magicbrush_takes_only_the_first_source_for_real(build):
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGBA", (48, 32)).save(file, "PNG")
    rows = [
        {"img_id": "242679", "turn_index": turn, "source_img": build.bytes(), "mask_img": file.getvalue(),
         "instruction": f"edit {turn}", "target_img": build.bytes()}
        for turn in (1, 2, 3)
    ]  # fmt: skip
    build.shard("dev-00000-of-00001.parquet", rows)
    data = open_data(build.root)
    samples = list(data)
    assert data.spec.name == "magicbrush"
    assert [sample.label for sample in samples] == [REAL, TAMPERED, TAMPERED, TAMPERED]
    assert {sample.group for sample in samples} == {"242679"}
    assert samples[2].extra["instruction"] == "edit 2"
    assert len({sample.path for sample in samples}) == 4


def test_cocoglide_of_the_hub(build):
    rows = [
        {"key": "real/dog_000000005.png", "image": build.bytes(), "mask": None, "label": 0, "prompt": ""},
        {"key": "fake/glide_inpainting_val2017_5_up.png", "image": build.bytes(), "mask": build.mask_bytes(),
         "label": 1, "prompt": "dog"},
    ]  # fmt: skip
    build.shard("test-00000-of-00001.parquet", rows, labels=("real", "fake"))
    data = open_data(build.root)
    real, fake = data
    assert data.spec.name == "cocoglide"
    assert (real.label, real.mask, fake.label) == (REAL, None, TAMPERED)
    assert real.group == fake.group == "5"


# Manifests

COLUMNS = ("path", "label", "mask", "source", "group", "split", "iso")
ROWS = [
    dict(zip(COLUMNS, row, strict=True))
    for row in (
        ("a.png", "real", "", "camera", "g1", "train", "100"),
        ("deep/b.png", "tampered", "m/b.png", "", "g1", "eval", ""),
        ("c.png", "Full Synthetic", "", "", "", "train", ""),
    )
]


def write_manifest(build, form, rows=ROWS):
    if form == "csv":
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        return build.file("m.csv", "\ufeff" + "\n".join(lines) + "\n")
    if form == "jsonl":
        return build.file("m.jsonl", "\n".join(json.dumps(row) for row in rows) + "\n\n")
    path = build.file("m.parquet", b"")
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture(params=["csv", "jsonl", "parquet"])
def manifest(build, request):
    for name in ("a.png", "deep/b.png", "c.png"):
        build.picture(name)
    build.mask("m/b.png")
    return write_manifest(build, request.param)


def test_a_manifest_reads_the_same_in_all_three_forms(manifest):
    data = open_data(manifest)
    samples = list(data)
    assert data.spec.name == "manifest"
    assert [sample.label for sample in samples] == [REAL, TAMPERED, SYNTHETIC]
    assert [sample.split for sample in samples] == ["train", "eval", "train"]
    assert (samples[0].source, samples[0].group, samples[0].extra["iso"]) == ("camera", "g1", "100")
    picture, mask = samples[1].load()
    assert picture.width == 48
    assert mask.pixels.sum() == 256
    assert [sample.path.name for sample in open_data(manifest, split="eval")] == ["b.png"]
    assert [*open_data(manifest, marks="black")][1].load()[1].pixels.sum() == 48 * 32 - 256


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("column", ["path", "mask"])
@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "deep/../../secret.png", "link.png", "..\\secret.png"]
)
def test_no_name_in_a_manifest_leads_outside_its_folder(build, form, column, name):
    build.root.parent.joinpath("secret.png").write_bytes(build.bytes())
    build.picture("a.png")
    (build.root / "link.png").symlink_to(build.root.parent / "secret.png")
    row = {"path": "a.png", "label": "tampered", "mask": ""} | {column: name}
    data = open_data(write_manifest(build, form, [row]))
    assert list(data) == []
    assert data.left_out == {"path outside the folder of the set": 1}


def test_the_root_of_a_manifest_can_be_another_folder(build):
    build.picture("pictures/a.png")
    path = build.file("lists/m.csv", "path,label\npictures/a.png,real\n")
    (sample,) = open_data(path, root=str(build.root))
    assert sample.open().width == 48


@pytest.mark.parametrize(
    "name, text, refusal",
    [
        ("m.csv", "path\na.png\n", "lacks the column path or label"),
        ("m.csv", "path,label\na.png,fake\n", "unknown label 'fake'"),
        ("m.csv", "path,label\na.png,1\n", "without names"),
        ("m.csv", "", "lacks the column path or label"),
        ("m.jsonl", '{"path": "a.png"\n', "line 1 is no JSON object"),
        ("m.jsonl", "[1]\n", "line 1 is no JSON object"),
        ("m.parquet", "PAR1", "no Parquet shard that can be read"),
        ("m.txt", "a.png real", "is no manifest"),
        ("m.zip", "PK", "unpack it"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_in_one_sentence(build, name, text, refusal):
    path = build.file(name, text)
    with pytest.raises(UsageError, match=refusal):
        list(open_data(path))


def test_a_csv_of_another_encoding_is_refused(build):
    path = build.file("m.csv", "path,label\nb\u00e4r.png,real\n".encode("latin-1"))
    with pytest.raises(UsageError, match="UTF-8"):
        list(open_data(path))


def test_shards_with_pictures_inside_are_a_manifest_as_well(build):
    rows = [{"image": build.bytes(), "label": index, "generator_id": "x"} for index in (0, 1)]
    build.shard("train-00000-of-00001.parquet", rows, labels=("tampered", "real"))
    data = open_data(build.root)
    assert [sample.label for sample in data] == [TAMPERED, REAL]
    assert data.spec.name == "shards"


def test_a_broken_shard_is_named_and_the_others_are_read(build):
    build.shard("data/train-00000-of-00003.parquet", sid_rows(build))
    build.file("data/train-00001-of-00003.parquet", b"PAR1 cut off")
    build.shard("data/train-00002-of-00003.parquet", sid_rows(build, 3, 3))
    data = open_data(build.root)
    assert len(list(data)) == 6
    (reason,) = data.left_out
    assert reason.startswith("shard that cannot be read: data/train-00001-of-00003.parquet")


def test_rows_are_streamed_and_not_held(build, monkeypatch):
    rows = sid_rows(build, 64)
    build.shard("train-00000-of-00001.parquet", rows)
    taken = []
    read = tables._shard_rows

    def counted(*arguments):
        for row in read(*arguments):
            taken.append(row["_where"])
            yield row

    monkeypatch.setattr(tables, "_shard_rows", counted)
    data = open_data(build.root)
    next(data)
    assert len(taken) == 1


def test_row_groups_of_absurd_size_are_refused_before_they_are_read(build, monkeypatch):
    build.shard("train-00000-of-00001.parquet", sid_rows(build))
    monkeypatch.setattr(tables, "MAX_ROW_GROUP", 100)
    with pytest.raises(UsageError, match="row groups"):
        list(open_data(build.root))


def test_a_row_with_more_cells_than_the_header_is_refused_and_empty_ones_are_not(build):
    build.picture("a.png")
    spread = build.file("m.csv", "path,label,description\na.png,real,A dog.,,\n")
    assert [sample.description for sample in open_data(spread)] == ["A dog."]
    loose = build.file("m.csv", "path,label,description\na.png,real,A dog, and a cat.\n")
    with pytest.raises(UsageError, match=r"line 2 has more cells"):
        list(open_data(loose))
