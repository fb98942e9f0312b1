"""A converted baseline says what its torch form says, from a folder, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra vlm brings torch")
pytest.importorskip("onnx", reason="the extra train brings the exporter")

from pixelsleuth.core.verdict import Label  # noqa: E402
from pixelsleuth.errors import UsageError  # noqa: E402
from pixelsleuth.models import registry  # noqa: E402
from pixelsleuth.models.baseline import Baseline, BaselineDetector, baseline_class  # noqa: E402
from pixelsleuth.models.convert import convert  # noqa: E402
from pixelsleuth.models.facts import FACTS  # noqa: E402
from pixelsleuth.models.light.detector import bilinear  # noqa: E402


def clip() -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(**sizes, image_size=224, patch_size=32, projection_dim=16, hidden_act="quick_gelu")
    )


def dinov2() -> Any:
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(
        Dinov2Config(
            hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=70, patch_size=14, mlp_ratio=2
        )
    )  # fmt: skip


def lite() -> Any:
    from pixelsleuth.models.backbones.efficientnet import Lite

    return Lite()


MAKERS: dict[str, Callable[[], Baseline]] = {
    "cnnspot": lambda: baseline_class("cnnspot")(width="quarter"),
    "npr": lambda: baseline_class("npr")(input="native_even"),
    "gramnet": lambda: baseline_class("gramnet")(),
    "fredect": lambda: baseline_class("fredect")(),
    "univfd": lambda: baseline_class("univfd")(clip()),
    "rine": lambda: baseline_class("rine")(clip(), projection=16, depth=2),  # type: ignore[arg-type]
    "efficientnet_lite": lambda: baseline_class("efficientnet_lite")(lite(), frame="crop"),
    "dinov2": lambda: baseline_class("dinov2")(dinov2()),
}
SLOW = {
    "dda": {"backbone": "vits14", "input": "first_crop224"},
    "pscc_net": {"input": "resize256"},
    "hifi_net": {},
    "trufor": {},
    "mvss_net": {},
    "commfor": {"size": "224"},
}


def network_of(name: str) -> Baseline:
    """Random weights, and statistics of batch norm that are not those of a fresh layer."""
    torch.manual_seed(0)
    network = MAKERS[name]() if name in MAKERS else baseline_class(name)(**SLOW[name])  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return network.eval()


def picture(height: int = 233, width: int = 301) -> np.ndarray:
    ramp = np.linspace(0, 200, height * width * 3).reshape(height, width, 3)
    return (ramp + np.random.default_rng(0).integers(0, 56, (height, width, 3))).astype(np.uint8)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of 64 pixels where the published ones have 256 or 512; for the others small pictures to trace and try."""
    from pixelsleuth.models import convert as conversion
    from pixelsleuth.models.baselines import hifi_net, mvss_net, pscc_net

    for module in (hifi_net, mvss_net, pscc_net):
        monkeypatch.setattr(module, "SIDE", 64)
    monkeypatch.setattr(conversion, "TRACED", (96, 128))
    monkeypatch.setattr(conversion, "TRIED", ((150, 210), (141, 117)))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", [*MAKERS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_it_says_what_torch_says(name: str, tmp_path: Path) -> None:
    network = network_of(name)
    pixels = picture(133, 161)
    ours = BaselineDetector(network).check(pixels)
    convert(network, name, tmp_path / name)
    light = registry.load(str(tmp_path / name), "cpu")
    theirs = light.check(pixels)
    assert light.name == name
    assert theirs.label == ours.label
    assert ours.probabilities is not None
    assert theirs.probabilities is not None
    for label in Label:
        assert theirs.probabilities[label] == pytest.approx(ours.probabilities[label], abs=1e-4)
    assert (ours.heatmap is None) == (theirs.heatmap is None)
    if ours.heatmap is not None and theirs.heatmap is not None:
        np.testing.assert_allclose(theirs.heatmap, ours.heatmap, atol=1e-4)


@pytest.fixture(scope="module")
def npr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted") / "npr"
    convert(network_of("npr"), "npr", folder, weights={"NPR.pth": "0" * 64})
    return folder


def test_the_settings_tell_what_is_in_the_folder(npr: Path) -> None:
    settings = json.loads((npr / "detector.json").read_text())
    assert settings["baseline"] == "npr"
    assert settings["fake_is"] == "full_synthetic"
    assert settings["options"] == {"input": "native_even"}
    assert settings["prepare"][0] == ["even"]
    assert settings["weights"] == {"NPR.pth": "0" * 64}
    assert settings["licence"]
    assert sorted(path.name for path in npr.iterdir()) == ["detector.json", "model.onnx"]


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda settings: settings | {"graph": "0" * 64}, "not what was converted"),
        (lambda settings: settings | {"schema": "other"}, "damaged or of another version"),
        (lambda settings: settings | {"baseline": "nobody"}, "damaged or of another version"),
        (lambda settings: settings | {"prepare": [["crop", 10**9], ["unit", 255]]}, "preparation steps"),
        (lambda settings: settings | {"prepare": [["__import__", 1], ["unit", 255]]}, "preparation steps"),
        (lambda settings: settings | {"prepare": []}, "preparation steps"),
        (lambda settings: settings | {"fake_is": "forged"}, "damaged or of another version"),
        (lambda settings: [settings], "damaged or of another version"),
    ],
)
def test_a_folder_that_was_changed_is_refused(
    change: Callable[[Any], Any], sentence: str, npr: Path, tmp_path: Path
) -> None:
    settings = json.loads((npr / "detector.json").read_text())
    (tmp_path / "model.onnx").write_bytes((npr / "model.onnx").read_bytes())
    (tmp_path / "detector.json").write_text(json.dumps(change(settings)))
    with pytest.raises(UsageError, match=sentence):
        registry.load(str(tmp_path), "cpu")


def test_what_cannot_become_a_graph_says_why(tmp_path: Path) -> None:
    for name in (
        "fusing",
        "lgrad",
        "lnp",
    ):  # the networks of lisa and antifake_prompt are too large to be made here
        with pytest.raises(UsageError, match=FACTS[name].no_graph[:20]):
            convert(baseline_class(name)(), name, tmp_path / name)
    tencrop = baseline_class("rine")(clip(), projection=16, depth=2, input="synthbuster_tencrop")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="several crops"):
        convert(tencrop, "rine", tmp_path / "rine")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(7, 9), (31, 64), (5, 20)])
def test_masks_are_stretched_as_torch_stretches_them(size: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).normal(size=(13, 17)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(mask)[None, None], size, mode="bilinear", align_corners=False
    )[0, 0]
    np.testing.assert_allclose(bilinear(mask, *size), theirs.numpy(), atol=1e-5)
