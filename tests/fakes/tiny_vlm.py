"""Tiny models of transformers' own classes, saved to disk as their authors publish them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

TEXT = "This is a real fake image . ; Does the looks / ? Six fingers on one hand A shadow that points to sun Even light"
WORDS = TEXT.split()


def word_tokenizer(words: list[str], special: list[str]):
    """A fast tokenizer with one token a word; words that follow a blank carry it, as in sentencepiece."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = [*special, *dict.fromkeys(form for word in words for form in (word, " " + word))]
    core = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\w+| ?[^\w\s]"), "isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        additional_special_tokens=[name for name in special if name not in ("<unk>", "<s>", "</s>", "<pad>")],
    )  # fmt: skip


def make_llava(folder: Path, *, seed: int = 0):
    """A LLaVA-1.5 of 60 thousand weights in `folder`; returns its model."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    tokenizer = word_tokenizer(
        [*WORDS, "USER", "ASSISTANT", ":"], ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    )
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_id=4, image_seq_length=4)
    )
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "embed" not in name:
            torch.nn.init.normal_(weight, std=0.15)
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    ).save_pretrained(folder)  # fmt: skip
    kept = json.loads((folder / "preprocessor_config.json").read_text())
    kept["image_processor_type"] = "CLIPImageProcessor"  # as published
    (folder / "preprocessor_config.json").write_text(json.dumps(kept))
    return model


def picture(kind: str, size: tuple[int, int] = (64, 48), seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: "real" is warm and dark, "fake" cold and bright."""
    noise = np.random.default_rng(seed).integers(0, 60, (size[1], size[0], 3))
    tint = np.array([120, 60, 10]) if kind == "real" else np.array([60, 130, 190])
    return (noise + tint).astype(np.uint8)


ANSWERS = {
    "real": "This is a real image. Even light.",
    "fake": "This is a fake image. Six fingers on one hand; A shadow that points to the sun.",
}


def make_sam(folder: Path) -> None:
    """A SAM for pictures of 64 px."""
    from transformers import SamConfig, SamImageProcessorPil, SamModel

    torch.manual_seed(0)
    vision = {
        "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64,
        "patch_size": 8, "window_size": 4, "global_attn_indexes": [1], "mlp_dim": 32, "num_pos_feats": 8,
    }  # fmt: skip
    prompt = {
        "hidden_size": 16,
        "image_embedding_size": 8,
        "image_size": 64,
        "patch_size": 8,
        "mask_input_channels": 4,
    }
    decoder = {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    model = SamModel(
        SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    )
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}).save_pretrained(
        folder
    )


def make_sam2(folder: Path) -> None:
    """A SAM 2 for pictures of 64 px."""
    from transformers import Sam2Config, Sam2Model

    torch.manual_seed(0)
    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 16, "num_attention_heads": 1, "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [8, 8, 4, 4],
        "global_attention_blocks": [3], "window_positional_embedding_background_size": [4, 4],
    }  # fmt: skip
    vision = {
        "backbone_config": backbone, "backbone_channel_list": [128, 64, 32, 16], "fpn_hidden_size": 16,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }  # fmt: skip
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    model = Sam2Model(
        Sam2Config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    )
    model.save_pretrained(folder)
