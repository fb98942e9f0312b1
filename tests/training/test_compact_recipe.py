"""The recipe of the bundled weights: stages run in order, skip what is done, stop at a failure, and make a detector."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pixelsleuth
from pixelsleuth.core.settings import read_yaml
from pixelsleuth.errors import StageError, UsageError
from pixelsleuth.forge.autoencoders import FILES, Autoencoder
from pixelsleuth.models.backbones.efficientnet import Lite
from pixelsleuth.training.compact.all_stages import plan, run, stages_of
from pixelsleuth.training.compact.settings import read_recipe

RECIPE = Path(__file__).resolve().parents[2] / "recipes/compact.yaml"
SHORT = {
    "aligned.count": 2,
    "local.steps": 2,
    "repeat.steps": 2,
    "whole.draws": 2,
    "features.count": 16,
    "masks.steps": 2,
    "folds.steps": 2,
    "language.steps": 2,
    "scores.pictures": 2,
    "scores.forged": 6,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of 230 px: two real sources, two generated, one tampered."""
    folder, random = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    rows = ["path,split,label,mask,source,group"]
    for index, source in enumerate(["garden", "street", "drawn", "painted", "pasted"] * 4):
        label = {"drawn": "full_synthetic", "painted": "full_synthetic", "pasted": "tampered"}.get(
            source, "real"
        )
        noise = Image.fromarray(random.integers(0, 255, (23, 23, 3), dtype=np.uint8))
        noise.resize((230, 230), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
        mask = ""
        if label == "tampered":
            mask = f"{index}-mask.png"
            area = np.zeros((230, 230), np.uint8)
            area[60:150, 60:150] = 255
            Image.fromarray(area).save(folder / mask)
        rows.append(f"{index}.png,train,{label},{mask},{source},g{index}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def overrides(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a shortened recipe needs: the corpus, weights drawn at random, few steps."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(Lite().state_dict(), folder / "lite.pth")
    model = Autoencoder()
    for name, part in zip(FILES, (model.encoder, model.decoder), strict=True):
        torch.save(part.state_dict(), folder / name)
    paths = {"data": f"[{corpus}]", "lite": folder / "lite.pth", "taef2": folder}
    settings = paths | {"start": "none", "sources": "none"} | SHORT
    return [f"{key}={value}" for key, value in settings.items()]


@pytest.mark.slow
def test_the_recipe_makes_a_detector_from_pictures_alone(
    corpus: Path, overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two threads that wait for one busy core cost more than what they compute here.
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    content = read_yaml(RECIPE, [*overrides, f"out={tmp_path / 'run'}"])
    assert run(content) == tmp_path / "run/onnx"
    assert all(stage.makes.exists() for stage in stages_of(read_recipe(content)))
    detector = pixelsleuth.load(str(tmp_path / "run/onnx"), device="cpu")
    verdict = detector.check(corpus.parent / "4.png")
    assert verdict.ok
    assert verdict.heatmap is not None
    assert (tmp_path / "run/onnx/decision.json").is_file()


def test_done_stages_are_skipped_and_a_failure_stops(
    overrides: list[str], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    content = read_yaml(RECIPE, [*overrides, f"out={tmp_path}", f"taef2={tmp_path / 'nowhere'}"])
    for _ in range(2):
        with pytest.raises(StageError, match=r"Stage 2 \(aligned\) failed: .* lacks taef2_encoder.pth"):
            run(content)
    assert capfd.readouterr().err.splitlines() == [
        "[1/16] cache",
        "[2/16] aligned",
        "[1/16] cache: done before",
        "[2/16] aligned",
    ]
    assert plan(content).splitlines()[:2] == ["done   cache", "to do  aligned"]
    (tmp_path / "local").mkdir()
    (tmp_path / "local/finished").touch()
    assert "done   local" in plan(content)


@pytest.mark.parametrize(
    "override, message",
    [
        ("dtaa=x", "no setting dtaa; did you mean data"),
        ("local.stpes=3", "no setting local.stpes; did you mean local.steps"),
        ("local.steps=many", "local.steps is 'many'"),
        ("local.steps=0", "local.steps is 0: it must be at least 1"),
        ("data=", "names no data: add data=... to the command"),
        ("fusion=glue", "fusion is 'glue'"),
    ],
)
def test_settings_that_are_wrong_or_lacking_are_refused(tmp_path: Path, override: str, message: str) -> None:
    paths = ("data=[m.csv, n.csv]", "lite=lite0.pth", "taef2=taef2", "start=none", f"out={tmp_path}")
    assert read_recipe(read_yaml(RECIPE, paths)).data == ("m.csv", "n.csv")
    with pytest.raises(UsageError, match=message):
        plan(read_yaml(RECIPE, [*paths, override]))
