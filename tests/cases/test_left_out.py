"""No row of a manifest is lost without a word: six commands count the same, for the same reasons, and say so."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pixelsleuth.data.left_out import ABSENT, EMPTY_MASK, NO_PICTURE, OUTSIDE, UNREADABLE
from pixelsleuth.data.readers import open_data

pytest.importorskip("cv2")

ROOT = Path(__file__).resolve().parents[2]
LOST = {OUTSIDE: 3, NO_PICTURE: 1, ABSENT: 1, UNREADABLE: 1}
"""What `manifest` loses: an absolute path, one with `..`, one through a linked folder; an empty cell; two bad files."""


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detectors for tests, and no plots, which take seconds a report."""
    from pixelsleuth.evaluation.report import metrics_page as page

    monkeypatch.syspath_prepend(str(ROOT / "tests" / "fakes"))
    monkeypatch.setattr(page, "plots_of", lambda result: [])


def picture(path: Path, seed: int, paint: bool = False) -> str:
    """A small picture; with `paint` a magenta patch that the stand-in finds. Returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(60, 200, (48, 64, 3), dtype=np.uint8)
    if paint:
        pixels[8:32, 8:40] = (255, 0, 255)
    Image.fromarray(pixels).save(path)
    return path.name


def mask(path: Path, marked: bool = True, level: int = 255) -> str:
    pixels = np.zeros((48, 64), np.uint8)
    pixels[8:32, 8:40] = level * marked
    Image.fromarray(pixels).save(path)
    return path.name


def write(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("path", "label", "mask", "split", "group"))
        writer.writerows((*row, "train", f"g{i}") for i, row in enumerate(rows))
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Six good rows, two a class, and six real ones that are lost."""
    folder = tmp_path / "set"
    rows = [(picture(folder / f"{label}{i}.png", i + 10 * n, label == "tampered"), label,
             mask(folder / f"m{i}.png") if label == "tampered" else "")
            for n, label in enumerate(("real", "full_synthetic", "tampered")) for i in range(2)]  # fmt: skip
    picture(tmp_path / "elsewhere" / "a.png", 90)
    picture(tmp_path / "elsewhere" / "b.png", 91)
    picture(tmp_path / "elsewhere" / "c.png", 92)
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    lost = (
        str(tmp_path / "elsewhere" / "a.png"),
        "../elsewhere/b.png",
        "linked/c.png",
        "",
        "gone.png",
        "broken.png",
    )
    return write(folder / "manifest.csv", [*rows, *((name, "real", "") for name in lost)])


def run(*arguments: object) -> Result:
    from pixelsleuth.cli.main import main

    result = CliRunner().invoke(main, [str(entry) for entry in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def evaluate(manifest: Path, out: Path, *more: object, model: str = "eval_detectors:load") -> Result:
    return run("evaluate", "--model", model, "--data", manifest, "--out", out, "--resamples", "10", "--no-audit",
               "-q", *more)  # fmt: skip


def metrics(out: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((out / "metrics.json").read_text("utf-8"))
    return result


def test_evaluate_counts_by_reason_everywhere_and_ends_with_1(manifest: Path, tmp_path: Path) -> None:
    result = evaluate(manifest, tmp_path / "out")
    assert result.exit_code == 1
    told = metrics(tmp_path / "out")["data"]["left_out"]
    assert told["reasons"] == LOST
    assert told["count"] == 6
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    for reason, count in LOST.items():
        assert f"{count} x {reason}" in result.stderr
        assert f"{count} x {reason}" in page
    assert "--allow-outside" in result.stderr


def test_audit_counts_the_same_and_ends_with_1(manifest: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    result = run("audit", manifest, "--out", tmp_path / "out", "--no-equalise")
    assert result.exit_code == 1
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["left_out"]["reasons"] == LOST
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert all(f"{count} x {reason}" in result.stderr for reason, count in LOST.items())
    assert all(f"{count} x {reason}" in page for reason, count in LOST.items())


def test_verify_counts_the_same_and_ends_with_1(manifest: Path) -> None:
    result = run("datasets", "verify", manifest, "--format", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["not_usable"]["reasons"] == LOST
    assert all(f"{count} x {reason}" in result.stderr for reason, count in LOST.items())


def test_the_cache_of_a_training_counts_the_same(manifest: Path, tmp_path: Path) -> None:
    from pixelsleuth.data.picture_cache import build_cache, load_cache

    assert build_cache([manifest], tmp_path / "cache") == LOST
    assert len(load_cache(tmp_path / "cache")) == 6


def test_train_counts_before_it_begins_what_needs_no_decoding(manifest: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from pixelsleuth.training.run.data import gather
    from pixelsleuth.training.sida.settings import read_settings
    from pixelsleuth.training.vlm.training_examples import read_samples

    own = [f"data={manifest}", f"out={tmp_path / 'out'}"]
    material = gather(read_settings(ROOT / "recipes" / "tiny.yaml", own))
    expected = {reason: count for reason, count in LOST.items() if reason != UNREADABLE}
    assert material.left_out == expected
    allowed = gather(read_settings(ROOT / "recipes" / "tiny.yaml", [*own, "allow_outside=true"]))
    assert allowed.left_out == {NO_PICTURE: 1, ABSENT: 1}
    assert len(read_samples(manifest)) == 7  # the broken picture is met when it is drawn


def test_what_train_reads_is_told_on_standard_error(
    manifest: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from pixelsleuth.training.vlm.training_examples import read_samples

    read_samples(manifest)
    assert f"3 x {OUTSIDE}" in capfd.readouterr().err


def test_the_forge_counts_the_same(manifest: Path, tmp_path: Path) -> None:
    from pixelsleuth.forge.configuration import ForgeConfig
    from pixelsleuth.forge.sources import Context, count_unusable, inspect, list_photographs
    from pixelsleuth.forge.stages import attempt, read_rows

    config = ForgeConfig(out=str(tmp_path / "run"), photographs=str(manifest))
    listed, inspected = tmp_path / "listed.jsonl", tmp_path / "inspected.jsonl"
    count, left_out = list_photographs(config, listed)
    context = Context(config, tmp_path)
    rows = [made for row in read_rows(listed) for made in attempt(inspect, row, context)]  # type: ignore[union-attr]
    inspected.write_text("".join(json.dumps(row) + "\n" for row in rows))
    count_unusable(inspected, left_out)
    assert count == 4  # the two good ones, and the two bad files
    assert left_out == LOST


def test_allow_outside_takes_them_and_root_takes_absolute_paths(manifest: Path, tmp_path: Path) -> None:
    data = open_data(manifest, allow_outside=True)
    assert len(list(data)) == 11
    assert data.left_out == {NO_PICTURE: 1}
    result = evaluate(manifest, tmp_path / "out", "--allow-outside")
    assert result.exit_code == 1  # the empty cell and the two bad files stay
    assert metrics(tmp_path / "out")["data"]["left_out"]["reasons"] == {
        NO_PICTURE: 1,
        ABSENT: 1,
        UNREADABLE: 1,
    }
    absolute = write(
        tmp_path / "lists.csv",
        [(str(manifest.parent / f"{label}0.png"), label, "") for label in ("real", "full_synthetic")],
    )
    assert len(list(open_data(absolute))) == 2  # below the manifest's own folder
    deeper = tmp_path / "deep" / "lists.csv"
    deeper.parent.mkdir()
    deeper.write_bytes(absolute.read_bytes())
    assert list(open_data(deeper)) == []
    assert len(list(open_data(deeper, root="/"))) == 2
    assert evaluate(deeper, tmp_path / "root", "--set", "root=/").exit_code == 0


def test_where_every_row_is_lost_the_paths_are_named_and_not_the_protocol(
    manifest: Path, tmp_path: Path
) -> None:
    lost = write(manifest.parent / "lost.csv", [(str(tmp_path / "elsewhere" / "a.png"), "real", "")])
    for result in (
        evaluate(lost, tmp_path / "out"), run("audit", lost, "--out", tmp_path / "audit"),
    ):  # fmt: skip
        assert result.exit_code == 2
        assert f"1 x {OUTSIDE}" in result.stderr
        assert "protocol" not in result.stderr


def test_a_mistyped_class_folder_is_told(tmp_path: Path) -> None:
    for part in ("train", "val"):
        picture(tmp_path / "set" / part / "real" / "a.png", 1)
        picture(tmp_path / "set" / part / "tampered" / "b.png", 2)
        (tmp_path / "set" / part / "masks").mkdir()
        mask(tmp_path / "set" / part / "masks" / "b_mask.png")
        picture(tmp_path / "set" / part / "full_synthtic" / "c.png", 3)
    data = open_data(tmp_path / "set", "folder")
    assert len(list(data)) == 4
    assert data.left_out == {"picture in a folder of no known class": 2}
    data = open_data(tmp_path / "set", "folder", "val")
    assert len(list(data)) == 2
    assert data.left_out.total() == 1


def test_links_to_folders_in_a_folder_of_pictures_are_told_or_followed(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "real" / "a.png", 1)
    picture(tmp_path / "set" / "fake" / "b.png", 2)
    picture(tmp_path / "elsewhere" / "c.png", 3)
    (tmp_path / "set" / "real" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "real" / "round").symlink_to(tmp_path / "set")
    data = open_data(tmp_path / "set")
    assert len(list(data)) == 2
    assert data.left_out.total() == 2
    followed = open_data(tmp_path / "set", allow_outside=True)
    assert [sample.path.name for sample in followed] == ["a.png", "c.png", "b.png"]
    assert not followed.left_out


@pytest.mark.parametrize("level, status", [(255, 0), (0, 1)])
def test_evaluate_ends_with_1_where_no_mask_could_be_used(tmp_path: Path, level: int, status: int) -> None:
    folder = tmp_path / "set"
    rows = [(picture(folder / f"r{i}.png", i), "real", "") for i in range(2)]
    rows += [(picture(folder / f"t{i}.png", i, True), "tampered", mask(folder / f"m{i}.png", level=level))
             for i in range(2)]  # fmt: skip
    data = write(folder / "manifest.csv", rows)
    result = evaluate(data, tmp_path / "out")
    assert result.exit_code == status
    masks = metrics(tmp_path / "out")["models"][0]["conditions"]["clean"]["masks"]
    assert masks["none_usable"] == (status == 1)
    if status:
        assert metrics(tmp_path / "out")["data"]["left_out"]["reasons"] == {EMPTY_MASK: 2}
        assert "no mask of a tampered picture could be used" in result.stderr
        assert "No mask could be used" in (tmp_path / "out" / "report.html").read_text("utf-8")
        blind = evaluate(data, tmp_path / "blind", model="eval_detectors:load_blind")
        assert blind.exit_code == 0  # it draws no masks, so none was to be measured


@pytest.mark.parametrize("kept", ["file", "bytes", "Mask"])
def test_a_protocols_mask_level_holds_wherever_the_mask_is_kept(tmp_path: Path, kept: str) -> None:
    from dataclasses import replace

    from pixelsleuth.core.verdict import Label
    from pixelsleuth.data.masks import Mask
    from pixelsleuth.data.sample import Sample
    from pixelsleuth.evaluation.pictures import load
    from pixelsleuth.evaluation.protocols import get_protocol

    picture(tmp_path / "a.png", 1)
    stored = np.zeros((48, 64), np.uint8)
    stored[:10], stored[10:20] = 255, 200
    Image.fromarray(stored).save(tmp_path / "m.png")
    file = tmp_path / "m.png"
    sample = Sample(tmp_path / "a.png", Label.TAMPERED)
    sample = replace(sample, mask={"file": file, "bytes": file.read_bytes(), "Mask": Mask(file)}[kept])
    for name, rows in (("standard", 20), ("sida", 10)):
        truth = load(sample, get_protocol(name)).mask
        assert truth is not None
        assert truth.sum() == rows * 64


def test_training_alarms_where_the_masks_of_tampered_pictures_mark_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from pixelsleuth.training.run.data import gather
    from pixelsleuth.training.run.feed import Draw, Loader
    from pixelsleuth.training.run.log import WINDOW, Alarms
    from pixelsleuth.training.sida.settings import read_settings

    folder = tmp_path / "set"
    rows = [(picture(folder / f"{label}{i}.png", i), label, mask(folder / f"m{i}.png", marked=i > 0)
             if label == "tampered" else "")
            for label in ("real", "full_synthetic", "tampered") for i in range(2)]  # fmt: skip
    own = [f"data={write(folder / 'm.csv', rows)}", f"out={tmp_path / 'out'}", "equalise=off"]
    config = read_settings(ROOT / "recipes" / "tiny.yaml", own)
    loader, alarms = Loader(gather(config), config), Alarms(masks=True)
    loader.example(Draw(0, 0, 2, 0))
    (text,) = alarms.look_at_masks(1, loader.empty, loader.marked)
    assert text.startswith("1 tampered picture with a mask that marks nothing, such as ")
    assert "so far no mask marks anything" in text
    loader.example(Draw(1, 0, 2, 1))
    assert loader.marked
    assert not alarms.look_at_masks(2 + WINDOW, loader.empty, loader.marked)  # told once, and no more since


@pytest.fixture
def losing_nothing(tmp_path: Path) -> Callable[[], Path]:
    def make() -> Path:
        folder = tmp_path / "good"
        return write(folder / "manifest.csv", [
            (picture(folder / "a.png", 1), "real", "Negative"), (picture(folder / "b.png", 2, True), "tampered",
                                                                 mask(folder / "m.png")),
        ])  # fmt: skip

    return make


def test_where_nothing_is_lost_nothing_is_said(losing_nothing: Callable[[], Path], tmp_path: Path) -> None:
    result = evaluate(losing_nothing(), tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "Left out" not in result.stderr
    assert metrics(tmp_path / "out")["data"]["left_out"] == {"count": 0, "reasons": {}, "examples": {}}


def test_train_tells_what_it_would_leave_out_and_takes_the_option(manifest: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    recipe = ROOT / "recipes" / "baselines" / "npr.yaml"
    own = [f"data={manifest}", f"out={tmp_path / 'out'}", "validation.every=0"]
    plain = run("train", recipe, *own, "--dry-run")
    assert plain.exit_code == 0, plain.output
    assert f"3 x {OUTSIDE}" in plain.output
    assert (
        "Pictures: 3 real" in plain.output
    )  # the two good ones, and the broken one, which only decoding shows
    allowed = run("train", recipe, *own, "--dry-run", "--allow-outside")
    assert "Pictures: 6 real" in allowed.output
    assert OUTSIDE not in allowed.output


def test_names_out_of_a_manifest_cannot_play_with_the_terminal(tmp_path: Path) -> None:
    rows = [{"path": "../\x1b[2J\udce9" + "x" * 5000, "label": "real"}, {"path": "a.png", "label": "real"}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    picture(tmp_path / "a.png", 1)
    result = run("datasets", "verify", tmp_path / "m.jsonl")
    assert result.exit_code == 1
    assert f"1 x {OUTSIDE}" in result.stderr
    assert "\x1b" not in result.stderr + result.stdout
    assert len(result.stderr) < 500
