"""Checkpoints as users have them: sharded, with LoRA, out of a training, damaged; each read exactly or refused in a
sentence."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pixelsleuth.errors import UsageError
from pixelsleuth.models import precision
from pixelsleuth.models.sida import prompts
from pixelsleuth.models.sida.checkpoint import load_large, save_large
from pixelsleuth.models.sida.inference import SidaEngine
from pixelsleuth.models.sida.merging import merge_checkpoint


@pytest.fixture
def published(shared: Path, tmp_path: Path) -> Path:
    """A copy of the golden checkpoint that a test may damage."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(
        shared / "parity" / "sida", folder, ignore=shutil.ignore_patterns("golden*", "images", "state_dict*")
    )
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    return load_large(str(folder))[0].state_dict()


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], rtol=0, atol=0, msg=key)


def shard(folder: Path) -> None:
    """Rewrite the weights as two `.bin` shards and their index, as older hub downloads have them."""
    state = weights(folder)
    (folder / "model.safetensors").unlink()
    names = sorted(state)
    files = {name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, name in enumerate(names)}
    for file in set(files.values()):
        torch.save({name: state[name] for name in names if files[name] == file}, folder / file)
    index = {"metadata": {}, "weight_map": files}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def test_sharded_bins_hold_the_same_model(published: Path) -> None:
    whole = parameters(published)
    shard(published)
    same(parameters(published), whole)


def test_our_own_layout_gives_back_the_same_model(published: Path, tmp_path: Path) -> None:
    model, processor = load_large(str(published))
    save_large(model, processor, tmp_path / "own")
    again, same_processor = load_large(str(tmp_path / "own"))
    same(again.state_dict(), model.state_dict())
    assert same_processor.ids(prompts.QUESTION) == processor.ids(prompts.QUESTION)
    assert not list((tmp_path / "own").glob("*.bin"))


def test_missing_and_unexpected_keys_are_listed(published: Path) -> None:
    state = weights(published)
    del state["model.layers.1.mlp.up_proj.weight"]
    state["model.layers.1.mlp.surprise"] = torch.zeros(1)
    save_file(state, published / "model.safetensors")
    with pytest.raises(UsageError, match=r"1 missing .*layers\.1\.mlp\.up_proj.*1 unexpected .*surprise"):
        load_large(str(published))


@pytest.mark.parametrize("key", ["model.sida_fc1.weight", "model.visual_model.image_encoder.pos_embed"])
def test_a_checkpoint_without_what_decides_dimensions_is_refused(published: Path, key: str) -> None:
    state = weights(published)
    del state[key]
    save_file(state, published / "model.safetensors")
    with pytest.raises(UsageError, match="lacks model"):
        load_large(str(published))


def test_a_truncated_shard_is_named(published: Path) -> None:
    path = published / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UsageError, match=r"model\.safetensors is truncated or damaged"):
        load_large(str(published))


def test_a_missing_and_a_truncated_bin_shard_are_named(published: Path) -> None:
    shard(published)
    first = published / "pytorch_model-00001-of-00002.bin"
    data = first.read_bytes()
    first.write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match=r"00001-of-00002\.bin is truncated or damaged"):
        load_large(str(published))
    first.unlink()
    with pytest.raises(UsageError, match="lacks 1 of 2 shards"):
        load_large(str(published))


class Evil:
    """Would run code when unpickled."""

    def __reduce__(self) -> tuple:
        return (print, ("executed",))


def test_a_pickle_that_wants_to_run_code_is_refused(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (published / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Evil()}, published / "pytorch_model.bin")
    with pytest.raises(UsageError, match="holds more than tensors"):
        load_large(str(published))
    with (published / "pytorch_model.bin").open("wb") as handle:
        pickle.dump(Evil(), handle)
    with pytest.raises(UsageError):
        load_large(str(published))
    assert "executed" not in capsys.readouterr().out


def test_an_index_that_points_outside_the_folder_is_refused(published: Path) -> None:
    (published / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../../secret.safetensors"}}
    (published / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match="outside its folder"):
        load_large(str(published))


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda f: (f / "config.json").unlink(), "is not a checkpoint: it lacks config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is damaged"),
        (lambda f: (f / "tokenizer.model").unlink(), "lacks tokenizer.model"),
        (lambda f: (f / "tokenizer.model").write_bytes(b"no"), "tokenizer.model is damaged"),
        (lambda f: (f / "added_tokens.json").write_text('{"[SEG]": 421}'), r"no \[CLS\]"),
        (lambda f: (f / "added_tokens.json").write_text("[1]"), "added_tokens.json is damaged"),
        (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
        (
            lambda f: (f / "added_tokens.json").write_text('{"[CLS]": 420, "[SEG]": 9999}'),
            "tokenizer of 10000 tokens for an embedding of 424",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_said_in_one_sentence(published: Path, damage, sentence: str) -> None:
    damage(published)
    with pytest.raises(UsageError, match=sentence) as error:
        load_large(str(published))
    assert "\n" not in str(error.value)


def test_a_prompt_longer_than_the_context_is_refused(published: Path) -> None:
    _, processor = load_large(str(published))
    with pytest.raises(UsageError, match="the model reads 2048"):
        processor.ids("why? " * 2000)


def test_too_little_memory_names_the_choice_that_fits(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_large(str(published))
    count = sum(parameter.numel() for parameter in model.parameters())
    layers = sum(parameter.numel() for parameter in model.sida.language.model.layers.parameters())
    middle = (precision.needed(count, layers, "bf16") + precision.needed(count, layers, "fp32")) // 2
    monkeypatch.setattr(precision, "free_main_memory", lambda: middle)
    with pytest.raises(UsageError, match=r"--precision bf16 .* fits"):
        load_large(str(published))


@torch.inference_mode()
def test_bf16_stays_near_fp32(published: Path, shared: Path) -> None:
    from pixelsleuth.pictures.images import open_picture

    picture = open_picture(str(shared / "parity/sida/images/2.png")).pixels
    fine = SidaEngine(*load_large(str(published))).locate([picture])[0]
    coarse = SidaEngine(*load_large(str(published), dtype=torch.bfloat16)).locate([picture])[0]
    torch.testing.assert_close(coarse.classes, fine.classes, rtol=0, atol=0.15)
    agree = ((coarse.masks[0] > 0) == (fine.masks[0] > 0)).float().mean()
    assert agree > 0.98


def with_lora(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Peft's names with LoRA of rank 2 on two layers, and what folding should give."""
    torch.manual_seed(0)
    tuned, expected = {f"base_model.model.{key}": value for key, value in state.items()}, dict(state)
    for name in ("q_proj", "v_proj"):
        layer = f"model.layers.0.self_attn.{name}"
        a, b = torch.randn(2, 64) * 0.1, torch.randn(64, 2) * 0.1
        tuned[f"base_model.model.{layer}.lora_A.default.weight"] = a
        tuned[f"base_model.model.{layer}.lora_B.default.weight"] = b
        expected[f"{layer}.weight"] = state[f"{layer}.weight"].float() + 16 / 2 * b @ a
    return tuned, expected


def test_merge_folds_lora_into_the_weights(published: Path) -> None:
    tuned, expected = with_lora(weights(published))
    plain = parameters(published)
    save_file(tuned, published / "model.safetensors")
    model, _, folded = merge_checkpoint(published, base=None, alpha=16, dtype=torch.float32)
    merged = model.state_dict()
    assert folded == 2
    for key in plain:
        source = key.replace("sida.language.", "")
        if source in expected and "self_attn" in key:
            torch.testing.assert_close(merged[key], expected[source].float())
    changed = [key for key in plain if not torch.equal(plain[key], merged[key])]
    assert sorted(changed) == [f"sida.language.model.layers.0.self_attn.{n}_proj.weight" for n in "qv"]


def test_half_a_lora_pair_is_refused(published: Path) -> None:
    tuned, _ = with_lora(weights(published))
    del tuned["base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight"]
    save_file(tuned, published / "model.safetensors")
    with pytest.raises(UsageError, match="is not whole"):
        merge_checkpoint(published, base=None, alpha=16, dtype=torch.float32)


def zero_folder(folder: Path, state: dict[str, torch.Tensor], ranks: int, extra: object) -> None:
    """A ZeRO stage 2 folder as DeepSpeed writes it: 16-bit module, fp32 slices a rank, padded to equal length."""
    step = folder / "global_step500"
    step.mkdir(parents=True)
    (folder / "latest").write_text("global_step500")
    trained = [key for key in state if "lora_" in key or "cls_head" in key]
    flat = torch.cat([state[key].float().flatten() for key in trained])
    flat = torch.cat([flat, torch.zeros(-len(flat) % (2 * ranks))])
    module = {key: value.half() for key, value in state.items()}
    shapes = {key: state[key].shape for key in trained}
    torch.save(
        {"module": module, "param_shapes": [shapes], "ds_config": extra}, step / "mp_rank_00_model_states.pt"
    )
    for rank, part in enumerate(flat.chunk(ranks)):
        state_dict = {
            "zero_stage": 2,
            "partition_count": ranks,
            "single_partition_of_fp32_groups": [part.clone()],
        }
        torch.save(
            {"optimizer_state_dict": state_dict}, step / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        )


@pytest.fixture
def foreign_setting(monkeypatch: pytest.MonkeyPatch) -> object:
    """An object of a module that is not installed when the folder is read."""
    module = types.ModuleType("deepspeed.runtime.config")
    setting = type("Setting", (), {"__module__": module.__name__, "__qualname__": "Setting"})
    module.Setting = setting  # type: ignore[attr-defined]
    for name in ("deepspeed", "deepspeed.runtime"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    made = setting()
    made.stage = 2
    return made


def test_a_zero_folder_of_the_authors_training_is_merged(
    published: Path, tmp_path: Path, foreign_setting: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned, expected = with_lora({key: value.float() for key, value in weights(published).items()})
    zero_folder(tmp_path / "zero", tuned, 11, foreign_setting)
    for name in [name for name in sys.modules if name.startswith("deepspeed")]:
        monkeypatch.delitem(sys.modules, name)
    model, _, folded = merge_checkpoint(tmp_path / "zero", base=str(published), alpha=16, dtype=torch.float32)
    assert folded == 2
    merged = model.state_dict()
    torch.testing.assert_close(
        merged["sida.language.model.layers.0.self_attn.q_proj.weight"],
        expected["model.layers.0.self_attn.q_proj.weight"],
        rtol=0,
        atol=1e-3,
    )
    torch.testing.assert_close(merged["sida.detection.3.weight"], expected["model.cls_head.0.3.weight"])


def test_a_zero_folder_that_is_not_whole_or_not_harmless_is_refused(published: Path, tmp_path: Path) -> None:
    state = weights(published)
    zero_folder(tmp_path / "a", state, 2, None)
    with pytest.raises(UsageError, match="--base"):
        merge_checkpoint(tmp_path / "a", base=None, alpha=16, dtype=torch.float32)
    zero_folder(tmp_path / "b", state, 2, Evil())
    with pytest.raises(UsageError, match="holds more than tensors"):
        merge_checkpoint(tmp_path / "b", base=str(published), alpha=16, dtype=torch.float32)
    (tmp_path / "a/global_step500/zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    with pytest.raises(UsageError, match="lacks the states of some ranks"):
        merge_checkpoint(tmp_path / "a", base=str(published), alpha=16, dtype=torch.float32)


def test_compressing_replaces_the_language_models_layers_alone(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With bitsandbytes' interface played by a module that records what it is given: no GPU here."""
    from pixelsleuth.models.precision import compress

    class Linear(torch.nn.Module):
        def __init__(self, inside: int, outside: int, bias: bool = True, **_: object) -> None:
            super().__init__()
            self.shape = (outside, inside)
            self.bias = None

    fake = types.ModuleType("bitsandbytes")
    fake.nn = types.SimpleNamespace(  # type: ignore[attr-defined]
        Linear8bitLt=Linear, Linear4bit=Linear, Int8Params=_parameter, Params4bit=_parameter
    )
    monkeypatch.setitem(sys.modules, "bitsandbytes", fake)
    model, _ = load_large(str(published))
    before = {
        name: module.weight for name, module in model.named_modules() if type(module) is torch.nn.Linear
    }
    compress(model.sida.language.model.layers, "int4")
    replaced = {name for name, module in model.named_modules() if isinstance(module, Linear)}
    assert len(replaced) == 3 * 7
    assert all(name.startswith("sida.language.model.layers.") for name in replaced)
    for name in replaced:
        module = model.get_submodule(name)
        assert torch.equal(module.weight, before[name])
        assert module.shape == tuple(before[name].shape)


def _parameter(data: torch.Tensor, **_: object) -> torch.nn.Parameter:
    return torch.nn.Parameter(data, requires_grad=False)
