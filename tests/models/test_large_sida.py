"""The large SIDA at a tiny size, drawn at random: paths and batches agree, ablations build."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelsleuth.errors import UsageError
from pixelsleuth.models.sida import prompts
from pixelsleuth.models.sida.checkpoint import load_large, save_large
from pixelsleuth.models.sida.inference import Conversation, SidaEngine
from pixelsleuth.models.sida.large import LargeConfig, LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.sida.published import our_name
from pixelsleuth.models.sida.tokenizer import LegacyTokenizer
from pixelsleuth.models.sida_core import DetectionFusion

WORDS = ["[CLS]", "[SEG]", "<im_start>", "<im_end>"]


@pytest.fixture(scope="module")
def tokenizer() -> LegacyTokenizer:
    """A SentencePiece model of the prompts' own letters, with SIDA's tokens added behind."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    lines = [
        prompts.prompt(prompts.QUESTION_WHY),
        prompts.SYSTEM_LLAMA_2,
        *prompts.ANSWERS,
        *prompts.CANNED,
    ] * 4
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=150, model_type="bpe", character_coverage=1.0,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip
    return LegacyTokenizer(model.getvalue(), {word: 150 + i for i, word in enumerate(WORDS)})


def config(**sida: object) -> LargeConfig:
    """A few hundred thousand parameters; SAM at 256 px."""
    language = {
        "vocab_size": 154, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "attn_implementation": "sdpa", "max_position_embeddings": 900,
    }  # fmt: skip
    mask = {"side": 16, "image": 256, "decoder": {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4}}
    return LargeConfig(
        sida={"token": 32, "out": 32, "heads": 4, "decoder": "sam", "mask": mask, "language": language, **sida},
        clip={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
            "image_size": 56, "patch_size": 14, "hidden_act": "quick_gelu",
        },
        sam={
            "hidden_size": 32, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 256, "patch_size": 16, "mlp_dim": 64, "window_size": 7, "global_attn_indexes": [1],
            "num_pos_feats": 16,
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def engine(tokenizer: LegacyTokenizer) -> SidaEngine:
    torch.manual_seed(3)
    model = LargeSida(config()).eval().requires_grad_(False)
    for parameter in model.sida.detection.parameters():
        parameter.normal_(0, 0.4)  # so that the classes of different pictures differ
    processor = SidaProcessor(tokenizer, clip_side=56, sam_side=256, context=900, picture_tokens=16)
    return SidaEngine(model, processor)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    sizes = [(40, 90), (120, 50), (300, 280), (9, 700)]
    return [random.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]


def test_classes_are_the_same_on_every_path(engine: SidaEngine, pictures: list[np.ndarray]) -> None:
    classes = engine.classify(pictures)
    for replies in (engine.locate(pictures, threshold=0.0), engine.generate(pictures, max_new_tokens=5)):
        torch.testing.assert_close(torch.stack([r.classes for r in replies]), classes, rtol=1e-4, atol=1e-5)


def test_masks_have_the_pictures_size_and_threshold_decides_who_gets_one(
    engine: SidaEngine, pictures: list[np.ndarray]
) -> None:
    engine.model.calls.clear()
    for picture, reply in zip(pictures, engine.locate(pictures, threshold=0.0), strict=True):
        assert reply.masks.shape == (1, *picture.shape[:2])
    assert engine.model.calls["sam"] == len(pictures)
    none = engine.locate(pictures, threshold=1.1)
    assert all(reply.masks is None and "judged" in reply.reason for reply in none)
    assert engine.model.calls["sam"] == len(pictures)


def test_each_row_of_a_batch_answers_as_it_does_alone(engine: SidaEngine, pictures: list[np.ndarray]) -> None:
    questions = ["Real?", prompts.QUESTION, prompts.CHAT_QUESTION_WHY, "Why [SEG] and [CLS]?"]
    together = engine.generate(pictures, questions, max_new_tokens=12)
    for picture, question, reply in zip(pictures, questions, together, strict=True):
        alone = engine.generate([picture], question, max_new_tokens=12)[0]
        talked = Conversation(engine, picture).ask(question, max_new_tokens=12)
        assert alone.ids == reply.ids == talked.ids
        assert 1 <= len(reply.ids) <= 12
        torch.testing.assert_close(alone.all_classes, reply.all_classes, rtol=1e-4, atol=1e-5)


def test_generation_stops_where_the_context_ends(engine: SidaEngine, pictures: list[np.ndarray]) -> None:
    row = engine.processor.ids("Real?")
    context = len(row.before) + 16 + len(row.after) + 2
    processor = SidaProcessor(
        engine.processor.tokenizer, clip_side=56, sam_side=256, context=context, picture_tokens=16
    )
    narrow = SidaEngine(engine.model, processor)
    assert 1 <= len(narrow.generate(pictures[:1], "Real?")[0].ids) <= 2
    with pytest.raises(UsageError, match="shorten the"):
        processor.ids("Real? Truly?")


def test_our_layout_round_trips(engine: SidaEngine, pictures: list[np.ndarray], tmp_path: Path) -> None:
    save_large(engine.model, engine.processor, tmp_path)
    again = SidaEngine(*load_large(str(tmp_path)))
    torch.testing.assert_close(again.classify(pictures), engine.classify(pictures))


@pytest.mark.parametrize("how", ["attention", "none", "linear"])
@pytest.mark.parametrize("projection", ["logits", "hidden"])
def test_every_ablation_gives_a_mask(how: str, projection: str) -> None:
    model = LargeSida(config(fusion=how, det_projection=projection)).eval()
    with torch.inference_mode():
        masks = model.sida.mask(
            torch.randn(2, 3), torch.randn(2, 48), torch.randn(2, 3, 48), torch.randn(2, 32, 16, 16)
        )
    assert masks.shape == (2, 3, 64, 64)


def test_only_without_fusion_or_with_one_seg_is_the_detection_without_influence() -> None:
    torch.manual_seed(0)
    segmentation, first, second = torch.randn(1, 1, 32), torch.randn(1, 3), torch.randn(1, 3)
    for how, moves in (("attention", False), ("none", False), ("linear", True)):
        fusion = DetectionFusion(32, 4, how=how).eval()
        nothing = torch.empty(1, 0)
        difference = fusion(first, nothing, segmentation) - fusion(second, nothing, segmentation)
        assert bool(difference.abs().max() > 1e-6) == moves


@settings(max_examples=60, deadline=None)
@given(
    before=st.text(alphabet="aeirst \n", max_size=12),
    token=st.sampled_from(WORDS),
    after=st.text(alphabet="aeirst \n", max_size=12),
)
def test_white_space_beside_added_tokens_is_lost(
    tokenizer: LegacyTokenizer, before: str, token: str, after: str
) -> None:
    expected = [
        *tokenizer.encode(before.rstrip(), bos=False),
        tokenizer.id(token),
        *tokenizer.encode(after.lstrip(), bos=False),
    ]
    assert tokenizer.encode(before + token + after) == [tokenizer.bos, *expected]


def test_white_space_beside_the_models_own_tokens_stays(tokenizer: LegacyTokenizer) -> None:
    with_space, without = tokenizer.encode("real </s>"), tokenizer.encode("real</s>")
    assert with_space[-1] == without[-1] == tokenizer.eos
    assert len(with_space) > len(without)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-5, 400), max_size=30))
def test_any_ids_decode_to_some_text(tokenizer: LegacyTokenizer, ids: list[int]) -> None:
    assert isinstance(tokenizer.decode(ids), str)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_can_be_asked_and_shown(tokenizer: LegacyTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert all(0 <= index < len(tokenizer) for index in ids)
    assert isinstance(prompts.described(text), str | None)
    assert isinstance(prompts.without_repeats(text), str)


def test_keys_that_sida_never_uses_are_known() -> None:
    prefix = "model.visual_model.prompt_encoder."
    assert our_name(f"{prefix}mask_downscaling.0.weight") is None
    assert our_name(f"{prefix}no_mask_embed.weight") == "sida.decoder.no_mask.weight"
    assert our_name("model.visual_model.mask_decoder.iou_prediction_head.layers.2.bias") == (
        "sida.decoder.decoder.iou_prediction_head.proj_out.bias"
    )
