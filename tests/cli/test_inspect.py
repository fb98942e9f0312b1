"""`pixelsleuth inspect`: findings as text and records, bad files beside good ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelsleuth.cli.main import main
from pixelsleuth.errors import OutputError
from pixelsleuth.evidence.enhancers import NAMES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a generated picture, one that says nothing, and a file that is no picture."""
    info = PngInfo()
    info.add_text("parameters", "a <b>fox</b>\x1b[31m\nSteps: 20, Sampler: Euler a, Seed: 1, Model: foxes")
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png", pnginfo=info)
    Image.new("RGB", (32, 32)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_text("no picture")
    return tmp_path


def test_text_names_the_generator_and_promises_nothing(folder: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(folder)])
    assert result.exit_code == 1
    assert "wholly generated: Stable Diffusion web UI with the model foxes" in " ".join(result.output.split())
    assert "That means nothing" in result.output
    assert "\x1b" not in result.output


@pytest.mark.parametrize("style", ["json", "jsonl"])
def test_records_hold_every_file_and_each_failure(folder: Path, style: str) -> None:
    result = CliRunner().invoke(main, ["inspect", str(folder), "--format", style])
    lines = result.output.splitlines()
    records = json.loads(result.output) if style == "json" else [json.loads(line) for line in lines]
    assert [record["schema"] for record in records] == ["pixelsleuth.evidence/1"] * 3
    assert records[0]["evidence"][0]["strength"] == "declares"
    assert records[1]["evidence"] == []
    assert records[2]["error"]["code"] == "not_a_picture"


def test_wrong_usage_is_status_2() -> None:
    assert CliRunner().invoke(main, ["inspect"]).exit_code == 2


def test_pictures_to_look_at_lie_side_by_side_under_safe_names(folder: Path, tmp_path: Path) -> None:
    (folder / "sub").mkdir()
    Image.new("RGB", (40, 32), "red").save(folder / "sub" / "a b;$(x).png")
    Image.new("RGB", (40, 32), "blue").save(folder / "sub" / "a.png")
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["inspect", str(folder), "--enhance", str(out), "--format", "jsonl"])
    assert result.exit_code == 1  # c.png is no picture; the others are drawn
    assert "Pictures to look at of 4 files" in result.stderr
    assert all(json.loads(line) for line in result.stdout.splitlines())
    names = [path.name for path in out.iterdir()]
    assert len(names) == 4 * len(NAMES)
    for name in NAMES:
        (path,) = out.glob(f"a_b_x-*.{name}.look.png")
        assert max(Image.open(path).size) in (40, 1023)  # the sheet of ghosts is enlarged
        assert len(list(out.glob(f"a-*.{name}.look.png"))) == 2


def test_pictures_to_look_at_need_the_pixels_and_a_folder(folder: Path) -> None:
    both = CliRunner().invoke(main, ["inspect", str(folder), "--enhance", str(folder / "x"), "--fast"])
    assert (both.exit_code, (folder / "x").exists()) == (2, False)
    assert "--fast" in both.output
    file = CliRunner().invoke(main, ["inspect", str(folder), "--enhance", str(folder / "c.png")])
    assert file.exit_code == 2
    missing = CliRunner().invoke(main, ["inspect", str(folder), "--enhance", str(folder / "no" / "x")])
    assert missing.exit_code == 2
    assert "--enhance" in missing.output


def test_a_folder_that_takes_no_more_costs_the_pictures_to_look_at_and_no_finding(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutputError("The disk is full.")

    monkeypatch.setattr("pixelsleuth.checking.enhanced_folder.write_bytes", full)
    result = CliRunner().invoke(main, ["inspect", str(folder), "--enhance", str(folder / "out")])
    assert result.exit_code == 2
    assert result.stderr.count("The disk is full.") == 1
    assert "foxes" in result.stdout
    assert "That means nothing" in result.stdout


def test_the_report_of_inspect_shows_findings_and_pictures_to_look_at(cli, pictures, tmp_path):
    (pictures / "broken.png").write_bytes((pictures / "real.png").read_bytes()[:300])
    result = cli("inspect", pictures, "--report", tmp_path / "page.html")
    assert result.exit_code == 1
    page = (tmp_path / "page.html").read_text("utf-8")
    judged = len(list(pictures.glob("*.*")))
    assert page.count('<article class="card"') == judged
    assert "is cut off" in page
    assert page.count("To look at, no finding") == judged - page.count("were not read")
    assert result.stdout.count("SynthID and other closed watermarks cannot be checked here.") == 1
    assert f"Page: {tmp_path / 'page.html'}" in " ".join(result.stderr.split())


def test_a_report_of_inspect_replaces_no_file_of_others(cli, pictures, tmp_path):
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    result = cli("inspect", pictures, "--report", tmp_path / "notes.txt")
    assert result.exit_code == 2
    assert (tmp_path / "notes.txt").read_text("utf-8") == "mine"
