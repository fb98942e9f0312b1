"""The ONNX graphs inside the package compute what the shipped torch checkpoint computes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from skimage import data

import pixelsleuth
from pixelsleuth.compact.grammar import ANSWERS, IDS, encode
from pixelsleuth.models import registry
from pixelsleuth.models.compact.compact_sida import PROMPT, load_compact

CHECKPOINT = Path(__file__).resolve().parents[2] / "recipes/compact"


def test_bundled_graphs_and_the_checkpoint_agree_on_photographs() -> None:
    model, detector = load_compact(CHECKPOINT), pixelsleuth.load("compact", device="cpu")
    ids = torch.tensor([[*PROMPT, IDS["[CLS]"], *encode(ANSWERS["tampered"])]])
    for photograph in (data.chelsea()[:224, :256], data.astronaut()[:256, :192]):  # one window each
        pixels = np.ascontiguousarray(photograph)
        with torch.no_grad():
            encoded = model.encoder(torch.from_numpy(pixels).permute(2, 0, 1)[None].float())
            answer = model.answer(encoded.tokens, encoded.dense, ids, torch.tensor([ids.shape[1] - 1]))
        classes, mask = detector.read(*detector.encode(pixels))
        np.testing.assert_allclose(classes, answer.classes[0].numpy(), atol=2e-3)
        np.testing.assert_allclose(mask, answer.mask[0, 0].numpy(), atol=2e-2)


def test_the_version_names_the_checkpoint_and_the_registry_its_size() -> None:
    digest = hashlib.sha256((CHECKPOINT / "model.safetensors").read_bytes()).hexdigest()[:8]
    assert pixelsleuth.load("compact").version.endswith(digest)
    weights = Path(pixelsleuth.__file__).parent / "compact/weights/compact.json"
    spec = next(spec for spec in registry.specs() if spec.name == "compact")
    assert json.loads(weights.read_text())["parameters"] == spec.parameters
