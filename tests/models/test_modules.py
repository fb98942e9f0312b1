"""SIDA's modules: shapes, the single-key property of the fusion, and the encoder's promises."""

import pytest
import torch

from pixelsleuth.models.compact.compact_sida import CompactSida
from pixelsleuth.models.compact.forensic import ForensicEncoder, moments_of
from pixelsleuth.models.compact.views import Residuals, Statistics, dct_matrix, spectrum
from pixelsleuth.models.mask_losses import dice_loss, masks_apart
from pixelsleuth.models.sida_core import DetectionFusion


@pytest.mark.parametrize("projection", ["logits", "hidden"])
def test_with_one_seg_the_class_cannot_change_the_mask_query(projection: str) -> None:
    torch.manual_seed(0)
    fusion = DetectionFusion(16, 4, projection=projection, hidden=8)  # type: ignore[arg-type]
    seg = torch.randn(2, 1, 16)
    first = fusion(torch.randn(2, 3), torch.randn(2, 8), seg)
    second = fusion(torch.randn(2, 3), torch.randn(2, 8), seg)
    torch.testing.assert_close(first, second)


def test_with_two_segs_it_can() -> None:
    torch.manual_seed(0)
    fusion = DetectionFusion(16, 4)
    seg = torch.randn(1, 2, 16)
    logits = torch.tensor([[9.0, -9.0, 0.0]])
    assert not torch.allclose(fusion(logits, logits, seg), fusion(-logits, logits, seg))


def test_with_picture_tokens_detection_guides_even_a_single_mask() -> None:
    torch.manual_seed(0)
    fusion = DetectionFusion(16, 4, how="tokens")
    seg, dense = torch.randn(1, 1, 16), torch.randn(1, 16, 24, 40)
    logits = torch.tensor([[9.0, -9.0, 0.0]])
    fused = fusion(logits, logits, seg, dense)
    assert fused.shape == seg.shape
    assert not torch.allclose(fused, fusion(-logits, logits, seg, dense))
    assert not torch.allclose(fused, fusion(logits, logits, seg, dense.flip(1)))


def test_moments_hold_mean_deviation_and_correlation_of_channels() -> None:
    stage = torch.randn(2, 3, 40, 50)
    stage[:, 1] = -2 * stage[:, 0] + 5
    moments = moments_of(stage, related=True)
    assert moments.shape == (2, 9)
    torch.testing.assert_close(moments[:, :3], stage.mean(dim=(2, 3)))
    torch.testing.assert_close(moments[:, 3:6], stage.std(dim=(2, 3), correction=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moments[:, 6], torch.full((2,), -1.0), rtol=1e-3, atol=1e-3)
    assert moments[:, 7:].abs().max() < 0.1


def test_what_sums_up_the_mask_does_not_depend_on_the_size_of_the_picture() -> None:
    dense, mask = torch.randn(1, 4, 16, 16), torch.randn(1, 1, 16, 16)
    large = [torch.nn.functional.interpolate(x, scale_factor=8.0) for x in (dense, mask)]
    small = ForensicEncoder.summarised(dense, mask)
    torch.testing.assert_close(small, ForensicEncoder.summarised(*large), rtol=0.15, atol=0.1)


def test_a_flat_picture_has_no_residual() -> None:
    residual = Residuals()(torch.full((1, 3, 32, 40), 77.0))
    assert residual.shape == (1, 12, 32, 40)
    assert residual.abs().max() < 1e-4  # of 77


def test_the_block_transform_is_orthonormal_and_keeps_energy() -> None:
    matrix = dct_matrix(16)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(16), atol=1e-5, rtol=0)
    plane = torch.randn(1, 64, 64) * 10
    power = (spectrum(plane, matrix).exp() - 0.05).sum()
    torch.testing.assert_close(power, plane.square().mean() * 256, rtol=1e-4, atol=1e-2)


def test_statistics_do_not_depend_on_where_in_the_picture_things_are() -> None:
    picture = torch.randint(0, 255, (1, 3, 64, 96)).float()
    moved = torch.cat([picture[:, :, 32:], picture[:, :, :32]], dim=2)
    statistics = Statistics()
    torch.testing.assert_close(
        statistics(picture)[:, :1024], statistics(moved)[:, :1024], rtol=1e-4, atol=1e-4
    )


def test_traces_are_local_so_tiles_can_be_joined(model: CompactSida) -> None:
    picture = torch.randint(0, 255, (1, 3, 64, 320)).float()
    with torch.no_grad():
        whole, right = model.encoder.traces(picture), model.encoder.traces(picture[..., 96:])
    torch.testing.assert_close(whole[..., 40:], right[..., 16:], rtol=1e-4, atol=1e-5)


def test_losses_reward_the_truth() -> None:
    target = torch.zeros(2, 1, 8, 8)
    target[..., :4] = 1
    good, bad = (target * 2 - 1) * 8, (1 - target * 2) * 8
    assert dice_loss(good, target) < 0.01 < 0.9 < dice_loss(bad, target)
    bce, dice = masks_apart(list(good[:, 0]), list(target[:, 0]))
    assert 2.0 * bce + 0.5 * dice < 0.01
