"""Baselines from the command line: weights, options, what is said where one is missing or wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from pixelsleuth.errors import UsageError
from pixelsleuth.models.baselines import pscc_net
from pixelsleuth.models.baselines.dinov2 import Dinov2
from pixelsleuth.models.baselines.pscc_net import PsccNet
from pixelsleuth.models.facts import FACTS
from pixelsleuth.models.registry import options_of, weights_of


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, no_plots: None) -> None:
    """A frame of 64 pixels where PSCC-Net's has 256, and no plots."""
    monkeypatch.setattr(pscc_net, "SIDE", 64)


@pytest.fixture
def cli() -> Callable[..., Result]:
    from pixelsleuth.cli.main import main

    return lambda *arguments: CliRunner().invoke(main, [str(word) for word in arguments])


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "one.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 52, 3), np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def pscc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the three published files."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pscc")
    state = PsccNet().state_dict()
    for file, part in (("HRNet", "backbone"), ("NLCDetection", "masks"), ("DetectionHead", "head")):
        kept = {f"module.{k.partition('.')[2]}": v for k, v in state.items() if k.startswith(f"{part}.")}
        torch.save(kept, folder / f"{file}.pth")
    return folder


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder's folder with the heads beside it."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dinov2")
    tiny = Dinov2Config(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14
    )
    encoder = Dinov2Model(tiny)
    encoder.save_pretrained(folder)
    save_file(Dinov2(encoder).learnt(), folder / "heads.safetensors")
    return folder


def test_check_takes_weights_and_options(cli: Callable[..., Result], picture: Path, pscc: Path) -> None:
    arguments = ("check", picture, "--model", "pscc_net", "--weights", pscc, "--format", "json")
    native, squeezed = cli(*arguments), cli(*arguments, "--option", "input=resize256")
    assert native.exit_code == squeezed.exit_code == 0, native.output
    (first,), (second,) = json.loads(native.stdout), json.loads(squeezed.stdout)
    assert first["model"]["name"] == second["model"]["name"] == "pscc_net"
    assert first["model"]["version"] != second["model"]["version"]
    assert first["probabilities"]["full_synthetic"] == 0


def test_an_encoder_is_named_as_an_option(cli: Callable[..., Result], picture: Path, dinov2: Path) -> None:
    arguments = ("check", picture, "--model", "dinov2", "--weights", dinov2 / "heads.safetensors")
    result = cli(*arguments, "--option", f"encoder={dinov2}", "--format", "json")
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    assert all(value > 0 for value in record["probabilities"].values())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures each of two classes, and their manifest."""
    data = tmp_path_factory.mktemp("data")
    for label in ("real", "full_synthetic"):
        (data / label).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((30 + i, 40, 3), 90 + i, np.uint8)).save(data / label / f"{i}.png")
    rows = "path,split,label\n" + "".join(
        f"{x.relative_to(data)},e,{x.parent.name}\n" for x in sorted(data.rglob("*.png"))
    )
    (data / "manifest.csv").write_text(rows)
    return data / "manifest.csv"


def test_evaluate_takes_weights_by_name(
    cli: Callable[..., Result], data: Path, pscc: Path, dinov2: Path, tmp_path: Path
) -> None:
    arguments = ["evaluate", "--data", data, "--out", tmp_path / "out", "--no-audit", "-q"]
    arguments += ["--model", "pscc_net", "--weights", f"pscc_net={pscc}", "--resamples", "10"]
    arguments += ["--model", "dinov2", "--weights", f"dinov2={dinov2 / 'heads.safetensors'}"]
    result = cli(*arguments, "--option", f"dinov2:encoder={dinov2}")
    assert result.exit_code == 0, result.output
    measured = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [entry["name"] for entry in measured["models"]] == ["pscc_net", "dinov2"]


def test_a_table_runs_what_it_finds_and_names_the_rest(
    cli: Callable[..., Result], pscc: Path, data: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "pscc_net").symlink_to(pscc)
    shipped = Path(__file__).resolve().parents[3] / "recipes" / "tables" / "sida_table3.yaml"
    recipe = tmp_path / "table.yaml"
    recipe.write_text(shipped.read_text("utf-8").replace("  sida-7b: SIDA-7B\n", ""))  # no hub here
    arguments = [
        "evaluate",
        "--recipe",
        recipe,
        "--data",
        data,
        "--weights",
        weights,
        "--out",
        tmp_path / "out",
    ]
    result = cli(*arguments, "--no-audit", "--resamples", "10", "--option", "pscc_net:input=resize256")
    assert result.exit_code == 0, result.output
    assert "PSCC-Net" in result.stdout
    assert re.search(r"Left out: mvss_net. MVSS-Net needs --weights", result.stdout)
    table = json.loads((tmp_path / "out" / "metrics.json").read_text())["table"]
    kinds = [(row["kind"], row["of"]) for row in table["rows"] if "of" in row]
    assert kinds.count(("measured", "PSCC-Net")) == 1
    assert ("left out", "LISA-7B-v1") in kinds
    of_pscc = [row["kind"] for row in table["rows"] if "PSCC-Net" in (row["method"], row.get("of"))]
    assert of_pscc == ["published", "measured"]
    assert "needs --weights" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_a_table_without_any_weights_says_what_it_needs(
    cli: Callable[..., Result], data: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "table.yaml"
    recipe.write_text("title: t\nprotocol: sida_tables\nmodels: {cnnspot: CnnSpot, npr: NPR}\n")
    result = cli("evaluate", "--recipe", recipe, "--data", data, "--out", tmp_path / "out", "-q")
    assert result.exit_code == 2
    assert "No detector of the table can be loaded; CnnSpot needs --weights" in result.stderr


def test_lisas_folder_is_its_weights(cli: Callable[..., Result], shared: Path) -> None:
    folder = shared / "parity/baselines"
    result = cli(
        "check", folder / "images/0.png", "--model", "lisa", "--weights", folder / "lisa", "--format", "json"
    )
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    assert record["label"] == "tampered"
    assert record["regions"]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("--model", "mvss_net"), r"needs --weights \(mvssnet_casia.pt\); where to get them"),
        (("--model", "pscc_net"), r"models get pscc_net`, or .* \(a folder with HRNet.pth, NLCDetection.pth"),
        (("--model", "trufor", "--weights", "nowhere.pth"), "There is nothing at nowhere.pth"),
        (("--model", "pscc_net", "--weights", "{pscc}", "--option", "inputs=x"), "did you mean input"),
        (("--model", "pscc_net", "--weights", "{pscc}", "--option", "input"), "write KEY=VALUE"),
        (
            ("--model", "hifi_net", "--weights", "{pscc}"),
            r"does not fit HiFi-Net: .* it is a checkpoint of PSCC-Net \(--model pscc_net\)",
        ),
        (("--model", "trufor", "--weights", "{picture}"), "one.png (needs pickle|is truncated)"),
        (("--model", "compact", "--weights", "{pscc}"), "takes no --weights"),
    ],
)
def test_what_is_missing_or_wrong_is_told_in_one_sentence(
    cli: Callable[..., Result], picture: Path, pscc: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    named = [word.format(pscc=pscc, picture=picture) for word in arguments]
    result = cli("check", picture, *named)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    with pytest.raises(UsageError, match=sentence):
        raise UsageError(" ".join((result.output + str(result.exception or "")).split()))


def test_models_lists_source_licence_files_and_options(cli: Callable[..., Result]) -> None:
    known = {entry["name"]: entry for entry in json.loads(cli("models", "--format", "json").stdout)}
    assert set(FACTS) <= set(known)
    for name, facts in FACTS.items():
        assert known[name]["files"] == list(facts.files)
        assert known[name]["licence"]
        assert known[name]["weights"]
    shown = cli("models").stdout
    assert "mvssnet_casia.pt" in shown
    assert "planes=bgr|rgb" in shown


def test_parameters_are_as_many_as_said() -> None:
    from pixelsleuth.models.baselines import hifi_net, mvss_net, pscc_net, trufor

    with torch.device("meta"):
        for made in (hifi_net.HifiNet, mvss_net.MvssNet, pscc_net.PsccNet, trufor.TruFor):
            network = made()
            assert sum(p.numel() for p in network.parameters()) == network.facts.parameters


def test_several_models_need_names_before_their_weights() -> None:
    with pytest.raises(UsageError, match="name a folder, or say whose it is"):
        weights_of(["a", "b"], ["file"])
    assert options_of(["a"], ["b:c=d"]) == {"a": {"b:c": "d"}}
