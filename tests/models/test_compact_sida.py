"""The exported detector computes what the torch model computes, and a checkpoint that does not fit is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pixelsleuth.cli.main import main
from pixelsleuth.compact.detector import CompactDetector
from pixelsleuth.compact.grammar import ANSWERS, IDS, VOCABULARY, encode
from pixelsleuth.errors import UsageError
from pixelsleuth.models.compact.compact_sida import (
    CLS_AT,
    IGNORE,
    PROMPT,
    CompactSida,
    answer_ids,
    load_compact,
    target_rows,
)


@pytest.fixture(scope="module")
def detector(exported: Path) -> CompactDetector:
    return CompactDetector(exported, device="cpu", threads=1)


@pytest.mark.parametrize("shape", [(128, 192), (256, 224)])
def test_onnx_and_torch_agree(model: CompactSida, detector: CompactDetector, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    with torch.no_grad():
        encoded = model.encoder(torch.from_numpy(pixels).permute(2, 0, 1)[None].float())
        ids = torch.tensor([[*PROMPT, IDS["[CLS]"], *encode(ANSWERS["tampered"])]])
        answer = model.answer(encoded.tokens, encoded.dense, ids, torch.tensor([ids.shape[1] - 1]))
    dense, tokens = detector.encode(pixels)
    classes, mask = detector.read(dense, tokens)
    np.testing.assert_allclose(tokens, encoded.tokens.numpy(), atol=1e-4)
    np.testing.assert_allclose(dense, encoded.dense.numpy(), atol=1e-4)
    np.testing.assert_allclose(classes, answer.classes[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(mask, answer.mask[0, 0].numpy(), atol=1e-4)


def test_batch_and_single_agree(model: CompactSida) -> None:
    pictures = torch.rand(3, 3, 96, 96) * 255
    with torch.no_grad():
        together = model.encoder(pictures)
        alone = model.encoder(pictures[1:2])
    torch.testing.assert_close(together.tokens[1:2], alone.tokens, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.dense[1:2], alone.dense, rtol=1e-4, atol=1e-5)


def test_the_class_does_not_depend_on_the_answer_that_follows(model: CompactSida) -> None:
    tokens = torch.randn(1, 65, model.encoder.config.token)
    with torch.no_grad():
        states = [
            model.sida.hidden_states(tokens, model.prefix, torch.tensor([[*PROMPT, *answer_ids(name)]]))[
                :, CLS_AT
            ]
            for name in ANSWERS
        ]
    torch.testing.assert_close(states[0], states[1])
    torch.testing.assert_close(states[0], states[2])


def test_targets_start_behind_the_prompt_and_seg_is_predicted_where_it_is_read() -> None:
    records = [{"label": 2, "text": "in the centre"}, {"label": 0, "text": "no region stands out"}]
    ids, targets, seg_at = target_rows(records)
    assert (targets[:, :CLS_AT] == IGNORE).all()
    assert targets[0, CLS_AT] == IDS["[CLS]"]
    assert targets[1, CLS_AT] == IDS["[CLS]"]
    assert targets[0, seg_at[0]] == IDS["[SEG]"]
    assert VOCABULARY[ids[1, seg_at[1]]] == "real"


def test_tiny_and_odd_pictures_are_judged(detector: CompactDetector) -> None:
    for shape in ((16, 16), (17, 500), (33, 65)):
        verdict = detector.check(np.random.default_rng(1).integers(0, 255, (*shape, 3), dtype=np.uint8))
        assert verdict.ok
        assert verdict.mask is None or verdict.mask.shape == shape
        assert abs(sum(verdict.probabilities.values()) - 1) < 1e-6


def test_a_checkpoint_comes_back_as_it_was_saved(model: CompactSida, checkpoint: Path) -> None:
    for (name, a), (_, b) in zip(
        model.state_dict().items(), load_compact(checkpoint).state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config\.json"):
        load_compact(tmp_path)


def test_a_checkpoint_with_other_weights_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_text((checkpoint / "config.json").read_text())
    weights = load_file(checkpoint / "model.safetensors")
    weights.pop("sida.projector.weight")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="does not fit"):
        load_compact(tmp_path)


def test_a_damaged_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    config = (checkpoint / "config.json").read_text()
    for text in ("{", "[]", config):
        (tmp_path / "config.json").write_text(text)
        (tmp_path / "model.safetensors").write_bytes(b"no weights")
        with pytest.raises(UsageError, match="damaged: copy or download it again"):
            load_compact(tmp_path)


def test_an_export_with_another_vocabulary_is_refused(exported: Path, tmp_path: Path) -> None:
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "compact.json").read_text())
    (tmp_path / "compact.json").write_text(json.dumps(settings | {"vocabulary": ["other"]}))
    with pytest.raises(UsageError, match="vocabulary"):
        CompactDetector(tmp_path)


@pytest.mark.parametrize("name", ["language.onnx", "compact.json"])
def test_a_damaged_or_incomplete_export_is_refused_in_a_sentence(
    exported: Path, tmp_path: Path, name: str
) -> None:
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes(b"no graph and no settings")
    with pytest.raises(UsageError, match=rf"{name} .*pixelsleuth export"):
        CompactDetector(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UsageError, match=rf"lacks {name}.*pixelsleuth export"):
        CompactDetector(tmp_path)


def test_an_exported_folder_can_be_named_as_the_model(exported: Path, tmp_path: Path) -> None:
    import pixelsleuth

    detector = pixelsleuth.load(str(exported), device="cpu")
    verdict = detector.check(np.zeros((40, 40, 3), np.uint8))
    assert verdict.ok
    assert verdict.model["version"] == detector.version


def test_export_is_a_command(checkpoint: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["export", str(checkpoint), "--out", str(tmp_path / "onnx")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "onnx" / "language.onnx").is_file()
    missing = CliRunner().invoke(main, ["export", str(tmp_path / "nowhere"), "--out", str(tmp_path)])
    assert missing.exit_code == 2
    assert "not a folder" in missing.output
