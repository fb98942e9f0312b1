"""Kinds of masks, cells, shards and archives met in the wild, made here: read rightly, or refused with the way out."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.masks import Marks, Mask, read_mask
from pixelsleuth.data.readers import open_data
from pixelsleuth.errors import PictureError, UsageError

SIZE = (96, 64)
TRUTH = np.zeros((64, 96), bool)
TRUTH[10:40, 20:70] = True


def png(pixels: np.ndarray, mode: str | None = None, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def palette(colours: list[int], indices: np.ndarray) -> bytes:
    image = Image.fromarray(indices.astype(np.uint8), "L").convert("P")
    image.putpalette(colours)
    image.putdata(indices.astype(np.uint8).ravel().tolist())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def layers(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([colour, colour, colour, alpha]).astype(np.uint8)


WHITE, ON = np.full((64, 96), 255), TRUTH * 255
CLEAR = {
    "1 bit": png(ON.astype(np.uint8), "1"),
    "8 bit 0 and 255": png(ON.astype(np.uint8)),
    "8 bit 0 and 1": png(TRUTH.astype(np.uint8)),
    "16 bit 0 and 1": png(TRUTH.astype(np.uint16)),
    "16 bit 0 and 255": png(ON.astype(np.uint16)),
    "16 bit 0 and 65535": png((TRUTH * 65535).astype(np.uint16)),
    "32 bit 0 and 1": png(TRUTH.astype(np.int32), kind="TIFF"),
    "32 bit 0 and 255": png(ON.astype(np.int32), kind="TIFF"),
    "float 0 and 1": png(TRUTH.astype(np.float32), kind="TIFF"),
    "float 0 and 255": png(ON.astype(np.float32), kind="TIFF"),
    "red": png(np.dstack([ON, 0 * ON, 0 * ON]).astype(np.uint8)),
    "palette 0 and 1, black and red": palette([0, 0, 0, 255, 0, 0], TRUTH),
    "opaque alpha": png(layers(ON, WHITE)),
    "white on transparent black": png(layers(ON, ON)),
    "jpeg": png(ON.astype(np.uint8), kind="JPEG", quality=60),
    "soft edge": png(np.asarray(Image.fromarray(ON.astype(np.uint8)).resize((48, 32)).resize(SIZE))),
    "nearly white": png(np.where(TRUTH, 250, 3).astype(np.uint8)),
}


@pytest.mark.parametrize("kind", CLEAR)
def test_a_clear_mask_of_any_depth_marks_what_it_means(kind: str) -> None:
    pixels = read_mask(CLEAR[kind], SIZE).pixels
    if kind in ("jpeg", "soft edge"):
        assert (pixels == TRUTH).mean() > 0.95
    else:
        assert (pixels == TRUTH).all()


IDS = TRUTH.astype(np.uint8)
IDS[30:40, 20:70] = 2
UNCLEAR = {
    "class ids 0, 1, 2": (png(IDS), "marks=nonzero"),
    "class ids of 16 bits": (png(IDS.astype(np.uint16) * 3), "marks=nonzero"),
    "one class id": (png((TRUTH * 5).astype(np.uint8)), "marks=nonzero"),
    "class ids up to 150": (png(np.where(IDS == 2, 150, IDS * 60).astype(np.uint8)), "marks=nonzero"),
    "class ids and a void of 255": (
        png(np.where(np.arange(96) == 19, 255, IDS).astype(np.uint8)),
        "marks=nonzero",
    ),
    "class ids as floats": (png(IDS.astype(np.float32), kind="TIFF"), "marks=nonzero"),
    "palette of classes, one of them dark": (palette([0, 0, 0, 64, 0, 0, 0, 128, 0], IDS), "marks=nonzero"),
    "12 bits in 16": (png((TRUTH * 4095).astype(np.uint16)), "marks=nonzero"),
    "in the alpha of white": (png(layers(WHITE, ON)), "marks=opaque"),
    "in the alpha of black": (png(layers(0 * ON, ON)), "marks=opaque"),
    "a hole in white": (png(layers(WHITE, 255 - ON)), "marks=alpha"),
    "a hole in a photograph": (png(layers(np.arange(96) * 2 + 0 * ON, 255 - ON)), "marks=alpha"),
    "grey and alpha": (png(np.dstack([WHITE, ON]).astype(np.uint8)), "marks=opaque"),
    "levels below 0": (png((TRUTH * -5).astype(np.int32), kind="TIFF"), "8 bits"),
    "not a number": (png(np.where(TRUTH, np.nan, 0).astype(np.float32), kind="TIFF"), "8 bits"),
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_a_mask_that_can_be_understood_in_two_ways_is_refused_with_the_way_out(kind: str) -> None:
    data, way_out = UNCLEAR[kind]
    with pytest.raises(PictureError, match=way_out):
        read_mask(data, SIZE)


def test_the_settings_read_what_is_refused_without_them() -> None:
    for kind, marks in (("class ids 0, 1, 2", Marks.NONZERO), ("one class id", Marks.NONZERO),
                        ("in the alpha of white", Marks.OPAQUE), ("a hole in white", Marks.ALPHA),
                        ("a hole in a photograph", Marks.ALPHA)):  # fmt: skip
        assert (read_mask(Mask(UNCLEAR[kind][0], marks), SIZE).pixels == TRUTH).all()


def test_an_empty_mask_is_empty_and_a_full_one_full() -> None:
    for pixels in (np.zeros((64, 96), np.uint8), np.zeros((64, 96), np.uint16)):
        assert not read_mask(png(pixels), SIZE).pixels.any()
    assert read_mask(png(WHITE.astype(np.uint8)), SIZE).pixels.all()


def test_a_sixteen_bit_colour_mask_whose_low_bytes_are_lost_is_refused() -> None:
    cv2 = pytest.importorskip("cv2")
    for level, clear in ((255, False), (65535, True)):
        _, data = cv2.imencode(".png", np.repeat((TRUTH * level).astype(np.uint16)[..., None], 3, axis=2))
        if clear:
            assert (read_mask(data.tobytes(), SIZE).pixels == TRUTH).all()
        else:
            with pytest.raises(PictureError, match="16 bits a channel"):
                read_mask(data.tobytes(), SIZE)


@pytest.mark.parametrize(
    "cell", ["", "Negative", "NONE", "null", "nan", "N/A", " none ", "-", None, float("nan")], ids=repr
)
def test_a_mask_cell_that_means_none_is_none(tmp_path: Path, cell: Any) -> None:
    (tmp_path / "a.png").write_bytes(png(WHITE.astype(np.uint8)))
    row = {"path": "a.png", "label": "tampered", "mask": cell}
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")
    data = open_data(tmp_path / "m.jsonl")
    assert [sample.mask for sample in data] == [None]
    assert not data.left_out


def test_a_mask_cell_of_another_kind_is_refused_and_a_link_is_followed(tmp_path: Path) -> None:
    row: dict[str, Any] = {"path": "a.png", "label": "tampered", "mask": {"bytes": None, "path": "m.png"}}
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")
    assert [sample.mask for sample in open_data(tmp_path / "m.jsonl")] == [tmp_path / "m.png"]
    (tmp_path / "m.jsonl").write_text(json.dumps(row | {"mask": [1, 2, 3, 4]}) + "\n")
    with pytest.raises(UsageError, match=r"m\.jsonl:1: the mask is a list"):
        list(open_data(tmp_path / "m.jsonl"))


def shard(path: Path, names: list[str] | None, labels: list[int]) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(
        [{"image": {"bytes": png(WHITE.astype(np.uint8)), "path": None}, "label": label} for label in labels]
    )
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if names else {}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_each_shard_goes_by_its_own_label_names(tmp_path: Path) -> None:
    for number, names in enumerate((["real", "tampered"], ["tampered", "full_synthetic", "real"])):
        shard(tmp_path / f"train-{number:05d}-of-00002.parquet", names, [0, 1])
    labels = [sample.label for sample in open_data(tmp_path)]
    assert labels == [Label.REAL, Label.TAMPERED, Label.TAMPERED, Label.FULL_SYNTHETIC]


def test_a_shard_without_names_does_not_borrow_those_of_another(tmp_path: Path) -> None:
    shard(tmp_path / "train-00000-of-00002.parquet", ["real", "tampered"], [0])
    shard(tmp_path / "train-00001-of-00002.parquet", None, [0])
    with pytest.raises(UsageError, match="without names"):
        list(open_data(tmp_path))


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


PICTURE, MASK = png(WHITE.astype(np.uint8)), CLEAR["8 bit 0 and 255"]


def test_a_webdataset_is_read_with_its_masks_texts_and_splits(tmp_path: Path) -> None:
    archive(tmp_path / "train-000000.tar", {
        "a/0001.jpg": PICTURE, "a/0001.json": b'{"label": "tampered", "generator": "g", "group": "x"}',
        "a/0001.mask.png": MASK, "a/0002.png": PICTURE, "a/0002.cls": b"real\n", "a/0002.txt": b"A dog.",
    })  # fmt: skip
    archive(tmp_path / "test-000000.tar", {"a/1.webp": PICTURE, "a/1.json": b'{"label": "full_synthetic"}'})
    samples = {sample.path.as_posix(): sample for sample in open_data(tmp_path)}
    assert list(samples) == ["test-000000.tar#a/1", "train-000000.tar#a/0001", "train-000000.tar#a/0002"]
    first, second = list(samples.values())[1:]
    reading = first.load()[1]
    assert reading is not None
    assert (reading.pixels == TRUTH).all()
    assert (first.generator, first.group, first.split) == ("g", "x", "train")
    assert (second.label, second.description, second.mask) == (Label.REAL, "A dog.", None)
    assert len(list(open_data(tmp_path, split="test"))) == 1
    assert len(list(open_data(f"hf:{tmp_path}"))) == 3


@pytest.mark.parametrize(
    "members, refusal",
    [
        ({"real/a.jpg": PICTURE, "fake/b.jpg": PICTURE}, "no WebDataset"),
        ({"notes.txt": b"nothing"}, "no WebDataset"),
        ({"1.jpg": PICTURE, "1.cls": b"0"}, "without names"),
        ({"1.jpg": PICTURE, "1.png": MASK, "1.cls": b"real"}, r"KEY\.mask\.png"),
        ({"1.jpg": PICTURE, "1.json": b"[1]"}, "no JSON object"),
    ],
    ids=["archive", "texts", "numbers", "two pictures", "list"],
)
def test_a_tar_file_of_another_kind_is_refused_without_talk_of_a_network(
    tmp_path: Path, members: dict[str, bytes], refusal: str
) -> None:
    with pytest.raises(UsageError, match=refusal) as caught:
        list(open_data(archive(tmp_path / "a.tar", members)))
    assert "network" not in str(caught.value)


def test_a_tar_file_that_breaks_off_is_named(tmp_path: Path) -> None:
    whole = archive(
        tmp_path / "a.tar", {"1.jpg": PICTURE, "1.cls": b"real", "2.jpg": PICTURE * 20, "2.cls": b"real"}
    )
    whole.write_bytes(whole.read_bytes()[:4000])
    data = open_data(whole)
    assert len(list(data)) <= 1
    (reason,) = data.left_out
    assert reason.startswith("shard that cannot be read: a.tar")
