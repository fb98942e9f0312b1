"""FakeVLM's training: full fine-tuning of LLaVA-1.5 (or LoRA), loss on the answer only.

As published: every weight is trained, the vision tower too (`vision: true`), two epochs, 2e-5 with 3 % warmup and a
cosine, a global batch of 256. The published code trains with LLaVA's roles around the question and evaluates without
them; `prompt` chooses (`roles`, `raw`), and `check` always asks without roles.

Run: `pixelsleuth train recipes/fakevlm/full.yaml data=FakeClue/ out=runs/fakevlm`
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pixelsleuth.core.settings import fill
from pixelsleuth.core.verdict import Label
from pixelsleuth.models import hub
from pixelsleuth.models.fakevlm.answers import QUESTION, read
from pixelsleuth.models.fakevlm.engine import FakeVlmEngine, load_engine
from pixelsleuth.training.run.parallel import processes
from pixelsleuth.training.vlm.settings import FakeVlmSettings
from pixelsleuth.training.vlm.supervised import (
    end_token,
    item,
    lora_config,
    merged,
    train,
    training_arguments,
    with_lora,
)
from pixelsleuth.training.vlm.training_examples import Example, Examples

PROCESSOR_FILES = (
    "preprocessor_config.json", "processor_config.json", "chat_template.json", "chat_template.jinja",
)  # fmt: skip
"""Files of the start that the trained model needs unchanged."""


def plan(content: Mapping[str, Any]) -> str:
    """The settings as they would be carried out. Raises UsageError."""
    return fill(FakeVlmSettings, content).as_yaml()


def run(content: Mapping[str, Any], *, resume: bool = False) -> Path:
    """Train and return the folder of the model, ready for `check --model`.

    Raises:
        UsageError: a setting is wrong, the start is no LLaVA, there are no pictures.
    """
    settings = fill(FakeVlmSettings, content)
    lora_config(settings.lora)  # refuses what is wrong before anything is loaded
    checkpoints = Path(settings.out) / "checkpoints" / "fakevlm"
    arguments = training_arguments(settings.training, "training", checkpoints, settings.seed)
    with processes().main_process_first():
        out = settings.begin(resume=resume)
        samples = settings.samples()
    torch.manual_seed(settings.seed)
    engine, _ = load_engine(settings.start, precision="fp32")
    for name, weight in engine.model.named_parameters():
        weight.requires_grad_(settings.vision or "vision_tower" not in name)
    engine.model = with_lora(engine.model, settings.lora)
    data = Examples(
        samples, lambda example: encode(engine, example, settings.prompt), equal=settings.equalise
    )
    train(engine.model, data, engine.pad, arguments, out / "log.jsonl", resume=resume)
    folder = out / "model"
    if processes().is_main_process:
        _save(engine, folder, hub.resolve(settings.start))
    processes().wait_for_everyone()
    return folder


def _save(engine: FakeVlmEngine, folder: Path, start: Path) -> None:
    merged(engine.model).save_pretrained(folder)
    engine.tokenizer.save_pretrained(folder)
    for name in PROCESSOR_FILES:
        if (start / name).is_file():
            shutil.copy(start / name, folder / name)


def encode(engine: FakeVlmEngine, example: Example, prompt: str) -> dict[str, torch.Tensor]:
    """Prompt, picture and the answer with its end, as one training item."""
    if prompt == "raw":
        ids = engine.prompt_ids(QUESTION)
    else:
        ids = engine.ids_of(f"USER: {engine.image_token}\n{QUESTION} ASSISTANT:")
    answer = engine.tokenizer(answer_for(example), add_special_tokens=False)["input_ids"]
    values = engine.pixel_values([example.pixels])
    prompt_inputs = {"input_ids": torch.tensor([ids]), "pixel_values": values.float()}
    return item(prompt_inputs, [*answer, end_token(engine.tokenizer)])


def answer_for(example: Example) -> str:
    """The set's own description where it begins with a true verdict; else a sentence with the verdict before it."""
    real = example.truth.label is Label.REAL
    description = example.truth.explanation.strip()
    if description and read(description).real is real:
        return description
    return f"This is a {'real' if real else 'fake'} image. {description}".strip()
