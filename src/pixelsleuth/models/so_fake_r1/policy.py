"""The policy: an image-text model of transformers that answers in So-Fake-R1's grammar.

Qwen2.5-VL is the default, since the authors' tables point to it. Any model works that has a chat template and an image
processor without torchvision. Pictures are shown at 224 x 224, as in the authors' training and evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models.pretrained import ScoreKeeper, load_model, load_processor, stop_ids
from pixelsleuth.models.so_fake_r1.answers import FRAME, NAMES, QUESTION, read


@dataclass(frozen=True)
class Completion:
    """An answer of the policy. `chances` are the likelihoods of the classes (order of LABELS), None where it names
    no class. `cut`: the token limit ended it."""

    text: str
    chances: tuple[float, float, float] | None = None
    cut: bool = False


class Policy:
    """Model and processor.

    Args:
        model: any image-text model of transformers, on its device.
        processor: turns messages into ids and pixels; needs a chat template.
        question: the same for every picture.

    Raises:
        UsageError: the processor has no chat template.
    """

    def __init__(self, model: Any, processor: Any, *, question: str = QUESTION, frame: int = FRAME) -> None:
        if not getattr(processor, "chat_template", None):
            raise UsageError("The checkpoint has no chat template: use one of an instruction-tuned model.")
        self.model, self.processor, self.question, self.frame = model, processor, question, frame
        self.tokenizer = processor.tokenizer
        self.tokenizer.padding_side = "left"
        self.ends, self.pad = stop_ids(model, self.tokenizer)
        self.classes = self._classes()

    def greedy(self, pixels: Sequence[np.ndarray], *, max_new_tokens: int = 512) -> list[Completion]:
        """The most likely answer for each picture (H, W, 3) uint8; a batch is padded at the left."""
        return self._generate(self.inputs(pixels), 1, max_new_tokens, do_sample=False)

    def samples(
        self,
        pixels: np.ndarray,
        count: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        max_new_tokens: int = 512,
    ) -> list[Completion]:
        """`count` answers for one picture, sampled at `temperature`; the same for the same `seed`."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            inputs = self.inputs([pixels])
            return self._generate(inputs, count, max_new_tokens, do_sample=True, temperature=temperature)

    def inputs(self, pixels: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Model inputs for a batch of pictures, each with the question, ready for the answer."""
        pictures = [in_frame(picture, self.frame) for picture in pixels]
        batch = self.processor.apply_chat_template(
            [messages(self.question, picture) for picture in pictures],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        moved = batch.to(self.model.device)
        return {
            key: value.to(self.model.dtype) if torch.is_floating_point(value) else value
            for key, value in moved.items()
        }

    @torch.inference_mode()
    def _generate(self, inputs: dict[str, Tensor], count: int, limit: int, **how: Any) -> list[Completion]:
        from transformers import GenerationConfig, LogitsProcessorList

        keeper = ScoreKeeper(self.classes)
        config = GenerationConfig(
            max_new_tokens=limit,
            num_return_sequences=count,
            pad_token_id=self.pad,
            eos_token_id=self.ends,
            **({"top_k": 0} if how["do_sample"] else {}),
            **how,
        )
        out = self.model.generate(
            **inputs, generation_config=config, logits_processor=LogitsProcessorList([keeper])
        )
        new = out[:, inputs["input_ids"].shape[1] :].tolist()
        shares = keeper.shares() or [[]] * len(new)
        return [self._completion(row, steps) for row, steps in zip(new, shares, strict=True)]

    def _completion(self, new: list[int], shares: list[list[float]]) -> Completion:
        """The text, and the class shares at the step that wrote the class."""
        end = next((i for i, token in enumerate(new) if token in self.ends), None)
        written = new if end is None else new[:end]
        text = self.tokenizer.decode(written, skip_special_tokens=True)
        reading = read(text)
        chances = None
        if reading.label is not None and reading.place is not None and shares:
            step = self._step_of(written, reading.place)
            if step is not None and written[step] in self.classes:
                a, b, c = shares[step]
                chances = (a, b, c)
        return Completion(text, chances, end is None)

    def _step_of(self, written: list[int], place: int) -> int | None:
        """The first step whose text reaches beyond character `place`; bisection, since texts only grow."""
        low, high = 0, len(written)
        while low < high:
            middle = (low + high) // 2
            if len(self.tokenizer.decode(written[: middle + 1], skip_special_tokens=True)) > place:
                high = middle
            else:
                low = middle + 1
        return low if low < len(written) else None

    def _classes(self) -> list[int]:
        """First ids of the class words behind the answer's tag, in the order of LABELS; empty where two are equal."""
        words = {label: name for name, label in NAMES.items()}
        rows = [
            self.tokenizer(f"<answer>{words[label]}", add_special_tokens=False)["input_ids"]
            for label in LABELS
        ]
        shared = 0
        while all(len(row) > shared for row in rows) and len({row[shared] for row in rows}) == 1:
            shared += 1
        first = [row[shared] for row in rows if len(row) > shared]
        return first if len(set(first)) == len(LABELS) else []


def in_frame(pixels: np.ndarray, frame: int = FRAME) -> Image.Image:
    """The whole picture at `frame` x `frame` pixels (bicubic; the aspect is not kept, as with the authors)."""
    return Image.fromarray(pixels).resize((frame, frame), Image.Resampling.BICUBIC)


def messages(question: str, picture: Image.Image | None = None) -> list[dict[str, Any]]:
    """One turn of a user: a picture (or its place holder) and a question."""
    shown: dict[str, Any] = {"type": "image"} if picture is None else {"type": "image", "image": picture}
    return [{"role": "user", "content": [shown, {"type": "text", "text": question}]}]


def vote(readings: Sequence[Label | None]) -> dict[Label, float] | None:
    """Each class's share of the votes that name a class; None where none does.

    >>> vote([Label.REAL, Label.REAL, None, Label.TAMPERED])[Label.REAL]
    0.6666666666666666
    """
    named = [label for label in readings if label is not None]
    return {label: named.count(label) / len(named) for label in LABELS} if named else None


def load_policy(
    folder: Path, name: str, *, device: str, precision: str, **settings: Any
) -> tuple[Policy, str]:
    """Policy and precision of a checkpoint folder. Raises UsageError."""
    model, kind = load_model(folder, name, device=device, precision=precision)
    return Policy(model, load_processor(folder), **settings), kind
