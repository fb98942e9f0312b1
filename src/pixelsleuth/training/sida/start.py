"""The start of a training: a SIDA checkpoint, a LISA checkpoint (SIDA's modules are then added), or a random model.

Tokens that the start lacks get new rows at the end of the embedding: the mean of the others, with a little noise. The
same seed gives the same start.
"""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pixelsleuth.core.io import replaced
from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.sida import prompts
from pixelsleuth.models.sida.checkpoint import load_large, save_large
from pixelsleuth.models.sida.checkpoint import processor as processor_of
from pixelsleuth.models.sida.large import LargeConfig, LargeSida, spread
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.sida.published import marks_picture
from pixelsleuth.models.sida.tokenizer import LegacyTokenizer
from pixelsleuth.models.sida_core import DetectionFusion, DetectionHead
from pixelsleuth.models.weights import Shards, read_json
from pixelsleuth.training.run.settings import RANDOM
from pixelsleuth.training.sida.settings import RandomModel, SidaSettings

NEW_IN_LISA = ("model.cls_head.", "model.sida_fc1.", "model.attention_layer.")
PUBLISHED_FUSION = {"project": "model.sida_fc1", "attention": "model.attention_layer"}


def load_start(settings: SidaSettings) -> tuple[LargeSida, SidaProcessor]:
    """Model and processor at step 0, on the CPU, with the tokens of the stage and the fusion of the settings.

    Weights are read in the precision of frozen ones, so that the host needs no more memory than that.

    Raises:
        UsageError: the start is missing, damaged, or of another shape than what `random` or `fusion` ask for.
    """
    torch.manual_seed(settings.seed)
    if settings.start == RANDOM:
        folder = Path(settings.out) / "start"
        if not (folder / "config.json").is_file():
            _draw(settings.random, folder)
            torch.manual_seed(settings.seed)  # what follows must not depend on whether the start was there
        model, processor = load_large(str(folder))
    else:
        model, processor = _loaded(settings)
    marks = prompts.MARKS if processor.marked else ()
    added = ["[CLS]", "[SEG]", *marks, *(["[END]"] if settings.stage == 2 else [])]
    processor = _with_tokens(model, processor, added)
    _set_fusion(model, settings)
    return model, processor


def _draw(dimensions: RandomModel, folder: Path) -> None:
    """Write the folder of a random model and of a tokenizer trained on the prompts, whole or not at all."""
    tokenizer = train_tokenizer(dimensions.pieces)
    sida = json.loads(json.dumps(dimensions.sida))
    language = {"attn_implementation": "sdpa", **sida.get("language", {}), "vocab_size": len(tokenizer)}
    try:
        large = LargeConfig(
            sida={"decoder": "sam", **sida, "language": language}, clip=dimensions.clip, sam=dimensions.sam
        )
        model = LargeSida(large)
    except (TypeError, KeyError, ValueError, ZeroDivisionError) as error:
        raise UsageError(f"random does not describe a model ({error}): see recipes/tiny.yaml.") from None
    spread(model)
    with replaced(folder) as part:
        save_large(model, processor_of(large, tokenizer), part)


def train_tokenizer(pieces: int) -> LegacyTokenizer:
    """A SentencePiece model of `pieces` pieces, trained on the prompts, and SIDA's tokens after them."""
    from sentencepiece import SentencePieceTrainer

    lines = [prompts.prompt(prompts.QUESTION_WHY), prompts.SYSTEM_LLAMA_2, *prompts.ANSWERS, *prompts.CANNED]
    letters = "".join(chr(i) for i in range(33, 127))
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter([*lines * 4, letters]), model_writer=model, vocab_size=pieces, model_type="bpe",
            character_coverage=1.0, normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
            num_threads=1,
        )  # fmt: skip
    except RuntimeError as error:
        raise UsageError(
            f"random.pieces={pieces} makes no tokenizer ({str(error).splitlines()[-1]})."
        ) from None
    words = ["[CLS]", "[SEG]", "<im_start>", "<im_end>"]
    return LegacyTokenizer(model.getvalue(), {word: pieces + i for i, word in enumerate(words)})


def _loaded(settings: SidaSettings) -> tuple[LargeSida, SidaProcessor]:
    """Model and processor of a SIDA or LISA checkpoint."""
    folder = hub.resolve(settings.start)
    dtype = torch.float32 if settings.frozen == "fp32" else torch.bfloat16
    tokenizer = LegacyTokenizer.from_folder(folder)
    if {"[CLS]", "[SEG]"} <= set(tokenizer.added):
        return load_large(settings.start, dtype=dtype, clip=settings.clip)
    config = read_json(folder / "config.json")
    marks = prompts.MARKS if marks_picture(config, tokenizer.added) else ()
    weights = _WithSida(Shards(folder), tokenizer, settings, marks)
    clip = config.get("mm_vision_tower")
    beside = folder / str(clip)
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copy(folder / "config.json", temporary)
        weights.tokenizer.save(Path(temporary))
        tower = settings.clip or (str(beside.resolve()) if clip and beside.is_dir() else None)
        return load_large(temporary, dtype=dtype, clip=tower, weights=weights)


class _WithSida:
    """A LISA checkpoint's weights with SIDA's modules, drawn at random, and rows for the tokens that it lacks."""

    def __init__(
        self, shards: Shards, tokenizer: LegacyTokenizer, settings: SidaSettings, marks: Sequence[str]
    ) -> None:
        self.shards = shards
        rows = shards.shape("model.embed_tokens.weight")
        lacking = [word for word in ("[CLS]", "[SEG]", *marks) if word not in tokenizer.added]
        first = max(len(tokenizer), 0)
        self.tokenizer = LegacyTokenizer(
            tokenizer.model, tokenizer.added | {word: first + i for i, word in enumerate(lacking)}
        )
        self.vocabulary = max(rows[0], len(self.tokenizer))
        out = shards.shape("model.text_hidden_fcs.0.2.weight")[0]
        self.fresh: dict[str, Tensor] = {}
        for name, value in DetectionHead(rows[1]).state_dict().items():
            self.fresh[f"model.cls_head.0.{name}"] = value
        fusion = DetectionFusion(out, 8, projection=settings.det_projection or "logits", hidden=rows[1])
        for name, value in fusion.state_dict().items():
            part, _, inner = name.partition(".")
            self.fresh[f"{PUBLISHED_FUSION[part]}.{inner}"] = value
        self.fresh = {key: value for key, value in self.fresh.items() if key not in shards.names}

    @property
    def names(self) -> list[str]:
        return [*self.shards.names, *self.fresh]

    def shape(self, name: str) -> tuple[int, ...]:
        if name in self.fresh:
            return tuple(self.fresh[name].shape)
        shape = self.shards.shape(name)
        return (self.vocabulary, *shape[1:]) if _is_table(name) else shape

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, value in self.shards.tensors():
            yield name, longer(value, self.vocabulary) if _is_table(name) else value
        yield from self.fresh.items()


def _is_table(name: str) -> bool:
    return name in ("model.embed_tokens.weight", "lm_head.weight")


def longer(table: Tensor, rows: int) -> Tensor:
    """A table (V, d) with rows up to `rows`: the mean of the others and a hundredth of their spread as noise."""
    lacking = rows - len(table)
    if lacking <= 0:
        return table
    whole = table.float()
    noise = torch.randn(lacking, table.shape[1]) * whole.std(0) * 0.01
    return torch.cat([table, (whole.mean(0) + noise).to(table.dtype)])


def _with_tokens(model: LargeSida, processor: SidaProcessor, words: list[str]) -> SidaProcessor:
    """Add the missing tokens and their rows; the processor that knows them."""
    lacking = [word for word in words if word not in processor.tokenizer.added]
    if not lacking:
        return processor
    first = len(processor.tokenizer)
    added = processor.tokenizer.added | {word: first + i for i, word in enumerate(lacking)}
    tokenizer = LegacyTokenizer(processor.tokenizer.model, added)
    rows = max(len(tokenizer), model.sida.language.config.vocab_size)
    for module in (model.sida.language.model.embed_tokens, model.sida.language.lm_head):
        module.weight = nn.Parameter(longer(module.weight.data, rows), requires_grad=False)
    embedding = model.sida.language.model.embed_tokens
    embedding.num_embeddings = model.sida.language.lm_head.out_features = rows
    model.sida.language.config.vocab_size = rows
    language = model.config.sida["language"] | {"vocab_size": rows}
    model.config = dataclasses.replace(model.config, sida=model.config.sida | {"language": language})
    extended = processor_of(model.config, tokenizer)
    extended.template = processor.template
    return extended


def _set_fusion(model: LargeSida, settings: SidaSettings) -> None:
    """Replace the start's fusion by a new random one where the settings ask for another kind."""
    now = {"fusion": "attention", "det_projection": "logits"} | model.config.sida
    chosen: dict[str, Any] = {
        "fusion": settings.fusion or now["fusion"],
        "det_projection": settings.det_projection or now["det_projection"],
    }
    if chosen.items() <= now.items():
        return
    model.config = dataclasses.replace(model.config, sida=now | chosen)
    fusion = DetectionFusion(
        now["out"], now.get("heads", 8), projection=chosen["det_projection"],
        hidden=model.sida.language.config.hidden_size, how=chosen["fusion"],
    )  # fmt: skip
    model.sida.fusion = fusion.to(next(model.parameters()).device)
    model.sida.config = dataclasses.replace(model.sida.config, **chosen)
