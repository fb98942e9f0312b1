"""The localizers at small sizes: training steps, pictures of any size, pictures and masks augmented as one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelsleuth.errors import UsageError
from pixelsleuth.models.baselines import hifi_net, mvss_net, pscc_net, trufor
from pixelsleuth.models.inputs import cropped, dihedral, mirrored, targets

SMALL = 64
MADE: dict[str, tuple[type, dict[str, str]]] = {
    "pscc_net": (pscc_net.PsccNet, {}),
    "pscc_net, IMDLBenCo": (pscc_net.PsccNet, {"input": "imdlbenco256"}),
    "mvss_net": (mvss_net.MvssNet, {}),
    "mvss_net, paper": (mvss_net.MvssNet, {"loss": "paper"}),
    "hifi_net, api": (hifi_net.HifiNet, {}),
    "hifi_net, loc": (hifi_net.HifiNet, {"head": "loc", "loss": "local"}),
    "trufor": (trufor.TruFor, {}),
    "trufor, detection": (trufor.TruFor, {"phase": "detection"}),
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that look at 64 pixels where the published ones look at 256 or 512."""
    for module in (pscc_net, mvss_net, hifi_net):
        monkeypatch.setattr(module, "SIDE", SMALL)
    monkeypatch.setattr(trufor, "CROP", SMALL)


def scene(seed: int, height: int = 80, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A picture with a patch of other noise, and the patch's mask."""
    random = np.random.default_rng(seed)
    pixels = random.integers(60, 120, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 4 : width // 2] = 255
    pixels[mask > 0] = random.integers(0, 255, (int((mask > 0).sum()), 3), np.uint8)
    return pixels, mask


@pytest.mark.parametrize("name", MADE)
def test_training_steps(name: str) -> None:
    torch.manual_seed(0)
    made, options = MADE[name]
    network = made(**options).train()
    random = np.random.default_rng(0)
    (forged, mask), (real, _) = scene(0), scene(1)
    examples = [network.pair(real, None, random), network.pair(forged, mask, random)]
    inputs = [pixels for pixels, _ in examples]
    masks = [None if mask is None else torch.tensor(mask).float() / 255 for _, mask in examples]
    before = {key: value.detach().clone() for key, value in network.named_parameters()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(2):
        parts = network.loss(inputs, torch.tensor([0, 1]), masks)
        assert all(torch.isfinite(value) for value in parts.values()), parts
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
    moved = {key for key, value in network.named_parameters() if not torch.equal(value, before[key])}
    assert moved <= {key for key, value in network.named_parameters() if value.requires_grad}
    assert all(bool(torch.isfinite(value).all()) for value in network.parameters())
    heads = {"pscc": "masks.getmask1", "mvss": "head.out", "hifi": "getmask.", "trufor": "decode_head"}
    head = (
        "detection." if options.get("phase") == "detection" else heads[name.partition("_")[0].split(",")[0]]
    )
    assert any(key.startswith(head) for key in moved), sorted(moved)[:5]


@pytest.mark.parametrize("name", ["pscc_net", "mvss_net", "hifi_net, api", "hifi_net, loc", "trufor"])
def test_small_odd_and_grey_pictures_have_a_mask_each(name: str) -> None:
    torch.manual_seed(0)
    made, options = MADE[name]
    network = made(**options).eval()
    grey = np.repeat(np.full((40, 40, 1), 127, np.uint8), 3, axis=2)
    pictures = [scene(0, 16, 16)[0], scene(0, 17, 45)[0], grey]
    inputs = [network.prepare(pixels) for pixels in pictures]
    assert all(tensor.dtype == torch.float32 and tensor.shape[0] == 3 for tensor in inputs)
    output = network.run(inputs)
    assert output.logit.shape == (3,)
    assert bool(torch.isfinite(output.logit).all())
    for mask in output.mask:
        assert mask.ndim == 2
        assert bool(torch.isfinite(mask).all())


@pytest.mark.parametrize("name", ["pscc_net", "mvss_net", "hifi_net, loc", "trufor"])
def test_an_answer_does_not_depend_on_the_batch(name: str) -> None:
    torch.manual_seed(0)
    made, options = MADE[name]
    network = made(**options).eval()
    inputs = [
        network.prepare(scene(seed, *size)[0]) for seed, size in enumerate([(48, 64), (50, 40), (48, 64)])
    ]
    together = network.run(inputs)
    for i, tensor in enumerate(inputs):
        alone = network.run([tensor])
        torch.testing.assert_close(alone.logit[0], together.logit[i], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.mask[0], together.mask[i], rtol=1e-4, atol=1e-4)


def test_large_pictures_are_shrunk_and_not_run_out_of_memory_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelsleuth.models.preparation.MOST_PIXELS", 4096)
    pixels = scene(0, 100, 200)[0]
    for network in (pscc_net.PsccNet(), hifi_net.HifiNet(head="loc"), trufor.TruFor()):
        _, height, width = network.prepare(pixels).shape
        assert 3500 <= height * width <= 4096
        assert width == pytest.approx(2 * height, abs=2)


def test_the_distance_rule_asks_for_its_centre() -> None:
    network = hifi_net.HifiNet(mask="distance").eval()
    with pytest.raises(UsageError, match=r"radius_center\.pth"):
        network.run([network.prepare(scene(0)[0])])


def test_picture_and_mask_are_turned_mirrored_and_cropped_together() -> None:
    pixels, mask = scene(3, 90, 90)
    pixels = np.repeat(mask[..., None], 3, axis=2)  # the picture is its own mask
    random = np.random.default_rng(0)
    shapes = set()
    for _ in range(20):
        for change in (
            dihedral,
            mirrored,
            lambda p, m, r: cropped(p, m, 64, r),
            lambda p, m, r: cropped(p, m, 100, r),
        ):
            seen, moved = change(pixels, mask, random)
            assert np.array_equal(seen[..., 0], moved)
            shapes.add(seen.shape)
            assert change(pixels, None, random)[1] is None
    assert shapes == {(90, 90, 3), (64, 64, 3), (100, 100, 3)}


def test_targets_of_any_size() -> None:
    like = torch.zeros(())
    half = torch.zeros(32, 64)
    half[:, 32:] = 1
    made = targets([None, half, torch.ones(8, 8)], (16, 16), like)
    assert made.shape == (3, 1, 16, 16)
    assert made.mean(dim=(1, 2, 3)).tolist() == [0.0, 0.5, 1.0]
    assert targets([half], (16, 16), like, bicubic=True).mean() == 0.5


def test_edges_lie_on_both_sides_of_a_mask() -> None:
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 5:15, 5:15] = 1
    edge = mvss_net.edges_of(mask)[0, 0]
    assert edge[10].tolist() == [0.0] * 2 + [1.0] * 6 + [0.0] * 4 + [1.0] * 6 + [0.0] * 2


def test_the_noise_filters_of_mvss_are_rescaled_in_training_alone() -> None:
    convolution = mvss_net.BayarConvolution()
    kept = convolution.kernel.detach().clone()
    grey = torch.rand(1, 1, 12, 12)
    first = convolution.eval()(grey)
    assert torch.equal(convolution.kernel, kept)
    assert torch.equal(convolution(grey), first)
    torch.testing.assert_close(convolution.train()(grey), first)
    torch.testing.assert_close(convolution.kernel.sum(dim=-1), torch.ones(1, 3))
