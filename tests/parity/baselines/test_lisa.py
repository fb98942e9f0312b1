"""LISA against its authors' code: ids, pixels, tokens, [SEG] embeddings, masks and losses of a tiny checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pixelsleuth.models.sida.lisa import QUESTION, Lisa, Reply, losses


@pytest.fixture(scope="module")
def golden(goldens: Callable[[str], Any]) -> Any:
    return goldens("lisa")


@pytest.fixture(scope="module")
def lisa(golden: Any) -> Lisa:
    return Lisa.load(golden.folder)


@pytest.fixture(scope="module")
def replies(golden: Any, lisa: Lisa) -> list[Reply]:
    """All six together."""
    return lisa.engine.segment([golden.picture(i) for i in range(6)], max_new_tokens=32)


def test_prompt_and_ids(golden: Any, lisa: Lisa) -> None:
    assert golden.facts["question"] == QUESTION
    row = lisa.engine.processor.ids(QUESTION)
    assert [*row.before, -200, *row.after] == golden.facts["input_ids"]


@torch.inference_mode()
def test_pixels_tokens_and_sam_embeddings(golden: Any, lisa: Lisa) -> None:
    engine = lisa.engine
    for i in range(6):
        picture = golden.picture(i)
        clip, sam = engine.processor.clip(picture), engine.processor.sam(picture)
        golden.close(f"{i}.clip_input.sample", clip, 1e-6, (1, 7, 7))
        golden.close(f"{i}.input.sample", sam, 1e-6, (1, 32, 32))
        golden.close(f"{i}.image_tokens.sample", engine._encode([picture])[0], 2.4e-5, (8, 4))
        golden.close(f"{i}.sam_embedding.sample", engine._dense([picture])[0], 4e-5, (16, 4, 4))


def test_answers_embeddings_and_masks(golden: Any, lisa: Lisa, replies: list[Reply]) -> None:
    for i, (facts, reply) in enumerate(zip(golden.facts["pictures"], replies, strict=True)):
        assert reply.ids == facts["generated_ids"]
        assert reply.text == facts["generated_text"]
        assert list(golden.picture(i).shape[:2]) == facts["size_hw"]
        assert list(lisa.engine.processor.sam_size(*facts["size_hw"])) == facts["resized_hw"]
        if not facts["n_masks"]:
            assert reply.masks is None
            continue
        assert len(reply.masks) == facts["n_masks"]
        golden.close(f"{i}.seg_embedding", reply.embeddings, 1e-5, (1, 1))
        golden.close(f"{i}.low_res_mask.sample", reply.low, 4e-5, (1, 4, 4))
        golden.close(f"{i}.mask.sample", reply.masks, 4e-5, (1, *facts["mask_strides"]))
        assert reply.quality[: len(facts["iou_prediction"])] == pytest.approx(
            facts["iou_prediction"], abs=4e-5
        )
        for mask, figures in zip(reply.masks, facts["masks"], strict=True):
            assert abs(int((mask > 0).sum()) - figures["pixels_over_zero"]) <= 10
            for name in ("mean", "min", "max"):
                assert float(getattr(mask, name)()) == pytest.approx(figures[name], abs=4e-5)


def test_run_gives_one_mask_a_picture_and_none_means_nothing_found(
    golden: Any, lisa: Lisa, replies: list[Reply]
) -> None:
    output = lisa.run([lisa.prepare(golden.picture(i)) for i in (3, 4)])
    assert output.logit is None
    assert float(output.mask[0].max()) < -10
    torch.testing.assert_close(output.mask[1], replies[4].masks.amax(dim=0), rtol=0, atol=1e-4)


@torch.inference_mode()
def test_losses(golden: Any, lisa: Lisa) -> None:
    facts = golden.facts["loss"]
    pictures = [golden.picture(0), golden.picture(2)]
    row = lisa.engine.processor.ids(QUESTION, facts["answer"])
    assert [*row.before, -200, *row.after] == facts["input_ids"]
    parts = losses(
        lisa.large, lisa.engine.processor, pictures, [facts["answer"]] * 2, [box(p) for p in pictures]
    )
    for name, value in facts["values"].items():
        own = {"ce_loss": "ce", "mask_bce_loss": "bce", "mask_dice_loss": "dice", "mask_loss": "mask"}.get(
            name, name
        )
        assert float(parts[own]) == pytest.approx(value, abs=2e-6), name


def box(picture: np.ndarray) -> torch.Tensor:
    height, width = picture.shape[:2]
    mask = torch.zeros(height, width)
    mask[height // 4 : 3 * height // 4, width // 5 : width // 2] = 1
    return mask
