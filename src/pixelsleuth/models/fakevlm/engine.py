"""FakeVLM on this machine: the raw prompt, one prefill a batch, cached greedy decoding, likelihoods of the verdict.

The release pads every prompt to 1024 tokens and runs one picture at a time. Here a batch is as long as its longest
prompt, padded at the left, and CLIP runs once a picture. The generated text is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.fakevlm.answers import FAKE, OPENING, QUESTION, REAL, Answer, read
from pixelsleuth.models.pretrained import (
    ScoreKeeper,
    load_image_processor,
    load_model,
    load_tokenizer,
    stop_ids,
)
from pixelsleuth.models.weights import read_config

ARCHITECTURE = "LlavaForConditionalGeneration"
ROOM = 128
"""Tokens for which a cache has room beyond those that it holds."""


class FakeVlmEngine:
    """Model, tokenizer and image processor of a LLaVA-1.5 checkpoint.

    Args:
        model: `LlavaForConditionalGeneration`, on its device.
        tokenizer: must know the model's picture token, and distinguish "real" and "fake" by their first tokens.
        image_processor: CLIP's, for PIL images.

    Raises:
        UsageError: the tokenizer does not know the picture token, or the two words begin alike.
    """

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any) -> None:
        self.model, self.tokenizer, self.image_processor = model, tokenizer, image_processor
        self.image_id = int(model.config.image_token_id)
        self.image_token = tokenizer.convert_ids_to_tokens(self.image_id)
        if self.image_token is None:
            raise UsageError(
                "The tokenizer does not know the model's picture token: the folder mixes checkpoints."
            )
        vision = model.config.vision_config
        self.patches = (vision.image_size // vision.patch_size) ** 2
        if model.config.vision_feature_select_strategy == "full":
            self.patches += 1
        self.opening, self.words = self._words()
        self.ends, self.pad = stop_ids(model, tokenizer)

    def answer(
        self, pixels: Sequence[np.ndarray], *, explain: bool = True, max_new_tokens: int = 256
    ) -> list[Answer]:
        """One answer a picture (H, W, 3) uint8; without `explain` the likelihood alone, from one prefill."""
        if not pixels:
            return []
        features = self.pixel_values(pixels)
        prompts = [self.prompt_ids(QUESTION)] * len(pixels)
        if not explain:
            return [Answer(real=chance) for chance in self._opened(features, prompts)]
        answers = self._generate(features, prompts, max_new_tokens)
        silent = [i for i, answer in enumerate(answers) if answer.real is None]
        if silent:
            chances = self._opened(features[silent], [prompts[i] for i in silent])
            for i, chance in zip(silent, chances, strict=True):
                answers[i] = Answer(answers[i].text, chance, answers[i].cut)
        return answers

    def ask(
        self, pixels: Sequence[np.ndarray], questions: Sequence[str], *, max_new_tokens: int = 256
    ) -> list[str]:
        """The answers to any questions, one a picture; rows of a batch may differ in length."""
        prompts = [self.prompt_ids(question) for question in questions]
        answers = self._generate(self.pixel_values(pixels), prompts, max_new_tokens)
        return [answer.text for answer in answers]

    def pixel_values(self, pixels: Sequence[np.ndarray]) -> Tensor:
        """(N, 3, side, side) on the model's device in its dtype: scaled, cut to the middle square, normalised."""
        pictures = [Image.fromarray(picture) for picture in pixels]
        values = self.image_processor(pictures, return_tensors="pt")["pixel_values"]
        return values.to(self.model.device, self.model.dtype)

    def prompt_ids(self, question: str) -> list[int]:
        """Ids of the raw prompt, without roles; the picture token is repeated once a patch.

        The release trains with LLaVA's roles and evaluates without; the published figures are those without.
        """
        return self.ids_of(self.image_token + question)

    def ids_of(self, text: str) -> list[int]:
        """Ids of a prompt in which the picture token stands once."""
        ids: list[int] = []
        for token in self.tokenizer(text)["input_ids"]:
            ids += [token] * (self.patches if token == self.image_id else 1)
        return ids

    def _words(self) -> tuple[list[int], tuple[int, int]]:
        """Ids of "This is a", and the first ids of the two words that may follow it."""
        real, fake = (
            self.tokenizer(f"{OPENING} {word}", add_special_tokens=False)["input_ids"]
            for word in (REAL, FAKE)
        )
        for i, (a, b) in enumerate(zip(real, fake, strict=False)):
            if a != b:
                return list(real[:i]), (int(a), int(b))
        raise UsageError('The tokenizer does not tell "real" from "fake": this is no checkpoint of FakeVLM.')

    def _batch(self, prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Ids and attention mask (N, T), padded at the left."""
        longest = max(map(len, prompts))
        ids = [[self.pad] * (longest - len(row)) + row for row in prompts]
        attended = [[0] * (longest - len(row)) + [1] * len(row) for row in prompts]
        device = self.model.device
        return torch.tensor(ids, device=device), torch.tensor(attended, device=device)

    @torch.inference_mode()
    def _opened(self, features: Tensor, prompts: Sequence[list[int]]) -> list[float]:
        """Likelihood of "real" against "fake" behind "This is a", the forced beginning of the answer."""
        ids, attended = self._batch([[*row, *self.opening] for row in prompts])
        logits = self.model(
            input_ids=ids, attention_mask=attended, pixel_values=features, logits_to_keep=1, use_cache=False
        ).logits[:, -1]
        two = logits[:, list(self.words)].float().softmax(1)
        return [float(row[0]) for row in two]

    @torch.inference_mode()
    def _generate(self, features: Tensor, prompts: Sequence[list[int]], max_new_tokens: int) -> list[Answer]:
        from transformers import GenerationConfig, LogitsProcessorList

        ids, attended = self._batch(prompts)
        keeper = ScoreKeeper(self.words)
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=self.pad, eos_token_id=self.ends
        )
        out = self.model.generate(
            input_ids=ids,
            attention_mask=attended,
            pixel_values=features,
            past_key_values=roomy_cache(),
            generation_config=settings,
            logits_processor=LogitsProcessorList([keeper]),
        )
        new = out[:, ids.shape[1] :].tolist()
        chances = [[real for real, _ in steps] for steps in keeper.shares()]
        return [self._answer(row, steps) for row, steps in zip(new, chances, strict=True)]

    def _answer(self, new: list[int], chances: list[float]) -> Answer:
        """The text, and the likelihood of "real" at the step that wrote the verdict's word."""
        end = next((i for i, token in enumerate(new) if token in self.ends), None)
        written = new if end is None else new[:end]
        text = self.tokenizer.decode(written, skip_special_tokens=True)
        reading = read(text)
        return Answer(text.strip(), self._chance(written, chances, reading.span, text), end is None)

    def _chance(
        self, written: list[int], chances: list[float], span: tuple[int, int] | None, text: str
    ) -> float | None:
        if span is None:
            return None
        for step, token in enumerate(written):
            length = len(self.tokenizer.decode(written[: step + 1], skip_special_tokens=True))
            if length > span[0]:
                return chances[step] if token in self.words else None
        return None


class RoomyLayer(DynamicLayer):
    """A layer's keys and values (N, heads, T, d), written in place into a buffer with room for ROOM more tokens.

    transformers' own cache copies everything it holds at every token. For a prompt of about 600 tokens and a batch of
    eight, that copy costs about as much as the widest matrix of a small model.
    """

    keys: Tensor
    values: Tensor
    _keys: Tensor | None = None
    _values: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append the states of new tokens and return all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        end = held + key_states.shape[-2]
        self._keys = _placed(self._keys, self.keys, held, key_states)
        self._values = _placed(self._values, self.values, held, value_states)
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]
        return self.keys, self.values


def roomy_cache() -> Cache:
    """An empty cache for one call of `generate(past_key_values=...)`."""
    return Cache(layer_class_to_replicate=RoomyLayer)


def _placed(buffer: Tensor | None, held: Tensor, length: int, new: Tensor) -> Tensor:
    """The buffer with `new` behind its first `length` tokens.

    A new buffer is made where there is none, where it is full, and where `held` no longer lies in it (for example once
    rows were selected).
    """
    end = length + new.shape[-2]
    lies_there = buffer is not None and held.data_ptr() == buffer.data_ptr() and len(held) == len(buffer)
    if buffer is None or not (lies_there or not length) or end > buffer.shape[-2] or len(new) != len(buffer):
        n, heads, _, width = new.shape
        buffer = new.new_empty(n, heads, end + ROOM, width)
        if length:
            buffer[:, :, :length] = held
    buffer[:, :, length:end] = new
    return buffer


def load_engine(name: str, *, device: str = "auto", precision: str = "auto") -> tuple[FakeVlmEngine, str]:
    """Engine and precision of a folder or a hub id.

    Raises:
        UsageError: not a LLaVA-1.5 checkpoint, damaged, too large, no such device.
    """
    folder = hub.resolve(name)
    kinds = read_config(folder).get("architectures") or []
    if ARCHITECTURE not in kinds:
        raise UsageError(
            f"{name} is a checkpoint of {', '.join(map(str, kinds)) or 'nothing'}, not of LLaVA-1.5."
        )
    model, kind = load_model(folder, name, device=device, precision=precision)
    return FakeVlmEngine(model, load_tokenizer(folder), load_image_processor(folder)), kind
