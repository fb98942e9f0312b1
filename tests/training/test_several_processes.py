"""Trainings by transformers and TRL in two processes, and trainings that run in one alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from several_processes import ROOT, ended, start
from tiny_vlm import make_llava

from pixelsleuth.errors import UsageError
from pixelsleuth.training import recipe as recipes
from pixelsleuth.training.run.log import read_log

RECIPE = ROOT / "recipes/so_fake_r1/tiny.yaml"
OVERRIDES = ("pictures=4", "sft.max_steps=3", "sft.per_device_train_batch_size=2")


@pytest.mark.slow
def test_so_fake_r1_learns_the_same_in_two_processes(manifest: Path, tmp_path: Path) -> None:
    """The cold start has the losses of one process with twice the micro-batches; GRPO runs to its end."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    grpo = ("max_steps=1", "num_generations=2", "per_device_train_batch_size=4", "max_completion_length=8")
    running = start(
        RECIPE, 2, f"data={manifest}", f"out={shared}", *OVERRIDES,
        *(f"grpo.{setting}" for setting in grpo),
    )  # fmt: skip
    own = [f"data={manifest}", f"out={alone}", *OVERRIDES, "sft.gradient_accumulation_steps=2", "grpo=null"]
    recipes.carry_out(RECIPE, own)
    ended(running)
    losses = [[line["loss"] for line in read_log(out / "sft.jsonl")] for out in (alone, shared)]
    assert len(losses[0]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert [line["step"] for line in read_log(shared / "log.jsonl")] == [1]
    assert (shared / "model" / "model.safetensors").is_file()


@pytest.mark.slow
def test_fakevlm_learns_the_same_in_two_processes(manifest: Path, tmp_path: Path) -> None:
    """With every weight: the last layer of the vision tower, which nothing reads, stops no process."""
    (tmp_path / "start").mkdir()
    make_llava(tmp_path / "start")
    recipe = ROOT / "recipes/fakevlm/full.yaml"
    own = [f"data={manifest}", f"start={tmp_path / 'start'}", "pictures=4", "training.max_steps=3"]
    own += ["training.per_device_train_batch_size=2"]
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    running = start(recipe, 2, *own, f"out={shared}", "training.gradient_accumulation_steps=1")
    recipes.carry_out(recipe, [*own, f"out={alone}", "training.gradient_accumulation_steps=2"])
    ended(running)
    lines = [read_log(out / "log.jsonl") for out in (alone, shared)]
    assert len(lines[0]) == 3
    for key in ("loss", "grad_norm"):
        assert [line[key] for line in lines[1]] == pytest.approx([line[key] for line in lines[0]], rel=1e-4)
    assert (shared / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("recipe", ["compact.yaml", "baselines/dinov2.yaml"])
def test_trainings_of_one_process_refuse_several(
    recipe: str, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="runs in one process, not in 2: start it without torchrun"):
        recipes.carry_out(ROOT / "recipes" / recipe, [f"data={manifest}", f"out={tmp_path / 'out'}"])
