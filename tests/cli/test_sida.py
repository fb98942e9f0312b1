"""check, chat, merge and models with SIDA checkpoints, as a user calls them."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from pixelsleuth.cli.main import main

needs_models = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="the extra vlm brings transformers and torch"
)


@pytest.fixture(scope="module")
def checkpoint(shared: Path) -> Path:
    return shared / "parity" / "sida"


def run(*arguments: object, stdin: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments], input=stdin)
    return result.exit_code, result.stdout, result.stderr


@needs_models
def test_check_gives_the_goldens_class_and_mask(checkpoint: Path, tmp_path: Path) -> None:
    golden = json.loads((checkpoint / "golden.json").read_text())["samples"]
    report = tmp_path / "report.html"
    status, out, _ = run(
        "check", "--model", checkpoint, checkpoint / "images/2.png", checkpoint / "images/0.png",
        "--format", "json", "--report", report, "--save-masks", tmp_path / "masks",
    )  # fmt: skip
    assert status == 0
    tampered, real = json.loads(out)
    assert tampered["label"] == "tampered"
    assert abs(tampered["mask"]["area"] - golden[2]["mask_positive_pixels"]) <= 18
    import torch

    expected = torch.tensor(golden[2]["class_logits"], dtype=torch.float64).softmax(0)
    assert list(tampered["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert tampered["regions"]
    assert real["label"] == "real"
    assert real["mask"] is None
    assert real["warnings"] == ["no mask: the picture was judged real"]
    assert "data:image" in report.read_text()
    assert len(list((tmp_path / "masks").iterdir())) == 1


@needs_models
def test_a_description_checkpoint_says_why(shared: Path) -> None:
    folder = shared / "parity" / "sida_description"
    status, out, _ = run("check", "--model", folder, folder / "images/0.png", "--format", "json")
    assert status == 0
    assert json.loads(out)[0]["explanation"] == "Type: real. Shadows and light agree everywhere."
    status, out, _ = run(
        "check", "--model", folder, folder / "images/0.png", "--format", "json", "--no-explain"
    )
    assert json.loads(out)[0]["explanation"] is None


@needs_models
def test_chat_answers_saves_masks_and_takes_commands(shared: Path, tmp_path: Path) -> None:
    folder = shared / "parity" / "sida_description"
    lines = [
        "",
        "/prompt Is this real?",
        "/image nowhere.png",
        f"/image {folder / 'images/0.png'}",
        "",
        "/dance",
    ]
    status, out, errors = run(
        "chat", folder / "images/2.png", "--model", folder, "--out", tmp_path / "out", stdin="\n".join(lines)
    )
    assert status == 0
    assert "The image is tampered" in out
    masks = list((tmp_path / "out").glob("2-mask-*.png"))
    assert len(masks) == 1
    assert str(masks[0]) in out
    assert Image.open(masks[0]).size == (320, 480)
    assert "nowhere.png" in errors
    assert "There is no command /dance" in errors
    assert "No mask: the picture was judged" in out


def test_chat_with_a_detector_that_cannot_talk_says_which_can(shared: Path) -> None:
    status, _, errors = run("chat", shared / "parity/sida/images/2.png", "--model", "compact")
    assert status == 2
    assert "compact cannot talk" in errors


@needs_models
def test_merge_writes_a_checkpoint_that_check_reads(checkpoint: Path, tmp_path: Path) -> None:
    status, out, errors = run("merge", checkpoint, "--out", tmp_path / "own", "--precision", "fp32")
    assert status == 0, errors
    assert "0 LoRA layers" in out
    status, out, _ = run(
        "check", "--model", tmp_path / "own", checkpoint / "images/2.png", "--format", "json"
    )
    assert status == 0
    assert json.loads(out)[0]["label"] == "tampered"


@needs_models
def test_a_checkpoint_without_network_or_weights_is_one_sentence(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    picture = checkpoint / "images/2.png"
    status, _, errors = run("check", "--model", "sida-7b", picture)
    assert status == 2
    assert "saberzl/SIDA-7B is not in the cache and the hub cannot be reached" in errors
    shutil.copy(checkpoint / "config.json", tmp_path)
    status, _, errors = run("check", "--model", tmp_path, picture)
    assert status == 2
    assert "lacks tokenizer.model" in errors
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    status, _, errors = run("check", "--model", tmp_path, picture)
    assert status == 2
    assert "holds no model that this version can load" in errors
    assert "Traceback" not in errors


def test_models_tells_memory_at_each_precision() -> None:
    status, out, _ = run("models", "--format", "json")
    assert status == 0
    sida = {model["name"]: model for model in json.loads(out)}["sida-7b"]
    assert list(sida["memory_bytes"]) == ["fp32", "bf16", "int8", "int4"]
    assert sida["memory_bytes"]["bf16"] > 2 * sida["parameters"] > sida["memory_bytes"]["int4"]


@needs_models
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_compressed_weights_without_a_gpu_are_refused(checkpoint: Path, precision: str) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    status, _, errors = run(
        "check", "--model", checkpoint, checkpoint / "images/2.png", "--precision", precision
    )
    assert status == 2
    assert f"--precision {precision} needs a CUDA device" in errors


def test_precision_for_a_model_that_has_one_is_refused(checkpoint: Path) -> None:
    status, _, errors = run("check", checkpoint / "images/2.png", "--precision", "bf16")
    assert status == 2
    assert "has one precision" in errors


@needs_models
def test_merging_into_an_older_folder_leaves_none_of_its_shards(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    out.mkdir()
    (out / "config.json").write_text("{}")
    stale = [out / "model-00001-of-00002.safetensors", out / "model.safetensors.index.json"]
    for path in stale:
        path.write_text('{"weight_map": {"gone": "model-00001-of-00002.safetensors"}}')
    assert run("merge", checkpoint, "--out", out)[0] == 0
    assert not any(path.exists() for path in stale)
    assert run("check", "--model", out, checkpoint / "images/0.png", "--format", "json")[0] == 0
