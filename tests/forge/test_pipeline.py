"""The forge from end to end on photographs: layout, splits, records; killed and resumed it gives the same files."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.errors import UsageError
from pixelsleuth.forge.configuration import ForgeConfig, read_config
from pixelsleuth.forge.pipeline import run_forge
from pixelsleuth.forge.stages import read_rows

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "forge" / "local.yaml"
quiet = {"say": lambda _: None, "quiet": True}


def files_of(folder: Path) -> dict[str, str]:
    """Every file under a folder with its digest, without hidden ones."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    }


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the local recipe that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run_forge(read_config(RECIPE, [f"photographs={photos}", f"out={folder}", "workers=1"]), **quiet)
    return folder


def test_the_layout_is_that_of_sid_set_with_masks_and_descriptions(whole: Path) -> None:
    rows = list(csv.DictReader((whole / "dataset" / "manifest.csv").open()))
    assert {row["label"] for row in rows} == {"real", "tampered"}
    for row in rows:
        image = Image.open(whole / "dataset" / row["path"])
        assert image.format == "JPEG"
        assert not image.getexif()
        assert row["path"].startswith(f"{row['split']}/{row['label']}/")
        assert image.size == (int(row["width"]), int(row["height"]))
        assert bool(row["mask"]) == (row["label"] == "tampered")
        texts = json.loads(
            (whole / "dataset" / row["split"] / "description" / f"{row['label']}_GT.json").read_text()
        )
        assert texts[Path(row["path"]).name] == row["description"]
        if row["mask"]:
            assert row["mask"] == f"{row['split']}/masks/{Path(row['path']).stem}_mask.png"
            mask = np.asarray(Image.open(whole / "dataset" / row["mask"]))
            assert set(np.unique(mask)) == {0, 255}
            assert mask.shape[::-1] == image.size


def test_splits_go_by_group_donors_included_and_classes_are_balanced(whole: Path) -> None:
    rows = list(read_rows(whole / "dataset" / "records.jsonl"))
    side = {row["group"]: row["split"] for row in rows}
    assert all(side[row["group"]] == row["split"] for row in rows)
    split_of = {
        row["id"]: row["split"] for row in read_rows(whole / "photographs.jsonl") if "error" not in row
    }
    assert all(split_of[row["donor"]] == row["split"] for row in rows if "donor" in row)
    for split in set(side.values()):
        labels = [row["label"] for row in rows if row["split"] == split]
        assert labels.count("real") == labels.count("tampered")


def test_the_masks_cover_what_changed_and_the_record_tells_how(whole: Path, photos: Path) -> None:
    for row in read_rows(whole / "edits.jsonl"):
        if "error" in row:
            continue
        before = np.asarray(Image.open(photos / row["path"]).convert("RGB")).astype(int)
        after = np.asarray(Image.open(whole / row["file"])).astype(int)
        given = np.asarray(Image.open(whole / row["masks"]["given"])) > 0
        changed = np.abs(before - after).max(axis=2) > 3
        assert not (changed & ~given).any()
        assert (changed & given).sum() / given.sum() == pytest.approx(row["changed_share"], abs=1e-3)
        assert row["changed_share"] >= 0.15
        assert {
            "sha256",
            "seed",
            "operation",
            "attempt",
            "paste_back",
            "mask_from",
            "traces",
            "licence",
        } <= row.keys()


def test_a_broken_file_and_a_twin_cost_nothing_but_themselves(whole: Path) -> None:
    errors = [row for row in read_rows(whole / "photographs.jsonl") if "error" in row]
    assert [row["path"] for row in errors] == ["broken.jpg"]
    good = [row for row in read_rows(whole / "photographs.jsonl") if "error" not in row]
    assert len(good) == 12
    assert "1 photographs" in (whole / "dataset" / "README.md").read_text()


def test_descriptions_are_true_of_the_mask(whole: Path) -> None:
    from pixelsleuth.compact import grammar

    for row in read_rows(whole / "dataset" / "records.jsonl"):
        if row["label"] == "tampered":
            mask = np.asarray(Image.open(whole / "dataset" / row["mask_path"]))
            assert f"{grammar.place(mask)}, {grammar.size(mask)} of the picture" in row["description"]
            assert row["description"].startswith(("Type: object tampered", "Type: part tampered"))
        else:
            assert row["description"].endswith("The given image is {real} based on above analysis.")


def test_the_set_is_read_by_datasets_without_code(whole: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra data")
    loaded = datasets.load_dataset(str(whole / "dataset"), cache_dir=str(tmp_path))
    with (whole / "dataset" / "manifest.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert sum(len(part) for part in loaded.values()) == len(rows)
    for split, part in loaded.items():
        assert part.features["label"] == datasets.ClassLabel(names=["real", "full_synthetic", "tampered"])
        assert part.features["image"] == part.features["mask"] == datasets.Image()
        for example in part:
            row = rows[example["path"]]
            assert (split, example["label"]) == (row["split"], part.features["label"].str2int(row["label"]))
            for key in ("source", "generator", "tamper", "group", "description", "licence"):
                assert example[key] == row[key]
            assert (example["mask"] is not None) == (row["mask"] != "")


def test_parquet_shards_hold_the_same_files(whole: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra forge")
    rows = [
        row
        for file in sorted((whole / "dataset" / "data").iterdir())
        for row in parquet.read_table(file).to_pylist()
    ]
    records = {row["id"]: row for row in read_rows(whole / "dataset" / "records.jsonl")}
    assert len(rows) == len(records)
    for row in rows:
        record = records[row["img_id"].removeprefix("tampered_")]
        assert row["image"]["bytes"] == (whole / "dataset" / record["path"]).read_bytes()
        assert (row["mask"] is None) == (record["label"] != "tampered")
        assert row["label"] == {"real": 0, "full_synthetic": 1, "tampered": 2}[record["label"]]


def test_headers_tell_nothing_of_the_label(whole: Path) -> None:
    from pixelsleuth.evaluation.audit.headers import FEATURES, GROUPS, header_features

    rows = list(read_rows(whole / "dataset" / "records.jsonl"))
    heads = [header_features((whole / "dataset" / row["path"]).read_bytes(), row["path"]) for row in rows]
    content = {*GROUPS["quantisation tables"], *GROUPS["file size"], "sampling"}
    for name in set(FEATURES) - content:
        assert len({head[name] for head in heads}) == 1, name


def test_a_second_run_does_nothing_and_changes_nothing(whole: Path, photos: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in (whole / "dataset").rglob("*") if file.is_file()}
    lines: list[str] = []
    settings = read_config(RECIPE, [f"photographs={photos}", f"out={whole}", "workers=1"])
    run_forge(settings, say=lines.append, quiet=True)
    assert sum("done before" in line for line in lines) == 7
    assert {
        file: file.stat().st_mtime_ns for file in (whole / "dataset").rglob("*") if file.is_file()
    } == before


def test_processes_beside_each_other_and_other_settings(whole: Path, photos: Path, tmp_path: Path) -> None:
    arguments = [f"photographs={photos}", f"out={tmp_path}"]
    run_forge(read_config(RECIPE, [*arguments, "workers=2"]), **quiet)
    assert files_of(tmp_path / "dataset") == files_of(whole / "dataset")
    run_forge(read_config(RECIPE, [*arguments, "seed=2", "workers=1", "output.names=sid_set"]), **quiet)
    names = files_of(tmp_path / "dataset")
    assert names != files_of(whole / "dataset")
    # SID-Set's public loaders take exactly these suffixes, whatever the bytes are; nothing of the first run is left.
    assert all(name.endswith(".jpg") for name in names if "/real/" in name)
    assert all(name.endswith(".png") for name in names if "/tampered/" in name)


def newest(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # a part that was just renamed
        return 0.0


def test_killed_at_random_moments_and_resumed_it_gives_the_same_files(
    whole: Path, photos: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pixelsleuth", "forge", str(RECIPE),
               f"photographs={photos}", f"out={tmp_path / 'run'}",
               "workers=1", "--quiet"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    moment, killed = random.Random(4), 0
    for _ in range(4):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        # From the first line of work on (python itself takes a while to start), wherever it stands then.
        start = time.time()
        while process.poll() is None and not any(
            newest(file) > start for file in (tmp_path / "run").rglob("*")
        ):
            time.sleep(0.01)
        time.sleep(moment.uniform(0.0, 0.6))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert killed
    assert files_of(tmp_path / "run" / "dataset") == files_of(whole / "dataset")


@pytest.mark.parametrize(
    "setting, message",
    [
        ("sede=3", "did you mean seed"),
        ("edit.paste_bak=hard", r"did you mean edit\.paste_back"),
        ("edit.paste_back=soft", "it may be none, hard, feather"),
        ("workers=many", "a whole number"),
        ("edit=5", "has settings of its own"),
        ("seed", "write key=value"),
        ("output.quality=[90]", "give two JPEG qualities"),
        ("edit.method=inpaint", r"needs edit\.model"),
        ("choices.operations={melt: 1}", "it may be splice, copy-move"),
        ("validation=1.5", "at least 0 and below 1"),
        ("choices.operations={removal: -1}", "at least 0"),
        ("choices.operations={removal: 0}", "a share above 0"),
        ("photographs=", "No photographs were named"),
    ],
)  # fmt: skip
def test_wrong_settings_are_told_before_anything_runs(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_config(RECIPE, ["photographs=somewhere", setting])


def test_every_recipe_is_a_valid_configuration() -> None:
    for recipe in sorted((ROOT / "recipes" / "forge").glob("*.yaml")):
        assert isinstance(read_config(recipe, ["photographs=somewhere"]), ForgeConfig)


def test_lossless_output_and_outlines_of_objects(photos: Path, tmp_path: Path) -> None:
    square = [20, 20, 70, 20, 70, 60, 20, 60]
    outlines = {f"photo-{i:02}.jpg": {"objs": [{"category": "dog", "polygons": [square]}]} for i in range(4)}
    (tmp_path / "objects.json").write_text(json.dumps(outlines))
    arguments = [f"photographs={photos}", f"instances={tmp_path / 'objects.json'}",
                 f"out={tmp_path / 'run'}", "limit=5",
                 "workers=1", "masks.method=polygons", "output.quality=null", "output.parquet=false", "size=crop:64",
                 "choices.operations={local edit: 1}", "descriptions.style=fakeclue"]  # fmt: skip
    run_forge(read_config(RECIPE, arguments), **quiet)
    edits = list(read_rows(tmp_path / "run" / "edits.jsonl"))
    # broken.jpg, and photo-04.jpg, which has no outline, are records with their reasons
    assert sum("error" in row for row in edits) == 1
    rows = list(read_rows(tmp_path / "run" / "dataset" / "records.jsonl"))
    assert {Image.open(tmp_path / "run" / "dataset" / row["path"]).format for row in rows} == {"PNG"}
    assert {(row["width"], row["height"]) for row in rows} == {(64, 64)}
    assert {row["object"] for row in rows if row["label"] == "tampered"} == {"dog"}
    assert all(row["description"].startswith("This is a ") for row in rows)


def test_captions_and_outlines_in_cocos_own_form(photos: Path, tmp_path: Path) -> None:
    from pixelsleuth.forge.sources import list_photographs

    images = [{"id": 7, "file_name": "photo-00.jpg"}]
    (tmp_path / "captions.json").write_text(
        json.dumps({"images": images, "annotations": [{"image_id": 7, "caption": " A dog\non a bench "}]})
    )
    shape = {"image_id": 7, "category_id": 18, "segmentation": [[1, 1, 30, 1, 30, 30]]}
    (tmp_path / "instances.json").write_text(
        json.dumps({"images": images, "annotations": [shape], "categories": [{"id": 18, "name": "dog"}]})
    )
    config = ForgeConfig(photographs=str(photos), captions=str(tmp_path / "captions.json"),
                         instances=str(tmp_path / "instances.json"), licence="CC0")  # fmt: skip
    list_photographs(config, tmp_path / "listed.jsonl")
    row = next(row for row in read_rows(tmp_path / "listed.jsonl") if row["path"] == "photo-00.jpg")
    assert row["caption"] == "A dog on a bench"
    assert row["objects"] == [{"category": "dog", "polygons": [[1, 1, 30, 1, 30, 30]]}]
    assert row["licence"] == "CC0"


def test_of_a_labelled_manifest_only_the_real_pictures_of_the_split_are_forged(
    photos: Path, tmp_path: Path
) -> None:
    from pixelsleuth.forge.sources import list_photographs

    lines = ["path,label,split,group", "photo-00.jpg,real,train,a", "photo-01.jpg,tampered,train,b",
             "photo-02.jpg,real,eval,c"]  # fmt: skip
    (photos / "list.csv").write_text("\n".join(lines))
    config = ForgeConfig(photographs=str(photos / "list.csv"), split="train")
    list_photographs(config, tmp_path / "listed.jsonl")
    (photos / "list.csv").unlink()
    assert [(row["path"], row["group"]) for row in read_rows(tmp_path / "listed.jsonl")] == [
        ("photo-00.jpg", "a")
    ]


def test_autoencoders_make_full_synthetic_pictures_without_any_download(photos: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra forge")

    from pixelsleuth.forge.autoencoders import FILES, Autoencoder

    torch.manual_seed(0)
    (tmp_path / "taef2").mkdir()
    model = Autoencoder()
    for name, part in zip(FILES, (model.encoder, model.decoder), strict=True):
        torch.save(part.state_dict(), tmp_path / "taef2" / name)
    arguments = [f"photographs={photos}", f"out={tmp_path / 'run'}", "limit=5", "workers=1",
                 "synthesis.method=autoencoders",
                 f"synthesis.model={tmp_path / 'taef2'}", "output.parquet=false", "output.balance=false"]  # fmt: skip
    counts = run_forge(read_config(RECIPE, arguments), **quiet)
    assert sum(n for name, n in counts.items() if name.endswith("full_synthetic")) == 4
    rows = list(read_rows(tmp_path / "run" / "dataset" / "records.jsonl"))
    made = [row for row in rows if row["label"] == "full_synthetic"]
    assert all(row["generator"].startswith("autoencoder ") for row in made)
    assert all("{synthetic}" in row["description"] for row in made)
    real = {row["group"]: row for row in rows if row["label"] == "real"}
    assert all(
        (row["width"], row["height"]) == (real[row["group"]]["width"], real[row["group"]]["height"])
        for row in made
    )


def test_a_manifest_that_leads_out_of_its_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "manifest.csv").write_text("path\n../secret.jpg\n")
    config = ForgeConfig(out=str(tmp_path / "run"), photographs=str(tmp_path / "photos" / "manifest.csv"))
    with pytest.raises(UsageError, match="Left out: 1 x path outside the folder"):
        run_forge(config, **quiet)
