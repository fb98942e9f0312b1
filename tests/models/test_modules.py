"""SIDA's modules: shapes, the single-key property of the fusion, and the encoder's promises."""

import pytest
import torch

from pixelsleuth.models.encoders.residuals import Residuals
from pixelsleuth.models.encoders.statistics import StatisticsBranch, dct_matrix, spectrum
from pixelsleuth.models.sida.compact import CompactSida
from pixelsleuth.models.sida.losses import dice_loss, mask_loss
from pixelsleuth.models.sida.modules import DetectionFusion


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


def test_a_flat_picture_has_no_residual() -> None:
    residual = Residuals()(torch.full((1, 3, 32, 40), 77.0))
    assert residual.shape == (1, 12, 32, 40)
    assert residual.abs().max() < 1e-5


def test_the_block_transform_is_orthonormal_and_keeps_energy() -> None:
    matrix = dct_matrix(16)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(16), atol=1e-5, rtol=0)
    plane = torch.randn(1, 64, 64) * 10
    power = (spectrum(plane, matrix).exp() - 0.05).sum()
    torch.testing.assert_close(power, plane.square().mean() * 256, rtol=1e-4, atol=1e-2)


def test_statistics_do_not_depend_on_where_in_the_picture_things_are() -> None:
    picture = torch.randint(0, 255, (1, 3, 64, 96)).float()
    moved = torch.cat([picture[:, :, 32:], picture[:, :, :32]], dim=2)
    branch = StatisticsBranch()
    torch.testing.assert_close(
        branch.describe(picture)[:, :1024], branch.describe(moved)[:, :1024], rtol=1e-4, atol=1e-4
    )


def test_traces_are_local_so_tiles_can_be_joined(model: CompactSida) -> None:
    picture = torch.randint(0, 255, (1, 3, 64, 320)).float()
    with torch.no_grad():
        whole, texture = model.encoder.traces(picture)
        right, right_texture = model.encoder.traces(picture[..., 96:])
    torch.testing.assert_close(whole[..., 40:], right[..., 16:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(texture[..., 20:], right_texture[..., 8:], rtol=1e-4, atol=1e-5)


def test_losses_reward_the_truth() -> None:
    target = torch.zeros(2, 1, 8, 8)
    target[..., :4] = 1
    good, bad = (target * 2 - 1) * 8, (1 - target * 2) * 8
    assert dice_loss(good, target) < 0.01 < 0.9 < dice_loss(bad, target)
    assert mask_loss(good, target) < 0.01
