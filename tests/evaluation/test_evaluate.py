"""`pixelsleuth evaluate` and `compare` as a user runs them: figures that can be recomputed, runs that can be killed."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from pixelsleuth.core import rle
from pixelsleuth.evaluation.judging import map_name

sk = pytest.importorskip("sklearn.metrics")
pytest.importorskip("cv2")

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["real", "full_synthetic", "tampered"]
QUICK = ("--resamples", "20", "--no-audit")
Cli = Callable[..., Result]


def read_manifest(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def metrics(folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((folder / "metrics.json").read_text("utf-8"))
    return figures


def rows(folder: Path, condition: str = "clean") -> list[dict[str, Any]]:
    lines = (folder / "predictions.jsonl").read_text("utf-8").splitlines()[1:]
    return [row for row in map(json.loads, lines) if row["condition"] == condition]


def evaluate(cli: Cli, data: Path, out: Path, *more: object) -> Result:
    result = cli(
        "evaluate", "--model", "fake", "--data", data, "--split", "eval", "--out", out, *QUICK, *more
    )
    assert result.exit_code in (0, 1), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_figures_equal_those_that_scikit_learn_computes_from_the_files(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    evaluate(cli, data, tmp_path, "--save-maps", "--perturb", "rotate:90", "--perturb", "jpeg:70")
    model = metrics(tmp_path)["models"][0]
    for condition in ("clean", "rotate:90", "jpeg:70"):
        lines = rows(tmp_path, condition)
        figures = {k: v["value"] for k, v in model["conditions"][condition]["figures"].items()}
        truth = np.array([NAMES.index(row["label"]) for row in lines])
        p = np.array([row["probabilities"] for row in lines])
        predicted = p.argmax(1)
        assert figures["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted), abs=1e-6)
        assert figures["balanced_accuracy"] == pytest.approx(
            sk.balanced_accuracy_score(truth, predicted), abs=1e-6
        )
        assert figures["macro_f1"] == pytest.approx(sk.f1_score(truth, predicted, average="macro"), abs=1e-6)
        assert figures["auroc"] == pytest.approx(sk.roc_auc_score(truth > 0, 1 - p[:, 0]), abs=1e-6)
        theirs = sk.average_precision_score(truth > 0, 1 - p[:, 0])
        assert figures["average_precision"] == pytest.approx(theirs, abs=1e-6)
        pixel: dict[str, list[float]] = {"f1": [], "iou": [], "auc": []}
        alarms = []
        for row in lines:
            levels = np.asarray(Image.open(tmp_path / "maps" / map_name(row)))
            marked = rle.decode(row["mask"])
            assert np.array_equal(marked, levels >= 128)
            if row["label"] == "tampered":
                mask = np.asarray(Image.open(data.parent / f"mask-{row['path'].split('-')[1]}")) > 127
                mask = np.rot90(mask) if condition == "rotate:90" else mask
                pixel["f1"].append(sk.f1_score(mask.ravel(), marked.ravel(), zero_division=0))
                pixel["iou"].append(sk.jaccard_score(mask.ravel(), marked.ravel(), zero_division=0))
                pixel["auc"].append(sk.roc_auc_score(mask.ravel(), levels.ravel()))
            elif row["label"] == "real":
                alarms.append(marked.mean())
        for name, values in pixel.items():
            assert figures[f"pixel_{name}"] == pytest.approx(np.mean(values), abs=1e-6)
        assert figures["false_alarm_area"] == pytest.approx(np.mean(alarms), abs=1e-6)
        assert model["conditions"][condition]["confusion"] == sk.confusion_matrix(truth, predicted).tolist()
    assert figures["pixel_f1"] > 0.3  # the stand-in finds paint: a test of zeros would prove nothing


def test_the_five_main_figures_are_printed_and_are_those_of_the_file(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    names = ("Balanced accuracy", "Macro F1", "AUROC fake / real", "Pixel F1", "Pixel IoU")
    keys = ("balanced_accuracy", "macro_f1", "auroc", "pixel_f1", "pixel_iou")
    for more in (
        (),
        tuple(word for spec in ("jpeg:70", "noise:5", "rotate:90") for word in ("--perturb", spec)),
    ):
        result = evaluate(cli, data, tmp_path, *more)
        for condition, outcome in metrics(tmp_path)["models"][0]["conditions"].items():
            assert condition in result.stdout
            for key in keys:
                assert f"{outcome['figures'][key]['value']:.3f}" in result.stdout
        assert all(word in result.stdout for name in names for word in name.split())
        assert max(map(len, result.stdout.splitlines())) <= 100 + len(str(tmp_path))
    assert "95 % interval" not in evaluate(cli, data, tmp_path, "-q").stdout


def test_a_killed_run_goes_on_to_the_same_bytes(cli: Cli, data: Path, tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        words = ["evaluate", "--model", "eval_detectors:load", "--data", str(data), "--out", str(out)]
        return [*words, "--perturb", "jpeg:70", "--perturb", "noise:5", "--batch-size", "4", *QUICK, "-q"]

    assert cli(*command(tmp_path / "whole")).exit_code == 0
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests" / "fakes")])
    variables = {**os.environ, "PYTHONPATH": paths, "PIXELSLEUTH_TEST_DIE_AFTER": "31"}
    killed = [sys.executable, "-m", "pixelsleuth", *command(tmp_path / "killed")]
    assert subprocess.run(killed, env=variables, capture_output=True, timeout=120).returncode == 9
    log = tmp_path / "killed" / "predictions.jsonl"
    before = log.read_text("utf-8")
    assert not (tmp_path / "killed" / "metrics.json").exists()
    assert 1 < before.count("\n") < 73
    log.write_text(before + '{"model": "fake", "torn', "utf-8")  # a line that was cut off in the middle
    assert cli(*command(tmp_path / "killed")).exit_code == 0
    assert log.read_text("utf-8").startswith(before)
    whole, resumed = (tmp_path / name / "metrics.json" for name in ("whole", "killed"))
    assert whole.read_bytes() == resumed.read_bytes()


def test_models_and_perturbations_may_be_added_and_nothing_is_judged_twice(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    evaluate(cli, data, tmp_path)
    first = (tmp_path / "predictions.jsonl").read_bytes()
    evaluate(cli, data, tmp_path, "--model", "other", "--perturb", "resize:0.5")
    assert (tmp_path / "predictions.jsonl").read_bytes().startswith(first)
    assert len(rows(tmp_path)) == 48
    assert len(rows(tmp_path, "resize:0.5")) == 48
    result = metrics(tmp_path)
    assert [model["name"] for model in result["models"]] == ["fake", "other"]
    difference = result["differences"][0]["figures"]["accuracy"]
    values = [model["conditions"]["clean"]["figures"]["accuracy"]["value"] for model in result["models"]]
    assert difference["difference"] == pytest.approx(values[1] - values[0], abs=1e-5)
    assert difference["low"] <= difference["difference"] <= difference["high"]


def test_compare_gives_paired_differences_of_two_folders(cli: Cli, data: Path, tmp_path: Path) -> None:
    evaluate(cli, data, tmp_path / "a")
    result = cli(
        "evaluate", "--model", "other", "--data", data, "--split", "eval", "--out", tmp_path / "b", *QUICK
    )
    assert result.exit_code == 0, result.output
    result = cli("compare", tmp_path / "a", tmp_path / "b", "--format", "json", "--resamples", "20")
    assert result.exit_code == 0, result.output
    (pair,) = json.loads(result.output)["differences"]
    assert pair["pictures"] == 24
    assert pair["figures"]["ece"]["first"] != pair["figures"]["ece"]["second"]
    assert "accuracy" in cli("compare", tmp_path / "a", tmp_path / "b", "--resamples", "20").output
    evaluate(cli, data, tmp_path / "c", "--raw")
    refused = cli("compare", tmp_path / "a", tmp_path / "c", "--resamples", "20")
    assert refused.exit_code == 2
    assert "equalise" in refused.output


def test_bad_pictures_are_counted_named_and_the_rest_goes_on(cli: Cli, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data.parent, folder)
    rows = read_manifest(folder / "manifest.csv")
    (folder / rows[0]["path"]).write_bytes(b"no picture")
    (folder / rows[1]["path"]).unlink()
    fault = np.asarray(Image.open(folder / rows[3]["path"])).copy()
    fault[0, 0] = (1, 2, 3)
    Image.fromarray(fault).save(folder / rows[3]["path"])
    small = Image.open(folder / rows[2]["mask"]).resize((48, 30))
    small.save(folder / rows[2]["mask"])
    rows[5]["mask"] = ""
    (folder / rows[8]["mask"]).write_bytes(b"\x89PNG broken")
    write_manifest(folder / "manifest.csv", rows)
    result = evaluate(cli, folder / "manifest.csv", tmp_path / "out", "--raw")
    assert result.exit_code == 1
    clean = metrics(tmp_path / "out")["models"][0]["conditions"]["clean"]
    assert clean["not_judged"]["count"] == 4
    codes = {entry["path"]: entry["code"] for entry in clean["not_judged"]["listed"]}
    assert codes == {rows[0]["path"]: "not_a_picture", rows[1]["path"]: "picture_not_found",
                     rows[3]["path"]: "internal_error", rows[8]["path"]: "corrupt_picture"}  # fmt: skip
    assert clean["masks"]["resized"] == 1
    assert clean["masks"]["tampered_without_mask"] == 1
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert all(path in page for path in codes)
    assert clean["pictures"] == 20


def test_a_class_that_is_missing_and_a_detector_without_masks_are_told(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    rows = [row for row in read_manifest(data) if row["label"] != "full_synthetic"]
    manifest = data.parent / "two.csv"
    write_manifest(manifest, rows)
    result = cli("evaluate", "--model", "blind", "--data", manifest, "--out", tmp_path, *QUICK)
    assert result.exit_code == 0, result.output
    model = metrics(tmp_path)["models"][0]
    clean = model["conditions"]["clean"]
    assert clean["missing_classes"] == ["full_synthetic"]
    assert clean["figures"]["auroc_full_synthetic"]["value"] is None
    assert clean["figures"]["recall_full_synthetic"]["value"] is None
    assert clean["figures"]["auroc"]["value"] is not None
    assert "pixel_f1" not in clean["figures"]
    assert any("Draws no masks" in note for note in model["notes"])
    manifest.unlink()


def test_what_cannot_be_run_is_refused_in_one_sentence(cli: Cli, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for arguments, sentence in (
        (["--perturb", "blurr:2"], "no perturbation 'blurr'"),
        (["--protocol", "mine"], "no protocol 'mine'"),
        (["--split", "nowhere"], "nowhere"),
        (["--model", "nobody"], "no model 'nobody'"),
        (["--recipe", tmp_path / "none.yaml"], "is not a file"),
    ):
        result = cli("evaluate", "--model", "fake", "--data", data, "--out", out, *arguments)
        assert result.exit_code == 2, arguments
        assert sentence in result.output
        assert "Traceback" not in result.output
    assert cli("evaluate", "--out", out).exit_code == 2
    evaluate(cli, data, out)
    refused = cli("evaluate", "--model", "fake", "--data", data, "--split", "eval", "--out", out, "--raw")
    assert refused.exit_code == 2
    assert "another evaluation" in refused.output


def test_without_opencv_evaluate_says_what_to_install_before_it_judges(
    cli: Cli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelsleuth.evaluation.run.find_spec", lambda name: None)
    result = cli("evaluate", "--model", "fake", "--data", data, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.strip().endswith("run in a clone of PixelSleuth: pip install '.[eval]'")
    assert not (tmp_path / "out").exists()


def test_a_limit_draws_evenly_from_the_classes_and_always_the_same(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    evaluate(cli, data, tmp_path, "--limit", "7")
    drawn = [(row["label"], row["path"]) for row in rows(tmp_path)]
    assert sorted(label for label, _ in drawn).count("real") == 3
    assert len(drawn) == 7
    evaluate(cli, data, tmp_path / "again", "--limit", "7")
    assert drawn == [(row["label"], row["path"]) for row in rows(tmp_path / "again")]


def test_the_page_is_whole_and_asks_for_nothing(
    cli: Cli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import re

    from pixelsleuth.evaluation.report import metrics_page as page_module
    from pixelsleuth.evaluation.report.curves import plots_of

    pytest.importorskip("matplotlib")
    monkeypatch.setattr(page_module, "plots_of", plots_of)
    evaluate(cli, data, tmp_path, "--perturb", "jpeg:70")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.rstrip().endswith("</html>")
    assert not re.search(r"(?:src|href|srcset)=\"(?!data:|explorer\.html\")", page)
    assert "<script" not in page
    assert page.count("data:image/svg+xml") == 12
    assert "style=" not in page
    for heading in ("Balanced accuracy", "By source", "Worst localized", "jpeg:70", "Confusion matrix"):
        assert heading in page


def box_overlap(reported: list[int] | None, true: list[int]) -> float:
    """Overlap of two boxes by counting pixels; 0 where none was told."""
    if reported is None:
        return 0.0
    first, second = (
        {(x, y) for x in range(x0, x1) for y in range(y0, y1)} for x0, y0, x1, y1 in (reported, true)
    )
    return len(first & second) / len(first | second)


@pytest.mark.parametrize("protocol", ["sida", "fakevlm", "so_fake", "imdl"])
def test_every_protocol_adds_its_own_figures_under_its_own_names(
    cli: Cli, data: Path, tmp_path: Path, protocol: str
) -> None:
    evaluate(cli, data, tmp_path, "--protocol", protocol)
    result = metrics(tmp_path)
    figures = {k: v["value"] for k, v in result["models"][0]["conditions"]["clean"]["figures"].items()}
    assert result["protocol"]["name"] == protocol
    assert set(result["protocol"]["own"]) <= set(figures)
    lines = rows(tmp_path)
    if protocol == "sida":
        acc, ciou = figures["sida_accuracy"], figures["sida_ciou"]
        assert figures["sida_f1"] == pytest.approx(2 * acc * ciou / (acc + ciou), abs=1e-5)
        assert figures["sida_pixel_accuracy"] == pytest.approx(100 * ciou, abs=1e-3)
        truth, predicted = ([NAMES.index(row[key]) for row in lines] for key in ("label", "predicted"))
        product = sk.precision_score(truth, predicted, average="macro", zero_division=0) * sk.recall_score(
            truth, predicted, average="macro"
        )
        assert figures["sida_auc"] == pytest.approx(product, abs=1e-5)
        assert "free-running" in result["models"][0]["notes"][0]
    if protocol == "fakevlm":
        unparsable = [
            ("real" not in row["explanation"]) and ("fake" not in row["explanation"]) for row in lines
        ]
        assert figures["fakevlm_unparsable"] == pytest.approx(np.mean(unparsable), abs=1e-6)
        assert 0 < figures["fakevlm_unparsable"] < 1
        right = ["real" in row["explanation"] and row["label"] == "real" for row in lines]
        assert figures["fakevlm_acc"] == pytest.approx(np.mean(right), abs=1e-6)
    if protocol == "so_fake":
        tampered = [row for row in lines if row["label"] == "tampered"]
        assert all(("boxes" in row) == (row in tampered) for row in lines)
        overlaps = []
        for row in tampered:
            i = int(row["path"].rpartition("-")[2].removesuffix(".png"))
            assert row["boxes"]["true"] == [20, 10, 50 + i, 40]
            overlaps.append(box_overlap(row["boxes"]["told"], row["boxes"]["true"]))
        assert figures["so_fake_box_iou"] == pytest.approx(np.mean(overlaps), abs=1e-6)
        assert 0 < figures["so_fake_box_iou"] < 1
    if protocol == "imdl":
        assert {row["label"] for row in lines} == {"tampered"}
        assert "accuracy" not in figures


def test_the_true_answer_is_given_only_where_the_protocol_says_so(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    for protocol, accuracy in (("sida", 1.0), ("so_fake", None)):
        out = tmp_path / protocol
        result = cli("evaluate", "--model", "eval_detectors:load_forced", "--data", data, "--out", out, *QUICK,
                     "--protocol", protocol)  # fmt: skip
        assert result.exit_code == 0, result.output
        value = metrics(out)["models"][0]["conditions"]["clean"]["figures"]["accuracy"]["value"]
        assert value == accuracy if accuracy else value < 1


def test_equalising_leaves_no_trace_of_the_container(data: Path) -> None:
    from pixelsleuth.data.equalise import equalise
    from pixelsleuth.evaluation.pictures import choose, load
    from pixelsleuth.evaluation.protocols import get_protocol

    standard, raw = get_protocol("standard"), get_protocol("so_fake")
    for _, sample in list(choose(str(data), standard))[:3]:
        plain = np.asarray(Image.open(sample.path).convert("RGB"))
        assert np.array_equal(load(sample, raw).picture.pixels, plain)
        assert np.array_equal(load(sample, standard).picture.pixels, equalise(plain))


def test_the_audit_of_the_same_data_stands_in_the_result(
    cli: Cli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixelsleuth.evaluation.audit import auditing

    manifest = data.parent / "apart.csv"
    rows = [{**row, "group": "", "source": ""} for row in read_manifest(data)]
    write_manifest(manifest, rows)
    evaluate(cli, manifest, tmp_path)
    assert "skipped" in metrics(tmp_path)["audit"]
    monkeypatch.setattr(auditing, "FEWEST", 10)
    command = ["evaluate", "--model", "fake", "--data", manifest, "--split", "eval", "--out", tmp_path]
    result = cli(*command, "--resamples", "20")
    assert result.exit_code == 0, result.output
    audit = metrics(tmp_path)["audit"]
    assert audit["headers"]["pictures"] == 24
    assert audit["text"]["auroc"] is None
    assert "thumbnails" in (tmp_path / "report.html").read_text("utf-8")
    manifest.unlink()
