"""The frozen EfficientNet-Lite0 and its heads: the published shape, TensorFlow's padding, what trains and is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pixelsleuth.errors import UsageError
from pixelsleuth.models.backbones.efficientnet import (
    LITE0,
    Lite,
    SameConv,
    load_lite,
)
from pixelsleuth.models.baselines.efficientnet_lite import EfficientNetLite


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights as the package has them, classifier included."""
    torch.manual_seed(0)
    state = Lite().state_dict()
    state |= {"_conv_head.weight": torch.zeros(1280, 320, 1, 1), "_fc.bias": torch.zeros(1000)}
    path = tmp_path_factory.mktemp("lite") / "efficientnet-lite0.pth"
    torch.save(state, path)
    return path


def picture(seed: int, height: int = 70, width: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def test_the_encoder_has_the_published_parameters() -> None:
    """4,652,008 with the classifier (1280 x 320, its norm, 1000 x 1280 and biases)."""
    head = 1280 * 320 + 2 * 1280 + 1000 * 1280 + 1000
    assert sum(weights.numel() for weights in Lite().parameters()) + head == 4_652_008


@pytest.mark.parametrize("kernel, stride, side", [(3, 2, 7), (3, 2, 8), (5, 2, 9), (5, 1, 6), (3, 1, 5)])
def test_padding_is_tensorflows(kernel: int, stride: int, side: int) -> None:
    """As many places as stride leaves, and what is odd of the padding below and to the right."""
    torch.manual_seed(0)
    conv = SameConv(1, 1, kernel, stride, bias=False)
    x = torch.randn(1, 1, side, side)
    places = -(-side // stride)
    total = max((places - 1) * stride + kernel - side, 0)
    wanted = F.conv2d(F.pad(x, [total // 2, total - total // 2] * 2), conv.weight, stride=stride)
    assert conv(x).shape[-2:] == (places, places)
    torch.testing.assert_close(conv(x), wanted)


def test_tokens_of_different_stages_share_no_channel(file: Path) -> None:
    network = EfficientNetLite(str(file)).eval()
    tokens = network.encode(torch.randn(2, 3, 320, 320)).tokens
    used = (tokens != 0).any(dim=0)
    assert used.sum(dim=0).max() == 1
    assert used.sum(dim=1).tolist() == [stage[-1] for stage in LITE0]


@pytest.mark.parametrize("probe", ["mlp", "linear"])
def test_heads_train_and_come_back(file: Path, probe: str) -> None:
    torch.manual_seed(0)
    network = EfficientNetLite(str(file), probe=probe).train()
    mask = np.zeros((70, 90), np.uint8)
    mask[20:50, 30:60] = 255
    random = np.random.default_rng(0)
    pairs = [network.pair(picture(i), mask if i > 1 else None, random) for i in range(4)]
    masks = [None if mask is None else torch.from_numpy(mask.copy()).float() / 255 for _, mask in pairs]
    learns = {name: weights for name, weights in network.named_parameters() if weights.requires_grad}
    optimiser = torch.optim.Adam(learns.values(), 1e-3)
    losses = []
    for _ in range(3):
        loss = network.loss([pixels for pixels, _ in pairs], torch.tensor([0, 1, 2, 2]), masks)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert not any(name.startswith("encoder.") for name in learns)
    again = EfficientNetLite(str(file), probe=probe)
    again.load_state_dict(again.adapt(network.learnt()))
    prepared = [network.prepare(picture(0))]
    with torch.inference_mode():
        ours, theirs = network.eval().run(prepared), again.eval().run(prepared)
    assert ours.classes is not None
    assert theirs.classes is not None
    torch.testing.assert_close(ours.classes, theirs.classes)


def test_a_linear_probe_is_linear(file: Path) -> None:
    head = EfficientNetLite(str(file), probe="linear").eval().head
    first, second = torch.randn(2, 1, 7, 784)
    middle = head((first + second)[None] / 2)[0]
    torch.testing.assert_close(middle, (head(first[None])[0] + head(second[None])[0]) / 2)


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(UsageError, match="does not fit EfficientNet-Lite"):
        load_lite(tmp_path / "resnet.pth")
