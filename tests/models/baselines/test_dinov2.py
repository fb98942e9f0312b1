"""The frozen DINOv2 detector on a tiny encoder: three classes, a mask of the crop, heads that train and are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pixelsleuth.errors import UsageError
from pixelsleuth.models.backbones.heads import OUTSIDE, contrastive
from pixelsleuth.models.baselines.dinov2 import Dinov2

SIDE = 56


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a DINOv2 of four blocks."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=14,
        mlp_ratio=2,
    )
    folder = tmp_path_factory.mktemp("dinov2")
    Dinov2Model(config).save_pretrained(folder)
    return folder


def picture(seed: int, height: int = 70, width: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def test_three_training_steps_move_the_heads_and_nothing_else(encoder: Path) -> None:
    torch.manual_seed(0)
    network = Dinov2(encoder=str(encoder)).train()
    assert not network.encoder.training
    random = np.random.default_rng(0)
    mask = np.zeros((70, 90), np.uint8)
    mask[20:50, 30:60] = 255
    examples = [network.pair(picture(i), mask if i == 3 else None, random) for i in range(4)]
    inputs = [pixels for pixels, _ in examples]
    masks = [None if mask is None else torch.from_numpy(mask).float() / 255 for _, mask in examples]
    before = {key: value.detach().clone() for key, value in network.named_parameters()}
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(3):
        parts = network.loss(inputs, torch.tensor([0, 0, 1, 2]), masks)
        assert set(parts) == {"ce", "contrast", "detection", "bce", "dice", "localization", "loss"}
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        losses.append(float(parts["loss"].detach()))
    assert losses[-1] < losses[0]
    moved = {key for key, value in network.named_parameters() if not torch.equal(value, before[key])}
    assert moved == {key for key in before if not key.startswith("encoder.")}


def test_a_checkpoint_holds_the_heads_alone_and_gives_the_same_answers(encoder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    torch.manual_seed(1)
    network = Dinov2(encoder=str(encoder)).eval()
    save_file(network.learnt(), tmp_path / "heads.safetensors")
    state = load_file(tmp_path / "heads.safetensors")
    assert state
    assert not any(key.startswith("encoder.") for key in state)
    other = Dinov2(encoder=str(encoder)).eval()
    other.load_state_dict(other.adapt(state))
    inputs = [network.prepare(picture(0))]
    for ours, theirs in zip(network.run(inputs), other.run(inputs), strict=True):
        torch.testing.assert_close(torch.stack(list(ours)), torch.stack(list(theirs)))


def test_every_block_counts(encoder: Path) -> None:
    network = Dinov2(encoder=str(encoder)).eval()
    encoded = network.encode(network.prepare(picture(0))[None])
    assert encoded.tokens.shape == (1, 4, 32)
    assert [tuple(level.shape) for level in encoded.maps] == [(1, 32, 4, 4)] * 4
    classes, _, mask = network(encoded)
    assert mask.shape == (1, 1, SIDE, SIDE)
    for block in range(4):
        other = encoded._replace(tokens=encoded.tokens.clone())
        other.tokens[:, block] += 1
        assert not torch.equal(network(other)[0], classes)


@pytest.mark.parametrize("size", [(70, 90), (30, 41), (56, 200), (17, 16)])
def test_a_crops_mask_lies_where_the_crop_lay(encoder: Path, size: tuple[int, int]) -> None:
    """What the network saw comes back to its place; what it did not see is not tampered."""
    network = Dinov2(encoder=str(encoder)).eval()
    pixels = picture(0, *size)
    framed = network._framed(pixels)
    placed = network.place(torch.from_numpy(framed[..., 0]).float(), *size).numpy()
    encoded = placed != OUTSIDE
    assert encoded.sum() == min(SIDE, size[0]) * min(SIDE, size[1])
    assert np.array_equal(placed[encoded], pixels[..., 0][encoded].astype(np.float32))


def test_the_whole_picture_may_be_squeezed_instead(encoder: Path) -> None:
    network = Dinov2(encoder=str(encoder), frame="resize").eval()
    assert network.prepare(picture(0, 100, 30)).shape == (3, SIDE, SIDE)
    assert network.place(torch.zeros(SIDE, SIDE), 100, 30).shape == (100, 30)


def test_contrast_falls_where_a_class_lies_together() -> None:
    truth = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    mixed = apart[[0, 2, 1, 3]]
    assert contrastive(apart, truth) < contrastive(mixed, truth)
    assert contrastive(apart[:2], torch.tensor([0, 1])) == 0


def test_an_encoder_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UsageError, match="not of DINOv2"):
        Dinov2(encoder=str(tmp_path))
