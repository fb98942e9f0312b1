"""The localizers as detectors: verdicts, wrong checkpoints, `check` and `evaluate` from the command line."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pixelsleuth.cli.main import main
from pixelsleuth.core.detector import Capability
from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models import factories, registry
from pixelsleuth.models.baseline import Baseline, BaselineDetector
from pixelsleuth.models.baselines import hifi_net, mvss_net, pscc_net, trufor
from pixelsleuth.models.baselines.dinov2 import Dinov2
from pixelsleuth.models.sida.lisa import Lisa
from pixelsleuth.models.weights import load_strict
from pixelsleuth.training.run.log import read_log

SMALL = 64
NAMES = ("pscc_net", "mvss_net", "hifi_net", "trufor", "dinov2")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, no_plots: None) -> None:
    for module in (pscc_net, mvss_net, hifi_net):
        monkeypatch.setattr(module, "SIDE", SMALL)


@pytest.fixture(scope="module")
def networks() -> Callable[[str], Baseline]:
    """Networks with random weights, made once."""
    from transformers import Dinov2Config, Dinov2Model

    tiny = Dinov2Config(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14
    )
    makers: dict[str, Callable[[], Baseline]] = {
        "pscc_net": pscc_net.PsccNet,
        "mvss_net": mvss_net.MvssNet,
        "hifi_net": hifi_net.HifiNet,
        "trufor": trufor.TruFor,
        "dinov2": lambda: Dinov2(Dinov2Model(tiny)),
    }
    made: dict[str, Baseline] = {}

    def get(name: str) -> Baseline:
        if name not in made:
            torch.manual_seed(3)
            made[name] = makers[name]().eval()
        return made[name]

    return get


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A manifest of six pictures: two of each class, of several sizes, one of them grey."""
    folder = tmp_path / "data"
    folder.mkdir()
    random = np.random.default_rng(0)
    rows = []
    for i, label in enumerate(("real", "full_synthetic", "tampered") * 2):
        height, width = 48 + 7 * i, 70 - 5 * i
        pixels = random.integers(0, 255, (height, width, 3), np.uint8)
        if i == 0:
            pixels = np.repeat(pixels[..., :1], 3, axis=2)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        mask = ""
        if label == "tampered":
            mask = f"{i}_mask.png"
            drawn = np.zeros((height, width), np.uint8)
            drawn[10:30, 10:30] = 255
            Image.fromarray(drawn).save(folder / mask)
        rows.append({"path": f"{i}.png", "split": "eval", "label": label, "mask": mask, "source": "s"})
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch, networks: Callable[[str], Baseline]) -> None:
    """The networks under names of the command line."""
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    for name in NAMES:
        registry.register(registry.ModelSpec(f"random-{name}", f"random_{name}:load", summary="For tests."))
    monkeypatch.setattr(
        factories, "import_factory",
        lambda target, own: lambda device="cpu": BaselineDetector(networks(target.partition(":")[0][7:])),
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_verdict_fills_real_and_the_class_it_was_made_for(
    name: str, networks: Callable[[str], Baseline]
) -> None:
    detector = BaselineDetector(networks(name))
    assert detector.capabilities == {Capability.DETECT, Capability.LOCALIZE}
    random = np.random.default_rng(1)
    sources = [random.integers(0, 255, size, np.uint8) for size in ((16, 16, 3), (61, 33, 3), (40, 90))]
    for verdict, source in zip(detector.check(sources), sources, strict=True):
        assert verdict.ok, verdict.error
        assert verdict.probabilities is not None
        assert sum(verdict.probabilities.values()) == pytest.approx(1)
        if name != "dinov2":
            assert verdict.probabilities[Label.FULL_SYNTHETIC] == 0
        assert verdict.heatmap is not None
        assert verdict.heatmap.shape == source.shape[:2]
        assert verdict.heatmap.min() >= 0
        assert verdict.heatmap.max() <= 1
        if verdict.mask is not None:
            assert verdict.label is Label.TAMPERED
            assert verdict.mask.shape == source.shape[:2]
        else:
            assert not verdict.regions


def test_check_and_evaluate_from_the_command_line(registered: None, pictures: Path, tmp_path: Path) -> None:
    from pixelsleuth.cli.main import main

    run = CliRunner().invoke
    for name in NAMES:
        result = run(
            main, ["check", str(pictures.parent / "2.png"), "--model", f"random-{name}", "--format", "json"]
        )
        assert result.exit_code == 0, result.output
        (record,) = json.loads(result.stdout)
        assert record["model"]["name"] == name
    arguments = [
        "evaluate",
        "--data",
        str(pictures),
        "--out",
        str(tmp_path / "out"),
        "--no-audit",
        "--resamples",
        "10",
    ]
    arguments += [part for name in NAMES for part in ("--model", f"random-{name}")]
    result = run(main, [*arguments, "-q"])
    assert result.exit_code == 0, result.output
    measured = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert all(name in json.dumps(measured) for name in NAMES)
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize("name", ["pscc_net", "hifi_net"])
def test_published_files_are_read_from_a_folder_with_their_wrappers(
    name: str, networks: Callable[[str], Baseline], tmp_path: Path
) -> None:
    """Two or three files, `module.` before every key, under `model` beside an optimiser."""
    network = networks(name)
    state = {_published(key): value for key, value in network.state_dict().items()}
    heads = ("getmask", "incre", "downsamp", "final_layer", "classifier", "branch_cls", "FPN")
    parts = {
        "HRNet.pth": {k: v for k, v in state.items() if not k.startswith((*heads, "centre", "radius"))},
        "NLCDetection.pth": {k: v for k, v in state.items() if k.startswith(("getmask", "branch_cls"))},
        "DetectionHead.pth": {k: v for k, v in state.items() if k.startswith(heads[1:5])},
    }
    for file, part in parts.items():
        if part:
            wrapped = {f"module.{key}": value for key, value in part.items()}
            torch.save({"model": wrapped, "optimizer": {"step": 1}}, tmp_path / file)
    other = type(network).load(tmp_path)
    inputs = [network.prepare(np.full((40, 50, 3), 90, np.uint8))]
    with torch.inference_mode():
        torch.testing.assert_close(other.run(inputs).logit, network.run(inputs).logit)
    (tmp_path / "NLCDetection.pth").unlink()
    with pytest.raises(UsageError, match=r"does not fit .* missing"):
        type(network).load(tmp_path)


def test_a_checkpoint_of_another_network_is_refused(networks: Callable[[str], Baseline]) -> None:
    with pytest.raises(UsageError, match=r"does not fit MVSS-Net.*a checkpoint of TruFor"):
        load_strict(networks("mvss_net"), networks("trufor").state_dict())
    with pytest.raises(UsageError, match=r"does not fit TruFor.*a checkpoint of MVSS-Net"):
        load_strict(networks("trufor"), networks("mvss_net").state_dict())


def test_an_unknown_option_is_named_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="did you mean planes"):
        mvss_net.MvssNet(plane="rgb")
    with pytest.raises(UsageError, match="did you mean resize256"):
        pscc_net.PsccNet(input="resize25")


@pytest.fixture(scope="module")
def lisa(shared: Path) -> Lisa:
    return Lisa.load(shared / "parity/baselines/lisa")


def test_lisa_judges_by_its_mask(lisa: Lisa, shared: Path) -> None:
    detector = BaselineDetector(lisa)
    images = shared / "parity/baselines/images"
    forged, nothing = detector.check([str(images / "0.png"), str(images / "3.png")])
    assert forged.label is Label.TAMPERED
    assert forged.mask is not None
    assert forged.regions
    assert nothing.label is Label.REAL
    assert nothing.mask is None
    assert nothing.probabilities[Label.REAL] == pytest.approx(1, abs=1e-6)


def test_lisa_is_trained_from_a_checkpoint_and_checks_with_what_it_left(shared: Path, tmp_path: Path) -> None:
    """Three steps through the command: LoRA and the modules in full move, the encoders stay, resumed alike."""
    from safetensors.torch import load_file

    images, start = shared / "parity/baselines/images", shared / "parity/baselines/lisa"
    mask = np.zeros((224, 224), np.uint8)
    mask[60:140, 40:120] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    data = tmp_path / "manifest.csv"
    for name in ("0.png", "3.png"):
        shutil.copy(images / name, tmp_path)
    rows = ["0.png,real,", "3.png,tampered,mask.png"]
    data.write_text("\n".join(["path,label,mask", *rows]) + "\n")
    recipe = tmp_path / "lisa.yaml"
    recipe.write_text("kind: baseline\nbaseline: lisa\n")
    own = [f"start={start}", f"data={data}", f"out={tmp_path / 'out'}", "batch=2", "steps=3", "equalise=off",
           "optimiser.learning_rate=1e-3", "checkpoints.every=2"]  # fmt: skip
    run = CliRunner().invoke(main, ["train", str(recipe), *own])
    assert run.exit_code == 0, run.output
    losses = [line["loss"] for line in read_log(tmp_path / "out/log.jsonl")]
    assert losses[-1] < losses[0]
    (last,) = (tmp_path / "out/checkpoints").glob("step-0000003")
    learnt = load_file(last / "trained.safetensors")
    assert any("lora_A" in name for name in learnt)
    assert any("decoder" in name for name in learnt)
    assert not any(name.startswith(("large.clip", "large.sam.")) for name in learnt)
    before, after = Lisa.load(start).state_dict(), Lisa.load(tmp_path / "out/model/weights").state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert any("q_proj" in name for name in moved), "LoRA is folded into the weights"
    assert not any("k_proj" in name and "language" in name for name in moved)
    result = CliRunner().invoke(
        main, ["check", str(images / "0.png"), "--model", str(tmp_path / "out/model")]
    )
    assert result.exit_code == 0, result.output
    shutil.rmtree(last)
    again = CliRunner().invoke(main, ["train", str(recipe), *own, "--resume"])
    assert again.exit_code == 0, again.output
    assert [line["loss"] for line in read_log(tmp_path / "out/log.jsonl")] == losses


def _published(key: str) -> str:
    first, _, rest = key.partition(".")
    return rest if first in ("backbone", "masks", "head") else key
