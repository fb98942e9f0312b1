"""A baseline is trained by a recipe: it learns, resumes to the same losses, and leaves what `check` takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pixelsleuth.cli.main import main
from pixelsleuth.errors import UsageError
from pixelsleuth.training import recipe as recipes
from pixelsleuth.training.run.log import read_log

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes/baselines").glob("*.yaml"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv2 of transformers' own class, tiny and random."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dinov2")
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    Dinov2Model(Dinov2Config(**sizes)).save_pretrained(folder)
    return folder


def settings(manifest: Path, encoder: Path, out: Path) -> list[str]:
    return [
        f"data={manifest}", f"out={out}", f"options.encoder={encoder}", "options.frame=resize", "batch=6",
        "checkpoints.every=4", "equalise=off", "optimiser.learning_rate=3e-3",
    ]  # fmt: skip


def test_it_learns_resumes_and_check_takes_it(manifest: Path, encoder: Path, tmp_path: Path) -> None:
    recipe, out = ROOT / "recipes/baselines/dinov2.yaml", tmp_path / "out"
    own = settings(manifest, encoder, out)
    result = CliRunner().invoke(main, ["train", str(recipe), *own, "steps=12"])
    assert result.exit_code == 0, result.output
    log = read_log(out / "log.jsonl")
    assert [line["step"] for line in log] == list(range(1, 13))
    assert log[-1]["loss"] < log[0]["loss"]
    shutil.rmtree(out / "checkpoints/step-0000012")  # as if it had been killed behind step 8
    recipes.carry_out(recipe, [*own, "steps=12"], resume=True)
    assert [line["loss"] for line in read_log(out / "log.jsonl")] == [line["loss"] for line in log]
    words = ["check", str(manifest.parent / "2.png"), "--model", str(out / "model"), "--format", "json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    assert record["model"]["name"] == "dinov2"
    with pytest.raises(UsageError, match=r"optimiser\.learning_rate differ"):
        recipes.carry_out(recipe, [*own, "steps=12", "optimiser.learning_rate=1e-3"], resume=True)
    with pytest.raises(UsageError, match="--resume"):
        recipes.carry_out(recipe, own)


@pytest.mark.parametrize("override, message", [
    ("baseline=dinov3", "did you mean dinov2"), ("btach=3", "did you mean batch"), ("minutes=-1", "at least 0"),
    ("options.encoder=nowhere", "nowhere"), ("optimiser.schedule=plateau", "validation.every"),
    ("optimiser.decay=2", "at most 1"), ("classes=[real,fake]", "classes is 'fake'"),
    ("classes=[tampered]", "hold real"), ("baseline=lisa", "give start"),
])  # fmt: skip
def test_a_wrong_setting_is_refused(
    manifest: Path, encoder: Path, tmp_path: Path, override: str, message: str
) -> None:
    own = settings(manifest, encoder, tmp_path / "out")
    with pytest.raises(UsageError, match=message):
        recipes.carry_out(ROOT / "recipes/baselines/dinov2.yaml", [*own, override])


def test_validation_keeps_the_best_and_the_rate_falls_where_it_stands_still(
    manifest: Path, encoder: Path, tmp_path: Path
) -> None:
    """`out/model` is the best checkpoint; a rate below the floor ends a training; a resumed one goes the same way."""
    own = [
        *settings(manifest, encoder, tmp_path / "out"), "steps=40", "checkpoints.every=2", "validation.every=2",
        "validation.hold_out=0.4", "checkpoints.metric=balanced_accuracy", "optimiser.schedule=plateau",
        "optimiser.learning_rate=1e-5", "optimiser.patience=1", "optimiser.least_gain=1.0", "optimiser.floor=2e-6",
    ]  # fmt: skip
    recipe = ROOT / "recipes/baselines/dinov2.yaml"
    result = CliRunner().invoke(main, ["train", str(recipe), *own])
    assert result.exit_code == 0, result.output
    assert "the rate is 1e-06" in result.output
    out = tmp_path / "out"
    log, checked = read_log(out / "log.jsonl"), read_log(out / "validation.jsonl")
    assert [line["learning_rate"] for line in log] == pytest.approx([1e-5] * len(log))
    assert len(log) == 4, "the first validation sets the mark, the second lowers the rate below the floor"
    assert {"balanced_accuracy", "auroc", "iou", "score"} <= set(checked[0])
    assert 0 <= checked[0]["auroc"] <= 1
    best = max(checked, key=lambda line: line["balanced_accuracy"])["step"]
    (kept,) = (out / "checkpoints").glob("best-*")
    assert kept.name == f"best-{best:07d}"
    assert (out / "log.png").stat().st_size > 5000
    from safetensors.torch import load_file

    stored, model = load_file(kept / "trained.safetensors"), load_file(out / "model/weights.safetensors")
    assert all(model[name].equal(value) for name, value in stored.items())
    for path in [*(out / "checkpoints").glob("step-0000004"), out / "model"]:
        shutil.rmtree(path)
    again = CliRunner().invoke(main, ["train", str(recipe), *own, "--resume"])
    assert again.exit_code == 0, again.output
    assert [line["loss"] for line in read_log(out / "log.jsonl")] == [line["loss"] for line in log]
    assert read_log(out / "validation.jsonl") == checked


@pytest.mark.parametrize("schedule, rates", [
    ("constant", [1, 1, 1, 1]), ("linear", [1, 3 / 4, 2 / 4, 1 / 4]), ("step", [1, 1, 0.5, 0.5]),
    ("cosine", [1, 0.853553, 0.5, 0.146447]),
])  # fmt: skip
def test_the_rate_falls_as_the_recipe_says(schedule: str, rates: list[float]) -> None:
    import torch

    from pixelsleuth.training.baselines.settings import BaselineSettings, Optimiser
    from pixelsleuth.training.baselines.step import optimiser_of, schedule_of

    how = Optimiser(schedule=schedule, learning_rate=1.0, decay=0.5, decay_every=2)  # type: ignore[arg-type]
    optimiser = optimiser_of(how, [torch.nn.Parameter(torch.zeros(1))])
    falling, used = schedule_of(BaselineSettings(optimiser=how, steps=4), optimiser), []
    for _ in range(4):
        used.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        falling.step()
    assert used == pytest.approx(rates, abs=1e-5)


def without(manifest: Path, *labels: str) -> Path:
    """The manifest without the pictures of some classes, beside the other."""
    lines = manifest.read_text().splitlines()
    path = manifest.with_name("_".join(["without", *labels, "manifest.csv"]))
    path.write_text(
        "\n".join(line for line in lines if not any(f",{label}," in line for label in labels)) + "\n"
    )
    return path


def drawn(config: Any, count: int) -> list[int]:
    """Labels of the first batches."""
    from pixelsleuth.training.baselines.step import turns_of
    from pixelsleuth.training.run.data import gather
    from pixelsleuth.training.run.feed import Sampler

    material = gather(config, config.learnt_classes)
    sampler = Sampler(material, config, turns_of(material, three=False))
    return [draw.label for _ in range(count) for draw in sampler.next()]


def test_fakes_of_both_kinds_are_as_many_as_real_pictures(manifest: Path, tmp_path: Path) -> None:
    """What tells two classes apart learns from as many of each, whatever kinds of fakes there are."""
    from pixelsleuth.training.baselines.settings import from_recipe

    def counts(baseline: str, data: Path, *overrides: Any) -> list[int]:
        content = {"baseline": baseline, "data": [{"path": str(data)}], "out": str(tmp_path), "batch": 4}
        labels = drawn(from_recipe(content | dict(overrides)), 6)
        return [labels.count(label) for label in range(3)]

    assert counts("npr", manifest) == [12, 6, 6]
    assert counts("npr", manifest, ("classes", ["real", "full_synthetic"])) == [12, 12, 0]
    assert counts("npr", without(manifest, "tampered")) == [12, 12, 0], "ForenSynths has no tampered pictures"
    assert counts("pscc_net", manifest) == [12, 0, 12], "a localizer has no use for pictures without a mask"
    with pytest.raises(UsageError, match="no fake picture"):
        counts("npr", without(manifest, "tampered", "full_synthetic"))
    with pytest.raises(UsageError, match="no usable picture of the class real"):
        counts("npr", without(manifest, "real"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_sound(recipe: Path, tmp_path: Path) -> None:
    from pixelsleuth.core.settings import read_yaml
    from pixelsleuth.training.baselines.settings import from_recipe

    assert from_recipe(read_yaml(recipe, ["data=m.csv", f"out={tmp_path}"])).steps > 0


def test_every_detector_has_a_recipe() -> None:
    from pixelsleuth.models.facts import FACTS

    assert set(FACTS) <= {path.stem for path in RECIPES}
