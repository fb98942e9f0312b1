"""`pixelsleuth models convert`, as a user types it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra vlm brings torch")
pytest.importorskip("onnx", reason="the extra train brings the exporter")

from pixelsleuth.cli.main import main  # noqa: E402
from pixelsleuth.evaluation import measuring  # noqa: E402
from pixelsleuth.models import convert as conversion  # noqa: E402
from pixelsleuth.models import registry  # noqa: E402
from pixelsleuth.models.baseline import baseline_class  # noqa: E402


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights of NPR, the smallest."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "npr.safetensors"
    save_file(baseline_class("npr")().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four small pictures, half of them called synthetic: a third sets the ranges, eight a class are judged."""
    folder = tmp_path_factory.mktemp("data")
    rows = [("path", "label", "source")]
    for i in range(24):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append((f"{i}.png", "real" if i % 2 else "full_synthetic", f"source{i % 3}"))
    with open(folder / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "manifest.csv"


def test_the_store_gets_the_converted_form_and_the_name_then_means_it(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIXELSLEUTH_HOME", str(tmp_path / "home"))
    result = run("models", "convert", "npr", "--onnx", "--weights", weights)
    assert result.exit_code == 0, result.output
    assert "equal to torch" in result.stdout
    assert "--model npr" in result.stdout
    folder = tmp_path / "home" / "models" / "npr" / "onnx"
    assert list(json.loads((folder / "detector.json").read_text())["weights"]) == ["npr.safetensors"]
    detector = registry.load("npr")
    assert detector.version.endswith(".onnx")
    assert not registry.load("npr", weights=str(weights)).version.endswith(".onnx")


def test_int8_needs_data_to_be_measured_on(weights: Path, tmp_path: Path) -> None:
    result = run(
        "models", "convert", "npr", "--onnx", "--weights", weights, "--out", tmp_path / "x", "--int8"
    )
    assert result.exit_code == 2
    assert "name labelled pictures with --data" in " ".join(result.stderr.split())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("most, kept", [(2.0, "int8"), (-2.0, "fp32")])
def test_int8_is_kept_only_where_it_costs_little(
    most: float, kept: str, weights: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "LARGEST_LOSS", most)
    monkeypatch.setattr(conversion, "CALIBRATION_PICTURES", conversion.LEAST_PICTURES)
    monkeypatch.setattr(measuring, "LEAST_A_CLASS", 8)
    folder = tmp_path / "npr"
    result = run(
        "models", "convert", "npr", "--onnx", "--weights", weights, "--out", folder, "--int8", "--data", manifest
    )  # fmt: skip
    assert result.exit_code == (0 if kept == "int8" else 2), result.output
    assert "balanced accuracy" in result.output
    assert json.loads((folder / "detector.json").read_text())["precision"] == kept
    verdict = registry.load(str(folder)).check(np.zeros((50, 50, 3), np.uint8))
    assert verdict.model["version"].endswith("onnx.int8" if kept == "int8" else ".onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["npr"]


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("npr",), "--onnx"),
        (("nrp", "--onnx"), "did you mean npr?"),
        (("fusing", "--onnx", "--weights", "x"), "cannot become an ONNX graph"),
        (("npr", "--onnx", "--weights", "nowhere.pth"), "nothing at nowhere.pth"),
        (("npr", "--onnx", "--option", "input=other"), "has no input=other"),
    ],
)
def test_a_mistake_is_one_sentence(words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    result = run("models", "convert", *words, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_a_folder_of_something_else_is_not_overwritten(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = run("models", "convert", "npr", "--onnx", "--weights", weights, "--out", tmp_path)
    assert result.exit_code == 2
    assert "name another folder" in " ".join(result.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
