"""Supervised fine-tuning of an image-text model: loss on the answer alone, all weights or LoRA, resumable.

The loop is transformers' `Trainer`, so that accelerate handles several GPUs, mixed precision, gradient accumulation and
checkpoints. This file adds padded batches whose prompts are not learnt, LoRA, and a line of log a step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelsleuth.core.io import read_json_lines, write_text
from pixelsleuth.errors import UsageError
from pixelsleuth.training.vlm.settings import library_settings

IGNORED = -100
"""The label of a token that is not learnt."""
LORA = {"lora_alpha": 32, "lora_dropout": 0.05, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}
"""Fields of peft's LoraConfig where the recipe says nothing."""
TRAINING = {
    "num_train_epochs": 1.0,
    "learning_rate": 1e-4,
    "warmup_steps": 0.03,
    "lr_scheduler_type": "cosine",
}
"""Fields of transformers' TrainingArguments where the recipe says nothing; below 1, `warmup_steps` is a share."""


class Collator:
    """Pads ids, labels and masks of items at the right to a batch; concatenates picture tensors."""

    def __init__(self, pad: int) -> None:
        self.fills = {"input_ids": pad, "labels": IGNORED, "attention_mask": 0, "mm_token_type_ids": 0}

    def __call__(self, items: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        batch = {}
        for key in items[0]:
            values = [item[key] for item in items]
            if key in self.fills:
                batch[key] = torch.nn.utils.rnn.pad_sequence(values, True, self.fills[key])
            else:
                batch[key] = torch.cat(values)
        return batch


def item(prompt: dict[str, Tensor], answer: Sequence[int]) -> dict[str, Tensor]:
    """A training item of a prompt's inputs (each with a batch of one) and the answer's ids, its end included."""
    question, reply = prompt["input_ids"][0].cpu(), torch.tensor(list(answer))
    inputs = {
        "input_ids": torch.cat([question, reply]),
        "labels": torch.cat([torch.full_like(question, IGNORED), reply]),
        "attention_mask": torch.ones(len(question) + len(reply), dtype=torch.long),
    }
    for key, value in prompt.items():
        if key == "mm_token_type_ids":
            inputs[key] = torch.cat([value[0].cpu(), torch.zeros_like(reply)])
        elif key not in inputs:
            inputs[key] = value.cpu()
    return inputs


def with_lora(model: Any, section: Mapping[str, Any] | None) -> Any:
    """The model with adapters on its language model and everything else frozen; unchanged without a section `lora`."""
    if section is None:
        return model
    from peft import get_peft_model

    return get_peft_model(model, lora_config(section))


def lora_config(section: Mapping[str, Any] | None) -> Any:
    """peft's LoraConfig of the section `lora`, None without one. Raises UsageError.

    The projections of the vision tower have the same names as those of the language model; they get no adapters.
    """
    if section is None:
        return None
    from peft import LoraConfig

    fixed = {"exclude_modules": r".*(?:vision|visual).*", "task_type": "CAUSAL_LM"}
    return library_settings(LoraConfig, section, "lora", preset=LORA, fixed=fixed)


def merged(model: Any) -> Any:
    """The model with its adapters folded into its weights."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def training_arguments(section: Mapping[str, Any] | None, where: str, folder: Path, seed: int) -> Any:
    """transformers' TrainingArguments of the section `where`, with checkpoints in `folder`. Raises UsageError."""
    from transformers import TrainingArguments

    fixed = fixed_arguments(folder, seed) | {"remove_unused_columns": False}
    return library_settings(
        TrainingArguments, section, where, preset=TRAINING | quiet_arguments(), fixed=fixed
    )


def fixed_arguments(folder: Path, seed: int) -> dict[str, Any]:
    """Arguments of a trainer that no recipe sets."""
    return {"output_dir": str(folder), "seed": seed, "logging_steps": 1}


def quiet_arguments() -> dict[str, Any]:
    """Arguments of a trainer where the recipe says nothing: on a GPU bf16, two checkpoints, no reports to anywhere."""
    gpu = torch.cuda.is_available()
    return {
        "use_cpu": not gpu,
        "bf16": gpu,
        "dataloader_pin_memory": gpu,
        "gradient_checkpointing": False,
        # LLaVA reads the last but one layer of its vision tower: what lies behind gets no gradient
        "ddp_find_unused_parameters": True,
        "report_to": [],
        "disable_tqdm": True,
        "save_total_limit": 2,
    }


def train(model: Any, data: Any, pad: int, arguments: Any, log: Path, *, resume: bool) -> None:
    """Run transformers' trainer with its `arguments`; a line a step goes to `log`."""
    from transformers import Trainer

    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=data,
        data_collator=Collator(pad),
        callbacks=[logger(log, resume)],
    )
    last = last_checkpoint(Path(arguments.output_dir)) if resume else None
    restore(model, last)
    trainer.train(resume_from_checkpoint=last)


def loss_line(figures: dict[str, Any]) -> dict[str, Any]:
    """Loss, gradient norm and learning rate of a step; nothing of the summary at the end."""
    if "train_runtime" in figures:
        return {}
    kept = ("loss", "grad_norm", "learning_rate")
    return {key: number(figures[key]) for key in kept if key in figures}


def logger(path: Path, resume: bool, line_of: Callable[[dict[str, Any]], dict[str, Any]] = loss_line) -> Any:
    """A callback that writes one JSON line a step: `step`, and what `line_of` makes of the trainer's figures.

    On a resumed run the lines behind the checkpoint go first, since their steps are taken again.
    """
    from transformers import TrainerCallback

    class Log(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                drop_lines_after(path, state.global_step if resume else 0)

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
        ) -> None:
            line = line_of(logs or {})
            if line and state.is_world_process_zero:
                append(path, {"step": state.global_step, **line})

    return Log()


def append(path: Path, record: dict[str, Any]) -> None:
    """Append one line of JSON."""
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(record, ensure_ascii=False) + "\n")


def drop_lines_after(path: Path, step: int) -> None:
    """Keep the lines of steps up to `step`."""
    if path.exists():
        kept = [line for _, line in read_json_lines(path) if line["step"] <= step]
        write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))


def number(value: Any) -> float | None:
    """A finite float for JSON, else None."""
    return round(float(value), 6) if math.isfinite(float(value)) else None


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; None where there is none."""
    complete = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return str(max(complete, key=lambda path: int(path.name.rpartition("-")[2]))) if complete else None


def restore(model: Any, checkpoint: str | None) -> None:
    """Load a checkpoint's weights into a model without adapters.

    Image-text models are saved under other names than those of their modules. transformers' Trainer does not
    translate them when it resumes: it warns and keeps the weights that the run began with.
    """
    if checkpoint is None or not (Path(checkpoint) / "config.json").is_file():
        return
    saved = type(model).from_pretrained(checkpoint, dtype=model.dtype, local_files_only=True)
    model.load_state_dict(saved.state_dict())


def end_token(tokenizer: Any) -> int:
    """The id that ends an answer. Raises UsageError where the tokenizer has none."""
    if tokenizer.eos_token_id is None:
        raise UsageError("The tokenizer has no end token, so an answer would never end.")
    return int(tokenizer.eos_token_id)
