"""`pixelsleuth inspect`: findings as text and records, bad files beside good ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelsleuth.cli.main import main


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
