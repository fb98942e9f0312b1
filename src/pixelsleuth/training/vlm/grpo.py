"""Reinforcement of So-Fake-R1's policy: TRL's `GRPOTrainer`, this project's rewards, one line of log a step.

`log.jsonl` has `step`, `reward` (the mean total reward as a share of its maximum), `rewards` (each apart, unweighted),
what the boxes on tampered pictures are like (`rewards.box_figures`), and what TRL measures. `completions.jsonl` has
completions of some steps, with the truth beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pixelsleuth.errors import UsageError
from pixelsleuth.models.so_fake_r1.answers import write
from pixelsleuth.models.so_fake_r1.policy import in_frame
from pixelsleuth.models.so_fake_r1.rewards import box_figures, read_weights, rewards_of, share
from pixelsleuth.training.vlm.examples import Example, Examples
from pixelsleuth.training.vlm.settings import settings
from pixelsleuth.training.vlm.supervised import (
    append,
    common,
    drop_lines_after,
    last_checkpoint,
    number,
    restore,
)

REINFORCEMENT = {
    "steps": 500,
    "group": 8,
    "pictures_a_step": 4,
    "accumulate": 1,
    "reuse": 1,
    "learning_rate": 1e-6,
    "schedule": "constant_with_warmup",
    "warmup": 0.0,
    "beta": 0.04,
    "temperature": 1.0,
    "top_p": 1.0,
    "max_completion_length": 512,
    "clip": 1.0,
    "loss": "dapo",
    "save_every": 100,
    "show_every": 50,
    "rewards": None,
    "gradient_checkpointing": False,
    "vllm": None,
}
"""Settings of the reinforcement. The authors' group size, temperature and KL weight are not public; these are VLM-R1's,
whose KL is on as in the authors' drawing. `vllm`: the address of a TRL vLLM server; null: transformers generates."""


class Scorer:
    """Turns this project's rewards into functions of TRL's form, and keeps what the log shall tell.

    Args:
        weights: the rewards that are switched on.
        show: called with (step, records) for completions to be kept.
    """

    def __init__(
        self, weights: Mapping[str, float], show_every: int, show: Callable[[list[dict]], None]
    ) -> None:
        self.weights, self.show_every, self.show = dict(weights), show_every, show
        self.scored: list[dict[str, float | None]] = []

    def functions(self) -> list[Callable[..., list[float | None]]]:
        """One function a reward, in the order of the weights; the first scores the batch for all of them."""
        return [self._function(i, name) for i, name in enumerate(self.weights)]

    def _function(self, place: int, name: str) -> Callable[..., list[float | None]]:
        def reward(completions: list[Any], truth: list[dict[str, Any]], **told: Any) -> list[float | None]:
            if place == 0:
                self._score([text_of(one) for one in completions], truth, told)
            return [parts[name] for parts in self.scored]

        reward.__name__ = name
        return reward

    def _score(self, texts: list[str], truths: list[dict[str, Any]], told: dict[str, Any]) -> None:
        found = [truth["truth"] for truth in truths]
        self.scored = [rewards_of(text, one, self.weights) for text, one in zip(texts, found, strict=True)]
        shares = [share(parts, self.weights) for parts in self.scored]
        told["log_metric"]("share", sum(shares) / len(shares))
        for name, value in box_figures(texts, found).items():
            told["log_metric"](name, value)
        state = told["trainer_state"]
        if self.show_every and state.global_step % self.show_every == 0:
            rows = zip(texts, truths, shares, strict=True)
            self.show(
                [
                    {
                        "step": state.global_step + 1,
                        "picture": truth["name"],
                        "truth": write(truth["truth"].label, truth["truth"].box).partition("</think>")[2],
                        "completion": text,
                        "reward": round(value, 4),
                    }
                    for text, truth, value in rows
                ]
            )


def text_of(completion: Any) -> str:
    """The text of a completion as TRL hands it over: a string, or the messages of a turn."""
    if isinstance(completion, str):
        return completion
    content = completion[0]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def prompt_item(example: Example, question: str, frame: int) -> dict[str, Any]:
    """One row of the data that TRL reads."""
    return {
        "prompt": [{"role": "user", "content": question}],
        "image": in_frame(example.pixels, frame),
        "truth": {"name": example.name, "truth": example.truth},
    }


def dataset_of(examples: Examples) -> Any:
    """The examples as a data set of `datasets` that makes a row when it is asked for."""
    from datasets import Dataset

    def make(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        rows = [examples[index] for index in batch["index"]]
        return {key: [row[key] for row in rows] for key in rows[0]}

    return Dataset.from_dict({"index": list(range(len(examples)))}).with_transform(make)


def read_settings(given: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, float]]:
    """The settings with what is given put in, and the weights of the rewards. Raises UsageError."""
    told = settings(given, REINFORCEMENT, "grpo")
    if told["group"] < 2:
        raise UsageError("grpo.group must be at least 2: rewards are compared within a group.")
    return told, read_weights(told["rewards"])


def reinforce(
    model: Any, processor: Any, examples: Examples, out: Path, given: dict[str, Any] | None, *, lora: Any = None,
    seed: int = 0, resume: bool = False,
) -> Any:  # fmt: skip
    """Run GRPO and return the trained model; checkpoints go to `out`/checkpoints/grpo.

    `model` must lie in a folder (its reference is read from there) unless `lora` (peft's configuration) is given: the
    reference is then the model without adapters.

    Raises:
        UsageError: a setting is wrong.
    """
    from trl import GRPOConfig, GRPOTrainer

    told, weights = read_settings(given)
    scorer = Scorer(weights, told["show_every"], lambda rows: keep_completions(out, rows))
    folder = out / "checkpoints" / "grpo"
    served = (
        {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": told["vllm"]}
        if told["vllm"]
        else {}
    )
    arguments = GRPOConfig(
        output_dir=str(folder),
        max_steps=told["steps"],
        num_generations=told["group"],
        per_device_train_batch_size=told["group"] * told["pictures_a_step"],
        gradient_accumulation_steps=told["accumulate"],
        num_iterations=told["reuse"],
        learning_rate=told["learning_rate"],
        lr_scheduler_type=told["schedule"],
        warmup_steps=told["warmup"],
        max_grad_norm=told["clip"],
        beta=told["beta"],
        temperature=told["temperature"],
        top_p=told["top_p"],
        loss_type=told["loss"],
        max_completion_length=told["max_completion_length"],
        reward_weights=list(weights.values()),
        save_steps=told["save_every"],
        save_total_limit=2,
        logging_steps=1,
        seed=seed,
        log_completions=False,
        **common(told["gradient_checkpointing"]),
        **served,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=scorer.functions(),
        args=arguments,
        train_dataset=dataset_of(examples),
        processing_class=processor,
        peft_config=lora,
        callbacks=[_logger(out / "log.jsonl", list(weights), resume)],
    )
    last = last_checkpoint(folder) if resume else None
    if lora is None:
        restore(trainer.accelerator.unwrap_model(trainer.model), last)
    trainer.train(resume_from_checkpoint=last)
    return trainer.accelerator.unwrap_model(trainer.model)


def keep_completions(out: Path, rows: list[dict[str, Any]]) -> None:
    """Completions of one step; on a resumed run those of steps that are done again are written anew."""
    path = out / "completions.jsonl"
    if rows:
        drop_lines_after(path, rows[0]["step"] - 1)
    for row in rows:
        append(path, row)


def _logger(path: Path, names: list[str], resume: bool) -> Any:
    from transformers import TrainerCallback

    class Log(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                drop_lines_after(path, state.global_step if resume else 0)

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
        ) -> None:
            if not logs or "share" not in logs or not state.is_world_process_zero:
                return
            parts = {name: logs.get(f"rewards/{name}/mean") for name in names}
            record = {
                "step": state.global_step,
                "reward": number(logs["share"]),
                "rewards": {name: None if value is None else number(value) for name, value in parts.items()},
            }
            for name, key in MEASURED.items():
                if logs.get(key) is not None:
                    record[name] = number(logs[key])
            append(path, record)

    return Log()


MEASURED = {
    "box_area": "box_area",
    "true_area": "true_area",
    "box_iou": "box_iou",
    "reward_std": "reward_std",
    "kl": "kl",
    "entropy": "entropy",
    "tokens": "completions/mean_length",
    "cut": "completions/clipped_ratio",
    "loss": "loss",
    "learning_rate": "learning_rate",
    "seconds": "step_time",
}
