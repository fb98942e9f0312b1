"""So-Fake-R1's training: a cold start by supervision, then reinforcement, in one recipe.

1. `start`: a checkpoint, or `random` for a small policy of the same class (`random:` gives its size).
2. `sft`: the answer in its grammar, loss on the answer only, LoRA or all weights. Left in `out`/sft.
3. `grpo`: groups of answers, this project's rewards. Left in `out`/model, ready for `check --model`.

Run: `pixelsleuth train recipes/so_fake_r1/tiny.yaml data=MANIFEST.csv out=runs/r1`
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.sample import Sample
from pixelsleuth.models import hub
from pixelsleuth.models.so_fake_r1.answers import QUESTION, write
from pixelsleuth.models.so_fake_r1.policy import Policy, load_policy
from pixelsleuth.models.so_fake_r1.rewards import Truth
from pixelsleuth.training.vlm.examples import Example, Examples, read_samples
from pixelsleuth.training.vlm.grpo import prompt_item, read_settings, reinforce
from pixelsleuth.training.vlm.settings import begin, settings, shown
from pixelsleuth.training.vlm.supervised import (
    LOOP,
    LORA,
    item,
    lora_config,
    merged,
    require_text_model,
    train,
    with_lora,
)
from pixelsleuth.training.vlm.tiny import SIZE, make_policy

RECIPE = {
    "kind": "so_fake_r1",
    "data": "",
    "out": "",
    "reader": None,
    "split": None,
    "allow_outside": False,
    "pictures": 0,
    "equalise": True,
    "seed": 0,
    "start": "Qwen/Qwen2.5-VL-7B-Instruct",
    "random": None,
    "segmenter": None,
    "lora": None,
    "sft": None,
    "sft_pictures": 0,
    "grpo": None,
    "grpo_pictures": 0,
}
THOUGHTS = {
    Label.REAL: "Light, edges and texture agree everywhere.",
    Label.FULL_SYNTHETIC: "Texture and detail look generated throughout.",
    Label.TAMPERED: "One part does not fit the rest.",
}
"""What stands inside <think> where a set tells no description: nothing that is not known from the label."""


def plan(content: Mapping[str, Any]) -> str:
    """The settings as they would be carried out. Raises UsageError."""
    return shown(settings(content, RECIPE, "the recipe"))


def run(content: Mapping[str, Any], *, resume: bool = False) -> Path:
    """Train and return the folder of the model.

    Raises:
        UsageError: a setting is wrong, the start cannot be loaded, there are no pictures.
    """
    told = settings(content, RECIPE, "the recipe")
    settings(told["lora"], LORA, "lora")
    settings(told["sft"], LOOP, "sft")
    read_settings(told["grpo"])
    out = begin(told, resume=resume)
    samples = read_samples(
        told["data"], reader=told["reader"], split=told["split"], most=told["pictures"], seed=told["seed"],
        allow_outside=told["allow_outside"],
    )  # fmt: skip
    start = _start(told, samples, out)
    cold = out / "sft"
    if told["sft"] is None:
        cold = start
    elif not (resume and (cold / "detector.json").is_file()):
        shown = samples[: told["sft_pictures"]] if told["sft_pictures"] else samples
        _cold_start(told, start, shown, out, resume)
    if told["grpo"] is None:
        return cold
    rewarded = samples[: told["grpo_pictures"]] if told["grpo_pictures"] else samples
    return _reinforce(told, cold, rewarded, out, resume)


def _start(told: dict[str, Any], samples: Sequence[Sample], out: Path) -> Path:
    if told["start"] != "random":
        return hub.resolve(told["start"])
    folder = out / "start"
    if not (folder / "config.json").is_file():
        size = settings(told["random"], SIZE, "random")
        texts = [*THOUGHTS.values(), *(one.description for one in samples[:2000])]
        make_policy(folder, texts, seed=told["seed"], size=size)
    return folder


def _policy(folder: Path) -> Policy:
    policy, _ = load_policy(folder, str(folder), device="auto", precision="fp32")
    return policy


def _cold_start(
    told: dict[str, Any], start: Path, samples: Sequence[Sample], out: Path, resume: bool
) -> None:
    torch.manual_seed(told["seed"])
    policy = _policy(start)
    data = Examples(samples, lambda one: encode(policy, one), equal=told["equalise"])
    policy.model = with_lora(policy.model, told["lora"])
    train(policy.model, data, policy.pad, out, told["sft"], seed=told["seed"], resume=resume, stage="sft")
    policy.model = merged(policy.model)
    save(policy, out / "sft", told["segmenter"])


def _reinforce(told: dict[str, Any], cold: Path, samples: Sequence[Sample], out: Path, resume: bool) -> Path:
    policy = _policy(cold)
    examples = Examples(samples, lambda one: prompt_item(one, QUESTION, policy.frame), equal=told["equalise"])
    adapters = settings(told["lora"], LORA, "lora")
    policy.model = merged(
        reinforce(
            policy.model,
            policy.processor,
            examples,
            out,
            told["grpo"],
            lora=lora_config(adapters) if adapters["rank"] else None,
            seed=told["seed"],
            resume=resume,
        )
    )
    return save(policy, out / "model", told["segmenter"])


def encode(policy: Policy, example: Example) -> dict[str, torch.Tensor]:
    """Prompt, picture and the true answer with its end, as one training item."""
    prompt = {key: value.cpu() for key, value in policy.inputs([example.pixels]).items()}
    answer = policy.tokenizer(answer_for(example.truth), add_special_tokens=False)["input_ids"]
    return item(prompt, [*answer, require_text_model(policy.tokenizer)])


def answer_for(truth: Truth) -> str:
    """The answer that a picture deserves, in So-Fake-R1's grammar."""
    return write(truth.label, truth.box, truth.explanation.strip() or THOUGHTS[truth.label])


def save(policy: Policy, folder: Path, segmenter: str | None) -> Path:
    """Model, processor and what `check` needs to know: whose answers these are, and who draws the masks."""
    policy.model.save_pretrained(folder)
    policy.processor.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"pixelsleuth": "so_fake_r1"}, indent=2), encoding="utf-8")
    (folder / "detector.json").write_text(json.dumps({"segmenter": segmenter}), encoding="utf-8")
    return folder
