"""One step of SIDA's training: one implementation for every size, one process or many, under accelerate.

A global batch is drawn by number, shared between the processes and cut into micro-batches. Every loss term is a mean
over the *global* batch (pictures, tokens, masks), however it was cut, so the number of processes and the size of a
micro-batch change nothing but rounding.

Run: `pixelsleuth train recipes/tiny.yaml data=MANIFEST.csv out=DIR`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelsleuth.compact import grammar
from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.models.sida.checkpoint import save_large
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.sida.prompts import ANSWERS, QUESTION, QUESTION_WHY
from pixelsleuth.models.sida.teacher import IGNORE, Batch, Example, Losses, collate
from pixelsleuth.training.recipe import ensure_new
from pixelsleuth.training.run import parallel
from pixelsleuth.training.run.checkpoints import (
    gathered,
    moments,
    restore_moments,
    restore_schedule,
    restore_weights,
    trained,
)
from pixelsleuth.training.run.data import TAMPERED, Material, gather, validation_pictures
from pixelsleuth.training.run.feed import Feed, Labelled
from pixelsleuth.training.run.loop import Loop, Parts, Step, Taken
from pixelsleuth.training.sida.free_running import sheet, validate
from pixelsleuth.training.sida.learnt import TrainModule, assemble, prepare
from pixelsleuth.training.sida.sam_cache import SamCache
from pixelsleuth.training.sida.settings import SidaSettings
from pixelsleuth.training.sida.start import load_start

TERMS = ("detection", "text", "bce", "dice")


class SidaStep(Step):
    """A model, its optimiser and its pictures, in one of the processes."""

    parts = ("loss", *TERMS)

    def __init__(
        self,
        settings: SidaSettings,
        material: Material,
        accelerator: Any,
        model: LargeSida,
        processor: SidaProcessor,
    ) -> None:
        self.settings, self.material, self.accelerator = settings, material, accelerator
        self.model, self.processor = model, processor
        self.main = bool(accelerator.is_main_process)
        self.learns_masks = settings.learns_masks
        self.feed = Feed(
            material, settings, self.example, rank=accelerator.process_index, world=accelerator.num_processes
        )
        module = prepare(model, settings)
        self.sharded = settings.parallel == "fsdp" and accelerator.num_processes > 1
        if self.sharded:
            cut_apart(accelerator, module)
        self.named = trained(module)
        optimiser, self.schedule = optimiser_of(settings, list(self.named.values()))
        self.module = module if self.sharded else accelerator.prepare(module)
        self.optimiser = accelerator.prepare(optimiser)
        self.cache = SamCache(Path(settings.sam_cache), model) if settings.sam_cache else None
        torch.manual_seed(settings.seed * 1000 + accelerator.process_index)

    def example(self, picture: Labelled) -> Example:
        """A picture with question and true answer."""
        description = picture.sample.description
        if self.settings.stage == 2 and not description.strip():
            description = measured(picture.sample.label, picture.pixels, picture.mask)
        question, answer = words(self.settings.stage, picture.label, description)
        return Example(picture.pixels, picture.label, question, answer, picture.mask)

    def take(self, batch: list[Example]) -> Taken:
        """One step of the optimiser over this process' part of a global batch."""
        accelerator, settings = self.accelerator, self.settings
        size, device = settings.per_device, accelerator.device
        micros = [batch[first : first + size] for first in range(0, len(batch), size)]
        batches = [collate(self.processor, micro) for micro in micros]
        own = torch.tensor([counts_of(collated) for collated in batches], dtype=torch.float64)
        counts = accelerator.reduce(own.sum(0).float().to(device), "sum").double().cpu()
        pictures, _, masks = counts.int().tolist()
        sums = torch.zeros(4, dtype=torch.float64, device="cpu")
        predicted = torch.zeros(4, device=device)
        for micro, collated, share in zip(micros, batches, own / counts.clamp_min(1), strict=True):
            with accelerator.accumulate(self.module):
                moved = collated.to(device, torch.float32)
                dense, elsewhere = self._dense(micro, moved), self.sharded and masks > 0
                with accelerator.autocast():
                    terms, classes = self.module(moved, dense, masks_elsewhere=elsewhere)
                parts = share[[0, 1, 2, 2]].float().to(device) * terms
                # accelerate divides by the count of micro-batches, DDP and FSDP by the count of processes
                accelerator.backward(weighted(parts, settings) * len(micros) * accelerator.num_processes)
            sums += parts.detach().double().cpu()
            labels = classes.argmax(1)
            predicted[:3] += torch.bincount(labels, minlength=3)
            predicted[3] += (labels == moved.labels).sum()
        sums = accelerator.reduce(sums.to(device), "sum").cpu()
        predicted = accelerator.reduce(predicted, "sum").cpu()
        rate = self.schedule.get_last_lr()[0]
        norm = gathered(accelerator.clip_grad_norm_(list(self.named.values()), settings.optimiser.clip))
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.schedule.step()
        figures = {
            "loss": float(weighted(sums, settings)), **dict(zip(TERMS, sums.tolist(), strict=True)),
            "correct": round(float(predicted[3] / pictures), 4), "gradient_norm": float(norm),
            "learning_rate": rate,
        }  # fmt: skip
        return Taken(figures, pictures, predicted[:3].numpy(), masks)

    def _dense(self, micro: list[Example], batch: Batch) -> Tensor | None:
        """SAM's embeddings of the pictures with a mask, where they are kept."""
        masked = [example.pixels for example in micro if example.mask is not None]
        if self.cache is None or not masked:
            return None
        with self.accelerator.autocast():
            return self.cache.dense(masked, batch.sam)

    def validate(self, step: int) -> dict[str, float]:
        """Free-running figures; the main process also writes a sheet of its predictions."""
        settings, how = self.settings, self.settings.validation
        chosen = validation_pictures(self.material.validation, how.pictures, settings.seed)
        with parallel.whole(self.module):
            figures, judged = validate(
                self.accelerator, self.model, self.processor, chosen, stage=settings.stage,
                raw=settings.equalise == "off", texts=how.texts if settings.weights.text else 0,
                batch=settings.per_device,
            )  # fmt: skip
        if self.main:
            folder = Path(settings.out) / "validation"
            folder.mkdir(exist_ok=True)
            sheet(judged, folder / f"step-{step:07d}")
        return figures

    def state(self) -> tuple[Parts, dict[str, Any]]:
        """Weights and moments, gathered whole, and the random state of every process."""
        weights = {name: gathered(value) for name, value in self.named.items()}
        kept = moments(self.optimiser.optimizer, self.named)
        random = parallel.random_states(self.accelerator)
        scaler = self.accelerator.scaler
        facts = {
            "schedule": self.schedule.state_dict(), "processes": self.accelerator.num_processes,
            "scaler": scaler.state_dict() if scaler else None,
        }  # fmt: skip
        return {"trained": weights, "optimiser": kept, "random": random}, facts

    def restore(self, parts: Parts, facts: Mapping[str, Any]) -> None:
        name = f"{self.settings.out} at step {facts['step']}"
        restore_weights(self.named, parts["trained"], name)
        restore_moments(self.optimiser.optimizer, self.named, parts["optimiser"])
        seed = self.settings.seed + facts["step"]
        parallel.restore_random(self.accelerator, parts["random"], facts["processes"], seed)
        restore_schedule(self.schedule, self.optimiser, facts["schedule"])
        if self.accelerator.scaler and facts["scaler"]:
            self.accelerator.scaler.load_state_dict(facts["scaler"])

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()

    def save_model(self, checkpoint: Path, folder: Path) -> None:
        model, processor, _ = assemble(checkpoint)
        save_large(model, processor, folder)


def cut_apart(accelerator: Any, module: TrainModule) -> None:
    """Share the language model, layer by layer, and what learns between the processes (FSDP2).

    SAM's encoder stays whole, since only a process with a mask runs it; so does CLIP where it is frozen.
    """
    model = module.model
    frozen = not any(value.requires_grad for value in model.clip.parameters())
    kept = [model.sam, model.clip] if frozen else [model.sam]
    parallel.shard(accelerator, module, blocks=list(model.sida.language.model.layers), kept=kept)


def words(stage: int, label: int, description: str) -> tuple[str, str]:
    """Question and answer: the class sentence, in stage 2 followed by the description.

    >>> words(2, 0, "Light and shadow agree.")[1]
    '[CLS] The image is real Light and shadow agree. [END]'
    """
    if stage == 1:
        return QUESTION, ANSWERS[label]
    return QUESTION_WHY, f"{ANSWERS[label]} {' '.join(description.split())} [END]"


def measured(label: Label, pixels: np.ndarray, mask: np.ndarray | None) -> str:
    """A true description of a picture that has none: place and size of the mask, else noise and detail.

    Args:
        label: its class.
        pixels: (H, W, 3) uint8.
        mask: (H, W) uint8 0/255 where it is tampered.
    """
    if label == LABELS[TAMPERED]:
        return grammar.prose(f"{grammar.locate(mask)} changed") if mask is not None else "It was changed."
    return grammar.prose(grammar.describe_whole(label, pixels))


def optimiser_of(settings: SidaSettings, parameters: list[Any]) -> tuple[Any, Any]:
    """AdamW and its schedule, as the paper has them."""
    from transformers import get_scheduler

    how = settings.optimiser
    optimiser = torch.optim.AdamW(
        parameters, how.learning_rate, betas=how.betas, weight_decay=how.weight_decay
    )
    return optimiser, get_scheduler(how.schedule, optimiser, how.warmup, settings.steps)


def counts_of(batch: Batch) -> list[int]:
    """Pictures, tokens of answers, masks."""
    return [len(batch.labels), int((batch.targets != IGNORE).sum()), int((batch.seg_at >= 0).sum())]


def weighted(terms: Tensor, settings: SidaSettings) -> Tensor:
    """Equation 6 of stacked terms (4,)."""
    weights = settings.weights
    return Losses(*terms).total(
        detection=weights.detection, text=weights.text, mask=weights.mask, bce=weights.bce, dice=weights.dice
    )


def begin(settings: SidaSettings, *, resume: bool = False) -> tuple[Loop, SidaStep]:
    """A training that is ready to run.

    Raises:
        UsageError: data, start or an earlier run do not fit.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    accelerator = parallel.make_accelerator(
        precision=settings.precision, batch=settings.global_batch, micro=settings.per_device
    )
    out = ensure_new(Path(settings.out), resume=resume)
    with accelerator.main_process_first():
        material = gather(settings)
        loop = Loop(
            out, steps=settings.steps, checkpoints=settings.checkpoints, resume=resume,
            facts={"config": asdict(settings), "data": material.digest}, validate_every=settings.validation.every,
            tensorboard=settings.tensorboard,
        )  # fmt: skip
        model, processor = load_start(settings)
    return loop, SidaStep(settings, material, accelerator, model, processor)


def train(settings: SidaSettings, *, resume: bool = False) -> Path:
    """Carry out a training; the folder of the model that it leaves.

    Raises:
        UsageError: data, start or an earlier run do not fit. TrainingError: the loss is not finite.
    """
    loop, step = begin(settings, resume=resume)
    loop.run(step)
    return loop.finish(step)
