"""Labelled pictures for a training: any reader, weighted mixtures, equalised; every draw known by its number alone.

`Material` lists the pictures and refuses sets that cannot be learnt from. `Sampler` says which picture comes when: its
state is a few counters, so a training resumed at a step sees what it would have seen. `Loader` makes teacher-forced
examples; what is random about picture number n depends on the seed and on n.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelsleuth.compact import grammar
from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.data.equalise import EVALUATION, draw, equalise
from pixelsleuth.data.left_out import ABSENT, LeftOut
from pixelsleuth.data.masks import Mask
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import Sample, for_training, hold_out
from pixelsleuth.errors import PictureError, UsageError
from pixelsleuth.models.sida.prompts import ANSWERS, QUESTION, QUESTION_WHY
from pixelsleuth.models.sida.teacher import Example
from pixelsleuth.training.sida.config import Source, TrainConfig, fingerprint

if TYPE_CHECKING:
    from pixelsleuth.evaluation.perturbations import Chain

TAMPERED = 2
SUBSTITUTES = 20
"""Pictures of the same class that are tried where one cannot be read."""


@dataclass
class Material:
    """Samples of each data set, by class; and those held out for validation.

    `left_out` is what cannot be used, `set_aside` what this training does not learn from (another split or class, no
    description).
    """

    sets: list[list[list[Sample]]]
    validation: list[Sample]
    left_out: LeftOut = field(default_factory=LeftOut)
    set_aside: LeftOut = field(default_factory=LeftOut)

    def count(self, label: int) -> int:
        """Pictures of one class, over all sets."""
        return sum(len(one[label]) for one in self.sets)

    @property
    def masks(self) -> int:
        """Tampered pictures that have a mask."""
        return sum(sample.mask is not None for one in self.sets for sample in one[TAMPERED])

    @property
    def digest(self) -> str:
        """Changes where the pictures change: names, classes and texts, not the contents of files."""
        return fingerprint(
            [[[(s.path.name, s.description) for s in rows] for rows in one] for one in self.sets]
        )


def gather(config: TrainConfig, classes: Sequence[int] | None = (0, 1, TAMPERED)) -> Material:
    """Open all data sets of a configuration.

    Args:
        config: what to open.
        classes: those that must be there; pictures of others are left out. None: real, and fakes of whatever kind.

    Raises:
        UsageError: a class is missing, no tampered picture has a mask, stage 2 finds no descriptions.
    """
    material = Material([], [])
    for source in config.data:
        samples = _samples(source, config, material, classes)
        how = config.validation
        if how.every and how.hold_out and not how.data:
            path = Path(source.path)
            root = path if path.is_dir() else path.parent
            samples, held = hold_out(samples, share=how.hold_out, root=root)
            material.validation += held
        material.sets.append([[s for s in samples if s.label == label] for label in LABELS])
    for source in config.validation.data:
        material.validation += _samples(source, config, material, classes, texts=False)
    for label in (0,) if classes is None else classes:
        if not material.count(label):
            raise UsageError(_lacking(LABELS[label], config, classes) + _told(material))
    if classes is None and not material.count(1) + material.count(TAMPERED):
        told = _told(material)
        raise UsageError(f"The data have no fake picture, neither full_synthetic nor tampered.{told}")
    if config.weights.mask and not material.masks:
        raise UsageError(
            "No tampered picture of the data has a mask: add the column mask, or set weights.mask=0."
        )
    learnt = {str(name) for label, name in enumerate(LABELS) if material.count(label)}
    if config.validation.every and not learnt <= {str(sample.label) for sample in material.validation}:
        raise UsageError(
            "The validation pictures lack a class: hold out more, or name other validation.data."
        )
    return material


def _lacking(name: str, config: TrainConfig, classes: Sequence[int] | None) -> str:
    described = "with a description " if config.stage == 2 else ""
    needed = "all three classes" if classes == (0, 1, TAMPERED) else "it"
    return f"The data have no picture {described}of the class {name}: this training needs {needed}."


def _told(material: Material) -> str:
    both = (material.left_out.sentence(), material.set_aside.sentence("Not learnt from"))
    return "".join(f" {text}" for text in both if text)


def _samples(
    source: Source,
    config: TrainConfig,
    material: Material,
    classes: Sequence[int] | None,
    *,
    texts: bool = True,
) -> list[Sample]:
    data = open_data(
        source.path, source.reader, source.split, allow_outside=config.allow_outside, **source.settings
    )
    samples = [sample for sample in data if _is_there(sample, material)]
    material.left_out.join(data.left_out)
    aside = material.set_aside
    seen = for_training(samples) if texts and source.split is None else samples
    if len(seen) < len(samples):
        aside.add("not of the split train", count=len(samples) - len(seen))
    kept = []
    for sample in seen:
        if classes is not None and LABELS.index(sample.label) not in classes:
            aside.add("of no class that is learnt", str(sample.path))
        elif config.stage == 2 and texts and not _describable(sample, config):
            aside.add("no description", str(sample.path))
        else:
            kept.append(_on_disk(sample, Path(config.out) / "pictures") if sample.data else sample)
    return kept


def _is_there(sample: Sample, material: Material) -> bool:
    """True where its file exists, or its bytes are at hand; else counted, since another would be drawn for it."""
    if sample.data is not None or os.path.exists(str(sample.path)):
        return True
    material.left_out.add(ABSENT, str(sample.path))
    return False


def _describable(sample: Sample, config: TrainConfig) -> bool:
    """True where stage 2 has something to say of a picture."""
    if sample.description.strip():
        return True
    return config.descriptions == "measured" and (sample.label != LABELS[TAMPERED] or sample.mask is not None)


def _on_disk(sample: Sample, folder: Path) -> Sample:
    """A sample whose picture (and mask) came out of a shard, as files: a training draws in any order."""
    mask = sample.mask
    if isinstance(mask, Mask) and isinstance(mask.file, bytes):
        mask = dataclasses.replace(mask, file=_stored(mask.file, folder))
    elif isinstance(mask, bytes):
        mask = _stored(mask, folder)
    assert sample.data is not None
    return dataclasses.replace(sample, path=_stored(sample.data, folder), data=None, mask=mask)


def _stored(data: bytes, folder: Path) -> Path:
    name = hashlib.sha256(data).hexdigest()
    path = folder / name[:2] / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{name}.{os.getpid()}.partial")
        partial.write_bytes(data)
        os.replace(partial, path)
    return path


@dataclass(frozen=True)
class Draw:
    """Picture `number` of a training: set, class, place in that class's list."""

    number: int
    chosen: int
    label: int
    place: int


class Sampler:
    """Which pictures make a global batch.

    `mixed` gives every class the same share of each batch, what remains going round; `grouped` gives each micro-batch
    one class, as the release does; `natural` draws pictures as they are frequent. Each class of each set is gone
    through in a shuffled order that changes every time. `turns` says which class comes after which, one after the
    other by default: (0, 1, 0, 2) gives real pictures as many places as both kinds of fakes together.
    """

    def __init__(
        self, material: Material, config: TrainConfig, turns: Sequence[int] = (0, 1, TAMPERED)
    ) -> None:
        self.turns = tuple(turns)
        self.sizes = np.array([[len(rows) for rows in one] for one in material.sets])
        self.weights = np.array([source.weight for source in config.data])
        self.seed, self.how = config.seed, config.batches
        self.batch, self.micro = config.global_batch, config.per_device
        self.drawn, self.class_turn = 0, 0
        self.taken = np.zeros_like(self.sizes)
        self._orders: dict[tuple[int, int, int], np.ndarray] = {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"drawn": self.drawn, "class_turn": self.class_turn, "taken": self.taken.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.drawn, self.class_turn = int(state["drawn"]), int(state["class_turn"])
        self.taken = np.array(state["taken"])

    def next(self) -> list[Draw]:
        """The next global batch."""
        return [self._draw(label) for label in self._labels()]

    def _labels(self) -> list[int | None]:
        if self.how == "natural":
            return [None] * self.batch
        if self.how == "grouped":
            steps, each = -(-self.batch // self.micro), self.micro
        else:
            steps, each = self.batch, 1
        first, count = self.class_turn, len(self.turns)
        self.class_turn = (first + steps) % count
        labels = [self.turns[(first + i) % count] for i in range(steps) for _ in range(each)]
        return list(labels[: self.batch])

    def _draw(self, label: int | None) -> Draw:
        random = np.random.default_rng([self.seed, 0, self.drawn])
        shares = self.weights[:, None] * (self.sizes > 0)
        if label is None:
            shares = self.weights[:, None] * self.sizes / self.sizes.sum(1, keepdims=True).clip(1)
            chosen, label = divmod(int(random.choice(shares.size, p=shares.ravel() / shares.sum())), 3)
        else:
            chosen = int(random.choice(len(self.sizes), p=shares[:, label] / shares[:, label].sum()))
        turn, place = divmod(int(self.taken[chosen, label]), int(self.sizes[chosen, label]))
        self.taken[chosen, label] += 1
        self.drawn += 1
        return Draw(self.drawn - 1, chosen, label, int(self._order(chosen, label, turn)[place]))

    def _order(self, chosen: int, label: int, turn: int) -> np.ndarray:
        key = (chosen, label, turn)
        if key not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if k[:2] != key[:2]}
            random = np.random.default_rng([self.seed, 1, *key])
            self._orders[key] = random.permutation(int(self.sizes[chosen, label]))
        return self._orders[key]


class Loader:
    """Examples out of draws: read, equalised, perturbed, with question and true answer.

    A picture that cannot be read is replaced by the next of its class, and counted in `failed`. `empty` are the
    tampered pictures whose mask marks nothing, `marked` is True once another mask was read.
    """

    def __init__(self, material: Material, config: TrainConfig) -> None:
        self.material, self.config = material, config
        self.failed: dict[str, str] = {}
        self.empty: dict[str, None] = {}
        self.marked = False
        self.chains = perturbations(config.augment)

    def example(self, draw_: Draw) -> Example:
        """The example of one draw.

        Raises:
            UsageError: neither it nor its substitutes can be read.
        """
        rows = self.material.sets[draw_.chosen][draw_.label]
        for step in range(min(SUBSTITUTES, len(rows))):
            sample = rows[(draw_.place + step) % len(rows)]
            try:
                pixels, mask = self.read(sample, np.random.default_rng([self.config.seed, 2, draw_.number]))
            except PictureError as error:
                self.failed[str(sample.path)] = str(error)
                continue
            said = sample.description
            if self.config.stage == 2 and not said.strip():
                said = measured(sample.label, pixels, mask)
            question, answer = words(self.config.stage, draw_.label, said)
            return Example(pixels, draw_.label, question, answer, mask)
        raise UsageError(
            f"{len(self.failed)} pictures cannot be read (the last: {next(reversed(self.failed.values()))}); "
            "pixelsleuth datasets verify lists them."
        )

    def read(self, sample: Sample, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels (H, W, 3) and, where the sample is tampered and tells where, the mask (H, W) uint8 0/255."""
        picture, reading = sample.load()
        pixels = picture.pixels
        mask = reading.pixels if reading is not None and LABELS.index(sample.label) == TAMPERED else None
        if mask is not None and not mask.any():
            self.empty[str(sample.path)] = None
        elif mask is not None:
            self.marked = True
        if self.chains and random.random() < self.config.augment_share:
            chain = self.chains[int(random.integers(len(self.chains)))]
            pixels, mask = chain.apply(pixels, mask, key=str(sample.path), seed=int(random.integers(2**31)))
        if self.config.equalise != "off":
            how = draw(random) if self.config.equalise == "random" else EVALUATION
            pixels = equalise(pixels, how, random)
        if mask is None or not mask.any():
            return pixels, None
        return pixels, _fitted(mask, pixels.shape[:2])


def _fitted(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool -> uint8 0/255 of `size` (height, width), as a resize of the picture left it."""
    import cv2

    levels = mask.astype(np.uint8) * 255
    if levels.shape != tuple(size):
        levels = cv2.resize(levels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return levels


def words(stage: int, label: int, description: str) -> tuple[str, str]:
    """Question and answer: the class sentence, in stage 2 followed by the description.

    >>> words(2, 0, "Light and shadow agree.")[1]
    '[CLS] The image is real Light and shadow agree. [END]'
    """
    if stage == 1:
        return QUESTION, ANSWERS[label]
    return QUESTION_WHY, f"{ANSWERS[label]} {' '.join(description.split())} [END]"


def measured(label: Label, pixels: np.ndarray, mask: np.ndarray | None) -> str:
    """What can be truly said of a picture that nobody described: the mask's place and size, else noise and detail.

    Args:
        label: its class.
        pixels: (H, W, 3) uint8.
        mask: (H, W) uint8 0/255 where it is tampered.
    """
    if label == LABELS[TAMPERED]:
        return grammar.prose(f"{grammar.locate(mask)} changed") if mask is not None else "It was changed."
    return grammar.prose(grammar.describe_whole(label, pixels))


def perturbations(specs: Iterable[str]) -> list[Chain]:
    """The chains that `specs` name. Raises UsageError for an unknown one."""
    from pixelsleuth.evaluation.perturbations import parse

    return [parse(spec) for spec in specs]
