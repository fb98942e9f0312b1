"""Supervised fine-tuning of an image-text model: loss on the answer alone, all weights or LoRA, resumable.

The loop is transformers' `Trainer`, so that several GPUs, mixed precision, gradient accumulation and checkpoints are
accelerate's. What is here: padded batches whose prompts are not learnt, LoRA by a switch, a line of log a step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelsleuth.errors import UsageError
from pixelsleuth.training.vlm.settings import settings

IGNORED = -100
LORA = {"rank": 0, "alpha": 32.0, "dropout": 0.05, "targets": "q_proj,k_proj,v_proj,o_proj"}
LOOP = {
    "steps": 0,
    "epochs": 1.0,
    "batch": 8,
    "accumulate": 1,
    "learning_rate": 1e-4,
    "warmup": 0.03,
    "schedule": "cosine",
    "weight_decay": 0.0,
    "clip": 1.0,
    "save_every": 500,
    "gradient_checkpointing": False,
}
"""Settings of a loop. `steps` 0: `epochs` count. `batch` is one device's; `warmup` a share of all steps."""


class Collator:
    """Pads items to a batch: ids, labels and masks at the right, picture tensors one behind the other."""

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
    """One training item of a prompt's inputs (each with a batch of one) and the answer's ids, its end included."""
    ids, told = prompt["input_ids"][0].cpu(), torch.tensor(list(answer))
    made = {
        "input_ids": torch.cat([ids, told]),
        "labels": torch.cat([torch.full_like(ids, IGNORED), told]),
        "attention_mask": torch.ones(len(ids) + len(told), dtype=torch.long),
    }
    for key, value in prompt.items():
        if key == "mm_token_type_ids":
            made[key] = torch.cat([value[0].cpu(), torch.zeros_like(told)])
        elif key not in made:
            made[key] = value.cpu()
    return made


def with_lora(model: Any, given: dict[str, Any] | None) -> Any:
    """The model with adapters on its language model, all else frozen; as it is where the rank is 0."""
    told = settings(given, LORA, "lora")
    if not told["rank"]:
        return model
    from peft import get_peft_model

    return get_peft_model(model, lora_config(told))


def lora_config(told: dict[str, Any]) -> Any:
    """peft's configuration; the vision tower has projections of the same names and is left alone."""
    from peft import LoraConfig

    return LoraConfig(
        r=told["rank"],
        lora_alpha=told["alpha"],
        lora_dropout=told["dropout"],
        target_modules=[one.strip() for one in told["targets"].split(",")],
        exclude_modules=r".*(?:vision|visual).*",
        task_type="CAUSAL_LM",
    )


def merged(model: Any) -> Any:
    """The model without adapters: they are folded into its weights."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def train(
    model: Any, data: Any, pad: int, out: Path, loop: dict[str, Any], *, seed: int, resume: bool, stage: str
) -> None:
    """Run the loop; checkpoints go to `out`/checkpoints/`stage`, a line a step to `out`/`stage`.jsonl, or log.jsonl."""
    from transformers import Trainer, TrainingArguments

    told = settings(loop, LOOP, stage)
    folder = out / "checkpoints" / stage
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=told["steps"] or -1,
        num_train_epochs=told["epochs"],
        per_device_train_batch_size=told["batch"],
        gradient_accumulation_steps=told["accumulate"],
        learning_rate=told["learning_rate"],
        warmup_steps=told["warmup"],
        lr_scheduler_type=told["schedule"],
        weight_decay=told["weight_decay"],
        max_grad_norm=told["clip"],
        save_steps=told["save_every"],
        save_total_limit=2,
        logging_steps=1,
        seed=seed,
        remove_unused_columns=False,
        **common(told["gradient_checkpointing"]),
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=data,
        data_collator=Collator(pad),
        callbacks=[logger(out / ("log.jsonl" if stage == "fakevlm" else f"{stage}.jsonl"), resume)],
    )
    last = last_checkpoint(folder) if resume else None
    restore(model, last)
    trainer.train(resume_from_checkpoint=last)


def common(gradient_checkpointing: bool = False) -> dict[str, Any]:
    """Arguments that every loop here shares: where it runs, at which precision, and no reports to anywhere."""
    gpu = torch.cuda.is_available()
    return {
        "use_cpu": not gpu,
        "bf16": gpu,
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": gpu,
        "gradient_checkpointing": gradient_checkpointing,
    }


def logger(path: Path, resume: bool, keep: Sequence[str] = ("loss", "grad_norm", "learning_rate")) -> Any:
    """A callback that writes one JSON line a step; on a resumed run, lines of steps that are done again go first."""
    from transformers import TrainerCallback

    class Log(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                drop_lines_after(path, state.global_step if resume else 0)

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
        ) -> None:
            told = {key: number(logs[key]) for key in keep if logs and key in logs}
            if state.is_world_process_zero and told and "train_runtime" not in (logs or {}):
                append(path, {"step": state.global_step, **told})

    return Log()


def append(path: Path, record: dict[str, Any]) -> None:
    """One JSON line more."""
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(record, ensure_ascii=False) + "\n")


def drop_lines_after(path: Path, step: int) -> None:
    """Keep the lines of steps up to `step`: those behind the last checkpoint will be written again."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        path.write_text("".join(kept), encoding="utf-8")


def number(value: Any) -> float | None:
    """A finite float for JSON, else None."""
    import math

    found = float(value)
    return round(found, 6) if math.isfinite(found) else None


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; None where there is none."""
    found = [one for one in folder.glob("checkpoint-*") if (one / "trainer_state.json").is_file()]
    return str(max(found, key=lambda one: int(one.name.rpartition("-")[2]))) if found else None


def restore(model: Any, checkpoint: str | None) -> None:
    """Load a checkpoint's weights into a model without adapters.

    Image-text models are saved under other names than those of their modules. transformers' Trainer does not
    translate them when it resumes: it warns, and goes on with the weights that the run began with.
    """
    if checkpoint is None or not (Path(checkpoint) / "config.json").is_file():
        return
    saved = type(model).from_pretrained(checkpoint, dtype=model.dtype, local_files_only=True)
    model.load_state_dict(saved.state_dict())


def require_text_model(tokenizer: Any) -> int:
    """The id that ends an answer. Raises UsageError where the tokenizer has none."""
    if tokenizer.eos_token_id is None:
        raise UsageError("The tokenizer has no end token, so an answer would never end.")
    return int(tokenizer.eos_token_id)
