"""The training itself: one implementation for every size, one process or many, under accelerate.

A global batch is drawn by number, shared between the processes and cut into micro-batches. Every loss term is a mean
over the *global* batch (pictures, tokens, masks), however it was cut, so the number of processes and the size of a
micro-batch change nothing but rounding.

Run: `pixelsleuth train recipes/tiny.yaml data=MANIFEST.csv out=DIR`
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelsleuth.errors import OutputError
from pixelsleuth.models.sida.teacher import IGNORE, Batch, Example, Losses, collate
from pixelsleuth.training.recipe import ensure_new
from pixelsleuth.training.run import parallel
from pixelsleuth.training.run.checkpoints import Keeper, ensure_same
from pixelsleuth.training.run.data import Loader, Sampler, gather
from pixelsleuth.training.run.log import Alarms, Board, Log, Progress
from pixelsleuth.training.run.validation import choose, sheet, validate
from pixelsleuth.training.sida.config import TrainConfig, to_dict
from pixelsleuth.training.sida.features import SamCache
from pixelsleuth.training.sida.modules import prepare
from pixelsleuth.training.sida.outcome import finish
from pixelsleuth.training.sida.start import load_start

TERMS = ("detection", "text", "bce", "dice")


@dataclass
class Micro:
    """A micro-batch and its pictures that carry a mask, in order."""

    batch: Batch
    masked: list[np.ndarray]


class Training:
    """One run: everything that a step needs, and what a checkpoint must keep of it."""

    def __init__(self, config: TrainConfig, *, resume: bool) -> None:
        self.config, self.out = config, Path(config.out)
        self.accelerator = parallel.accelerator(config)
        self.keeper = Keeper(self.out / "checkpoints", keep=config.checkpoints.keep)
        self.log, self.validation_log = Log(self.out / "log.jsonl"), Log(self.out / "validation.jsonl")
        ensure_new(self.out, resume=resume)
        stored = self.keeper.last() if resume else None
        with self.accelerator.main_process_first():
            self.material = gather(config)
            self.start_facts: dict[str, Any] = {"config": to_dict(config), "data": self.material.digest}
            if stored is not None:
                ensure_same(stored[0], self.start_facts, self.out)
            model, self.processor = load_start(config)
        if self.main:
            self.material.left_out.tell()
            self.material.set_aside.tell("Not learnt from")
        self.sampler, self.loader = Sampler(self.material, config), Loader(self.material, config)
        module = prepare(model, config)
        self.model = model
        learns = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.optimiser, self.schedule = optimiser_of(config, learns)
        self.module, self.optimiser = self.accelerator.prepare(module, self.optimiser)
        self.trained = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self.cache = SamCache(Path(config.sam_cache), model) if config.sam_cache else None
        self.step = 0
        self.best: dict[str, Any] = {"name": "", "value": -math.inf, "step": -1}
        torch.manual_seed(config.seed * 1000 + self.accelerator.process_index)
        if stored is not None:
            self._restore(*stored)
        if self.main:
            self.log.rewind(self.step)
            self.validation_log.rewind(self.step)

    @property
    def main(self) -> bool:
        """True in the process that writes."""
        return bool(self.accelerator.is_main_process)

    def run(self) -> None:
        """Train to the last step, then leave a model that can be used at once."""
        config, alarms = self.config, Alarms(masks=self.config.weights.mask > 0)
        board = Board(self.out / "tensorboard", first=self.step) if config.tensorboard and self.main else None
        with Progress(self.step, config.steps, show=self.main) as progress:
            if self.step and self.main:
                progress.say(f"Resumed behind step {self.step}.")
            for micros, sampler_state in self._batches():
                line, predicted, with_mask = self._step(micros)
                found = alarms.look(self.step, {k: line[k] for k in ("loss", *TERMS)}, predicted, with_mask)
                found += alarms.look_at_masks(self.step, self.loader.empty, self.loader.marked)
                for text in found:
                    line.setdefault("alarms", []).append(text)
                    progress.say(f"Alarm at step {self.step}: {text}.")
                if self.main:
                    self.log.add(line)
                    progress.step(self.step, line)
                    if board:
                        board.add(self.step, line, "train")
                checked = self._check(progress, board)
                if checked or self.step % config.checkpoints.every == 0 or self.step == config.steps:
                    self._save(sampler_state, progress)
        if self.loader.failed and self.main:
            name, why = next(iter(self.loader.failed.items()))
            told = f"{len(self.loader.failed)} pictures could not be read and were replaced"
            progress.say(f"{told}, such as {name}: {why}")
        finish(self)

    def _batches(self) -> Iterator[tuple[list[Micro], dict[str, Any]]]:
        """Micro-batches of every step to come, each with the sampler's state behind it; one step is made ahead."""
        left = self.config.steps - self.step
        if self.config.workers == 0:
            for _ in range(left):
                examples = [self.loader.example(one) for one in self._share()]
                yield self._micros(examples), self.sampler.state()
            return
        with ThreadPoolExecutor(self.config.workers) as pool:

            def ahead() -> tuple[list[Any], dict[str, Any]]:
                share = self._share()
                return [pool.submit(self.loader.example, one) for one in share], self.sampler.state()

            coming = ahead() if left else None
            for index in range(left):
                assert coming is not None
                futures, state = coming
                coming = ahead() if index + 1 < left else None
                yield self._micros([future.result() for future in futures]), state

    def _share(self) -> list[Any]:
        """This process' part of the next global batch."""
        draws, world = self.sampler.next(), self.accelerator.num_processes
        each = len(draws) // world
        return draws[self.accelerator.process_index * each :][:each]

    def _micros(self, examples: list[Example]) -> list[Micro]:
        size = self.config.per_device
        chunks = [examples[first : first + size] for first in range(0, len(examples), size)]
        return [
            Micro(collate(self.processor, chunk), [e.pixels for e in chunk if e.mask is not None])
            for chunk in chunks
        ]

    def _step(self, micros: list[Micro]) -> tuple[dict[str, Any], np.ndarray, int]:
        """One optimiser step -> its log line, how often each class was predicted, pictures with a mask."""
        accelerator, config, began = self.accelerator, self.config, time.monotonic()
        own = torch.tensor([counts_of(micro.batch) for micro in micros], dtype=torch.float64)
        device = accelerator.device
        whole = accelerator.reduce(own.sum(0).float().to(device), "sum").double().cpu().clamp_min(1)
        sums = torch.zeros(4, dtype=torch.float64, device="cpu")
        predicted = torch.zeros(4, device=device)
        for micro, share in zip(micros, own / whole, strict=True):
            with accelerator.accumulate(self.module):
                terms, classes, batch = self._forward(micro)
                parts = share[[0, 1, 2, 2]].float().to(device) * terms
                # accelerate divides by the count of micro-batches, DDP by the count of processes
                accelerator.backward(weighted(parts, config) * len(micros) * accelerator.num_processes)
            sums += parts.detach().double().cpu()
            labels = classes.argmax(1)
            predicted[:3] += torch.bincount(labels, minlength=3)
            predicted[3] += (labels == batch.labels).sum()
        sums = accelerator.reduce(sums.to(device), "sum").cpu()
        predicted = accelerator.reduce(predicted, "sum").cpu()
        rate = self.schedule.get_last_lr()[0]
        norm = accelerator.clip_grad_norm_(self.trained, config.optimiser.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.schedule.step()
        self.step += 1
        took = time.monotonic() - began
        return {
            "step": self.step, "loss": float(weighted(sums, config)), **dict(zip(TERMS, sums.tolist(), strict=True)),
            "correct": round(float(predicted[3] / whole[0]), 4), "gradient_norm": float(norm or 0),
            "learning_rate": rate, "pictures_per_second": round(float(whole[0]) / took, 3), "seconds": round(took, 3),
        }, predicted[:3].numpy(), int(whole[2])  # fmt: skip

    def _forward(self, micro: Micro) -> tuple[Tensor, Tensor, Batch]:
        batch = micro.batch.to(self.accelerator.device, torch.float32)
        dense = None
        if self.cache is not None and micro.masked:
            with self.accelerator.autocast():
                dense = self.cache.dense(micro.masked, batch.sam)
        terms, classes = self.module(batch, dense)
        return terms, classes, batch

    def _check(self, progress: Progress, board: Board | None) -> bool:
        """Validate where it is due; True where it was."""
        how = self.config.validation
        if not how.every or (self.step % how.every and self.step != self.config.steps):
            return False
        chosen = choose(self.material.validation, how.pictures, self.config.seed)
        with parallel.whole(self.accelerator, self.module):
            found, seen = validate(
                self.accelerator, self.model, self.processor, chosen, stage=self.config.stage,
                raw=self.config.equalise == "off", texts=how.texts if self.config.weights.text else 0,
                batch=self.config.per_device,
            )  # fmt: skip
        value = found.get(self.config.checkpoints.metric, found["score"])
        if value > self.best["value"]:
            self.best = {"name": f"best-{self.step:07d}", "value": value, "step": self.step}
        if self.main:
            self.validation_log.add({"step": self.step, **found})
            (self.out / "validation").mkdir(exist_ok=True)
            sheet(seen, self.out / "validation" / f"step-{self.step:07d}")
            if board:
                board.add(self.step, found, "validation")
            shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in found.items())
            progress.say(f"Validation at step {self.step}: {shown}.")
        return True

    def _save(self, sampler_state: dict[str, Any], progress: Progress) -> None:
        weights, moments = parallel.states(self.accelerator, self.module, self.optimiser)
        random = parallel.random_states(self.accelerator)
        if not self.main:
            self.accelerator.wait_for_everyone()
            return
        facts = self.start_facts | {
            "step": self.step, "sampler": sampler_state, "schedule": self.schedule.state_dict(),
            "best": self.best if self.best["name"] else None, "processes": self.accelerator.num_processes,
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
        }  # fmt: skip
        try:
            if self.best.get("step") == self.step:
                self.keeper.write(self.best["name"], {"trained": weights}, facts)
            parts = {"trained": weights, "optimiser": moments, "random": random}
            self.keeper.write(f"step-{self.step:07d}", parts, facts)
            self.keeper.purge(self.best["name"])
        except OSError as error:
            if self.step == self.config.steps:
                raise OutputError(
                    f"The last checkpoint cannot be written to {self.keeper.folder} ({error.strerror or error}): free "
                    "some space and go on with --resume."
                ) from None
            progress.say(
                f"No checkpoint at step {self.step} ({error.strerror or error}); the training goes on."
            )
        self.accelerator.wait_for_everyone()

    def _restore(self, facts: dict[str, Any], tensors: dict[str, dict[str, Tensor]]) -> None:
        name = f"{self.out} at step {facts['step']}"
        parallel.restore(self.accelerator, self.module, self.optimiser, tensors, name)
        parallel.restore_random(
            self.accelerator, tensors["random"], facts["processes"], self.config.seed + facts["step"]
        )
        self.sampler.restore(facts["sampler"])
        self.schedule.load_state_dict(facts["schedule"])
        for group, rate in zip(self.optimiser.param_groups, self.schedule.get_last_lr(), strict=True):
            group["lr"] = rate
        if self.accelerator.scaler and facts["scaler"]:
            self.accelerator.scaler.load_state_dict(facts["scaler"])
        self.step, self.best = int(facts["step"]), facts["best"] or self.best


def optimiser_of(config: TrainConfig, parameters: list[Any]) -> tuple[Any, Any]:
    """AdamW and its schedule, as the paper has them."""
    from transformers import get_scheduler

    how = config.optimiser
    optimiser = torch.optim.AdamW(
        parameters, how.learning_rate, betas=how.betas, weight_decay=how.weight_decay
    )
    return optimiser, get_scheduler(how.schedule, optimiser, how.warmup, config.steps)


def counts_of(batch: Batch) -> list[int]:
    """Pictures, tokens of answers, masks."""
    return [len(batch.labels), int((batch.targets != IGNORE).sum()), int((batch.seg_at >= 0).sum())]


def weighted(terms: Tensor, config: TrainConfig) -> Tensor:
    """Equation 6 of stacked terms (4,)."""
    weights = config.weights
    return Losses(*terms).total(
        detection=weights.detection, text=weights.text, mask=weights.mask, bce=weights.bce, dice=weights.dice
    )


def train(config: TrainConfig, *, resume: bool = False) -> Path:
    """Carry out a training; the folder of the model that it leaves.

    Raises:
        UsageError: data, start or an earlier run do not fit. TrainingError: the loss is not finite.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    Training(config, resume=resume).run()
    return Path(config.out) / "model"
