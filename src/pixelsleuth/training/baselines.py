"""Training of baselines (`kind: baseline`): the author's loss and augmentation, this project's data and checkpoints.

The same recipe trains a detector on its authors' data or on SID-Set, as in the re-trained columns of SIDA's tables.
Data, sampler, checkpoints and log are those of SIDA's training: balanced classes, equalised alike, resumable.

Run: `pixelsleuth train recipes/baselines/npr.yaml data=MANIFEST.csv out=runs/npr`
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pixelsleuth.core.errors import OutputError, UsageError
from pixelsleuth.core.settings import fill
from pixelsleuth.training.recipe import ensure_new
from pixelsleuth.training.sida.config import (
    Checkpoints,
    Source,
    TrainConfig,
    Weights,
    differences,
    ensure_sound,
    to_dict,
)

RANDOM = "random"


@dataclass(frozen=True)
class BaselineOptimiser:
    """`betas` are Adam's; `momentum` is SGD's. Every `decay_every` steps the rate is multiplied by `decay`."""

    kind: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay: float = 1.0
    decay_every: int = 1000
    clip: float = 0.0


@dataclass(frozen=True)
class BaselineConfig:
    """A whole training; `minutes` ends it early (0: never), so that detectors can be given the same time."""

    kind: str = "baseline"
    baseline: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    data: tuple[Source, ...] = ()
    out: str = ""
    start: str = RANDOM
    steps: int = 1000
    minutes: float = 0.0
    batch: int = 32
    seed: int = 0
    batches: Literal["mixed", "grouped", "natural"] = "mixed"
    equalise: Literal["random", "fixed", "off"] = "random"
    augment: tuple[str, ...] = ()
    augment_share: float = 0.5
    optimiser: BaselineOptimiser = field(default_factory=BaselineOptimiser)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)


def plan(content: Mapping[str, Any]) -> str:
    """What would be trained, on how many pictures. Raises UsageError as `run` does."""
    from pixelsleuth.models.baselines.base import baseline_class
    from pixelsleuth.training.sida.data import gather

    config = _sound(content)
    network = baseline_class(config.baseline)(**config.options)
    learns = sum(one.numel() for one in network.parameters() if one.requires_grad)
    material = gather(_drawn(config))
    counts = [material.count(label) for label in range(3)]
    return (
        f"{network.facts.title} {dict(network.options)} from {config.start}: {learns:,} parameters learn, "
        f"{config.steps} steps of {config.batch} pictures.\n"
        f"Pictures: {counts[0]} real, {counts[1]} full synthetic, {counts[2]} tampered; {material.masks} masks."
    )


def run(content: Mapping[str, Any], *, resume: bool) -> Path:
    """Train, and leave `out/model`, which `check --model` takes.

    Raises:
        UsageError: the recipe, the data or the start do not fit. TrainingError: the loss is not finite.
    """
    config = _sound(content)
    ensure_new(Path(config.out), resume=resume)
    return _Training(config, resume=resume).run()


def _sound(content: Mapping[str, Any]) -> BaselineConfig:
    config = fill(BaselineConfig, content)
    ensure_sound(_drawn(config))
    if config.minutes < 0:
        raise UsageError("minutes must not be negative.")
    return config


def _drawn(config: BaselineConfig) -> TrainConfig:
    """What the data part of SIDA's training is told."""
    from pixelsleuth.models.baselines.base import baseline_class

    localizes = baseline_class(config.baseline).facts.localizes
    return TrainConfig(
        out=config.out, data=config.data, start=config.start, steps=config.steps, seed=config.seed,
        global_batch=config.batch, per_device=config.batch, batches=config.batches, equalise=config.equalise,
        augment=config.augment, augment_share=config.augment_share, weights=Weights(mask=float(localizes)),
        checkpoints=config.checkpoints,
    )  # fmt: skip


class _Training:
    """One run on one device."""

    def __init__(self, config: BaselineConfig, *, resume: bool) -> None:
        import torch

        from pixelsleuth.models.baselines.base import baseline_class
        from pixelsleuth.training.sida.checkpoints import Keeper
        from pixelsleuth.training.sida.data import Loader, Sampler, gather
        from pixelsleuth.training.sida.watch import Log

        self.config, self.out = config, Path(config.out)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        material = gather(_drawn(config))
        self.sampler, self.loader = Sampler(material, _drawn(config)), Loader(material, _drawn(config))
        torch.manual_seed(config.seed)
        kind = baseline_class(config.baseline)
        network = (
            kind(**config.options) if config.start == RANDOM else kind.load(config.start, **config.options)
        )
        self.network = network.to(self.device).train()
        self.named = {name: one for name, one in network.named_parameters() if one.requires_grad}
        self.optimiser = _optimiser(config.optimiser, list(self.named.values()))
        self.keeper = Keeper(self.out / "checkpoints", keep=config.checkpoints.keep)
        self.log = Log(self.out / "log.jsonl")
        self.facts: dict[str, Any] = {"config": to_dict(config), "data": material.digest}
        self.step, self.spent = 0, 0.0
        stored = self.keeper.last() if resume else None
        if stored is not None:
            self._restore(*stored)
        self.log.rewind(self.step)

    def run(self) -> Path:
        from pixelsleuth.training.sida.watch import Alarms, Progress

        config, alarms = self.config, Alarms(masks=False)
        within = 60 * config.minutes - self.spent if config.minutes else math.inf
        with Progress(self.step, config.steps, show=True, parts=("loss",), within=within) as progress:
            while self.step < config.steps and not self._over():
                began = time.monotonic()
                line = self._step()
                self.spent += time.monotonic() - began
                for text in alarms.look(self.step, {"loss": line["loss"]}, np.ones(3), 1):
                    progress.say(f"Alarm at step {self.step}: {text}.")
                self.log.add(line)
                progress.step(self.step, line)
                if self.step % config.checkpoints.every == 0 or self.step == config.steps or self._over():
                    self._save()
        return self._finish()

    def _over(self) -> bool:
        return bool(self.config.minutes) and self.spent >= 60 * self.config.minutes

    def _step(self) -> dict[str, Any]:
        import torch

        began = time.monotonic()
        inputs, labels, masks = self._batch()
        for group in self.optimiser.param_groups:
            how = self.config.optimiser
            group["lr"] = how.learning_rate * how.decay ** (self.step // how.decay_every)
        parts = self.network.loss(inputs, labels, masks)
        self.optimiser.zero_grad()
        parts["loss"].backward()
        if self.config.optimiser.clip:
            torch.nn.utils.clip_grad_norm_(list(self.named.values()), self.config.optimiser.clip)
        self.optimiser.step()
        self.step += 1
        took = time.monotonic() - began
        told = {name: float(value.detach()) for name, value in parts.items()}
        return {
            "step": self.step, **told, "learning_rate": self.optimiser.param_groups[0]["lr"],
            "pictures_per_second": round(len(labels) / took, 3), "seconds": round(took, 3),
        }  # fmt: skip

    def _batch(self) -> tuple[list[Any], Any, list[Any]]:
        """Inputs, labels (0 real, 1 fake; 0 to 2 for networks of three classes), masks in 0..1 or None."""
        import torch

        from pixelsleuth.models.baselines.localizing import Localizer

        inputs, labels, masks = [], [], []
        for draw in self.sampler.next():
            example = self.loader.example(draw)
            random = np.random.default_rng([self.config.seed, 4, draw.number])
            mask = None
            if isinstance(self.network, Localizer):
                prepared, mask = self.network.pair(example.pixels, example.mask, random)
            else:
                prepared = self.network.example(example.pixels, random)
            inputs.append(prepared.to(self.device))
            labels.append(example.label if self.network.three_classes else min(example.label, 1))
            masks.append(
                None if mask is None else torch.from_numpy(mask.copy()).float().to(self.device) / 255
            )
        return inputs, torch.tensor(labels, device=self.device), masks

    def _save(self) -> None:
        from pixelsleuth.training.sida.checkpoints import moments

        facts = self.facts | {"step": self.step, "sampler": self.sampler.state(), "spent": self.spent}
        parts = {
            "trained": self._state(),
            "optimiser": moments(self.optimiser, self.named),
            "random": _random(),
        }
        try:
            self.keeper.write(f"step-{self.step:07d}", parts, facts)
        except OSError as error:
            raise OutputError(
                f"No checkpoint can be written to {self.keeper.folder} ({error}): free some space and go on with "
                "--resume."
            ) from None
        self.keeper.purge(None)

    def _state(self) -> dict[str, Any]:
        return {name: value.detach().cpu().contiguous() for name, value in self.network.learnt().items()}

    def _restore(self, facts: dict[str, Any], tensors: dict[str, dict[str, Any]]) -> None:
        import torch

        from pixelsleuth.training.sida.checkpoints import restore_moments

        changed = [key for key in differences(facts["config"], self.facts["config"]) if key != "minutes"]
        if changed:
            raise UsageError(
                f"{self.out} was trained with another configuration ({', '.join(changed)} differ): resume with the "
                "same, or start anew with another out."
            )
        if facts["data"] != self.facts["data"]:
            raise UsageError(
                f"The data have changed since {self.out} was begun: start anew with another out."
            )
        self.network.load_state_dict(tensors["trained"], strict=False)
        restore_moments(self.optimiser, self.named, tensors["optimiser"])
        torch.set_rng_state(tensors["random"]["cpu"])
        self.sampler.restore(facts["sampler"])
        self.step, self.spent = int(facts["step"]), float(facts["spent"])

    def _finish(self) -> Path:
        from safetensors.torch import save_file

        folder = self.out / "model"
        folder.mkdir(exist_ok=True)
        save_file(self._state(), folder / "weights.safetensors")
        told = {
            "pixelsleuth": "baseline",
            "baseline": self.config.baseline,
            "options": dict(self.network.options),
        }
        (folder / "config.json").write_text(json.dumps(told, indent=1) + "\n")
        return folder


def _optimiser(how: BaselineOptimiser, parameters: list[Any]) -> Any:
    import torch

    if how.kind == "sgd":
        return torch.optim.SGD(parameters, how.learning_rate, how.momentum, weight_decay=how.weight_decay)
    kind = torch.optim.Adam if how.kind == "adam" else torch.optim.AdamW
    return kind(parameters, how.learning_rate, how.betas, weight_decay=how.weight_decay)


def _random() -> dict[str, Any]:
    import torch

    return {"cpu": torch.get_rng_state()}
