"""What `merge --layout published` writes: transformers' own classes read it, and so do we, to the same numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from pixelsleuth.cli.main import main
from pixelsleuth.errors import UsageError
from pixelsleuth.models.sida.checkpoint import load_large
from pixelsleuth.models.sida.large import LargeConfig, LargeSida
from pixelsleuth.models.sida.published import our_name, published_name
from pixelsleuth.models.sida.release import save_published


@pytest.fixture(scope="module")
def golden(shared: Path) -> Path:
    return shared / "parity" / "sida"


@pytest.fixture(scope="module")
def written(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("published") / "sida"
    result = CliRunner().invoke(
        main, ["merge", str(golden), "--out", str(folder), "--layout", "published", "--precision", "fp32"]
    )
    assert result.exit_code == 0, result.output
    return folder


def test_every_name_goes_there_and_back(golden: Path) -> None:
    model, _ = load_large(str(golden))
    for name in model.state_dict():
        if not name.startswith("clip."):
            assert our_name(published_name(name)) == name


def listing(folder: Path) -> set[str]:
    """Files of a checkpoint by their paths in it, without what the goldens hold beside."""
    paths = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {path for path in paths if not path.startswith(("golden", "images/", "state_dict_keys"))}


def tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def test_files_and_keys_are_those_of_a_download(golden: Path, written: Path) -> None:
    assert listing(written) == listing(golden)
    published = json.loads((golden / "state_dict_keys.json").read_text())
    assert sorted(tensors(written / "model.safetensors")) == sorted(published)
    tower = tensors(written / "clip/model.safetensors")
    assert all(key.startswith("vision_model.") for key in tower)
    assert sorted(tower) == sorted(tensors(golden / "clip/model.safetensors"))


def test_every_tensor_is_the_one_that_was_published_also_those_that_sida_does_not_read(
    golden: Path, written: Path
) -> None:
    for file in ("model.safetensors", "clip/model.safetensors"):
        ours = tensors(written / file)
        for name, value in tensors(golden / file).items():
            assert torch.equal(ours[name], value.float()), name


@pytest.mark.parametrize(
    "file",
    [
        "added_tokens.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "clip/preprocessor_config.json",
    ],
)
def test_settings_are_those_of_a_download(golden: Path, written: Path, file: str) -> None:
    assert json.loads((written / file).read_text()) == json.loads((golden / file).read_text())


def test_the_config_states_what_the_authors_code_reads(golden: Path, written: Path) -> None:
    for file in ("config.json", "clip/config.json"):
        ours, theirs = (json.loads((folder / file).read_text()) for folder in (written, golden))
        same = {key for key in ours if key in theirs} - {"torch_dtype"}
        assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
        lacking = {key for key in theirs if key.startswith(("mm_", "vision", "train_", "num_", "hidden"))} - {
            *ours
        }
        assert lacking <= {"num_beams", "num_beam_groups", "num_return_sequences"}


def test_from_our_own_layout_what_is_not_kept_is_there_and_zero(golden: Path, tmp_path: Path) -> None:
    own, out = tmp_path / "own", tmp_path / "published"
    for source, folder, layout in ((golden, own, "own"), (own, out, "published")):
        arguments = ["merge", str(source), "--out", str(folder), "--precision", "fp32", "--layout", layout]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
    assert listing(out) == listing(golden)
    for file in ("model.safetensors", "clip/model.safetensors"):
        ours, theirs = tensors(out / file), tensors(golden / file)
        assert {key: value.shape for key, value in ours.items()} == {k: v.shape for k, v in theirs.items()}
        differ = [key for key, value in theirs.items() if not torch.equal(ours[key], value.float())]
        assert differ
        assert all(not ours[key].any() for key in differ)
        parts = ("prompt_encoder.", "encoder.layers.3.", "post_layernorm")
        assert all(any(part in key for part in parts) for key in differ)


def test_we_read_it_again_to_the_bit(golden: Path, written: Path) -> None:
    before, after = load_large(str(golden))[0], load_large(str(written))[0]
    assert before.state_dict().keys() == after.state_dict().keys()
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())


def test_transformers_reads_the_language_model_and_the_vision_tower(golden: Path, written: Path) -> None:
    from transformers import CLIPVisionModel, LlamaForCausalLM

    ours, _ = load_large(str(golden))
    llama = LlamaForCausalLM.from_pretrained(written).eval()
    ids = torch.tensor([[1, 5, 9, 200, 421]])
    with torch.inference_mode():
        states, _ = ours.sida.read(ours.sida.embed(ids))
        torch.testing.assert_close(
            llama(ids).logits, ours.sida.language.lm_head(states), rtol=1e-5, atol=1e-5
        )
        clip = CLIPVisionModel.from_pretrained(written / "clip").eval()
        pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        layer = json.loads((written / "config.json").read_text())["mm_vision_select_layer"]
        states = clip(pixel_values=pixels, output_hidden_states=True).hidden_states[layer]
        torch.testing.assert_close(states[:, 1:], _tokens(ours, pixels), rtol=1e-5, atol=1e-5)


def test_an_ablation_has_no_place_in_it(golden: Path, tmp_path: Path) -> None:
    model, processor = load_large(str(golden))
    model.config = LargeConfig(model.config.sida | {"fusion": "none"}, model.config.clip, model.config.sam)
    with pytest.raises(UsageError, match="published layout has fusion by attention"):
        save_published(model, processor, tmp_path / "out")


def _tokens(model: LargeSida, pixels: torch.Tensor) -> torch.Tensor:
    return model.clip(pixel_values=pixels).last_hidden_state[:, 1:]
