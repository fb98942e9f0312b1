"""Every baseline from the command line, random weights on disk: `check` judges, `evaluate` measures all at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from pixelsleuth.models.facts import FACTS

LISAS = ("lisa",)
"""Its folder is a whole checkpoint: tested with the golden's, in test_command_line.py."""
NAMES = [name for name in FACTS if name not in LISAS]
VARIANTS = {
    "cnnspot": {"width": "quarter"},
    "commfor": {"size": "224"},
    "dda": {"backbone": "vits14", "input": "first_crop224"},
}


@pytest.fixture(scope="module")
def encoders(
    tmp_path_factory: pytest.TempPathFactory, backbone: Callable[[], Any], clip: Callable[[], Any]
) -> Any:
    """Folders and files of the frozen encoders."""
    from transformers import Dinov2Config, Dinov2Model

    from pixelsleuth.models.backbones.efficientnet import Lite

    root = tmp_path_factory.mktemp("encoders")
    clip().save_pretrained(root / "clip")
    model, words, first_words = backbone()
    for part, place in ((model, ""), (words, ""), (first_words, "qformer_tokenizer")):
        part.save_pretrained(root / "instructblip" / place)
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    Dinov2Model(Dinov2Config(**sizes)).save_pretrained(root / "dinov2")
    torch.save(Lite().state_dict(), root / "lite.pth")
    return {
        "univfd": {"encoder": str(root / "clip")},
        "rine": {"encoder": str(root / "clip")},
        "antifake_prompt": {"backbone": str(root / "instructblip")},
        "dinov2": {"encoder": str(root / "dinov2")},
        "efficientnet_lite": {"encoder": str(root / "lite.pth")},
    }


@pytest.fixture(scope="module")
def arguments(
    encoders: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """For each detector what names its weights and its options to `evaluate`."""
    from pixelsleuth.models.baseline import baseline_class

    folder, weights = tmp_path_factory.mktemp("weights"), {}
    for name in NAMES:
        torch.manual_seed(0)
        options = VARIANTS.get(name, {}) | encoders.get(name, {})
        network = baseline_class(name)(**options)
        save_file({k: v.contiguous() for k, v in network.learnt().items()}, folder / f"{name}.safetensors")
        weights[name] = ["--weights", f"{name}={folder / name}.safetensors"]
        for key, value in options.items():
            weights[name] += ["--option", f"{name}:{key}={value}"]
    return weights


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of each class and their manifest."""
    folder, rows = tmp_path_factory.mktemp("data"), ["path,split,label,mask"]
    for i, label in enumerate(("real", "full_synthetic", "tampered")):
        pixels = np.random.default_rng(i).integers(0, 255, (48, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append(f"{i}.png,eval,{label},{'mask.png' if label == 'tampered' else ''}")
    mask = np.zeros((48, 60), np.uint8)
    mask[10:30, 20:40] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def run(*words: Any) -> Result:
    from pixelsleuth.cli.main import main

    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize("name", NAMES)
def test_check_judges_with_it(arguments: dict[str, list[str]], data: Path, name: str) -> None:
    own = [word.replace(f"{name}=", "", 1).replace(f"{name}:", "", 1) for word in arguments[name]]
    result = run("check", data / "0.png", "--model", name, "--format", "json", *own)
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    assert record["model"]["name"] == name
    assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    other = {"full_synthetic": "tampered", "tampered": "full_synthetic"}[str(FACTS[name].made_for)]
    if name not in ("dinov2", "efficientnet_lite"):  # these tell all three classes apart
        assert record["probabilities"][other] == 0


@pytest.mark.usefixtures("no_plots")
@pytest.mark.thorough  # an evaluation of every detector; check with each of them stays
def test_evaluate_measures_many_at_once(arguments: dict[str, list[str]], data: Path, tmp_path: Path) -> None:
    """All but the localizers, whose evaluation is tested on smaller frames."""
    names = [name for name in NAMES if not FACTS[name].localizes or name == "efficientnet_lite"]
    words = [word for name in names for word in ("--model", name, *arguments[name])]
    arguments = ("--data", data / "manifest.csv", "--out", tmp_path, "--no-audit", "--resamples", "10", "-q")
    result = run("evaluate", *arguments, "--protocol", "sida_tables", *words)
    assert result.exit_code == 0, result.output
    models = {entry["name"]: entry for entry in json.loads((tmp_path / "metrics.json").read_text())["models"]}
    assert list(models) == names
    for name, entry in models.items():
        figures = entry["conditions"]["clean"]["figures"]
        assert figures["sida_tables_acc"]["value"] is not None
        assert ("pixel_f1" in figures) is FACTS[name].localizes
        noted = any("Tells two classes apart" in note for note in entry["notes"])
        assert noted is (name != "efficientnet_lite")
