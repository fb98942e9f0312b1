"""It learns: the golden losses before the first step, a loss that falls, 24 pictures by heart, both stages in a row."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pixelsleuth.cli.main import main
from pixelsleuth.training.run.log import read_log
from pixelsleuth.training.sida.free_running import judge, metrics
from pixelsleuth.training.sida.settings import SidaSettings, read_settings
from pixelsleuth.training.sida.step import begin, train

Tiny = Callable[..., SidaSettings]
ROOT = Path(__file__).resolve().parents[3]
LABELS = ("real", "full_synthetic", "tampered")


def golden_manifest(folder: Path, label: int, numbers: list[int], out: Path) -> None:
    """The pictures of one class of the golden folder as a manifest."""
    with out.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("path", "label", "mask"))
        for i in numbers:
            mask = f"images/{i}_mask.png" if label == 2 else ""
            writer.writerow((f"images/{i}.png", LABELS[label], mask))


@pytest.mark.slow
def test_the_first_step_sees_the_golden_losses_and_the_loss_falls(shared: Path, tmp_path: Path) -> None:
    """All pictures of the golden folder in one batch: each term is the golden one, weighted by what it is a mean of."""
    folder = shared / "parity" / "sida"
    golden = {facts["label"]: facts for facts in json.loads((folder / "golden.json").read_text())["losses"]}
    (tmp_path / "images").symlink_to(folder / "images")
    parts = []
    for label, facts in golden.items():
        golden_manifest(folder, label, facts["samples"], tmp_path / f"{label}.csv")
        parts.append((tmp_path / f"{label}.csv").read_text().splitlines())
    manifest = tmp_path / "all.csv"
    manifest.write_text("\n".join([parts[0][0], *(line for part in parts for line in part[1:])]) + "\n")
    count = sum(len(facts["samples"]) for facts in golden.values())
    config = read_settings(ROOT / "recipes/sida/7b_stage1.yaml", [
        f"start={folder}", "clip=null", f"data=[{{path: {manifest}, settings: {{root: {folder}}}}}]",
        f"out={tmp_path / 'out'}", f"global_batch={count}", f"per_device={count}", "batches=natural", "equalise=off",
        "precision=fp32", "frozen=fp32", "gradient_checkpointing=false", "lora.dropout=0", "validation.every=0",
        "steps=24", "checkpoints.every=24", "workers=0", "optimiser.warmup=3",
        f"sam_cache={tmp_path / 'cache'}", "optimiser.learning_rate=1e-3",
    ])  # fmt: skip
    loop, step = begin(config)
    # natural batches shuffle each class on its own: draw each picture once
    from pixelsleuth.training.run.feed import Draw

    every = [Draw(0, 0, label, i) for label, facts in golden.items() for i in range(len(facts["samples"]))]
    step.feed.sampler.next = lambda: every  # type: ignore[method-assign]
    loop.run(step)
    lines = read_log(Path(config.out) / "log.jsonl")
    detection = sum(f["cls_loss"] * len(f["samples"]) for f in golden.values()) / count
    assert lines[0]["detection"] == pytest.approx(detection, abs=1e-4)
    assert lines[0]["bce"] == pytest.approx(golden[2]["mask_bce_loss"], abs=1e-4)
    assert lines[0]["dice"] == pytest.approx(golden[2]["mask_dice_loss"], abs=1e-4)
    first, last = (np.mean([line["loss"] for line in part]) for part in (lines[:3], lines[-3:]))
    assert last < 0.5 * first


OVERFIT = (
    "stage=2", "steps=150", "global_batch=12", "per_device=12", "equalise=off", "workers=1", "lora.rank=0",
    "full=[language, lm_head, mask_decoder, segmentation, detection, fusion, projector, clip]",
    "optimiser={learning_rate: 3.0e-3, warmup: 10, schedule: cosine}", "checkpoints.every=150",
)  # fmt: skip


@pytest.mark.slow
def test_a_tiny_model_learns_24_pictures_by_heart(manifest: Path, tmp_path: Path) -> None:
    """Class, mask and text, free-running, of the merged model."""
    from pixelsleuth.models.sida.checkpoint import load_large
    from pixelsleuth.models.sida.prompts import described
    from pixelsleuth.training.run.data import gather

    config = read_settings(
        ROOT / "recipes/tiny.yaml", [f"data={manifest}", f"out={tmp_path / 'out'}", *OVERFIT]
    )
    model, processor = load_large(str(train(config)))
    samples = [sample for classes in gather(config).sets for rows in classes for sample in rows]
    judged = judge(model, processor, samples, stage=2, raw=True, texts=24)
    figures = metrics(judged)
    assert figures["balanced_accuracy"] == 1.0
    assert figures["iou"] > 0.8
    assert [described(s.text) for s in judged] == [s.description for s in samples]


def test_stage_one_stage_two_merge_and_check_in_a_row(manifest: Path, tmp_path: Path) -> None:
    """As a user does it, at a tiny size: the second stage adds [END] and its model says why."""

    def run(*words: object) -> str:
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result.stdout

    few = ["steps=2", "global_batch=3", "per_device=3", "workers=0"]
    recipe, first, second = ROOT / "recipes/tiny.yaml", tmp_path / "first", tmp_path / "second"
    run("train", recipe, f"data={manifest}", f"out={first}", *few)
    stage2 = ["start=" + str(first / "model"), "stage=2", "full=[lm_head, mask_decoder, detection]"]
    run("train", recipe, f"data={manifest}", f"out={second}", *few, *stage2)
    output = run("merge", second, "--out", tmp_path / "merged", "--precision", "fp32")
    assert "4 LoRA layers folded" in output
    assert "[END]" in json.loads((tmp_path / "merged" / "added_tokens.json").read_text())
    picture = manifest.parent / "2.png"
    for model in (second / "model", tmp_path / "merged"):
        (record,) = json.loads(run("check", "--model", model, picture, "--format", "json", "--no-explain"))
        assert record["label"] in LABELS
    a, b = (
        json.loads(run("check", "--model", model, picture, "--format", "json", "--no-explain"))[0][
            "probabilities"
        ]
        for model in (second / "model", tmp_path / "merged")
    )
    assert a == pytest.approx(b, abs=1e-5)


@pytest.mark.slow
def test_the_chain_trains_merges_checks_and_evaluates(manifest: Path, tmp_path: Path) -> None:
    """recipes/sida/chain.sh as a user calls it, at its tiniest."""
    rows = list(csv.DictReader(manifest.open()))
    split = manifest.parent / "split.csv"
    with split.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, [*rows[0], "split"])
        writer.writeheader()
        for i, row in enumerate(rows):
            writer.writerow(row | {"split": "eval" if i >= 18 else "train", "description": ""})
    few = ["steps=2", "global_batch=3", "workers=0", "lora.rank=2"]
    words = ["bash", str(ROOT / "recipes/sida/chain.sh"), str(split), str(tmp_path / "out"), *few]
    env = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    metrics_file = json.loads((tmp_path / "out/evaluation/metrics.json").read_text())
    assert metrics_file["data"]["pictures"] == 6
    assert (tmp_path / "out/evaluation/report.html").is_file()
    assert "[END]" in json.loads((tmp_path / "out/merged/added_tokens.json").read_text())


@pytest.mark.thorough  # also builds the shapes of the 7B
def test_the_dry_run_tells_what_would_be_trained(manifest: Path, tmp_path: Path) -> None:
    """Also for the 7B, of which nothing is at hand."""
    for recipe, start, trained in (
        ("tiny.yaml", "random", "LoRA"),
        ("sida/7b_stage1.yaml", "x/LISA-7B", "LoRA"),
    ):
        words = [f"data={manifest}", f"out={tmp_path / 'none'}", f"start={start}", "--dry-run"]
        result = CliRunner().invoke(
            main, ["train", str(ROOT / "recipes" / recipe), *words, "validation.every=0"]
        )
        assert result.exit_code == 0, result.output
        assert trained in result.stdout
        assert "8 real, 8 full synthetic, 8 tampered; 8 masks" in result.stdout
    assert "4,194,304" in result.stdout  # 7B: LoRA r 8 on q_proj and v_proj of 32 layers
    assert not (tmp_path / "none").exists()


def test_a_lisa_checkpoint_gets_sidas_modules_and_tokens(shared: Path, tiny: Tiny, tmp_path: Path) -> None:
    """A golden SIDA without what LISA lacks starts a training; everything else is as it was."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    from pixelsleuth.training.sida.start import NEW_IN_LISA, load_start

    golden, lisa = shared / "parity" / "sida", tmp_path / "lisa"
    shutil.copytree(golden, lisa, ignore=shutil.ignore_patterns("images", "golden*"))
    for path in [lisa, *lisa.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    words = json.loads((lisa / "added_tokens.json").read_text())
    order = sorted((index, word) for word, index in words.items() if word != "[CLS]")
    rows = [words[word] for _, word in order]
    own = min(words.values())
    weights = {
        k: v for k, v in load_file(golden / "model.safetensors").items() if not k.startswith(NEW_IN_LISA)
    }
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = torch.cat([weights[name][:own], weights[name][rows]])
    (lisa / "added_tokens.json").write_text(json.dumps({word: own + i for i, (_, word) in enumerate(order)}))
    save_file(weights, lisa / "model.safetensors")

    model, processor = load_start(tiny(f"start={lisa}"))
    assert processor.tokenizer.id("[CLS]") == own + len(order)
    sida, _ = load_start(tiny(f"start={golden}"))
    assert torch.equal(model.sida.segmentation[0].weight, sida.sida.segmentation[0].weight)
    again, _ = load_start(tiny(f"start={lisa}"))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert model.sida.detection[0].weight.abs().sum() > 0
