"""FakeVLM's training: full fine-tuning of LLaVA-1.5 (or LoRA), loss on the answer only.

As published: every weight is trained, the vision tower too (`vision: true`), two epochs, 2e-5 with 3 % warmup and a
cosine, a global batch of 256. The published code trains with LLaVA's roles around the question and evaluates without
them; `prompt` chooses (`roles`, `raw`), and `check` always asks without.

Run: `pixelsleuth train recipes/fakevlm/full.yaml data=FakeClue/ out=runs/fakevlm`
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.fakevlm.answers import QUESTION, read
from pixelsleuth.models.fakevlm.engine import FakeVlmEngine, load_engine
from pixelsleuth.training.vlm.examples import Example, Examples, read_samples
from pixelsleuth.training.vlm.settings import begin, settings, shown
from pixelsleuth.training.vlm.supervised import item, merged, require_text_model, train, with_lora

RECIPE = {
    "kind": "fakevlm",
    "data": "",
    "out": "",
    "reader": None,
    "split": None,
    "allow_outside": False,
    "pictures": 0,
    "equalise": True,
    "seed": 0,
    "start": "llava-hf/llava-1.5-7b-hf",
    "prompt": "roles",
    "vision": True,
    "lora": None,
    "training": None,
}


def plan(content: Mapping[str, Any]) -> str:
    """The settings as they would be carried out. Raises UsageError."""
    return shown(settings(content, RECIPE, "the recipe"))


def run(content: Mapping[str, Any], *, resume: bool = False) -> Path:
    """Train and return the folder of the model, ready for `check --model`.

    Raises:
        UsageError: a setting is wrong, the start is no LLaVA, there are no pictures.
    """
    told = settings(content, RECIPE, "the recipe")
    if told["prompt"] not in ("roles", "raw"):
        raise UsageError(f"prompt is {told['prompt']!r}; use roles or raw.")
    out = begin(told, resume=resume)
    samples = read_samples(
        told["data"], reader=told["reader"], split=told["split"], most=told["pictures"], seed=told["seed"],
        allow_outside=told["allow_outside"],
    )  # fmt: skip
    torch.manual_seed(told["seed"])
    engine, _ = load_engine(told["start"], precision="fp32")
    for name, weight in engine.model.named_parameters():
        weight.requires_grad_(told["vision"] or "vision_tower" not in name)
    engine.model = with_lora(engine.model, told["lora"])
    data = Examples(samples, lambda one: encode(engine, one, told["prompt"]), equal=told["equalise"])
    train(
        engine.model,
        data,
        engine.pad,
        out,
        told["training"],
        seed=told["seed"],
        resume=resume,
        stage="fakevlm",
    )
    folder = out / "model"
    merged(engine.model).save_pretrained(folder)
    engine.tokenizer.save_pretrained(folder)
    source = hub.resolve(told["start"])
    for name in (
        "preprocessor_config.json",
        "processor_config.json",
        "chat_template.json",
        "chat_template.jinja",
    ):
        if (source / name).is_file():
            shutil.copy(source / name, folder / name)
    return folder


def encode(engine: FakeVlmEngine, example: Example, prompt: str) -> dict[str, torch.Tensor]:
    """Prompt, pictures and the answer with its end, as one training item."""
    if prompt == "raw":
        ids = engine.prompt_ids(QUESTION)
    else:
        ids = engine.ids_of(f"USER: {engine.image_token}\n{QUESTION} ASSISTANT:")
    answer = engine.tokenizer(answer_for(example), add_special_tokens=False)["input_ids"]
    values = engine.pixel_values([example.pixels])
    prompt_inputs = {"input_ids": torch.tensor([ids]), "pixel_values": values.float()}
    return item(prompt_inputs, [*answer, require_text_model(engine.tokenizer)])


def answer_for(example: Example) -> str:
    """The set's own description where it begins with a verdict that is true, else the verdict's sentence before it."""
    real = example.truth.label is Label.REAL
    told = example.truth.explanation.strip()
    if told and read(told).real is real:
        return told
    return f"This is a {'real' if real else 'fake'} image. {told}".strip()
