"""DDA from its published layout: LoRA folded in, DINOv2's own position rule, and the answer of a plain computation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelsleuth.errors import UsageError
from pixelsleuth.models.baseline import load_folder, store_folder
from pixelsleuth.models.baselines.dda import SIZES, Dda, contrastive
from pixelsleuth.models.facts import FACTS

SMALL = {"backbone": "vits14"}
WIDTH, BLOCKS, HEADS = SIZES["vits14"]
RANK = 8


def published(seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the names and in the shapes of DDA_ckpt.pth, for the smallest DINOv2."""
    make = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def put(name: str, *shape: int, scale: float = 0.02, at: float = 0.0) -> None:
        state[f"base_model.{name}"] = at + scale * torch.randn(shape, generator=make)

    put("model.cls_token", 1, 1, WIDTH)
    put("model.mask_token", 1, WIDTH)
    put("model.pos_embed", 1, 1 + 37 * 37, WIDTH, scale=0.2)
    put("model.patch_embed.proj.weight", WIDTH, 3, 14, 14)
    put("model.patch_embed.proj.bias", WIDTH)
    layers = {
        "attn.qkv": (3 * WIDTH, WIDTH),
        "attn.proj": (WIDTH, WIDTH),
        "mlp.fc1": (4 * WIDTH, WIDTH),
        "mlp.fc2": (WIDTH, 4 * WIDTH),
    }
    for block in range(BLOCKS):
        begin = f"model.blocks.{block}"
        for name in ("norm1", "norm2"):
            put(f"{begin}.{name}.weight", WIDTH, at=1.0)
            put(f"{begin}.{name}.bias", WIDTH)
        for name in ("ls1", "ls2"):
            put(f"{begin}.{name}.gamma", WIDTH, at=0.5)
        for name, (out, into) in layers.items():
            put(f"{begin}.{name}.original_layer.weight", out, into, scale=0.05)
            put(f"{begin}.{name}.original_layer.bias", out)
            put(f"{begin}.{name}.lora.lora_A", RANK, into, scale=0.3)
            put(f"{begin}.{name}.lora.lora_B", out, RANK, scale=0.3)
    put("model.norm.weight", WIDTH, at=1.0)
    put("model.norm.bias", WIDTH)
    put("fc.weight", 1, WIDTH, scale=0.5)
    put("fc.bias", 1)
    return state


def layer(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """A linear layer with LoRA beside it, not folded: W x + b + B (A x) / 8."""
    own = F.linear(x, state[f"{name}.original_layer.weight"], state[f"{name}.original_layer.bias"])
    return own + F.linear(F.linear(x, state[f"{name}.lora.lora_A"]), state[f"{name}.lora.lora_B"]) / RANK


def plain(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """What DINOv2 and its head compute, written out: (B, 3, S, S) -> (B,)."""
    state = {name.removeprefix("base_model.").removeprefix("model."): value for name, value in state.items()}
    patches = F.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14)
    side = patches.shape[-1]
    grid = state["pos_embed"][:, 1:].reshape(1, 37, 37, WIDTH).permute(0, 3, 1, 2)
    factor = float(side + 0.1) / 37
    grid = F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    places = torch.cat([state["pos_embed"][:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, WIDTH)], dim=1)
    cls = state["cls_token"].expand(len(x), -1, -1)
    tokens = torch.cat([cls, patches.flatten(2).transpose(1, 2)], dim=1) + places

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    for i in range(BLOCKS):
        begin = f"blocks.{i}"
        qkv = layer(state, f"{begin}.attn.qkv", norm(f"{begin}.norm1", tokens))
        query, key, value = qkv.unflatten(-1, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5).softmax(dim=-1)
        mixed = layer(state, f"{begin}.attn.proj", (weights @ value).transpose(1, 2).flatten(2))
        tokens = tokens + state[f"{begin}.ls1.gamma"] * mixed
        inner = F.gelu(layer(state, f"{begin}.mlp.fc1", norm(f"{begin}.norm2", tokens)))
        tokens = tokens + state[f"{begin}.ls2.gamma"] * layer(state, f"{begin}.mlp.fc2", inner)
    return F.linear(norm("norm", tokens)[:, 0], state["fc.weight"], state["fc.bias"])[:, 0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the authors' training writes it: the model beside the optimiser."""
    path = tmp_path_factory.mktemp("dda") / "DDA_ckpt.pth"
    torch.save({"model": published(), "optimizer": {"state": {0: {"step": 3}}}, "total_steps": 3}, path)
    return path


@pytest.mark.parametrize("variant, side", [("official_crop336", 336), ("first_crop224", 224)])
def test_the_published_layout_gives_what_a_plain_computation_gives(
    checkpoint: Path, variant: str, side: int
) -> None:
    network = Dda.load(checkpoint, input=variant, **SMALL)
    pixels = [np.random.default_rng(i).integers(0, 255, (400, 350, 3), np.uint8) for i in range(2)]
    prepared = [network.prepare(array) for array in pixels]
    assert prepared[0].shape == (3, side, side)
    with torch.inference_mode():
        logit = network.run(prepared).logit
        expected = plain(published(), torch.stack(prepared))
    assert logit is not None
    torch.testing.assert_close(logit, expected, rtol=1e-4, atol=2e-4)
    assert float(expected.std()) > 1e-2  # the pictures tell apart what the weights do


def test_the_middle_of_a_picture_is_looked_at_as_it_is() -> None:
    network = Dda(**SMALL)
    pixels = np.zeros((500, 400, 3), np.uint8)
    pixels[82:418, 32:368] = 255
    seen = network.prepare(pixels)
    white = [(1 - mean) / std for mean, std in ((0.48145466, 0.26862954), (0.4578275, 0.26130258))]
    torch.testing.assert_close(seen[:2].amin(dim=(1, 2)), torch.tensor(white), rtol=1e-5, atol=1e-5)


def test_parameters_are_as_many_as_said() -> None:
    with torch.device("meta"):
        network = Dda()
    assert sum(weights.numel() for weights in network.parameters()) == FACTS["dda"].parameters


@pytest.mark.parametrize("lost", ["fc.bias", "model.blocks.3.attn.qkv.lora.lora_B", "model.pos_embed"])
def test_a_file_that_lacks_something_is_refused(tmp_path: Path, lost: str) -> None:
    state = published()
    del state[f"base_model.{lost}"]
    torch.save({"model": state}, tmp_path / "DDA_ckpt.pth")
    with pytest.raises(UsageError, match="does not fit DDA"):
        Dda.load(tmp_path / "DDA_ckpt.pth", **SMALL)


def test_another_baseline_knows_whose_file_it_is(checkpoint: Path) -> None:
    from pixelsleuth.models.baselines.npr import Npr

    with pytest.raises(UsageError, match=r"it is a checkpoint of DDA \(--model dda\)"):
        Npr.load(checkpoint)


def test_it_is_trained_on_with_lora_and_kept_without(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="LoRA comes with the extra train")
    with pytest.raises(UsageError, match=r"set start to DDA_ckpt\.pth"):
        Dda.fresh()
    network: Any = Dda.load(checkpoint, input="first_crop224", **SMALL)
    before = network.fc.weight.detach().clone()
    network.begin_training()
    network.train()
    learning = {name: weights for name, weights in network.named_parameters() if weights.requires_grad}
    assert {"fc.weight", "fc.bias"} < set(learning)
    assert all("lora_" in name or name.startswith("fc.") for name in learning)
    random = np.random.default_rng(0)
    inputs = [network.example(random.integers(0, 255, (240, 260, 3), np.uint8), random) for _ in range(4)]
    optimiser = torch.optim.AdamW(learning.values(), lr=1e-2)
    parts = network.loss(inputs, torch.tensor([0, 0, 1, 1]), [None] * 4)
    assert set(parts) == {"bce", "contrast", "loss"}
    parts["loss"].backward()
    optimiser.step()
    network.eval()
    with torch.inference_mode():
        wanted = network.run(inputs).logit
    store_folder(network, "dda", tmp_path)
    kept: Any = load_folder(str(tmp_path), device="cpu").network
    assert not torch.equal(before, kept.fc.weight)
    with torch.inference_mode():
        torch.testing.assert_close(kept.run(inputs).logit, wanted, rtol=1e-3, atol=1e-3)


def test_contrast_costs_nothing_where_classes_are_apart() -> None:
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 1])
    assert float(contrastive(apart, labels)) == 0
    together = torch.ones(4, 2)
    assert float(contrastive(together, labels)) == pytest.approx(1.0, abs=1e-4)
