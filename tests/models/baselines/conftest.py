"""Fixtures: small random networks of transformers' own classes, in place of the large frozen ones that users have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch


def tiny_clip() -> Any:
    """CLIP's image encoder for pictures of 224."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(**sizes, image_size=224, patch_size=32, projection_dim=16, hidden_act="quick_gelu")
    )


def tiny_instructblip() -> Any:
    """InstructBLIP on LLaMA with tokenizers of a few words."""
    from transformers import (
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        InstructBlipQFormerConfig,
        InstructBlipVisionConfig,
        LlamaConfig,
    )

    from pixelsleuth.models.baselines.antifake_prompt import Backbone

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    words, first_words = tokenizer(), tokenizer(first=True)
    config = InstructBlipConfig(
        vision_config=InstructBlipVisionConfig(**sizes, image_size=224, patch_size=56).to_dict(),
        qformer_config=InstructBlipQFormerConfig(
            **sizes, vocab_size=len(first_words), encoder_hidden_size=32, cross_attention_frequency=1
        ).to_dict(),
        text_config=LlamaConfig(**sizes, vocab_size=len(words), initializer_range=0.3).to_dict(),
        num_query_tokens=3,
    )
    model = InstructBlipForConditionalGeneration(config)
    torch.nn.init.normal_(model.query_tokens)
    return Backbone(model.eval(), words, first_words)


def tokenizer(*, first: bool = False) -> Any:
    """Whole words; the Q-Former's puts [CLS] in front and [SEP] behind."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", "Is", "this", "photo", "real", "?", "yes", "no", "[CLS]", "[SEP]"]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if first:
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 10), ("[SEP]", 11)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


MAKERS: dict[str, Callable[[], Any]] = {
    "antifake_prompt": lambda: made("antifake_prompt")(tiny_instructblip()),
    "cnnspot": lambda: made("cnnspot")(width="quarter"),
    "fredect": lambda: made("fredect")(),
    "fusing": lambda: made("fusing")(),
    "gramnet": lambda: made("gramnet")(),
    "lgrad": lambda: made("lgrad")(),
    "lnp": lambda: made("lnp")(),
    "univfd": lambda: made("univfd")(tiny_clip()),
    "rine": lambda: made("rine")(tiny_clip(), projection=16, depth=2),
    "commfor": lambda: made("commfor")(size="224"),
    "dda": lambda: made("dda")(backbone="vits14", input="first_crop224"),
    "npr": lambda: made("npr")(),
}


def made(name: str) -> Any:
    from pixelsleuth.models.baseline import baseline_class

    return baseline_class(name)


def narrow(name: str) -> Any:
    """One of MAKERS with a ResNet of one block a stage, and with few channels or blocks in front of it.

    Parity and the command line's tests have the published sizes.
    """
    from pixelsleuth.models.backbones.resnet import ResNet
    from pixelsleuth.models.baselines import fredect, fusing, lgrad, lnp

    resnet = partial(ResNet, (1, 1, 1, 1), (32, 64, 128, 2048), stem=16)
    with pytest.MonkeyPatch.context() as patch:
        for module in (fredect, fusing, lgrad, lnp):
            patch.setattr(module, "resnet50", resnet)
        patch.setattr(lgrad, "WIDTHS", (8, 8, 16, 16, 32, 32, 512))
        patch.setattr(lnp, "BLOCKS", 1)
        return MAKERS[name]()


@pytest.fixture(scope="module", params=MAKERS)
def maker(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Makes one of the detectors of whole pictures, random."""
    return partial(narrow, request.param)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take seconds a report; the tests of evaluation draw them."""
    from pixelsleuth.evaluation.report import metrics_page as page

    monkeypatch.setattr(page, "plots_of", lambda result: [])


@pytest.fixture(scope="session")
def backbone() -> Callable[[], Any]:
    """Makes the same small InstructBLIP each time."""
    return tiny_instructblip


@pytest.fixture(scope="session")
def clip() -> Callable[[], Any]:
    """Makes the same small CLIP each time."""
    return tiny_clip
