"""Files of tensors as trainings leave them: wrappers and prefixes come off, harmless objects are passed over, nothing
is executed, and what stands in the place of a file is named."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import pickle
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pixelsleuth.core.content import ensure_content
from pixelsleuth.errors import UsageError
from pixelsleuth.models.baselines.npr import Npr
from pixelsleuth.models.tensor_files import load_pickle, plain_key, read_tensors, unwrapped
from pixelsleuth.models.weights import Shards, load_strict

STATE = {"conv.weight": torch.arange(6.0).view(2, 3), "conv.bias": torch.ones(2)}


def written(path: Path, content: object, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def same(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor] = STATE) -> bool:
    return state.keys() == expected.keys() and all(
        torch.equal(state[key], value) for key, value in expected.items()
    )


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"model_dict": STATE},
        {"state_dict": {"model": STATE}, "epoch": 3},
        {"model": STATE, "ema": {key: value + 1 for key, value in STATE.items()}},
        {
            "weights_of_the_net": STATE,
            "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []},
        },
        {"params": {"lr": 1e-4}, "state_dict": STATE},
        {f"module.{key}": value for key, value in STATE.items()},
        {f"_orig_mod.module.{key}": value for key, value in STATE.items()},
        {"conv._orig_mod.weight": STATE["conv.weight"], "conv._fsdp_wrapped_module.bias": STATE["conv.bias"]},
    ],
)
def test_the_weights_are_found_in_whatever_wraps_them(tmp_path: Path, content: object) -> None:
    path = written(tmp_path / "weights.pth", content)
    assert same(read_tensors(path))


HARMLESS = {
    "namespace": argparse.Namespace(lr=1e-4, nested=argparse.Namespace(a=1)),
    "numpy scalar": np.float64(0.9),
    "numpy integer": np.int32(3),
    "numpy array": np.zeros((2, 3)),
    "path": pathlib.Path("runs/best"),
    "time": datetime.datetime(2026, 1, 2),
    "default mapping": collections.defaultdict(list, {"loss": [0.3, 0.2]}),
    "queue": collections.deque([1, 2], maxlen=3),
    "settings": types.SimpleNamespace(depth=50),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("what", HARMLESS)
def test_settings_and_counters_beside_the_weights_are_passed_over(
    tmp_path: Path, what: str, legacy: bool
) -> None:
    content = {"state_dict": STATE, "beside": HARMLESS[what]}
    path = written(tmp_path / "weights.pth", content, _use_new_zipfile_serialization=not legacy)
    assert same(read_tensors(path))


def test_settings_of_a_library_that_is_not_installed_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("pytorch_lightning", "pytorch_lightning.utilities", "pytorch_lightning.utilities.parsing")
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    kind = type("AttributeDict", (dict,), {"__module__": names[-1], "__qualname__": "AttributeDict"})
    sys.modules[names[-1]].AttributeDict = kind  # type: ignore[attr-defined]
    path = written(tmp_path / "last.ckpt", {"state_dict": STATE, "hyper_parameters": kind(lr=1e-4)})
    for name in names:
        monkeypatch.delitem(sys.modules, name)
    assert same(read_tensors(path))


class Evil:
    """Would run code when it is unpickled."""

    def __reduce__(self) -> tuple:
        return (print, ("executed",))


class Network(torch.nn.Module):
    """A network that somebody pickled whole."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Linear(3, 2)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "content, named", [({"state_dict": STATE, "x": Evil()}, "print"), (Network(), "Network")]
)
def test_other_objects_are_refused_by_name_and_not_executed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: object, named: str, legacy: bool
) -> None:
    path = written(tmp_path / "weights.pth", content, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UsageError, match=rf"holds more than tensors .*{named}.*state_dict\(\) alone"):
        read_tensors(path)
    assert "executed" not in capsys.readouterr().out


def test_a_harmless_name_does_not_open_the_door_to_what_it_is_called_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An argument of a harmless object is read by the same rules."""
    path = written(tmp_path / "weights.pth", {"state_dict": STATE, "args": argparse.Namespace(x=Evil())})
    with pytest.raises(UsageError, match="holds more than tensors"):
        read_tensors(path)
    assert "executed" not in capsys.readouterr().out


def test_a_mapping_that_holds_itself_ends(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop["model"] = loop
    with pytest.raises(UsageError, match="no tensors by name"):
        unwrapped(loop, tmp_path / "loop.pth")


def test_several_sets_of_weights_are_refused_by_their_names(tmp_path: Path) -> None:
    path = written(tmp_path / "gan.pth", {"generator": STATE, "discriminator": STATE})
    with pytest.raises(UsageError, match=r"several sets of weights \(discriminator, generator\)"):
        read_tensors(path)


def test_two_names_that_become_one_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "twice.pth", STATE | {"module.conv.bias": torch.zeros(2)})
    with pytest.raises(UsageError, match=r"holds conv\.bias twice"):
        read_tensors(path)


def test_a_torchscript_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(UsageError, match="TorchScript"):
        read_tensors(path)


def test_a_recompressed_archive_gives_the_same_weights(tmp_path: Path) -> None:
    plain, packed = written(tmp_path / "plain.pth", STATE), tmp_path / "packed.pth"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    assert same(read_tensors(packed))


def test_a_damaged_file_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.pth", {"model": STATE, "args": argparse.Namespace(a=1)}).read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / "damaged.pth"
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 4):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged[: random.integers(1, len(whole) + 1)])
        sentence = ""
        try:
            read_tensors(path)
        except UsageError as error:
            sentence = str(error)
        assert "\n" not in sentence


@pytest.mark.parametrize(
    "key, plain",
    [
        ("conv.weight", "conv.weight"),
        ("module.module.conv.weight", "conv.weight"),
        ("submodule.conv.weight", "submodule.conv.weight"),
        ("a.module.b", "a.module.b"),
        ("a._checkpoint_wrapped_module.b._orig_mod.c", "a.b.c"),
    ],
)
def test_names_lose_what_wrappers_of_modules_add(key: str, plain: str) -> None:
    assert plain_key(key) == plain


@pytest.mark.parametrize("prefix", ["net.", "model.", "lit.backbone."])
def test_a_lightning_modules_attribute_before_every_name_comes_off(prefix: str) -> None:
    torch.manual_seed(0)
    source, target = Npr(), Npr()
    load_strict(target, {f"{prefix}{key}": value for key, value in source.learnt().items()})
    assert same(target.learnt(), source.learnt())


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n"


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize(
    "content, sentence",
    [
        (POINTER, "is a pointer of Git LFS"),
        (b"/annex/objects/MD5-s1--0\n", "is a pointer of git-annex"),
        (b"<!DOCTYPE html><html>Sign in", "is a web page"),
        (b"", "is empty"),
    ],
)
def test_what_stands_in_the_place_of_a_file_is_named(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=sentence):
        read_tensors(tmp_path / name)
    with pytest.raises(UsageError, match=sentence):
        ensure_content(tmp_path / name)


def folder_of(path: Path, files: dict[str, dict[str, torch.Tensor]]) -> Path:
    path.mkdir(parents=True)
    for name, state in files.items():
        if name.endswith(".safetensors"):
            save_file(state, path / name)
        else:
            torch.save(state, path / name)
    return path


FIRST, SECOND = ({key: STATE[key]} for key in STATE)


@pytest.mark.parametrize(
    "inside, files",
    [
        ("", {"pytorch_model.bin": STATE}),
        ("pytorch_model.bin", {"pytorch_model.bin": STATE}),
        ("model.safetensors", {"model.safetensors": STATE}),
        ("", {"pytorch_model-00001-of-00002.bin": FIRST, "pytorch_model-00002-of-00002.bin": SECOND}),
        ("pytorch_model.bin", {"model-00001-of-00002.safetensors": FIRST, "model-00002-of-00002.safetensors": SECOND}),
        ("", {"pytorch_model.bin": {f"_orig_mod.{key}": value for key, value in STATE.items()}}),
        ("", {"model.safetensors": {f"_orig_mod.{key}": value for key, value in STATE.items()}}),
    ],
)  # fmt: skip
def test_a_folders_weights_are_found_where_trainings_leave_them(
    tmp_path: Path, inside: str, files: dict[str, dict[str, torch.Tensor]]
) -> None:
    folder_of(tmp_path / "checkpoint" / inside, files)
    shards = Shards(tmp_path / "checkpoint")
    assert sorted(shards.names) == sorted(STATE)
    assert same(dict(sorted(shards.tensors())), dict(sorted(STATE.items())))
    assert same(dict(shards.tensors(lambda key: key.endswith("bias"))), SECOND)


def test_a_shard_that_is_missing_without_an_index_is_missed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "checkpoint", {"model-00002-of-00002.safetensors": SECOND})
    with pytest.raises(UsageError, match="lacks shards or their index"):
        Shards(folder)


def test_a_plain_pickle_is_no_file_of_tensors(tmp_path: Path) -> None:
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps({"a": Evil()}, protocol=2))
    with pytest.raises(UsageError):
        load_pickle(path)
