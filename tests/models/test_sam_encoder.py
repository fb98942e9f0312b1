"""The faster encoder of SAM computes what transformers' own computes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import SamVisionConfig  # noqa: E402
from transformers.models.sam.modeling_sam import SamVisionEncoder  # noqa: E402

from pixelsleuth.models.sam_encoder import hasten  # noqa: E402


def encoder(**values: object) -> SamVisionEncoder:
    """Three layers, the middle one global, on pictures of 9 x 9 places: windows of 4 pad them to 12 x 12."""
    config = SamVisionConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, mlp_dim=64, image_size=144, patch_size=16,
        window_size=4, global_attn_indexes=[1], output_channels=8, **values,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    made = SamVisionEncoder(config).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


@pytest.mark.parametrize("values", [{}, {"qkv_bias": False}, {"use_rel_pos": False}])
def test_its_output_and_gradients_are_those_of_transformers(values: dict[str, object]) -> None:
    pixels = torch.randn(2, 3, 144, 144, generator=torch.Generator().manual_seed(1))
    results = []
    for made in (encoder(**values), hasten(encoder(**values))):
        output = made(pixel_values=pixels).last_hidden_state
        output.square().sum().backward()
        results.append((output, {name: p.grad for name, p in made.named_parameters()}))
    (expected, gradients), (computed, own) = results
    torch.testing.assert_close(computed, expected, rtol=1e-5, atol=1e-6)
    assert own.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(own[name], gradient, rtol=1e-4, atol=1e-3 * float(gradient.abs().max()))


def test_its_weights_have_the_same_names() -> None:
    assert list(hasten(encoder()).state_dict()) == list(encoder().state_dict())
