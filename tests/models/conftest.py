"""A compact SIDA with random weights and lived-in batch statistics, and its export, made once."""

from pathlib import Path

import pytest
import torch

from pixelsleuth.models.compact.compact_sida import CompactSida, save_compact


@pytest.fixture(scope="session")
def model() -> CompactSida:
    torch.manual_seed(0)
    model = CompactSida().eval()
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm1d)):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="session")
def checkpoint(model: CompactSida, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_compact(model, folder)
    return folder


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pixelsleuth.models.compact.onnx_graphs import export_compact

    folder = tmp_path_factory.mktemp("onnx")
    export_compact(checkpoint, folder)
    return folder
