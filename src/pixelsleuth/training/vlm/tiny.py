"""A Qwen2.5-VL drawn at random, at any size, with a tokenizer made of the words that it will need.

It has the class, the layout on disk and the processor of the published model; dimensions are small and words few.
For trying a recipe on a laptop, and for tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from pixelsleuth.models.pretrained import pictures_only
from pixelsleuth.models.so_fake_r1.answers import FRAME, NAMES, QUESTION

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
SIZE = {"width": 96, "layers": 2, "heads": 4, "vision_width": 64, "vision_layers": 2, "patch": 28}
PATTERN = r"</?(?:think|answer)>|[A-Z]+(?:_[A-Z]+)+|\d{1,3}| ?[^\W\d]+|\s|[^\w\s]"


def make_policy(
    folder: Path, texts: Iterable[str], *, seed: int = 0, size: dict[str, int] | None = None
) -> None:
    """Write a random policy to `folder`; its words are the grammar's, the question's and those of `texts`.

    `patch` is the side of a vision patch in pixels; two by two of them become one token.
    """
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    told = SIZE | (size or {})
    tokenizer = make_tokenizer([QUESTION, *texts])
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    per_head = told["width"] // told["heads"] // 2
    third = per_head // 3
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": told["width"],
        "intermediate_size": 2 * told["width"],
        "num_hidden_layers": told["layers"],
        "num_attention_heads": told["heads"],
        "num_key_value_heads": told["heads"],
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
    vision = {
        "depth": told["vision_layers"],
        "hidden_size": told["vision_width"],
        "intermediate_size": 2 * told["vision_width"],
        "num_heads": 4,
        "out_hidden_size": told["width"],
        "patch_size": told["patch"],
        "spatial_merge_size": 2,
        "window_size": FRAME,
        "fullatt_block_indexes": [told["vision_layers"] - 1],
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.update(
        eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"], do_sample=False
    )
    model.save_pretrained(folder)
    make_processor(tokenizer, told["patch"]).save_pretrained(folder)


def make_processor(tokenizer: Any, patch: int) -> Any:
    """Qwen's processor for pictures, which keeps 224 x 224 as it is."""
    from transformers import Qwen2VLImageProcessorPil

    pixels = FRAME * FRAME
    images = Qwen2VLImageProcessorPil(
        patch_size=patch, merge_size=2, min_pixels=pixels // 16, max_pixels=pixels
    )
    return pictures_only(images, tokenizer, TEMPLATE)


def make_tokenizer(texts: Iterable[str]) -> Any:
    """A fast tokenizer: one token a word (its blank included), number and sign, one for all that it never saw."""
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
