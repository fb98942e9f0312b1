"""Training at the tiniest size: resumable to the bit, cut as one likes, refused where it cannot go right."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pixelsleuth.errors import TrainingError, UsageError
from pixelsleuth.models.lora import fold
from pixelsleuth.training.run import checkpoints
from pixelsleuth.training.run.log import WINDOW, Alarms, Log, read_log
from pixelsleuth.training.sida.learnt import prepare, table
from pixelsleuth.training.sida.settings import SidaSettings, read_settings
from pixelsleuth.training.sida.start import load_start
from pixelsleuth.training.sida.step import begin, train

Tiny = Callable[..., SidaSettings]
ROOT = Path(__file__).resolve().parents[3]
DECIDED = ("step", "loss", "detection", "text", "bce", "dice", "learning_rate", "gradient_norm", "correct")


def losses_of(folder: str | Path) -> list[tuple[Any, ...]]:
    return [tuple(line[key] for key in DECIDED) for line in read_log(Path(folder) / "log.jsonl")]


def stopped_after(config: SidaSettings, step: int) -> None:
    """Train, and end as a kill would: after the log line of `step`, before anything else is written."""

    class KilledError(Exception):
        pass

    loop, learner = begin(config, resume=True)
    add = loop.log.add

    def killed(line: Mapping[str, Any]) -> None:
        add(line)
        if line["step"] == step:
            raise KilledError

    loop.log.add = killed  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        loop.run(learner)


@pytest.fixture(scope="module")
def finished(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> SidaSettings:
    """One whole run of six steps with validation, as others are compared with."""
    out = tmp_path_factory.mktemp("run") / "out"
    config = read_settings(ROOT / "recipes/tiny.yaml", [
        f"data={manifest}", f"out={out}", "steps=6", "global_batch=4", "per_device=2", "workers=1",
        "checkpoints.every=2", "validation={every: 3, hold_out: 0.4, pictures: 6, texts: 1}",
    ])  # fmt: skip
    train(config)
    return config


def test_a_run_leaves_a_log_plots_checkpoints_and_a_model(finished: SidaSettings) -> None:
    out = Path(finished.out)
    lines = read_log(out / "log.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(line["loss"]) and line["loss"] > 0 for line in lines)
    assert [line["step"] for line in read_log(out / "validation.jsonl")] == [3, 6]
    assert (out / "log.png").stat().st_size > 10_000
    assert len(list((out / "validation").glob("*.png"))) == 2
    kept = {path.name for path in (out / "checkpoints").iterdir()}
    assert {name for name in kept if name.startswith("step")} == {"step-0000004", "step-0000006"}
    assert len([name for name in kept if name.startswith("best")]) == 1
    files = {path.suffix for path in out.rglob("*") if path.is_file()}
    assert files <= {".json", ".jsonl", ".safetensors", ".model", ".png"}


def test_the_model_is_under_a_million_and_check_takes_it(finished: SidaSettings, manifest: Path) -> None:
    import pixelsleuth as ps

    detector = ps.load(str(Path(finished.out) / "model"))
    assert sum(p.numel() for p in detector.engine.model.parameters()) < 1_000_000
    verdicts = detector.check([str(manifest.parent / "0.png"), str(manifest.parent / "2.png")])
    assert all(0.99 < sum(v.probabilities.values()) < 1.01 for v in verdicts)


def test_the_best_checkpoint_is_the_best_validation(finished: SidaSettings) -> None:
    out = Path(finished.out)
    scores = {line["step"]: line["score"] for line in read_log(out / "validation.jsonl")}
    best = max(scores, key=lambda step: (scores[step], -step))
    facts, _ = checkpoints.read(next((out / "checkpoints").glob("best-*")))
    assert facts["step"] == best
    assert facts["best"]["value"] == scores[best]


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_killed_run_resumes_to_the_same_losses(finished: SidaSettings, tmp_path: Path, step: int) -> None:
    import dataclasses

    config = dataclasses.replace(finished, out=str(tmp_path / "out"))
    shutil.copytree(Path(finished.out) / "start", tmp_path / "out" / "start")
    stopped_after(config, step)
    with (tmp_path / "out" / "log.jsonl").open("a") as log:
        log.write('{"step": 99, "lo')  # a line that the kill cut
    train(config, resume=True)
    assert losses_of(config.out) == losses_of(finished.out)


def test_kill_dash_nine_and_resume_through_the_command(manifest: Path, tmp_path: Path) -> None:
    from pixelsleuth.cli.main import main

    own = [f"data={manifest}", "steps=6", "global_batch=3", "checkpoints.every=1"]
    words = ["train", str(ROOT / "recipes/tiny.yaml"), *own, f"out={tmp_path / 'cut'}", "--resume"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    log = tmp_path / "cut" / "log.jsonl"
    killed = subprocess.Popen(
        [sys.executable, "-m", "pixelsleuth", *words], env=environment, stderr=subprocess.PIPE
    )
    while len(read_log(log)) < 2 and killed.poll() is None:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    resumed = CliRunner().invoke(main, words)
    assert resumed.exit_code == 0, resumed.output
    train(read_settings(ROOT / "recipes/tiny.yaml", [*own, f"out={tmp_path / 'whole'}"]))
    assert len(losses_of(tmp_path / "cut")) == 6
    assert losses_of(tmp_path / "cut") == losses_of(tmp_path / "whole")


@pytest.mark.thorough  # three trainings
def test_micro_batches_change_nothing_but_rounding(tiny: Tiny, tmp_path: Path) -> None:
    for name, size in (("whole", 6), ("cut", 2), ("uneven", 4)):
        own = [f"out={tmp_path / name}", "global_batch=6", f"per_device={size}", "steps=2", "lora.dropout=0"]
        train(tiny(*own, "equalise=fixed", "batches=natural", "optimiser.warmup=0"))
    whole = np.array(losses_of(tmp_path / "whole"))
    for name in ("cut", "uneven"):
        np.testing.assert_allclose(np.array(losses_of(tmp_path / name)), whole, rtol=2e-4, atol=1e-6)


def test_a_resume_with_other_settings_or_data_is_refused(finished: SidaSettings, manifest: Path) -> None:
    import dataclasses

    other = dataclasses.replace(finished, seed=5)
    with pytest.raises(UsageError, match=r"another configuration \(seed differ"):
        train(other, resume=True)
    with pytest.raises(UsageError, match="go on with --resume"):
        train(finished)


def test_a_checkpoint_of_another_shape_is_refused(finished: SidaSettings, tiny: Tiny) -> None:
    model, _ = load_start(tiny("lora.rank=2"))
    _, tensors = checkpoints.read(Path(finished.out) / "checkpoints" / "step-0000006")
    module = prepare(model, tiny("lora.rank=2"))
    with pytest.raises(UsageError, match="of another shape"):
        checkpoints.restore_weights(checkpoints.trained(module), tensors["trained"], "it")


def test_a_full_disk_costs_a_checkpoint_and_not_the_training(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, write = tiny(), checkpoints.Keeper.write

    def full(self: checkpoints.Keeper, name: str, *arguments: Any) -> Path:
        if name == "step-0000002":
            raise OSError(28, "No space left on device")
        return write(self, name, *arguments)

    monkeypatch.setattr(checkpoints.Keeper, "write", full)
    train(config)
    assert "No checkpoint at step 2 (No space left on device)" in " ".join(capsys.readouterr().err.split())
    assert len(read_log(Path(config.out) / "log.jsonl")) == 4


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = checkpoints.Keeper(tmp_path, keep=1)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_to_disk", full)
        with pytest.raises(OSError, match="No space left"):
            keeper.write("step-0000001", {"trained": {"a": torch.zeros(2)}}, {"step": 1})
    assert not list(tmp_path.iterdir())
    keeper.write("step-0000001", {"trained": {"a": torch.zeros(2)}}, {"step": 1})
    keeper.write("step-0000002", {"trained": {"a": torch.ones(2)}}, {"step": 2})
    (tmp_path / "step-0000002" / "trained.safetensors").write_bytes(b"cut")
    last = keeper.last()
    assert last is not None
    assert last[0]["step"] == 1  # the newest that can be read
    keeper.purge(None)
    assert [path.name for path in keeper.steps()] == ["step-0000002"]


def test_only_what_the_paper_trains_learns(tiny: Tiny) -> None:
    model, _ = load_start(tiny())
    module = prepare(model, tiny())
    names = set(checkpoints.trained(module))
    assert all("lora_" in n for n in names if ".layers." in n and "language" in n)
    assert {n.split(".self_attn.")[1].split(".")[0] for n in names if "lora_" in n} == {"q_proj", "v_proj"}
    assert "model.sida.language.model.embed_tokens.weight" in names
    assert not any(
        "lm_head" in n or ".clip." in n or "projector" in n or n.startswith("model.sam") for n in names
    )
    assert sum(learns for _, _, learns in table(module)) == sum(
        p.numel() for p in checkpoints.trained(module).values()
    )


def test_folded_lora_gives_the_same_model(tiny: Tiny, manifest: Path) -> None:
    model, _ = load_start(tiny())
    module = prepare(model, tiny()).eval()
    for name, parameter in checkpoints.trained(module).items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    row = torch.randn(1, 5, 64)
    with torch.no_grad():
        before = model.sida.read(row)[0]
        assert fold(model, model.sida.language.model) == 4
        after = model.sida.read(row)[0]
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    assert not any("lora" in name for name in model.state_dict())
    assert {
        k.split("language.model.")[-1] for k in model.state_dict() if "language" in k and "q_proj" in k
    } == {
        "layers.0.self_attn.q_proj.weight",
        "layers.1.self_attn.q_proj.weight",
    }


def test_sam_looks_once_at_each_picture_where_its_features_are_kept(tiny: Tiny, tmp_path: Path) -> None:
    own = ["equalise=fixed", "lora.dropout=0", "steps=9", "checkpoints.every=9"]
    train(tiny(*own, f"out={tmp_path / 'plain'}"))
    config = tiny(*own, f"out={tmp_path / 'kept'}", f"sam_cache={tmp_path / 'cache'}")
    loop, step = begin(config)
    loop.run(step)
    assert step.cache is not None
    assert step.model.calls["sam"] == step.cache.misses == 8  # nine draws of eight pictures
    assert step.cache.hits == 1
    np.testing.assert_allclose(
        losses_of(tmp_path / "kept"), losses_of(tmp_path / "plain"), rtol=1e-5, atol=1e-7
    )


def test_bf16_with_frozen_bf16_weights_and_gradient_checkpointing_trains(tiny: Tiny) -> None:
    config = tiny("precision=bf16", "frozen=bf16", "gradient_checkpointing=true", "steps=2")
    train(config)
    assert all(math.isfinite(line[1]) for line in losses_of(config.out))


@pytest.mark.parametrize("ablation", ["none", "linear"])
def test_ablations_of_the_fusion_train_and_load_again(tiny: Tiny, ablation: str) -> None:
    import pixelsleuth as ps

    full = "[mask_decoder, segmentation, detection]" if ablation == "none" else "[fusion, detection]"
    model = train(tiny("steps=1", f"fusion={ablation}", f"full={full}", "det_projection=hidden"))
    facts = json.loads((model / "config.json").read_text())
    assert (facts["sida"]["fusion"], facts["sida"]["det_projection"]) == (ablation, "hidden")
    assert ps.load(str(model)).engine.model.sida.fusion.how == ablation


def test_alarms_sound_before_hours_are_lost() -> None:
    alarms = Alarms(masks=True)
    one_class = np.array([3, 0, 0])
    sentences = [text for step in range(WINDOW) for text in alarms.look(step, {"loss": 1.0}, one_class, 0)]
    assert len(sentences) == 2
    assert "predicted real for every picture" in sentences[0]
    assert "the mask decoder learns nothing" in sentences[1]
    assert not alarms.look(WINDOW, {"loss": 1.0}, one_class, 0)  # reported once
    with pytest.raises(TrainingError, match="step 31 is not finite"):
        alarms.look(31, {"loss": float("nan")}, one_class, 1)


def test_a_log_forgets_what_came_after_a_checkpoint(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    for step in (1, 2, 3):
        log.add({"step": step, "loss": 0.1 * step})
    with log.path.open("a") as handle:
        handle.write('{"step": 4')
    log.rewind(2)
    assert read_log(log.path) == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": 0.2}]
