"""Training of FakeVLM and So-Fake-R1 end to end on tiny models: what is learnt, what is logged, what resumes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tiny_vlm import picture

pytest.importorskip("cv2", reason="the extra train brings opencv")

from pixelsleuth.cli.main import main
from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models.fakevlm.engine import load_engine
from pixelsleuth.models.so_fake_r1.rewards import Truth
from pixelsleuth.training import recipe as recipes
from pixelsleuth.training.vlm import fakevlm
from pixelsleuth.training.vlm.supervised import IGNORED
from pixelsleuth.training.vlm.training_examples import Example, box_of, load_example, read_samples

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "text_config": {"hidden_size": 32, "num_hidden_layers": 1},
    "vision_config": {"hidden_size": 32, "depth": 1},
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures, three of each class; the tampered ones have a mask."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for i in range(9):
        label = list(Label)[i % 3]
        pixels = picture("real" if label is Label.REAL else "fake", (80, 60), i)
        mask = ""
        if label is Label.TAMPERED:
            marked = np.zeros((60, 80), np.uint8)
            marked[10:40, 20:60] = 255
            pixels[marked > 0] = (200, 30, 30)
            mask = f"{i}-mask.png"
            Image.fromarray(marked).save(folder / mask)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append({"path": f"{i}.png", "label": str(label), "mask": mask, "description": ""})
    path = folder / "manifest.csv"
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def evaluated(model: Path, manifest: Path, out: Path, protocol: str) -> dict[str, float]:
    """Figures of the nine pictures by `pixelsleuth evaluate`; every picture was judged."""
    arguments = ["--data", str(manifest), "--out", str(out), "--protocol", protocol]
    result = CliRunner().invoke(main, ["evaluate", "--model", str(model), *arguments])
    assert result.exit_code == 0, result.output
    assert len(lines(out / "predictions.jsonl")) == 1 + 9  # what was run, and the pictures
    (result,) = json.loads((out / "metrics.json").read_text())["models"]
    return {name: figure["value"] for name, figure in result["conditions"]["clean"]["figures"].items()}


def test_samples_are_balanced_and_the_same_at_each_run(manifest: Path) -> None:
    first = read_samples(manifest, most=6, seed=3)
    again = read_samples(manifest, most=6, seed=3)
    assert [sample.path for sample in first] == [sample.path for sample in again]
    assert sorted(sample.label for sample in first) == sorted(list(Label) * 2)


def test_the_true_box_is_that_of_the_mask_in_the_frame(manifest: Path) -> None:
    tampered = next(sample for sample in read_samples(manifest) if sample.label is Label.TAMPERED)
    assert load_example(tampered).truth.box == (56.0, 37.0, 167.0, 149.0)
    assert box_of(np.ones((50, 70), bool)) == (0.0, 0.0, 223.0, 223.0)


@pytest.mark.parametrize("prompt", ["raw", "roles"])
def test_only_the_answer_is_learnt(llava_folder: Path, prompt: str) -> None:
    engine, _ = load_engine(str(llava_folder), device="cpu")
    example = Example("x", picture("fake"), Truth(Label.TAMPERED, None, "Six fingers on one hand."))
    item = fakevlm.encode(engine, example, prompt)
    learnt = item["labels"] != IGNORED
    text = engine.tokenizer.decode(item["input_ids"][learnt])
    assert text == "This is a fake image. Six fingers on one hand.</s>"
    asked_with = engine.tokenizer.decode(item["input_ids"][~learnt])
    assert ("USER" in asked_with) == (prompt == "roles")
    assert int((item["input_ids"] == engine.image_id).sum()) == engine.patches


def test_a_description_that_contradicts_the_label_does_not_become_the_verdict() -> None:
    example = Example("x", picture("real"), Truth(Label.REAL, None, "This is a fake image. Odd."))
    assert fakevlm.answer_for(example).startswith("This is a real image.")


@pytest.mark.parametrize("rank", [0, 4])
def test_fakevlm_trains_by_a_recipe_and_check_takes_what_it_leaves(
    rank: int, llava_folder: Path, manifest: Path, pictures: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    overrides = [
        f"data={manifest}", f"out={out}", f"start={llava_folder}", "prompt=raw", "pictures=6", "training.max_steps=25",
        "training.per_device_train_batch_size=6", "training.learning_rate=1e-2", "training.save_steps=20",
        "training.gradient_accumulation_steps=1", f"lora={{r: {rank}}}" if rank else "lora=",
    ]  # fmt: skip
    recipe = ROOT / "recipes/fakevlm" / ("lora.yaml" if rank else "full.yaml")
    model = recipes.carry_out(recipe, overrides)
    log = lines(out / "log.jsonl")
    assert [line["step"] for line in log] == list(range(1, 26))
    assert log[-1]["loss"] < log[0]["loss"] * (0.95 if rank else 0.3)
    before, after = (
        load_engine(str(path), device="cpu")[0].model.state_dict() for path in (llava_folder, model)
    )
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("vision_tower" in name for name in changed) == (rank == 0)
    result = CliRunner().invoke(main, ["check", str(pictures[1]), "--model", str(model), "--format", "json"])
    assert result.exit_code == 0, result.output
    if not rank:
        assert json.loads(result.stdout)[0]["explanation"].startswith("This is a")
        with pytest.raises(UsageError, match="--resume"):
            recipes.carry_out(recipe, overrides)
        shutil.rmtree(out / "checkpoints/fakevlm/checkpoint-25")  # as if it had been killed behind step 20
        recipes.carry_out(recipe, overrides, resume=True)
        again = lines(out / "log.jsonl")
        assert [line["loss"] for line in again] == pytest.approx([line["loss"] for line in log], rel=1e-3)
        figures = evaluated(model, manifest, tmp_path / "evaluation", "fakevlm")
        assert figures["fakevlm_unparsable"] == 0
        assert figures["fakevlm_acc"] > 0.5


def test_so_fake_r1_trains_logs_each_reward_resumes_and_check_takes_it(
    manifest: Path, pictures: list[Path], tmp_path: Path
) -> None:
    pytest.importorskip("trl", reason="the extra rl brings trl")
    out = tmp_path / "r1"
    settings = [
        f"data={manifest}", f"out={out}", "pictures=6", "sft_pictures=6", f"random={json.dumps(SMALL)}",
        "sft.max_steps=4", "sft.per_device_train_batch_size=6", "grpo_pictures=4", "grpo.num_generations=4",
        "grpo.per_device_train_batch_size=8", "grpo.max_completion_length=12", "grpo.save_steps=1", "grpo.show_every=1",
    ]  # fmt: skip
    recipe = ROOT / "recipes/so_fake_r1/tiny.yaml"
    result = CliRunner().invoke(main, ["train", str(recipe), *settings, "grpo.max_steps=3"])
    assert result.exit_code == 0, result.output
    assert f"pixelsleuth check --model {out / 'model'}" in result.output
    first = lines(out / "log.jsonl")
    shutil.rmtree(out / "checkpoints/grpo/checkpoint-3")  # as if it had been killed behind step 2
    model = recipes.carry_out(recipe, [*settings, "grpo.max_steps=3"], resume=True)
    log = lines(out / "log.jsonl")
    assert [line["step"] for line in log] == [1, 2, 3]
    assert log[:2] == first[:2]
    # Other answers are drawn, but by the policy of step 2: the cold start's has no distance from itself.
    assert first[0]["kl"] == 0
    assert log[2]["kl"] == pytest.approx(first[2]["kl"], rel=0.6)
    assert log[2]["kl"] > 0.5 * first[1]["kl"] > 0
    assert log[2]["learning_rate"] == first[2]["learning_rate"]
    for line in log:
        assert 0 <= line["reward"] <= 1
        named = {"think_format", "answer_format", "class", "overlap_skill", "closeness_skill"}
        assert set(line["rewards"]) == named
        assert line["kl"] is not None
    shown = lines(out / "completions.jsonl")
    assert {line["step"] for line in shown} == {1, 2, 3}
    assert shown[0]["truth"].startswith("<answer>")
    assert len(lines(out / "sft.jsonl")) == 4
    result = CliRunner().invoke(main, ["check", str(pictures[0]), "--model", str(model), "--format", "json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["model"]["name"] == "model"
    figures = evaluated(model, manifest, tmp_path / "evaluation", "so_fake")
    assert 0 <= figures["so_fake_acc"] <= 1


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["grpo.klass=1"], "no setting grpo.klass; it may be any field of GRPOConfig"),
        (["nonsense"], "key=value"),
        (["grpo.rewards={klass: 1}"], "klass"),
        (["grpo.num_generations=1"], "grpo cannot be used .*at least 2 generations"),
        (["grpo.group=8"], "no setting grpo.group; did you mean grpo.num_generations"),
        (["grpo.output_dir=x"], "no setting grpo.output_dir"),
        (["grpo.show_every=-1"], "grpo.show_every is -1: it must be at least 0"),
        (["sft.max_steps=many"], "sft.max_steps is 'many': it must be a whole number"),
        (["sft={max_stpes: 3}"], "did you mean sft.max_steps"),
        (["sft.lr_scheduler_type=cosin"], "sft cannot be used .*cosin"),
        (["lora={rank: 3}"], "no setting lora.rank; did you mean lora.r?"),
        (["random.text_config.width=3"], "no setting random.text_config.width"),
        (["data=nowhere.csv"], "nowhere.csv"),
        (["out="], "names no out"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_told_before_anything_is_trained(
    overrides: list[str], message: str, manifest: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        recipes.carry_out(
            ROOT / "recipes/so_fake_r1/tiny.yaml", [f"data={manifest}", f"out={tmp_path / 'out'}", *overrides]
        )
    assert not (tmp_path / "out/start").exists()


def test_a_dry_run_shows_the_settings_and_trains_nothing(manifest: Path, tmp_path: Path) -> None:
    recipe = str(ROOT / "recipes/so_fake_r1/7b.yaml")
    arguments = [
        "train",
        recipe,
        f"data={manifest}",
        f"out={tmp_path / 'out'}",
        "grpo.num_generations=4",
        "--dry-run",
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "num_generations: 4" in result.output
    assert not (tmp_path / "out").exists()


def test_every_recipe_is_known_to_its_trainer() -> None:
    paths = [*(ROOT / "recipes/fakevlm").glob("*.yaml"), *(ROOT / "recipes/so_fake_r1").glob("*.yaml")]
    assert len(paths) >= 3
    for path in paths:
        assert recipes.plan(path)
    with pytest.raises(UsageError):
        recipes.plan(ROOT / "LICENSE")
