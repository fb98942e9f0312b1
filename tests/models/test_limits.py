"""Checkpoints that are not loaded: weights that are no numbers, sizes no machine holds, pipes in place of files."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from pixelsleuth.cli.main import main
from pixelsleuth.compact.detector import GRAPHS
from pixelsleuth.core.finite import ensure_finite_graph
from pixelsleuth.errors import UsageError
from pixelsleuth.models import registry
from pixelsleuth.models.baseline import baseline_class
from pixelsleuth.models.compact.compact_sida import CompactSida, load_compact, save_compact
from pixelsleuth.models.tensor_files import ensure_unpacked_fits
from pixelsleuth.models.weights import ensure_sane, is_finite

WRONG = [float("nan"), float("inf"), float("-inf")]


@pytest.fixture(scope="module")
def compact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("compact")
    save_compact(CompactSida(), folder)
    return folder


def copied(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_wrong_number_among_many_is_found(wrong: float, dtype: torch.dtype) -> None:
    tensor = torch.zeros(1000, 7, dtype=dtype)
    assert is_finite(tensor)
    tensor[431, 5] = wrong
    assert not is_finite(tensor)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_compact_checkpoint_with_weights_that_are_no_numbers_is_refused(
    compact: Path, tmp_path: Path, wrong: float
) -> None:
    folder = copied(compact, tmp_path / "bad")
    tensors = load_file(folder / "model.safetensors")
    key = next(key for key in sorted(tensors) if tensors[key].ndim > 1)
    tensors[key].view(-1)[3] = wrong
    save_file(tensors, folder / "model.safetensors")
    load_compact(compact)
    with pytest.raises(UsageError, match=rf"NaN or infinite \({key}\)"):
        load_compact(folder)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_baseline_with_weights_that_are_no_numbers_is_refused(
    tmp_path: Path, wrong: float, suffix: str
) -> None:
    kind = baseline_class("npr")
    state = {key: value.clone() for key, value in kind().state_dict().items()}
    key = next(key for key, value in state.items() if value.is_floating_point() and value.ndim > 1)
    state[key].view(-1)[0] = wrong
    path = tmp_path / f"npr.{suffix}"
    if suffix == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    with pytest.raises(UsageError, match="NaN or infinite"):
        kind.load(path)
    result = CliRunner().invoke(main, ["check", "photo.jpg", "--model", "npr", "--weights", str(path)])
    assert result.exit_code == 2
    assert "NaN or infinite" in result.stderr


@pytest.mark.parametrize(
    "key, value",
    [("hidden_size", 10**9), ("num_hidden_layers", 10**6), ("image_size", 10**6), ("vocab_size", -(10**12)),
     ("depths", [2, 10**5]), ("out_channels", float("nan"))],
)  # fmt: skip
def test_sizes_that_no_model_has_are_refused_before_anything_is_made(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"states {key}"):
        ensure_sane({"a": {"inner": [1, {key: value}]}}, "config.json")
    ensure_sane(
        {"hidden_size": 8192, "num_hidden_layers": 120, "vocab_size": 256_000, "image_size": 1024}, "x"
    )


def test_a_compact_checkpoint_that_describes_more_than_there_is_memory_for_is_not_made(
    compact: Path, tmp_path: Path
) -> None:
    folder = copied(compact, tmp_path / "large")
    config = json.loads((folder / "config.json").read_text())
    language = config["sida"]["language"]
    language["hidden_size"], language["intermediate_size"] = 4_000_000, 8_000_000
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"describes a model of [\d,.]+ GB"):
        load_compact(folder)
    language["num_hidden_layers"] = 10**7
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="states num_hidden_layers"):
        load_compact(folder)


def test_a_file_that_unpacks_to_more_than_there_is_memory_for_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "npr.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(64 << 20))
    assert path.stat().st_size < 1 << 20
    monkeypatch.setattr("pixelsleuth.models.precision.free_main_memory", lambda: 32 << 20)
    with pytest.raises(UsageError, match="are free"):
        ensure_unpacked_fits(path)
    with pytest.raises(UsageError, match="are free"):
        baseline_class("npr").load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.model", "inner/weights.bin"])
def test_a_pipe_in_a_checkpoint_folder_is_refused_and_not_waited_for(
    compact: Path, tmp_path: Path, name: str
) -> None:
    folder = copied(compact, tmp_path / "piped")
    pipe = folder / name
    pipe.parent.mkdir(exist_ok=True)
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    result = CliRunner().invoke(main, ["check", "photo.jpg", "--model", str(folder)])
    assert result.exit_code == 2
    assert "is a pipe, not a file" in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no /dev/zero")
def test_a_device_in_place_of_weights_is_refused() -> None:
    result = CliRunner().invoke(main, ["check", "photo.jpg", "--model", "npr", "--weights", "/dev/zero"])
    assert result.exit_code == 2
    assert "is a device, not a file" in result.stderr


@pytest.mark.parametrize("name", ["config.json", "compact.json", "model.safetensors"])
def test_a_folder_in_place_of_a_file_is_an_error_in_one_sentence(
    compact: Path, tmp_path: Path, name: str
) -> None:
    folder = copied(compact, tmp_path / "odd")
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    with pytest.raises(UsageError) as caught:
        registry.load(str(folder))
    assert "\n" not in str(caught.value)


def onnx_graph(kind: int, data: bytes, *, constant: bool = False) -> bytes:
    """The smallest ONNX model that holds one tensor, as protobuf."""

    def field(number: int, content: bytes) -> bytes:
        size, varint = len(content), b""
        while size > 127:
            varint, size = varint + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + varint + bytes([size]) + content

    tensor = bytes([2 << 3, kind]) + field(8, b"w") + field(9, data)
    inside = field(1, field(5, field(5, tensor))) if constant else field(5, tensor)
    return field(7, inside)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("constant", [False, True])
def test_an_exported_graph_with_weights_that_are_no_numbers_is_refused(
    tmp_path: Path, wrong: float, constant: bool
) -> None:
    path = tmp_path / "traces.onnx"
    values = np.zeros(300)
    brain = [struct.unpack("<HH", struct.pack("<f", value))[1] for value in (0.5, wrong)]
    for kind, letters in ((1, "<f4"), (10, "<f2"), (11, "<f8")):
        path.write_bytes(onnx_graph(kind, values.astype(letters).tobytes(), constant=constant))
        ensure_finite_graph(path)
        spoilt = values.copy()
        spoilt[217] = wrong
        path.write_bytes(onnx_graph(kind, spoilt.astype(letters).tobytes(), constant=constant))
        with pytest.raises(UsageError, match=r"NaN or infinite \(w\)"):
            ensure_finite_graph(path)
    path.write_bytes(onnx_graph(16, struct.pack("<HH", *brain)))
    with pytest.raises(UsageError, match="NaN or infinite"):
        ensure_finite_graph(path)


def test_the_graphs_that_ship_hold_numbers_alone_and_cut_ones_are_damaged(tmp_path: Path) -> None:
    import pixelsleuth.compact

    weights = Path(pixelsleuth.compact.__file__).parent / "weights"
    for name in GRAPHS:
        ensure_finite_graph(weights / f"{name}.onnx")
    data = (weights / f"{GRAPHS[0]}.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match="damaged"):
        ensure_finite_graph(tmp_path / "cut.onnx")
