"""`summarise` of a file of `check`, exports for Label Studio and FiftyOne, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scale_tools import write_pictures

from pixelsleuth.cli.main import main
from pixelsleuth.core import brush
from pixelsleuth.core.region import Region
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.data.readers import open_data
from pixelsleuth.errors import CorruptPicture
from pixelsleuth.scale.labelstudio import address_of

MODEL = {"name": "made-up", "version": "1"}


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def mask_of(width: int, height: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[5:20, 10:30] = True
    return mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures, and verdicts.jsonl of them: tampered with a mask, real, inconclusive, not judged; one line is torn."""
    pictures = tmp_path / "my pictures"
    pictures.mkdir()
    for name, side in (("a.png", 40), ("b.png", 50), ("c.png", 60)):
        Image.new("RGB", (side, 30), (side, 9, 9)).save(pictures / name)
    lines = [
        verdict(pictures / "a.png", 40, Label.TAMPERED, mask=mask_of(40, 30)).to_json(),
        verdict(pictures / "b.png", 50, Label.REAL).to_json(),
        '{"schema": "pixelsleuth.verdict/1", "source": ',
        verdict(pictures / "c.png", 60, Label.TAMPERED, inconclusive=True, mask=mask_of(60, 30)).to_json(),
        Verdict.failed("d.png", CorruptPicture("d.png is torn."), MODEL).to_json(),
    ]
    (tmp_path / "verdicts.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def verdict(path: Path, width: int, label: Label, **more: Any) -> Verdict:
    shares = dict.fromkeys(Label, 0.1) | {label: 0.8}
    where = [Region((10, 5, 30, 20), 300, 0.9)] if more.get("mask") is not None else []
    return Verdict(
        str(path), "0" * 64, width, 30, label, 0.8, shares, regions=where, model=MODEL,
        explanation="Noise differs.", decision={"sentence": "made up"}, **more,
    )  # fmt: skip


def test_a_file_of_check_is_counted_and_exported_as_a_scan_is(folder: Path) -> None:
    status, out, errors = run(
        "summarise", folder / "verdicts.jsonl", "--format", "json", "--export", folder / "again.jsonl",
        "--export", folder / "masks.json", "--report", folder / "page.html",
    )  # fmt: skip
    assert status == 1  # a line was left out
    counts = json.loads(out)["counts"]
    assert {name: count for name, count in counts.items() if count} == {
        "tampered": 1, "real": 1, "inconclusive": 1, "failed": 1,
    }  # fmt: skip
    assert "row 2, which is left out" in errors
    whole = [line for line in (folder / "verdicts.jsonl").read_text().splitlines() if line.endswith("}")]
    assert [json.loads(line) for line in (folder / "again.jsonl").read_text().splitlines()] == list(
        map(json.loads, whole)
    )
    coco = json.loads((folder / "masks.json").read_text())
    assert [entry["image_id"] for entry in coco["annotations"]] == [0]
    assert (
        "changed since it was judged" in (folder / "page.html").read_text()
    )  # the made-up digest is another's


def test_masks_that_check_saved_as_files_are_found_beside_the_records(folder: Path) -> None:
    (folder / "masks").mkdir()
    Image.fromarray(mask_of(40, 30).astype("uint8") * 255).save(folder / "masks" / "a.png")
    records = folder / "verdicts.jsonl"
    first, *_ = records.read_text().splitlines()
    record = json.loads(first) | {"mask": {"file": "masks/a.png", "area": 300}}
    records.write_text(
        json.dumps(record) + "\n" + json.dumps(record | {"mask": {"file": "gone.png", "area": 1}}) + "\n"
    )
    status, _, errors = run("summarise", records, "--export", folder / "masks.json")
    assert status == 1
    assert "lacks the mask of line 2" in errors
    (annotation,) = json.loads((folder / "masks.json").read_text())["annotations"]
    assert (annotation["bbox"], annotation["area"]) == ([10, 5, 20, 15], 300)


HUGE = {"rle": {"size": [10**9, 10**9], "counts": [0, 10**18]}, "area": 1}
HOSTILE: tuple[dict[str, Any], ...] = (
    {"mask": "all"}, {"mask": {}}, {"mask": {"rle": 3, "area": 1}}, {"mask": {"rle": {"size": [1, 1], "counts": "1"}}},
    {"mask": HUGE, "width": 10**9, "height": 10**9}, {"width": "wide"}, {"width": 0}, {"confidence": "high"},
    {"confidence": 7}, {"probabilities": None}, {"label": "fake"}, {"regions": "none"}, {"regions": [{"box": [1, 2]}]},
    {"metadata": 5}, {"source": None}, {"evidence": float("inf")}, {"error": 5}, {"model": []}, {"heatmap": "x"},
)  # fmt: skip


@pytest.mark.parametrize("wrong", HOSTILE, ids=str)
def test_a_hostile_record_costs_only_itself(folder: Path, wrong: dict[str, Any]) -> None:
    records = folder / "verdicts.jsonl"
    first, second, *_ = records.read_text().splitlines()
    records.write_text(f"{second}\n{json.dumps(json.loads(first) | wrong)}\n")
    status, _, errors = run(
        "summarise", records, "--export", folder / "h.labelstudio.json", "--export", folder / "h.fiftyone",
        "--export", folder / "h.csv", "--export", folder / "h.jsonl", "--export", folder / "h.json", "--no-pictures",
        "--report", folder / "h.html",
    )  # fmt: skip
    assert status in (0, 1), errors
    tasks = json.loads((folder / "h.labelstudio.json").read_text())
    samples = json.loads((folder / "h.fiftyone" / "samples.json").read_text())["samples"]
    assert tasks[0]["data"]["source"] == samples[0]["filepath"] == json.loads(second)["source"]
    assert status == 1 or len(tasks) == len(samples) == 2


@pytest.mark.parametrize("content", ["", "[]\n", "a,b\n1,2\n", '{"schema": "other"}\n'])
def test_a_file_that_holds_no_verdicts_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "other.jsonl").write_text(content)
    status, _, errors = run("summarise", tmp_path / "other.jsonl")
    assert status == 2
    assert "holds no verdict records" in errors


@pytest.fixture
def tasks(folder: Path) -> list[dict[str, Any]]:
    status, _, errors = run(
        "summarise", folder / "verdicts.jsonl", "--export", folder / "all.labelstudio.json", "--root", folder
    )
    assert status == 1, errors
    return json.loads((folder / "all.labelstudio.json").read_text())


def test_label_studios_tasks_hold_class_mask_and_boxes_in_its_own_units(
    tasks: list[dict[str, Any]], folder: Path
) -> None:
    tampered, real, unsure = tasks  # the picture that could not be judged cannot be reviewed
    assert tampered["data"]["image"] == "/data/local-files/?d=my%20pictures/a.png"
    assert tampered["data"]["verdict"] == "tampered, 80%"
    assert unsure["data"]["verdict"] == "inconclusive (tampered, 80%)"
    assert unsure["predictions"][0]["result"] == []
    assert [region["value"] for region in real["predictions"][0]["result"]] == [{"choices": ["real"]}]
    (prediction,) = tampered["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("made-up 1", 0.8)
    label, mask, box = prediction["result"]
    assert label["value"] == {"choices": ["tampered"]}
    assert (mask["original_width"], mask["original_height"], mask["image_rotation"]) == (40, 30, 0)
    assert (brush.decode(mask["value"]["rle"], 40, 30) == mask_of(40, 30)).all()
    assert {key: box["value"][key] for key in ("x", "y", "width", "height")} == {
        "x": 25.0, "y": pytest.approx(100 / 6), "width": 50.0, "height": 50.0,
    }  # fmt: skip
    # Every region names a control of the configuration, and a label that this control has.
    config = ElementTree.parse(folder / "all.labelstudio.xml")
    for region in prediction["result"]:
        control = config.find(f".//*[@name='{region['from_name']}']")
        assert control is not None
        assert control.tag.lower() == region["type"]
        assert control.get("toName") == region["to_name"] == "image"
        assert {child.get("value") for child in control} >= set(region["value"][region["type"]])
    assert {node.get("value") for node in config.iter() if str(node.get("value")).startswith("$")} == {
        f"${name}" for name in ("verdict", "image", "explanation")
    }


def test_a_picture_outside_of_what_label_studio_serves_is_left_out(folder: Path) -> None:
    status, _, errors = run(
        "summarise",
        folder / "verdicts.jsonl",
        "--export",
        folder / "x.labelstudio.json",
        "--root",
        folder / "b",
    )
    assert status == 1
    assert "3 pictures outside" in errors
    assert json.loads((folder / "x.labelstudio.json").read_text()) == []
    assert address_of("s3://bucket/a.png", "/", Path("/")) == "s3://bucket/a.png"


def annotated(task: dict[str, Any], *results: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The task as Label Studio exports it after people annotated it."""
    annotations = [{"result": result, "was_cancelled": False} | more for result in results]
    return task | {"id": 7, "annotations": annotations}


def test_what_people_corrected_is_read_as_labels_and_masks(tasks: list[dict[str, Any]], folder: Path) -> None:
    label, mask, box = tasks[0]["predictions"][0]["result"]
    other = mask | {"value": mask["value"] | {"rle": brush.encode(np.flipud(mask_of(40, 30)))}}
    real = label | {"value": {"choices": ["real"]}}
    project = [
        annotated(tasks[0], [real], [label, mask, other, box]),  # the later one counts
        annotated(tasks[1], [label | {"value": {"choices": ["full_synthetic"]}}]),
        annotated(tasks[2], [label], was_cancelled=True),
        annotated(tasks[2], [mask]),
        annotated({"data": {"image": "https://example.org/a.png"}}, [label]),
        annotated({"data": {"image": "/data/local-files/?d=../../etc/passwd"}}, [label]),
        annotated(tasks[0], [label, mask | {"original_width": 41}]),
    ]
    (folder / "project.json").write_text(json.dumps(project))
    data = open_data(folder / "project.json")
    samples = list(data)
    assert data.spec.name == "labelstudio"
    assert [(sample.path.name, str(sample.label)) for sample in samples] == [
        ("a.png", "tampered"),
        ("b.png", "full_synthetic"),
    ]
    _, reading = samples[0].load()
    assert reading is not None
    assert (reading.pixels == (mask_of(40, 30) | np.flipud(mask_of(40, 30)))).all()
    assert samples[0].extra["verdict"] == "tampered, 80%"
    assert data.left_out == {
        "task without an annotation": 1,
        "task without a class": 1,
        "picture that Label Studio does not serve from a folder": 1,
        "path outside the folder of the set": 1,
        "task with a damaged mask": 1,
    }
    (folder / "elsewhere").mkdir()
    moved = (folder / "project.json").rename(folder / "elsewhere" / "project.json")
    assert len(list(open_data(moved, root=str(folder)))) == 2


def test_fiftyones_folder_holds_samples_with_relative_boxes_and_masks(folder: Path) -> None:
    target = folder / "all.fiftyone"
    status, _, _ = run("summarise", folder / "verdicts.jsonl", "--export", target)
    assert status == 1
    samples = json.loads((target / "samples.json").read_text())["samples"]
    assert "version" not in json.loads(
        (target / "metadata.json").read_text()
    )  # with one, FiftyOne expects its data base's form
    tampered, real, unsure = samples
    assert tampered["filepath"] == str(folder / "my pictures" / "a.png")
    assert tampered["verdict"] == {"_cls": "Classification", "label": "tampered", "confidence": 0.8}
    (box,) = tampered["regions"]["detections"]
    assert box["bounding_box"] == pytest.approx([0.25, 1 / 6, 0.5, 0.5])
    with Image.open(target / tampered["mask"]["mask_path"]) as mask:
        assert ((np.asarray(mask) == 255) == mask_of(40, 30)).all()
    assert "mask" not in real
    assert "mask" not in unsure
    assert (unsure["tags"], unsure["regions"]["detections"]) == (["inconclusive"], [])
    assert run("summarise", folder / "verdicts.jsonl", "--export", target)[0] == 1  # ours is replaced
    (folder / "mine.fiftyone").mkdir()
    (folder / "mine.fiftyone" / "thesis.txt").touch()
    status, _, errors = run("summarise", folder / "verdicts.jsonl", "--export", folder / "mine.fiftyone")
    assert status == 2
    assert "holds other files" in errors


def test_a_scan_is_exported_in_the_same_forms(tmp_path: Path, scan: Callable[..., int]) -> None:
    write_pictures(tmp_path / "in", 6)
    assert scan(tmp_path / "in", tmp_path / "out") == 0
    status, _, errors = run("summarise", tmp_path / "out", "--export", tmp_path / "s.labelstudio.json",
                            "--export", tmp_path / "s.fiftyone", "--export", tmp_path / "s.jsonl")  # fmt: skip
    assert status == 0, errors
    records = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    samples = json.loads((tmp_path / "s.fiftyone" / "samples.json").read_text())["samples"]
    tasks = json.loads((tmp_path / "s.labelstudio.json").read_text())
    judged = [record for record in records if record["error"] is None]
    assert len(judged) == len(samples) == len(tasks) > 0
    assert [sample["sha256"] for sample in samples] == [record["sha256"] for record in judged]
    assert all(Path(sample["filepath"]).is_file() for sample in samples)
