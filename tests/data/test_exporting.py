"""What `datasets export` writes, `datasets.load_dataset` reads without code, offline; and we read it back."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pixelsleuth.cli.main import main
from pixelsleuth.data.hub_form import TEXTS
from pixelsleuth.data.readers import open_data

datasets = pytest.importorskip("datasets", reason="the extra data brings datasets")
LABELS = ["real", "full_synthetic", "tampered"]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Four pictures in two splits, two with a mask; one lies on its side by its EXIF orientation."""
    draw, folder = np.random.default_rng(3), tmp_path / "set"
    (folder / "p").mkdir(parents=True)
    rows = []
    for i, label in enumerate([*LABELS, "tampered"]):
        path = f"p/{i}.{'jpg' if i % 2 else 'png'}"
        exif = Image.Exif()
        exif[0x0112] = 6 if i == 3 else 1
        Image.fromarray(draw.integers(0, 255, (20 + i, 30, 3), dtype=np.uint8)).save(folder / path, exif=exif)
        mask = f"p/{i}_mask.png" if label == "tampered" else ""
        if mask:
            marked = np.zeros((20 + i, 30), np.uint8)
            marked[3:9, 4 : 11 + i] = 255
            Image.fromarray(marked).save(folder / mask)
        rows.append(
            {"path": path, "label": label, "mask": mask, "source": "s", "generator": "flux" if i == 1 else "",
             "tamper": "splice" if mask else "", "group": f"g{i}", "description": f"d, {i}", "licence": "CC0",
             "split": "train" if i < 3 else "test"}
        )  # fmt: skip
    with (folder / "set.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "set.csv"


def facts(data: Any) -> list[tuple[Any, ...]]:
    """What of each sample must survive, in order of split and group."""
    found = []
    for sample in data:
        picture, mask = sample.load()
        texts = [getattr(sample, key) for key in TEXTS if key not in ("licence", "path")]
        marked = None if mask is None else mask.pixels.tobytes()
        found.append(
            (
                sample.split,
                sample.group,
                sample.label,
                picture.sha256,
                marked,
                *texts,
                sample.extra["licence"],
            )
        )
    return sorted(found, key=lambda row: row[:2])


@pytest.mark.parametrize("form", ["parquet", "imagefolder"])
def test_a_set_goes_through_datasets_and_comes_back(form: str, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, said, errors = run(
        "datasets", "export", manifest, "--out", out, "--format", form, "--licence", "cc0-1.0"
    )
    assert (status, errors) == (0, "")
    assert "4 pictures" in said
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in loaded.items()} == {"train": 3, "test": 1}
    features = loaded["train"].features
    assert features["label"] == datasets.ClassLabel(names=LABELS)
    assert features["image"] == features["mask"] == datasets.Image()
    samples = {sample.group: sample for sample in open_data(manifest)}
    for part in loaded.values():
        for row in part:
            sample = samples[row["group"]]
            picture, mask = sample.load()
            assert LABELS[row["label"]] == sample.label
            assert (np.asarray(row["image"].convert("RGB")) == picture.pixels).all()
            assert (row["mask"] is None) == (mask is None)
            if mask is not None:
                assert ((np.asarray(row["mask"]) == 255) == mask.pixels).all()
            assert [row[key] for key in TEXTS[:5]] == [getattr(sample, key) for key in TEXTS[:5]]
            assert row["licence"] == "CC0"
    back = open_data(out)
    assert back.spec.name == {"parquet": "exported", "imagefolder": "imagefolder"}[form]
    assert facts(back) == facts(open_data(manifest))
    assert [sample.split for sample in open_data(out, split="test")] == ["test"]
    card = (out / "README.md").read_text()
    assert "- cc0-1.0" in card
    assert "| train | tampered | 1 |" in card


@pytest.mark.parametrize("form", ["parquet", "imagefolder"])
def test_a_set_that_changed_is_not_taken_from_the_cache_of_datasets(
    form: str, manifest: Path, tmp_path: Path
) -> None:
    groups = []
    for name in ("g0", "other"):
        manifest.write_text(manifest.read_text().replace("g0", name))
        out = tmp_path / name / "set"  # `datasets` knows a folder by its last name
        out.parent.mkdir()
        assert run("datasets", "export", manifest, "--out", out, "--format", form)[0] == 0
        loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
        groups.append(loaded["group"][0])
    assert groups == ["g0", "other"]


def test_large_sets_are_cut_into_shards(manifest: Path, tmp_path: Path) -> None:
    assert run("datasets", "export", manifest, "--out", tmp_path / "out", "--shard-size", 2)[0] == 0
    assert sorted(path.name for path in (tmp_path / "out" / "data").iterdir()) == [
        "test-00000-of-00001.parquet", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet",
    ]  # fmt: skip
    assert len(facts(open_data(tmp_path / "out"))) == 4


def test_what_cannot_be_read_is_left_out_and_told(manifest: Path, tmp_path: Path) -> None:
    (manifest.parent / "p" / "1.jpg").write_bytes(b"\xff\xd8\xff torn")
    (manifest.parent / "p" / "0.png").unlink()
    status, _, errors = run("datasets", "export", manifest, "--out", tmp_path / "out")
    assert status == 1
    assert "1 x picture that cannot be read, such as 1.jpg" in errors
    assert "1 x picture file that is not there, such as 0.png" in errors
    assert len(facts(open_data(tmp_path / "out"))) == 2


def test_a_folder_with_other_files_is_left_alone(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    status, _, errors = run("datasets", "export", manifest, "--out", tmp_path / "mine")
    assert status == 2
    assert "holds other files" in errors


def test_a_split_that_datasets_cannot_name_is_refused(manifest: Path, tmp_path: Path) -> None:
    manifest.write_text(manifest.read_text().replace(",test", ",../../up"))
    status, _, errors = run("datasets", "export", manifest, "--out", tmp_path / "out")
    assert status == 2
    assert "takes no split named" in errors
    assert not (tmp_path / "out").exists()


def test_an_image_folder_of_others_is_read_from_its_table(manifest: Path) -> None:
    table = manifest.parent / "p" / "metadata.csv"
    table.write_text("file_name,label\n0.png,real\n1.jpg,full_synthetic\n../../up.png,real\n")
    data = open_data(table)
    assert [sample.path.name for sample in data] == ["0.png", "1.jpg"]
    assert data.left_out == {"path outside the folder of the set": 1}
