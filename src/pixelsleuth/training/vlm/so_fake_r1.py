"""So-Fake-R1's training: a cold start by supervision, then reinforcement, in one recipe.

1. `start`: a checkpoint, or `random` for a small policy of the same class (`random:` gives its size).
2. `sft`: teaches the answer's grammar, with the loss on the answer only, by LoRA or all weights; leaves `out`/sft.
3. `grpo`: groups of answers and this project's rewards; leaves `out`/model, ready for `check --model`.

Run: `pixelsleuth train recipes/so_fake_r1/tiny.yaml data=MANIFEST.csv out=runs/r1`
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pixelsleuth.core.io import write_json
from pixelsleuth.core.settings import fill
from pixelsleuth.core.verdict import Label
from pixelsleuth.data.sample import Sample
from pixelsleuth.models import hub
from pixelsleuth.models.so_fake_r1.answers import QUESTION, write
from pixelsleuth.models.so_fake_r1.policy import Policy, load_policy
from pixelsleuth.models.so_fake_r1.rewards import Truth
from pixelsleuth.training.run.parallel import processes
from pixelsleuth.training.vlm.grpo import prompt_item, read_section, reinforce
from pixelsleuth.training.vlm.settings import SoFakeR1Settings
from pixelsleuth.training.vlm.supervised import (
    end_token,
    item,
    lora_config,
    merged,
    train,
    training_arguments,
    with_lora,
)
from pixelsleuth.training.vlm.tiny import make_policy
from pixelsleuth.training.vlm.training_examples import Example, Examples

THOUGHTS = {
    Label.REAL: "Light, edges and texture agree everywhere.",
    Label.FULL_SYNTHETIC: "Texture and detail look generated throughout.",
    Label.TAMPERED: "One part does not fit the rest.",
}
"""The thought where a set has no description: it says no more than the label."""


def plan(content: Mapping[str, Any]) -> str:
    """The settings as they would be carried out. Raises UsageError."""
    return fill(SoFakeR1Settings, content).as_yaml()


def run(content: Mapping[str, Any], *, resume: bool = False) -> Path:
    """Train and return the folder of the model.

    Raises:
        UsageError: a setting is wrong, the start cannot be loaded, there are no pictures.
    """
    settings = fill(SoFakeR1Settings, content)
    # All sections are read before anything is loaded: a mistake in the last one must not show after hours.
    lora_config(settings.lora)
    checkpoints = Path(settings.out) / "checkpoints" / "sft"
    arguments = training_arguments(settings.sft, "sft", checkpoints, settings.seed)
    if settings.grpo is not None:
        read_section(settings.grpo, Path(settings.out), settings.seed)
    with processes().main_process_first():
        out = settings.begin(resume=resume)
        samples = settings.samples()
        folder = _start(settings, samples, out)
    if settings.sft is not None:
        if not (resume and (out / "sft" / "detector.json").is_file()):
            _cold_start(settings, folder, samples[: settings.sft_pictures or None], out, arguments, resume)
        folder = out / "sft"
    if settings.grpo is None:
        return folder
    return _reinforce(settings, folder, samples[: settings.grpo_pictures or None], out, resume)


def _start(settings: SoFakeR1Settings, samples: Sequence[Sample], out: Path) -> Path:
    if settings.start != "random":
        return hub.resolve(settings.start)
    folder = out / "start"
    if not (folder / "config.json").is_file():
        texts = [*THOUGHTS.values(), *(sample.description for sample in samples[:2000])]
        make_policy(folder, texts, seed=settings.seed, size=settings.random)
    return folder


def _policy(folder: Path) -> Policy:
    policy, _ = load_policy(folder, str(folder), device="auto", precision="fp32")
    return policy


def _cold_start(
    settings: SoFakeR1Settings,
    start: Path,
    samples: Sequence[Sample],
    out: Path,
    arguments: Any,
    resume: bool,
) -> None:
    torch.manual_seed(settings.seed)
    policy = _policy(start)
    data = Examples(samples, lambda example: encode(policy, example), equal=settings.equalise)
    policy.model = with_lora(policy.model, settings.lora)
    train(policy.model, data, policy.pad, arguments, out / "sft.jsonl", resume=resume)
    policy.model = merged(policy.model)
    save(policy, out / "sft", settings.segmenter)


def _reinforce(
    settings: SoFakeR1Settings, start: Path, samples: Sequence[Sample], out: Path, resume: bool
) -> Path:
    policy = _policy(start)
    examples = Examples(
        samples, lambda example: prompt_item(example, QUESTION, policy.frame), equal=settings.equalise
    )
    model = reinforce(
        policy.model, policy.processor, examples, out, settings.grpo, lora=lora_config(settings.lora),
        seed=settings.seed, resume=resume,
    )  # fmt: skip
    policy.model = merged(model)
    return save(policy, out / "model", settings.segmenter)


def encode(policy: Policy, example: Example) -> dict[str, torch.Tensor]:
    """Prompt, picture and the true answer with its end, as one training item."""
    prompt = {key: value.cpu() for key, value in policy.inputs([example.pixels]).items()}
    answer = policy.tokenizer(answer_for(example.truth), add_special_tokens=False)["input_ids"]
    return item(prompt, [*answer, end_token(policy.tokenizer)])


def answer_for(truth: Truth) -> str:
    """The true answer about a picture, in So-Fake-R1's grammar."""
    return write(truth.label, truth.box, truth.explanation.strip() or THOUGHTS[truth.label])


def save(policy: Policy, folder: Path, segmenter: str | None) -> Path:
    """Write model and processor, the system whose answers `check` reads, and the segmenter that draws the masks."""
    if processes().is_main_process:
        policy.model.save_pretrained(folder)
        policy.processor.save_pretrained(folder)
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, config | {"pixelsleuth": "so_fake_r1"})
        write_json(folder / "detector.json", {"segmenter": segmenter})
    processes().wait_for_everyone()
    return folder
