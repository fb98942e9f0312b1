"""What `merge --layout published` writes: transformers' own classes read it, and so do we, to the same numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from pixelsleuth.cli.main import main
from pixelsleuth.core.errors import UsageError
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


def test_the_names_are_those_of_the_release(golden: Path, written: Path) -> None:
    from safetensors import safe_open

    published = set(json.loads((golden / "state_dict_keys.json").read_text()))
    with safe_open(written / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert names <= published
    assert all(our_name(name) is None for name in published - names if "vision_tower" not in name)


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
        seen = clip(pixel_values=pixels, output_hidden_states=True).hidden_states[-1]
        torch.testing.assert_close(seen[:, 1:], _tokens(ours, pixels), rtol=1e-5, atol=1e-5)


def test_an_ablation_has_no_place_in_it(golden: Path, tmp_path: Path) -> None:
    model, processor = load_large(str(golden))
    model.config = LargeConfig(model.config.sida | {"fusion": "none"}, model.config.clip, model.config.sam)
    with pytest.raises(UsageError, match="published layout has a fusion by attention"):
        save_published(model, processor, tmp_path / "out")


def _tokens(model: LargeSida, pixels: torch.Tensor) -> torch.Tensor:
    return model.clip(pixel_values=pixels).last_hidden_state[:, 1:]
