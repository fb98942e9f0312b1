"""FakeVLM on this machine: the raw prompt, one prefill a batch, cached greedy decoding, likelihoods on the way.

The release pads every prompt to 1024 tokens and asks one picture at a time. Here a batch is as long as its longest
prompt, padded at the left, and CLIP runs once a picture. What the release generates is what is generated here.
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
from pixelsleuth.models.pretrained import load_image_processor, load_model, load_tokenizer
from pixelsleuth.models.weights import read_config

ARCHITECTURE = "LlavaForConditionalGeneration"
ROOM = 128
"""Tokens more for which a cache has room."""


class FakeVlmEngine:
    """Model, tokenizer and image processor of a LLaVA-1.5 checkpoint.

    Args:
        model: `LlavaForConditionalGeneration`, in its place.
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
        ends = model.generation_config.eos_token_id
        self.ends = list(ends) if isinstance(ends, list | tuple) else [ends or tokenizer.eos_token_id]
        pad = tokenizer.pad_token_id
        self.pad = int(pad if pad is not None else self.ends[0])

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
        """The answers to questions of one's own, one a picture; rows of a batch may differ in length."""
        prompts = [self.prompt_ids(question) for question in questions]
        return [one.text for one in self._generate(self.pixel_values(pixels), prompts, max_new_tokens)]

    def pixel_values(self, pixels: Sequence[np.ndarray]) -> Tensor:
        """(N, 3, side, side) in the model's place and type: scaled, cut to the middle square, normalised."""
        pictures = [Image.fromarray(one) for one in pixels]
        values = self.image_processor(pictures, return_tensors="pt")["pixel_values"]
        return values.to(self.model.device, self.model.dtype)

    def prompt_ids(self, question: str) -> list[int]:
        """Ids of the raw prompt: no roles around it, the picture token repeated once a patch.

        The release trains with LLaVA's roles and evaluates without; the published figures are those without.
        """
        return self.ids_of(self.image_token + question)

    def ids_of(self, text: str) -> list[int]:
        """Ids of a prompt in which the picture token stands once."""
        ids: list[int] = []
        for one in self.tokenizer(text)["input_ids"]:
            ids += [one] * (self.patches if one == self.image_id else 1)
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
        seen = [[0] * (longest - len(row)) + [1] * len(row) for row in prompts]
        device = self.model.device
        return torch.tensor(ids, device=device), torch.tensor(seen, device=device)

    @torch.inference_mode()
    def _opened(self, features: Tensor, prompts: Sequence[list[int]]) -> list[float]:
        """Likelihood of "real" against "fake" behind "This is a", which the answer is made to begin with."""
        ids, seen = self._batch([[*row, *self.opening] for row in prompts])
        logits = self.model(
            input_ids=ids, attention_mask=seen, pixel_values=features, logits_to_keep=1, use_cache=False
        ).logits[:, -1]
        two = logits[:, list(self.words)].float().softmax(1)
        return [float(row[0]) for row in two]

    @torch.inference_mode()
    def _generate(self, features: Tensor, prompts: Sequence[list[int]], max_new_tokens: int) -> list[Answer]:
        from transformers import GenerationConfig, LogitsProcessorList

        ids, seen = self._batch(prompts)
        listener = _Listener(self.words)
        how = GenerationConfig(
            max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=self.pad, eos_token_id=self.ends
        )
        out = self.model.generate(
            input_ids=ids,
            attention_mask=seen,
            pixel_values=features,
            past_key_values=roomy_cache(),
            generation_config=how,
            logits_processor=LogitsProcessorList([listener]),
        )
        new = out[:, ids.shape[1] :].tolist()
        heard = torch.stack(listener.heard, 1).softmax(-1)[..., 0].tolist()
        return [self._answer(row, chances) for row, chances in zip(new, heard, strict=True)]

    def _answer(self, new: list[int], chances: list[float]) -> Answer:
        """Text and, at the step that wrote the verdict's word, the likelihood of "real"."""
        end = next((i for i, one in enumerate(new) if one in self.ends), None)
        written = new if end is None else new[:end]
        text = self.tokenizer.decode(written, skip_special_tokens=True)
        reading = read(text)
        return Answer(text.strip(), self._chance(written, chances, reading.span, text), end is None)

    def _chance(
        self, written: list[int], chances: list[float], span: tuple[int, int] | None, text: str
    ) -> float | None:
        if span is None:
            return None
        for step, one in enumerate(written):
            so_far = len(self.tokenizer.decode(written[: step + 1], skip_special_tokens=True))
            if so_far > span[0]:
                return chances[step] if one in self.words else None
        return None


class _Listener:
    """Keeps the scores of two tokens at every step of a generation; changes nothing."""

    def __init__(self, tokens: tuple[int, int]) -> None:
        self.tokens = list(tokens)
        self.heard: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.heard.append(scores[:, self.tokens].float())
        return scores


class RoomyLayer(DynamicLayer):
    """A layer's keys and values (N, heads, T, d): the front of a buffer that has room for ROOM tokens more."""

    keys: Tensor
    values: Tensor
    _keys: Tensor | None = None
    _values: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Put the states of new tokens behind those that are held, and return all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        end = held + key_states.shape[-2]
        self._keys = _placed(self._keys, self.keys, held, key_states)
        self._values = _placed(self._values, self.values, held, value_states)
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]
        return self.keys, self.values


def roomy_cache() -> Cache:
    """An empty cache for `generate(past_key_values=...)`; one generation each."""
    return Cache(layer_class_to_replicate=RoomyLayer)


def _placed(buffer: Tensor | None, held: Tensor, length: int, new: Tensor) -> Tensor:
    """The buffer with `new` behind the first `length` tokens: a new one where there is none, it is full, or what is
    held no longer lies in it (rows were chosen, for one)."""
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
