"""The recipe of the bundled weights, shortened: every stage runs, and what comes out is a detector."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pixelsleuth
from pixelsleuth.core.settings import read_yaml
from pixelsleuth.forge.autoencoders import FILES, Autoencoder
from pixelsleuth.models.backbones.efficientnet import Lite
from pixelsleuth.training.compact.pipeline import stages_of

RECIPE = Path(__file__).resolve().parents[2] / "recipes/compact.yaml"
SHORT = {
    "aligned_count": 2,
    "local_steps": 2,
    "repeat_steps": 2,
    "draws": 2,
    "features_count": 16,
    "mask_steps": 2,
    "fold_steps": 2,
    "steps": 2,
    "judged": 2,
    "forged": 6,
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


def run_as_command(module: str) -> None:
    """`python -m module`, in this process: sixteen interpreters that import torch would take minutes."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as end:
        if end.code:
            raise AssertionError(f"{module} ended with status {end.code}") from end


@pytest.mark.slow
def test_the_recipe_makes_a_detector_from_pictures_alone(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    torch.save(Lite().state_dict(), tmp_path / "lite.pth")
    model = Autoencoder()
    for name, part in zip(FILES, (model.encoder, model.decoder), strict=True):
        torch.save(part.state_dict(), tmp_path / name)
    given = {"data": f"[{corpus}]", "lite": tmp_path / "lite.pth", "taef2": tmp_path, "out": tmp_path / "run"}
    given |= {"start": "none", "sources": "none"}
    content = read_yaml(RECIPE, [f"{key}={value}" for key, value in (given | SHORT).items()])
    for stage in stages_of(content):
        monkeypatch.setattr(sys, "argv", [stage.module, *stage.arguments])
        run_as_command(stage.module)
        assert stage.makes.exists(), stage.title
    detector = pixelsleuth.load(str(tmp_path / "run/onnx"), device="cpu")
    verdict = detector.check(corpus.parent / "4.png")
    assert verdict.ok
    assert verdict.heatmap is not None
    assert (tmp_path / "run/onnx/decision.json").is_file()
