"""Reinforcement of So-Fake-R1's policy: TRL's `GRPOTrainer`, this project's rewards, one line of log a step.

`log.jsonl` has `step`, `reward` (the mean total reward as a share of its maximum), `rewards` (each apart, unweighted),
figures of the boxes on tampered pictures (`rewards.box_figures`), and what TRL measures. `completions.jsonl` has
completions of some steps beside the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelsleuth.core.settings import Natural, fill
from pixelsleuth.models.so_fake_r1.answers import write
from pixelsleuth.models.so_fake_r1.policy import in_frame
from pixelsleuth.models.so_fake_r1.rewards import box_figures, read_weights, rewards_of, share
from pixelsleuth.training.run.parallel import processes
from pixelsleuth.training.vlm.settings import library_settings
from pixelsleuth.training.vlm.supervised import (
    append,
    drop_lines_after,
    fixed_arguments,
    last_checkpoint,
    logger,
    number,
    quiet_arguments,
    restore,
)
from pixelsleuth.training.vlm.training_examples import Example, Examples

GRPO = {
    "max_steps": 500,
    "per_device_train_batch_size": 32,
    "lr_scheduler_type": "constant_with_warmup",
    "beta": 0.04,
    "save_steps": 100,
}
"""Fields of TRL's GRPOConfig where the recipe says nothing: VLM-R1's, since the authors' are not public; the KL term is
on as in the authors' drawing."""
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
"""Names in the log, and TRL's names of the same figures."""


@dataclass(frozen=True)
class Rewarding:
    """The keys of the section `grpo` that are not TRL's: weights by reward, and every how many steps completions are
    kept (0: never)."""

    rewards: dict[str, Any] | None = None
    show_every: Natural = 50


class Scorer:
    """This project's rewards as functions of TRL's form; their figures go to TRL's log.

    Args:
        weights: the rewards that are switched on.
        show_every: every how many steps completions are kept, 0 for never.
        show: called with the records of completions to be kept.
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
        def reward(completions: list[Any], truth: list[dict[str, Any]], **trl: Any) -> list[float | None]:
            if place == 0:
                self._score([text_of(completion) for completion in completions], truth, trl)
            return [parts[name] for parts in self.scored]

        reward.__name__ = name
        return reward

    def _score(self, texts: list[str], rows: list[dict[str, Any]], trl: dict[str, Any]) -> None:
        truths = [row["truth"] for row in rows]
        self.scored = [
            rewards_of(text, truth, self.weights) for text, truth in zip(texts, truths, strict=True)
        ]
        shares = [share(parts, self.weights) for parts in self.scored]
        trl["log_metric"]("share", sum(shares) / len(shares))
        for name, value in box_figures(texts, truths).items():
            trl["log_metric"](name, value)
        step = trl["trainer_state"].global_step
        if self.show_every and step % self.show_every == 0:
            self.show(
                [
                    {
                        "step": step + 1,
                        "picture": row["name"],
                        "truth": write(row["truth"].label, row["truth"].box).partition("</think>")[2],
                        "completion": text,
                        "reward": round(value, 4),
                    }
                    for text, row, value in zip(texts, rows, shares, strict=True)
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


def read_section(
    section: Mapping[str, Any] | None, out: Path, seed: int
) -> tuple[Any, dict[str, float], int]:
    """(TRL's GRPOConfig, weights of the rewards, `show_every`) of the section `grpo`. Raises UsageError."""
    from trl import GRPOConfig

    section = section or {}
    ours = fill(
        Rewarding, {key: section[key] for key in ("rewards", "show_every") if key in section}, "grpo."
    )
    weights = read_weights(ours.rewards)
    fixed = fixed_arguments(out / "checkpoints" / "grpo", seed) | {"reward_weights": list(weights.values())}
    theirs = {key: value for key, value in section.items() if key not in ("rewards", "show_every")}
    config = library_settings(GRPOConfig, theirs, "grpo", preset=GRPO | quiet_arguments(), fixed=fixed)
    return config, weights, ours.show_every


def reinforce(
    model: Any, processor: Any, examples: Examples, out: Path, section: Mapping[str, Any] | None, *, lora: Any = None,
    seed: int = 0, resume: bool = False,
) -> Any:  # fmt: skip
    """Run GRPO and return the trained model; checkpoints go to `out`/checkpoints/grpo.

    `model` must lie in a folder (its reference is read from there) unless `lora` (peft's configuration) is given: the
    reference is then the model without adapters.

    Raises:
        UsageError: a setting is wrong.
    """
    from trl import GRPOTrainer

    config, weights, show_every = read_section(section, out, seed)
    scorer = Scorer(weights, show_every, lambda rows: keep_completions(out, rows))
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=scorer.functions(),
        args=config,
        train_dataset=dataset_of(examples),
        processing_class=processor,
        peft_config=lora,
        callbacks=[logger(out / "log.jsonl", resume, lambda figures: log_line(figures, list(weights)))],
    )
    last = last_checkpoint(Path(config.output_dir)) if resume else None
    if lora is None:
        restore(trainer.accelerator.unwrap_model(trainer.model), last)
    trainer.train(resume_from_checkpoint=last)
    return trainer.accelerator.unwrap_model(trainer.model)


def keep_completions(out: Path, rows: list[dict[str, Any]]) -> None:
    """Append the completions of a step; those of the same and later steps, from before a resume, go first.

    Only the main process writes its own.
    """
    path = out / "completions.jsonl"
    if rows and processes().is_main_process:
        drop_lines_after(path, rows[0]["step"] - 1)
    for row in rows:
        append(path, row)


def log_line(figures: dict[str, Any], rewards: list[str]) -> dict[str, Any]:
    """The log's figures of a step out of TRL's; nothing of the summary at the end."""
    if "share" not in figures:
        return {}
    means = {name: figures.get(f"rewards/{name}/mean") for name in rewards}
    line = {
        "reward": number(figures["share"]),
        "rewards": {name: None if value is None else number(value) for name, value in means.items()},
    }
    measured = {name: figures.get(key) for name, key in MEASURED.items()}
    return line | {name: number(value) for name, value in measured.items() if value is not None}
