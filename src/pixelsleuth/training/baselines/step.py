"""One step of a baseline's training, on one device, and its validation.

Data, sampler, checkpoints and log are those of SIDA's training: balanced classes, equalised alike. The same recipe
trains a detector on its authors' data or on SID-Set, as in the re-trained columns of SIDA's tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.data.sample import Sample
from pixelsleuth.evaluation.metrics.detection import auroc
from pixelsleuth.evaluation.metrics.localization import iou, mask_counts
from pixelsleuth.models.baseline import Baseline, BaselineDetector, Localizer, placed, store_folder
from pixelsleuth.training.baselines.settings import FREE, BaselineSettings, Optimiser
from pixelsleuth.training.run.checkpoints import moments, read, restore_moments, restore_schedule, trained
from pixelsleuth.training.run.data import TAMPERED, Material, gather, opened, scores, validation_pictures
from pixelsleuth.training.run.feed import Feed, Labelled
from pixelsleuth.training.run.loop import Loop, Parts, Step, Taken
from pixelsleuth.training.run.settings import RANDOM


class Example(NamedTuple):
    """A training example: the network's input, its label, its mask (H, W) uint8 0/255 or None."""

    input: torch.Tensor
    label: int
    mask: np.ndarray | None


class BaselineStep(Step):
    """A network, its optimiser and its pictures."""

    def __init__(self, settings: BaselineSettings, material: Material) -> None:
        self.settings = settings
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        network_class = settings.network_class
        self.feed = Feed(
            material, settings, self.example, turns=turns_of(material, three=network_class.three_classes)
        )
        self.held_out = validation_pictures(material.validation, settings.validation.pictures, settings.seed)
        torch.manual_seed(settings.seed)
        if settings.start == RANDOM:
            network = network_class.fresh(**settings.options)
        else:
            network = network_class.load(settings.start, **settings.options)
        self.network = placed(network, self.device)
        self.network.begin_training()
        self.network.train()
        self.learns_masks = isinstance(self.network, Localizer)
        self.learning = trained(self.network)
        self.optimiser = optimiser_of(settings.optimiser, list(self.learning.values()))
        self.schedule = schedule_of(settings, self.optimiser)

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimiser.param_groups[0]["lr"])

    def example(self, picture: Labelled) -> Example:
        """A picture as the network sees it, with the author's augmentation."""
        random = np.random.default_rng([self.settings.seed, 4, picture.number])
        label = picture.label if self.network.three_classes else min(picture.label, 1)
        if isinstance(self.network, Localizer):
            pixels, mask = self.network.pair(picture.pixels, picture.mask, random)
            return Example(pixels, label, mask)
        return Example(self.network.example(picture.pixels, random), label, None)

    def take(self, batch: list[Example]) -> Taken:
        rate, clip = self.rate, self.settings.optimiser.clip
        labels = torch.tensor([example.label for example in batch], device=self.device)
        masks = [
            None if example.mask is None
            else torch.from_numpy(example.mask.copy()).float().to(self.device) / 255
            for example in batch
        ]  # fmt: skip
        losses = self.network.loss([example.input.to(self.device) for example in batch], labels, masks)
        self.optimiser.zero_grad()
        losses["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(list(self.learning.values()), clip or math.inf)
        self.optimiser.step()
        if self.settings.optimiser.schedule != "plateau":
            self.schedule.step()
        figures = {name: float(value.detach()) for name, value in losses.items()}
        return Taken(figures | {"gradient_norm": float(norm), "learning_rate": rate}, len(batch))

    def validate(self, step: int) -> dict[str, float]:
        del step
        return validate(
            self.network, self.held_out, device=self.device, raw=self.settings.equalise == "off",
            batch=self.settings.batch,
        )  # fmt: skip

    def lower(self, value: float) -> str:
        """With the schedule `plateau`: the sentence that the rate has fallen, else nothing."""
        if self.settings.optimiser.schedule != "plateau":
            return ""
        before = self.rate
        self.schedule.step(value)
        if self.rate == before:
            return ""
        return f"No gain for {self.settings.optimiser.patience} validations: the rate is {self.rate:g}."

    def exhausted(self) -> bool:
        return self.rate < self.settings.optimiser.floor * (1 - 1e-9)

    def state(self) -> tuple[Parts, dict[str, Any]]:
        """Weights, moments, and torch's random state; what is random about pictures depends on their numbers alone."""
        random = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["cuda"] = torch.cuda.get_rng_state()
        parts = {
            "trained": {name: value.detach().cpu() for name, value in self.network.learnt().items()},
            "optimiser": moments(self.optimiser, self.learning),
            "random": random,
        }
        return parts, {"schedule": self.schedule.state_dict()}

    def restore(self, parts: Parts, facts: Mapping[str, Any]) -> None:
        self.network.load_state_dict(parts["trained"], strict=False)
        restore_moments(self.optimiser, self.learning, parts["optimiser"])
        restore_schedule(self.schedule, self.optimiser, facts["schedule"])
        torch.set_rng_state(parts["random"]["cpu"])
        if "cuda" in parts["random"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(parts["random"]["cuda"])

    def save_model(self, checkpoint: Path, folder: Path) -> None:
        _, parts = read(checkpoint)
        self.network.load_state_dict(parts["trained"], strict=False)
        store_folder(self.network.cpu(), self.settings.baseline, folder)


def train(settings: BaselineSettings, *, resume: bool) -> Path:
    """Carry out a training; the folder of the model that it leaves.

    Raises:
        UsageError: data, start or an earlier run do not fit. TrainingError: the loss is not finite.
    """
    material = gather(settings, settings.learnt_classes)
    loop = Loop(
        Path(settings.out), steps=settings.steps, checkpoints=settings.checkpoints, resume=resume, free=FREE,
        facts={"config": asdict(settings), "data": material.digest}, validate_every=settings.validation.every,
        minutes=settings.minutes,
    )  # fmt: skip
    step = BaselineStep(settings, material)
    loop.run(step)
    return loop.finish(step)


def validate(
    network: Baseline, samples: Sequence[Sample], *, device: str, raw: bool, batch: int
) -> dict[str, float]:
    """Judge pictures as a user would and score the verdicts; the network is left in the mode in which it came.

    Args:
        network: what is trained.
        samples: pictures of real and at least one class of fakes.
        device: where it runs.
        raw: take files as they are; else equalised by the fixed draw.
        batch: pictures at once.

    Returns:
        Figures of `run.data.scores`, and `auroc` of fake against real. All in 0..1.
    """
    training = network.training
    detector = BaselineDetector(network, device=device)
    labels, predicted, chances, overlaps = [], [], [], []
    for first in range(0, len(samples), batch):
        loaded = opened(samples[first : first + batch], raw=raw)
        verdicts = detector.judge([picture for _, picture, _ in loaded], explain=False) if loaded else []
        for (sample, _, truth), verdict in zip(loaded, verdicts, strict=True):
            labels.append(LABELS.index(sample.label))
            predicted.append(LABELS.index(verdict.label))
            assert verdict.probabilities is not None
            chances.append(1 - verdict.probabilities[Label.REAL])
            if network.facts.localizes and labels[-1] == TAMPERED and truth is not None and truth.any():
                overlaps.append(0.0 if verdict.mask is None else iou(mask_counts(verdict.mask, truth)))
    network.train(training)
    figures = scores(labels, predicted, overlaps, three_classes=network.three_classes)
    return figures | {"auroc": float(auroc(np.array(labels) > 0, chances))}


def turns_of(material: Material, *, three: bool) -> tuple[int, ...]:
    """Classes one after the other: as many of each, or as many real pictures as fakes of whatever kinds there are."""
    fakes = [label for label in (1, 2) if material.count(label)]
    return (0, *fakes) if three else tuple(label for fake in fakes for label in (0, fake))


def optimiser_of(how: Optimiser, parameters: list[Any]) -> torch.optim.Optimizer:
    """The optimiser that the recipe names."""
    if how.kind == "sgd":
        return torch.optim.SGD(parameters, how.learning_rate, how.momentum, weight_decay=how.weight_decay)
    kind = torch.optim.Adam if how.kind == "adam" else torch.optim.AdamW
    return kind(parameters, how.learning_rate, how.betas, weight_decay=how.weight_decay)


def schedule_of(settings: BaselineSettings, optimiser: torch.optim.Optimizer) -> Any:
    """The schedule of the rate. Its `step()` counts steps; that of `plateau` takes the value of a validation."""
    how = settings.optimiser
    if how.schedule == "step":
        return torch.optim.lr_scheduler.StepLR(optimiser, how.decay_every, how.decay)
    if how.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, "max", how.decay, how.patience - 1, how.least_gain, threshold_mode="abs"
        )
    from transformers import get_scheduler

    name = "constant_with_warmup" if how.schedule == "constant" else how.schedule
    return get_scheduler(name, optimiser, how.warmup, settings.steps)
