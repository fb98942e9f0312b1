"""A published SIDA checkpoint gives the numbers that its authors' code computes (tolerances: see the shared README)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from pixelsleuth.models.sida import prompts
from pixelsleuth.models.sida.inference import Conversation, SidaEngine
from pixelsleuth.models.sida.teacher import Example, collate, losses

if TYPE_CHECKING:
    from tests.parity.conftest import Golden


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(ours.float(), theirs, rtol=0, atol=tolerance)


def same_area(ours: int, theirs: int) -> None:
    assert abs(ours - theirs) <= 1e-3 * theirs


def question_of(golden: Golden) -> str:
    question = prompts.QUESTION_WHY if golden.engine.describes else prompts.QUESTION
    assert question == golden.facts["question"]
    return question


def test_prompts_and_ids_are_those_of_the_release(golden: Golden) -> None:
    facts = golden.facts
    for sample in [*facts["samples"], *facts["chat_samples"], *facts["chat_samples_two_seg"]]:
        question = sample.get("question", facts["question"])
        row = golden.engine.processor.ids(question)
        assert [*row.before, -200, *row.after] == sample["input_ids"]
        assert prompts.prompt(question) == sample["prompt"]


def test_pixels_are_those_of_the_release(golden: Golden) -> None:
    for i, picture in enumerate(golden.pictures):
        processor = golden.engine.processor
        close(processor.clip(picture)[:, ::16, ::16], golden.tensors[f"{i}.clip_pixel_values.sample"], 1e-6)
        close(processor.sam(picture)[:, ::64, ::64], golden.tensors[f"{i}.sam_pixel_values.sample"], 1e-6)
        assert list(processor.sam_size(*picture.shape[:2])) == golden.facts["samples"][i]["resize"]


@torch.inference_mode()
def test_picture_tokens_and_sam_embeddings_agree(golden: Golden) -> None:
    engine = golden.engine
    for i, picture in enumerate(golden.pictures):
        close(engine._encode([picture])[0, ::16], golden.tensors[f"{i}.image_tokens"], 1e-4)
        close(engine._dense([picture])[0, ::8, ::8, ::8], golden.tensors[f"{i}.sam_embedding.sample"], 1e-4)


def test_classes_agree_and_need_no_decoding(golden: Golden) -> None:
    classes = golden.engine.classify(golden.pictures, question_of(golden))
    for sample, ours in zip(golden.facts["samples"], classes, strict=True):
        close(ours, torch.tensor(sample["class_logits"]), 1e-4)
        assert int(ours.argmax()) == sample["predicted"]


@pytest.mark.parametrize("path", ["locate", "generate"])
def test_masks_agree_on_every_path(golden: Golden, path: str) -> None:
    replies = (
        golden.generated if path == "generate" else golden.engine.locate(golden.pictures, question_of(golden))
    )
    tampered = 0
    for i, (sample, reply) in enumerate(zip(golden.facts["samples"], replies, strict=True)):
        close(reply.classes, torch.tensor(sample["class_logits"]), 1e-4)
        if sample["n_masks"] == 0:
            assert reply.masks is None
            assert "judged" in reply.reason
            continue
        tampered += 1
        close(reply.masks[0, ::8, ::8], golden.tensors[f"{i}.mask_logits.sample"], 3e-3)
        same_area(int((reply.masks[0] > 0).sum()), sample["mask_positive_pixels"])
    assert tampered == 3


def test_free_running_text_is_equal_token_by_token(golden: Golden) -> None:
    for sample, reply in zip(golden.facts["samples"], golden.generated, strict=True):
        assert reply.ids == sample["generated_ids"]
        assert reply.text == sample["generated_text"]


@pytest.mark.parametrize("release", [False, True], ids=["chosen", "release"])
def test_chat_agrees_in_both_behaviours(golden: Golden, release: bool) -> None:
    """With one [SEG] the query cannot change the mask, so both behaviours give the same."""
    engine = SidaEngine(golden.engine.model, golden.engine.processor, release=release)
    for j, sample in enumerate(golden.facts["chat_samples"]):
        reply = Conversation(engine, golden.picture(sample["image"])).ask(sample["question"])
        assert reply.ids == sample["generated_ids"]
        assert reply.text == sample["generated_text"]
        close(reply.all_classes, torch.tensor(sample["cls_logits_of_every_cls_token"]), 1e-4)
        close(reply.classes, torch.tensor(sample["class_logits"]), 1e-4)
        assert engine.printed(reply, sample["question"]) == sample["printed_text"]
        assert (reply.masks is not None) == bool(sample["n_masks"])
        if reply.masks is not None:
            close(reply.masks[-1, ::8, ::8], golden.tensors[f"chat.{j}.mask_logits.sample"], 3e-3)
            same_area(int((reply.masks[-1] > 0).sum()), sample["mask_positive_pixels"])


@pytest.mark.parametrize("release", [False, True], ids=["chosen", "release"])
def test_two_segs_give_two_masks_whose_query_is_the_chosen_or_the_releases(
    golden: Golden, release: bool
) -> None:
    engine = SidaEngine(golden.engine.model, golden.engine.processor, release=release)
    tensor = "mask_logits" if release else "mask_logits_if_query_is_last_cls"
    areas = (
        "mask_positive_pixels_of_every_seg_token" if release else "mask_positive_pixels_if_query_is_last_cls"
    )
    for j, sample in enumerate(golden.facts["chat_samples_two_seg"]):
        reply = engine.generate([golden.picture(sample["image"])], sample["question"])[0]
        assert reply.ids == sample["generated_ids"]
        assert reply.label == sample["predicted"]
        if not sample["n_masks"]:
            assert reply.masks is None
            continue
        close(reply.masks[:, ::8, ::8], golden.tensors[f"chat_two_seg.{j}.{tensor}.sample"], 3e-3)
        for mask, area in zip(reply.masks, sample[areas], strict=True):
            same_area(int((mask > 0).sum()), area)


def test_a_batch_of_eight_equals_eight_calls_and_looks_once(golden: Golden) -> None:
    question, engine = question_of(golden), golden.engine
    engine.model.calls.clear()
    batch = engine.generate(golden.pictures, question)
    assert engine.model.calls == {"clip": 8, "sam": 3}
    for picture, together in zip(golden.pictures, batch, strict=True):
        alone = engine.generate([picture], question)[0]
        torch.testing.assert_close(alone.classes, together.classes, rtol=1e-4, atol=1e-5)
        assert alone.ids == together.ids
        if alone.masks is not None:
            torch.testing.assert_close(alone.masks, together.masks, rtol=1e-4, atol=1e-3)


def test_questions_of_several_lengths_share_a_batch(golden: Golden) -> None:
    """Padding must not be seen: each row answers as it does alone."""
    questions = [prompts.QUESTION, prompts.CHAT_QUESTION, "Real?"]
    pictures = golden.pictures[:3]
    batch = golden.engine.generate(pictures, questions, max_new_tokens=40)
    for picture, question, together in zip(pictures, questions, batch, strict=True):
        alone = golden.engine.generate([picture], question, max_new_tokens=40)[0]
        torch.testing.assert_close(alone.classes, together.classes, rtol=1e-4, atol=1e-5)
        assert alone.ids == together.ids


def test_a_conversation_encodes_its_picture_once(golden: Golden) -> None:
    engine, sample = golden.engine, golden.facts["samples"][2]
    engine.model.calls.clear()
    talk = Conversation(engine, golden.picture(sample["image"]))
    first = talk.ask(golden.facts["question"], max_new_tokens=128)
    again = talk.ask(golden.facts["question"], max_new_tokens=128)
    assert engine.model.calls == {"clip": 1, "sam": 1}
    assert first.ids == sample["generated_ids"]
    assert again.masks is not None


@torch.inference_mode()
def test_every_loss_agrees_apart_and_only_masked_pictures_go_to_sam(golden: Golden) -> None:
    """bce and dice apart, as the paper has them; the release reports their sum under both names."""
    from PIL import Image

    model, processor = golden.engine.model, golden.engine.processor
    for facts in golden.facts["losses"]:
        examples = []
        for i in facts["samples"]:
            mask = golden.folder / f"images/{i}_mask.png"
            truth = np.array(Image.open(mask).convert("L")) if facts["label"] == 2 else None
            picture = golden.picture(f"images/{i}.png")
            examples.append(
                Example(picture, facts["label"], golden.facts["question"], facts["answer"], truth)
            )
        batch = collate(processor, examples)
        assert len(batch.before) + 1 + batch.ids.shape[1] == facts["n_tokens"]
        model.calls.clear()
        ours, _ = losses(model, batch)
        assert model.calls["sam"] == sum(example.mask is not None for example in examples)
        close(ours.detection, torch.tensor(facts["cls_loss"]), 1e-5)
        close(ours.text, torch.tensor(facts["text_ce_loss"]), 1e-5)
        close(ours.bce, torch.tensor(facts["mask_bce_loss"]), 1e-5)
        close(ours.dice, torch.tensor(facts["mask_dice_loss"]), 1e-5)
        weights = golden.facts["loss_weights"]
        if "reference_reported_bce_by_SIDA_py" not in facts:
            reported = (weights["bce"] + weights["dice"]) * (ours.bce + ours.dice)
            close(reported, torch.tensor(facts["reference_reported_mask"]), 1e-5)
