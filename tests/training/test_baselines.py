"""A baseline is trained by a recipe: it learns, resumes to the same losses, and leaves what `check` takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pixelsleuth.cli.main import main
from pixelsleuth.core.errors import UsageError
from pixelsleuth.training import recipe as recipes
from pixelsleuth.training.sida.watch import read_log

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


@pytest.mark.parametrize("override, told", [
    ("baseline=dinov3", "did you mean dinov2"), ("btach=3", "did you mean batch"), ("minutes=-1", "negative"),
    ("options.encoder=nowhere", "nowhere"),
])  # fmt: skip
def test_what_is_wrong_is_told(
    manifest: Path, encoder: Path, tmp_path: Path, override: str, told: str
) -> None:
    own = settings(manifest, encoder, tmp_path / "out")
    with pytest.raises(UsageError, match=told):
        recipes.carry_out(ROOT / "recipes/baselines/dinov2.yaml", [*own, override])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_sound(recipe: Path, tmp_path: Path) -> None:
    from pixelsleuth.core.settings import read_yaml
    from pixelsleuth.training.baselines import _sound

    assert _sound(read_yaml(recipe, ["data=m.csv", f"out={tmp_path}"])).steps > 0
