"""The published file of Community-Forensics runs through ONNX Runtime as it does in torch."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pixelsleuth.errors import UsageError
from pixelsleuth.models.light.detector import LightDetector, load_published
from pixelsleuth.models.light.form import read, shipped

Published = Callable[[str], Path]
PIXELS = np.random.default_rng(0).integers(0, 256, (230, 310, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def small(published: Published) -> LightDetector:
    return load_published("commfor", "cpu", weights=str(published("224")), options={"size": "224"})


@pytest.mark.parametrize("size", ["224", pytest.param("384", marks=pytest.mark.slow)])
def test_it_answers_as_torch_does(published: Published, size: str) -> None:
    torch = pytest.importorskip("torch", reason="the extra vlm brings torch")
    from pixelsleuth.models.baselines.commfor import CommFor

    network = CommFor.load(published(size), size=size)
    light = load_published("commfor", "cpu", weights=str(published(size)), options={"size": size})
    with torch.inference_mode():
        logit = network.run([network.prepare(PIXELS)]).logit
    assert logit is not None
    assert abs(light.answer(PIXELS).logit - float(logit[0])) < 2e-5  # type: ignore[operator]


@pytest.mark.parametrize("size", ["224", "384"])
def test_torch_sees_the_very_same_numbers(size: str) -> None:
    pytest.importorskip("torch", reason="the extra vlm brings torch")
    from pixelsleuth.models.baselines.commfor import CommFor
    from pixelsleuth.models.preparation import prepared

    path = shipped("commfor", {"size": size})
    assert path is not None
    assert np.array_equal(prepared(PIXELS, read(path).steps), CommFor(size=size).prepare(PIXELS).numpy())


def test_the_goldens_of_the_authors_code_hold(shared: Path, tmp_path: Path) -> None:
    """What the authors' code gives for the golden's weights, which no torch of ours has touched."""
    import importlib.util
    import json

    from safetensors.numpy import load_file, save_file

    from pixelsleuth.pictures.images import open_picture

    folder = shared / "parity" / "baselines"
    spec = importlib.util.spec_from_file_location("formula_weights", folder / "formula_weights.py")
    assert spec is not None
    assert spec.loader is not None
    formula = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(formula)
    meta = json.loads((folder / "commfor" / "keys_224.json").read_text())
    path = tmp_path / "model.safetensors"
    save_file(formula.formula_state(meta["keys"], meta["gain"], meta["seed"]), path)
    light = load_published("commfor", "cpu", weights=str(path), options={"size": "224"})
    golden = load_file(folder / "commfor" / "golden.safetensors")
    for i in range(6):
        answer = light.answer(open_picture(folder / "images" / f"{i}.png").pixels)
        assert answer.logit == pytest.approx(float(golden[f"{i}.logits"][1]), abs=2e-5)


def test_the_shipped_graphs_are_what_our_script_writes(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the extra train brings the exporter")
    from pixelsleuth.models.baselines.commfor import CommFor
    from pixelsleuth.models.convert import without_weights

    path = shipped("commfor", {"size": "224"})
    made = without_weights(CommFor(size="224").eval(), tmp_path)
    assert path is not None
    assert made.with_suffix(".json").name == path.name
    assert read(made.with_suffix(".json")).tensors == read(path).tensors
    assert read(path).graph == hashlib.sha256(path.with_suffix(".onnx").read_bytes()).hexdigest()


def test_a_verdict_says_which_network_spoke_and_how_it_ran(small: LightDetector) -> None:
    verdict = small.check(PIXELS)
    assert verdict.model["name"] == "commfor"
    assert verdict.model["version"].endswith(".onnx")
    assert set(verdict.probabilities or {}) == {"real", "full_synthetic", "tampered"}
    assert (verdict.probabilities or {})["tampered"] == 0


def damaged(kind: str, published: Published, folder: Path) -> Path:
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    if kind == "cut":
        path.write_bytes(published("224").read_bytes()[:-1000])
        return path
    if kind == "pickle":
        path.write_bytes(b"\x80\x04N.")
        return path
    state = load_file(published("224"))
    if kind == "missing":
        del state["vit.norm.bias"]
    elif kind == "unexpected":
        state["vit.extra"] = np.zeros(3, np.float32)
    elif kind == "shape":
        state["vit.pos_embed"] = np.zeros((1, 10, 384), np.float32)
    elif kind == "nan":
        state["vit.norm.bias"][3] = np.nan
    else:
        state["vit.norm.bias"] = np.zeros(384, np.int32)
    save_file(state, path)
    return path


@pytest.mark.parametrize(
    "kind, sentence",
    [
        ("cut", "truncated or damaged"),
        ("pickle", "no safetensors file"),
        ("missing", r"lacks vit\.norm\.bias"),
        ("unexpected", r"also holds vit\.extra"),
        ("shape", "another shape"),
        ("nan", "NaN or infinite"),
        ("integers", "only float32"),
    ],
)
def test_a_file_that_is_not_its_own_is_refused_in_one_sentence(
    kind: str, sentence: str, published: Published, tmp_path: Path
) -> None:
    path = damaged(kind, published, tmp_path)
    with pytest.raises(UsageError, match=sentence):
        load_published("commfor", "cpu", weights=str(path), options={"size": "224"})


def test_none_of_it_imports_torch(published: Published) -> None:
    code = (
        "import sys\n"
        "from pixelsleuth.models.light.detector import load_published\n"
        f"load_published('commfor', 'cpu', weights={str(published('224'))!r}, options={{'size': '224'}})\n"
        "assert not {'torch', 'transformers', 'scipy', 'onnx'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
