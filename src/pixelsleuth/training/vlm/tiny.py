"""A Qwen2.5-VL with random weights, at any size, with a tokenizer of the words that it will need.

Class, layout on disk and processor are those of the published model; dimensions are small and words few. For trying a
recipe on a laptop, and for tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from pixelsleuth.models.pretrained import pictures_only
from pixelsleuth.models.so_fake_r1.answers import FRAME, NAMES, QUESTION
from pixelsleuth.training.vlm.settings import PolicySize, library_settings

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
GRAMMAR = (
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    *NAMES,
    "user",
    "assistant",
    "\n",
    *"(),.",
    *map(str, range(FRAME)),
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PATTERN = r"</?(?:think|answer)>|[A-Z]+(?:_[A-Z]+)+|\d{1,3}| ?[^\W\d]+|\s|[^\w\s]"


SIZE = PolicySize(
    {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4},
    {"hidden_size": 64, "depth": 2, "num_heads": 4, "patch_size": 28},
)
"""The size where the recipe says nothing; 2 x 2 vision patches become one token."""


def make_policy(folder: Path, texts: Iterable[str], *, seed: int = 0, size: PolicySize | None = None) -> None:
    """Write a random policy to `folder`; its words are the grammar's, the question's and those of `texts`.

    Raises:
        UsageError: a size that transformers does not know or refuses.
    """
    from transformers import Qwen2_5_VLForConditionalGeneration

    tokenizer = make_tokenizer([QUESTION, *texts])
    config = policy_config(tokenizer, size or PolicySize())
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    text = config.text_config
    model.generation_config.update(
        eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder)
    make_processor(tokenizer, config.vision_config.patch_size).save_pretrained(folder)


def policy_config(tokenizer: Any, size: PolicySize) -> Any:
    """transformers' Qwen2_5_VLConfig of a size, with what follows from it. Raises UsageError."""
    from transformers import Qwen2_5_VLConfig
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import (
        Qwen2_5_VLTextConfig,
        Qwen2_5_VLVisionConfig,
    )

    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    text, vision = SIZE.text_config | size.text_config, SIZE.vision_config | size.vision_config
    per_head = text["hidden_size"] // text["num_attention_heads"] // 2
    third = per_head // 3
    text_preset = SIZE.text_config | {
        "vocab_size": len(tokenizer),
        "intermediate_size": 2 * text["hidden_size"],
        "num_key_value_heads": text["num_attention_heads"],
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [per_head - 2 * third, third, third],
        },
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    vision_preset = SIZE.vision_config | {
        "intermediate_size": 2 * vision["hidden_size"],
        "out_hidden_size": text["hidden_size"],
        "spatial_merge_size": 2,
        "window_size": FRAME,
        "fullatt_block_indexes": [vision["depth"] - 1],
    }
    parts = (
        (Qwen2_5_VLTextConfig, size.text_config, "random.text_config", text_preset),
        (Qwen2_5_VLVisionConfig, size.vision_config, "random.vision_config", vision_preset),
    )
    text_config, vision_config = (
        library_settings(kind, section, where, preset=preset) for kind, section, where, preset in parts
    )
    return Qwen2_5_VLConfig(
        text_config=text_config,
        vision_config=vision_config,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )


def make_processor(tokenizer: Any, patch: int) -> Any:
    """Qwen's processor for pictures; it leaves a picture of 224 x 224 unresized."""
    from transformers import Qwen2VLImageProcessorPil

    pixels = FRAME * FRAME
    images = Qwen2VLImageProcessorPil(
        patch_size=patch, merge_size=2, min_pixels=pixels // 16, max_pixels=pixels
    )
    return pictures_only(images, tokenizer, TEMPLATE)


def make_tokenizer(texts: Iterable[str]) -> Any:
    """A fast tokenizer: one token a word (with its blank), number and sign, and one for every unknown word."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    words = [word for text in texts for word, _ in split.pre_tokenize_str(text)]
    names = dict.fromkeys((*SPECIAL, "<unk>", *GRAMMAR, " ", *words))
    core = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = split
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[name for name in SPECIAL if name not in ("<|im_end|>", "<|endoftext|>")],
    )
