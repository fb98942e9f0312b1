"""The training of a baseline: one device, resumable to the same losses.

Data, sampler, checkpoints, log and validation pictures are those of SIDA's training: balanced classes, equalised alike.
The same recipe trains a detector on its authors' data or on SID-Set, as in the re-trained columns of SIDA's tables.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pixelsleuth.errors import OutputError
from pixelsleuth.models.baseline import placed, store_folder
from pixelsleuth.models.localizing import Localizer
from pixelsleuth.training.baselines.config import (
    FREE,
    RANDOM,
    BaselineConfig,
    BaselineOptimiser,
    classes_of,
    data_of,
    kind_of,
)
from pixelsleuth.training.baselines.validate import validate
from pixelsleuth.training.run.checkpoints import Keeper, ensure_same, find, moments, read, restore_moments
from pixelsleuth.training.run.data import Draw, Loader, Material, Sampler, gather
from pixelsleuth.training.run.log import Alarms, Log, Progress
from pixelsleuth.training.run.plots import plot_log
from pixelsleuth.training.run.validation import choose
from pixelsleuth.training.sida.config import to_dict


class Prepared(NamedTuple):
    """A training example: what the network sees, its label, its mask (H, W) uint8 0/255 or None."""

    seen: torch.Tensor
    label: int
    mask: np.ndarray | None


class Training:
    """One run, and what a checkpoint must keep of it."""

    def __init__(self, config: BaselineConfig, *, resume: bool) -> None:
        self.config, self.out = config, Path(config.out)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        kind, told = kind_of(config), data_of(config)
        material = gather(told, classes_of(config))
        material.left_out.tell()
        material.set_aside.tell("Not learnt from")
        self.sampler = Sampler(material, told, turns_of(material, three=kind.three_classes))
        self.loader = Loader(material, told)
        self.held_out = choose(material.validation, config.validation.pictures, config.seed)
        torch.manual_seed(config.seed)
        begins = kind.fresh if config.start == RANDOM else kind.load
        self.network = placed(
            begins(*[config.start] * (config.start != RANDOM), **config.options), self.device
        )
        self.network.begin_training()
        self.network.train()
        self.named = {name: one for name, one in self.network.named_parameters() if one.requires_grad}
        self.optimiser = optimiser_of(config.optimiser, list(self.named.values()))
        self.schedule = schedule_of(config, self.optimiser)
        self.keeper = Keeper(self.out / "checkpoints", keep=config.checkpoints.keep)
        self.log, self.validation_log = Log(self.out / "log.jsonl"), Log(self.out / "validation.jsonl")
        self.facts: dict[str, Any] = {"config": to_dict(config), "data": material.digest}
        self.step, self.spent, self.last = 0, 0.0, 0.0
        self.best: dict[str, Any] = {"name": "", "value": -math.inf, "step": -1}
        stored = self.keeper.last() if resume else None
        if stored is not None:
            self._restore(*stored)
        self.log.rewind(self.step)
        self.validation_log.rewind(self.step)

    def run(self) -> Path:
        """Train to the end; the folder of the model: the best by validation where there was one, else the last."""
        config, alarms = self.config, Alarms(masks=False)
        within = 60 * config.minutes - self.spent if config.minutes else math.inf
        with Progress(self.step, config.steps, show=True, parts=("loss",), within=within) as progress:
            if self.step:
                progress.say(f"Resumed behind step {self.step}.")
            for examples, state in self._batches():
                line = self._step(examples)
                found = alarms.look(self.step, {"loss": line["loss"]}, np.ones(3), 1)
                if isinstance(self.network, Localizer):
                    found += alarms.look_at_masks(self.step, self.loader.empty, self.loader.marked)
                for text in found:
                    line.setdefault("alarms", []).append(text)
                    progress.say(f"Alarm at step {self.step}: {text}.")
                self.log.add(line)
                progress.step(self.step, line)
                checked = self._check(progress)
                over = self._over()
                if checked or over or self.step % config.checkpoints.every == 0:
                    self._save(state)
                if over:
                    break
            if self.loader.failed:
                name, why = next(iter(self.loader.failed.items()))
                told = f"{len(self.loader.failed)} pictures could not be read and were replaced"
                progress.say(f"{told}, such as {name}: {why}")
        return self._finish()

    def _over(self) -> bool:
        """The last step, the last minute, or a rate below the floor."""
        config = self.config
        if self.step >= config.steps or (config.minutes and self.spent >= 60 * config.minutes):
            return True
        return bool(self.rate < config.optimiser.floor * (1 - 1e-9))

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimiser.param_groups[0]["lr"])

    def _batches(self) -> Iterator[tuple[list[Prepared], dict[str, Any]]]:
        """Examples of every step to come, each with the sampler's state behind it; one step is made ahead."""
        if self.step and self._over():
            return
        self.last = time.monotonic()
        with ThreadPoolExecutor(max(1, self.config.workers)) as pool:

            def ahead() -> tuple[list[Any], dict[str, Any]]:
                draws = self.sampler.next()
                return [pool.submit(self._prepared, one) for one in draws], self.sampler.state()

            try:
                coming = ahead()
                while True:
                    futures, state = coming
                    coming = ahead()
                    yield [future.result() for future in futures], state
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _prepared(self, draw: Draw) -> Prepared:
        example = self.loader.example(draw)
        random = np.random.default_rng([self.config.seed, 4, draw.number])
        label = example.label if self.network.three_classes else min(example.label, 1)
        if isinstance(self.network, Localizer):
            seen, mask = self.network.pair(example.pixels, example.mask, random)
            return Prepared(seen, label, mask)
        return Prepared(self.network.example(example.pixels, random), label, None)

    def _step(self, examples: list[Prepared]) -> dict[str, Any]:
        """One step of the optimiser -> its line of the log."""
        rate, clip = self.rate, self.config.optimiser.clip
        labels = torch.tensor([one.label for one in examples], device=self.device)
        masks = [
            None if one.mask is None else torch.from_numpy(one.mask.copy()).float().to(self.device) / 255
            for one in examples
        ]
        parts = self.network.loss([one.seen.to(self.device) for one in examples], labels, masks)
        self.optimiser.zero_grad()
        parts["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(list(self.named.values()), clip or math.inf)
        self.optimiser.step()
        if self.config.optimiser.schedule != "plateau":
            self.schedule.step()
        self.step += 1
        now = time.monotonic()
        took, self.spent, self.last = now - self.last, self.spent + now - self.last, now
        told = {name: float(value.detach()) for name, value in parts.items()}
        return {
            "step": self.step, **told, "gradient_norm": float(norm), "learning_rate": rate,
            "pictures_per_second": round(len(labels) / took, 3), "seconds": round(took, 3),
        }  # fmt: skip

    def _check(self, progress: Progress) -> bool:
        """Validate where it is due; True where it was."""
        how = self.config.validation
        if not how.every or (self.step % how.every and self.step != self.config.steps):
            return False
        found = validate(
            self.network, self.held_out, device=self.device, raw=self.config.equalise == "off", batch=self.config.batch
        )  # fmt: skip
        value = found.get(self.config.checkpoints.metric, found["score"])
        if value > self.best["value"]:
            self.best = {"name": f"best-{self.step:07d}", "value": value, "step": self.step}
        if self.config.optimiser.schedule == "plateau":
            before = self.rate
            self.schedule.step(value)
            if self.rate < before:
                progress.say(
                    f"No gain for {self.config.optimiser.patience} validations: the rate is {self.rate:g}."
                )
        self.validation_log.add({"step": self.step, **found})
        shown = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        progress.say(f"Validation at step {self.step}: {shown}.")
        self.last = time.monotonic()  # `minutes` are those of training
        return True

    def _save(self, sampler_state: dict[str, Any]) -> None:
        facts = self.facts | {
            "step": self.step, "sampler": sampler_state, "spent": self.spent, "schedule": self.schedule.state_dict(),
            "best": self.best if self.best["name"] else None,
        }  # fmt: skip
        trained = {name: value.detach().cpu() for name, value in self.network.learnt().items()}
        parts = {
            "trained": trained,
            "optimiser": moments(self.optimiser, self.named),
            "random": random_states(),
        }
        try:
            if self.best["step"] == self.step:
                self.keeper.write(self.best["name"], {"trained": trained}, facts)
            self.keeper.write(f"step-{self.step:07d}", parts, facts)
        except OSError as error:
            raise OutputError(
                f"No checkpoint can be written to {self.keeper.folder} ({error}): free some space and go on with "
                "--resume."
            ) from None
        self.keeper.purge(self.best["name"])

    def _restore(self, facts: dict[str, Any], tensors: dict[str, dict[str, Any]]) -> None:
        ensure_same(facts, self.facts, self.out, FREE)
        self.network.load_state_dict(tensors["trained"], strict=False)
        restore_moments(self.optimiser, self.named, tensors["optimiser"])
        self.schedule.load_state_dict(facts["schedule"])
        for group, rate in zip(self.optimiser.param_groups, self.schedule.get_last_lr(), strict=True):
            group["lr"] = rate
        torch.set_rng_state(tensors["random"]["cpu"])
        if "cuda" in tensors["random"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random"]["cuda"])
        self.sampler.restore(facts["sampler"])
        self.step, self.spent, self.best = (
            int(facts["step"]),
            float(facts["spent"]),
            facts["best"] or self.best,
        )

    def _finish(self) -> Path:
        checkpoint = find(self.out)
        assert checkpoint is not None  # the last step wrote one
        _, tensors = read(checkpoint)
        self.network.load_state_dict(tensors["trained"], strict=False)
        partial, target = self.out / "model.partial", self.out / "model"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            store_folder(self.network.cpu(), self.config.baseline, partial)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
            plot_log(self.out)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise OutputError(
                f"The model cannot be written to {target} ({error.strerror}): free some space and go on with --resume."
            ) from None
        return target


def turns_of(material: Material, *, three: bool) -> tuple[int, ...]:
    """Classes one after the other: as many of each, or as many real pictures as fakes of whatever kinds there are."""
    fakes = [label for label in (1, 2) if material.count(label)]
    return (0, *fakes) if three else tuple(label for fake in fakes for label in (0, fake))


def optimiser_of(how: BaselineOptimiser, parameters: list[Any]) -> torch.optim.Optimizer:
    """As the recipe says."""
    if how.kind == "sgd":
        return torch.optim.SGD(parameters, how.learning_rate, how.momentum, weight_decay=how.weight_decay)
    kind = torch.optim.Adam if how.kind == "adam" else torch.optim.AdamW
    return kind(parameters, how.learning_rate, how.betas, weight_decay=how.weight_decay)


def schedule_of(config: BaselineConfig, optimiser: torch.optim.Optimizer) -> Any:
    """How the rate falls; all but `plateau`, which is told of validations, are told of steps."""
    how = config.optimiser
    if how.schedule == "step":
        return torch.optim.lr_scheduler.StepLR(optimiser, how.decay_every, how.decay)
    if how.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, "max", how.decay, how.patience - 1, how.least_gain, threshold_mode="abs"
        )
    from transformers import get_scheduler

    name = "constant_with_warmup" if how.schedule == "constant" else how.schedule
    return get_scheduler(name, optimiser, how.warmup, config.steps)


def random_states() -> dict[str, torch.Tensor]:
    """Torch's random states; what is random about pictures depends on their numbers alone."""
    found = {"cpu": torch.get_rng_state()}
    return found | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})
