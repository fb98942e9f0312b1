"""The example of docs/how-to/add-a-detector.md is a detector: one file, which trains, checks and is evaluated."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
NAME = "residue:Residue"
SETTINGS = ("equalise=off", "batch=6", "steps=40", "optimiser.learning_rate=2e-2")


def page_code() -> str:
    """The page's Python block."""
    page = (ROOT / "docs" / "how-to" / "add-a-detector.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    return code


@pytest.fixture
def cli() -> Callable[..., Result]:
    from pixelsleuth.cli.main import main

    return lambda *arguments: CliRunner().invoke(main, [str(word) for word in arguments])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's Python block as a file that can be imported."""
    (tmp_path / "residue.py").write_text(page_code(), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("residue", None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Smooth pictures are real, noisy ones fake."""
    random, rows = np.random.default_rng(0), ["path,split,label,mask"]
    for i in range(18):
        label = ("real", "full_synthetic", "tampered")[i % 3]
        noise = random.integers(0, 200, (80, 90, 3)) if i % 3 else 0
        Image.fromarray((np.full((80, 90, 3), 20) + noise).astype(np.uint8)).save(tmp_path / f"{i}.png")
        mask = f"m{i}.png" if label == "tampered" else ""
        if mask:
            Image.fromarray(np.full((80, 90), 255, np.uint8)).save(tmp_path / mask)
        rows.append(f"{i}.png,{'train' if i < 12 else 'eval'},{label},{mask}")
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_page_trains_checks_and_evaluates(
    cli: Callable[..., Result], module: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    recipe = ROOT / "recipes" / "baselines" / "common.yaml"
    trained = cli("train", recipe, f"baseline={NAME}", f"data={data}", f"out={out}", *SETTINGS)
    assert trained.exit_code == 0, trained.output
    losses = [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.3 < losses[0]
    weights = out / "model" / "weights.safetensors"
    checked = cli(
        "check",
        tmp_path / "12.png",
        tmp_path / "13.png",
        "--model",
        NAME,
        "--weights",
        weights,
        "--format",
        "json",
    )
    assert checked.exit_code == 0, checked.output
    assert [record["label"] for record in json.loads(checked.stdout)] == ["real", "full_synthetic"]
    arguments = [
        "--data",
        data,
        "--split",
        "eval",
        "--no-audit",
        "--resamples",
        "10",
        "-q",
        "--out",
        tmp_path / "e",
    ]
    measured = cli("evaluate", "--model", NAME, "--weights", f"{NAME}={weights}", *arguments, "--raw")
    assert measured.exit_code == 0, measured.output
    (model,) = json.loads((tmp_path / "e" / "metrics.json").read_text())["models"]
    assert model["name"] == "residue"
    assert model["conditions"]["clean"]["figures"]["auroc"]["value"] == 1.0


IN_ONE_PROCESS = """
import json, sys
from click.testing import CliRunner
from pixelsleuth.cli.main import main
results = [CliRunner().invoke(main, words) for words in json.loads(sys.argv[1])]
print(json.dumps([[result.exit_code, result.stdout, result.output] for result in results]))
"""
"""Runs commands one after the other, so that torch is imported once."""


@pytest.mark.thorough  # copies the package and trains in it
def test_one_file_in_the_package_is_all_that_a_new_baseline_needs(data: Path, tmp_path: Path) -> None:
    """In a copy of the package: listed without torch, trained, and loaded with its weights."""
    package = tmp_path / "copy" / "pixelsleuth"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "pixelsleuth", package, ignore=ignore, copy_function=os.symlink)
    (package / "models" / "baselines" / "residue.py").write_text(page_code(), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(package.parent), "PIXELSLEUTH_HOME": str(tmp_path / "home")}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    models = json.loads(run("-m", "pixelsleuth", "models", "--format", "json"))
    (listed,) = (model for model in models if model["name"] == "residue")
    assert listed["parameters"] == 2_493
    recipe = ROOT / "recipes" / "baselines" / "common.yaml"
    weights = tmp_path / "run" / "model" / "weights.safetensors"
    commands = [
        ["train", str(recipe), "baseline=residue", f"data={data}", "out=run", *SETTINGS],
        ["check", "12.png", "13.png", "--model", "residue", "--weights", str(weights), "--format", "json"],
        ["check", "13.png", "--model", "run/model", "--format", "json"],
    ]
    results = json.loads(run("-c", IN_ONE_PROCESS, json.dumps(commands)))
    assert [code for code, _, _ in results] == [0, 0, 0], results
    assert [record["label"] for record in json.loads(results[1][1])] == ["real", "full_synthetic"]
    assert json.loads(results[2][1])[0]["label"] != "real"


def test_its_size_is_what_its_facts_say(module: Path) -> None:
    from pixelsleuth.models.baseline import baseline_class

    network = baseline_class(NAME)(side="128")
    assert sum(weights.numel() for weights in network.parameters()) == network.facts.parameters


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("residue:Residual", "no model|is no Baseline"),
        ("nowhere_to_be_found:Residue", "There is no model .* `python -m pixelsleuth`, in the folder"),
    ],
)
def test_what_is_not_there_is_said(
    cli: Callable[..., Result], module: Path, data: Path, name: str, sentence: str
) -> None:
    result = cli("check", module / "0.png", "--model", name)
    assert result.exit_code == 2
    assert re.search(sentence, result.stderr)
    trained = cli(
        "train", ROOT / "recipes/baselines/common.yaml", f"baseline={name}", f"data={data}", f"out={module}/o"
    )
    assert trained.exit_code == 2
    assert re.search("no Baseline|no baseline", trained.stderr)


def test_without_weights_it_says_what_it_needs(cli: Callable[..., Result], module: Path, data: Path) -> None:
    result = cli("check", module / "0.png", "--model", NAME)
    assert result.exit_code == 2
    assert "Residue needs --weights (weights.safetensors)" in result.stderr
