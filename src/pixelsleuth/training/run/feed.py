"""Batches of a training: which picture comes when, read ahead in threads; every draw is known by its number alone.

`Sampler` chooses the pictures. Its state is a few counters, so a resumed training sees what it would have seen.
`Loader` reads them; what is random about picture number n depends on the seed and on n. `Feed` joins the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from pixelsleuth.core.verdict import LABELS
from pixelsleuth.data.equalise import EVALUATION, draw, equalise
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import PictureError, UsageError
from pixelsleuth.training.run.data import CLASSES, TAMPERED, Material
from pixelsleuth.training.run.log import Alarms
from pixelsleuth.training.run.settings import RunSettings

B = TypeVar("B")
E = TypeVar("E")
SUBSTITUTES = 20
"""Pictures of the same class that are tried where one cannot be read."""


class Draw(NamedTuple):
    """The `number`-th picture of a training: data set, class, and place in that class' list."""

    number: int
    chosen: int
    label: int
    place: int


class Labelled(NamedTuple):
    """A picture that was read: pixels (H, W, 3) uint8; mask (H, W) uint8 0/255 of a tampered picture, else None."""

    number: int
    sample: Sample
    label: int
    pixels: np.ndarray
    mask: np.ndarray | None


class Sampler:
    """Which pictures make a global batch.

    `mixed` gives every class the same share of each batch, and the remainder to each class in turn; `grouped` fills
    each micro-batch with one class, as the release does; `natural` draws every picture of a set with the same chance.
    Each class of each set is gone through in a shuffled order that changes every time. `turns` is the order of the
    classes: (0, 1, 0, 2) gives real pictures as many places as both kinds of fakes together.
    """

    def __init__(self, material: Material, settings: RunSettings, turns: Sequence[int] = CLASSES) -> None:
        self.turns = tuple(turns)
        self.sizes = np.array([[len(rows) for rows in classes] for classes in material.sets])
        self.weights = np.array([source.weight for source in settings.data])
        self.seed, self.how = settings.seed, settings.batches
        self.batch, self.micro = settings.batch_sizes
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
    """Pictures of draws: read, perturbed, equalised.

    A picture that cannot be read is replaced by the next of its class; `failed` holds its name and why. `empty` holds
    the tampered pictures whose mask marks nothing, `marked` is True once another mask was read.
    """

    def __init__(self, material: Material, settings: RunSettings) -> None:
        from pixelsleuth.evaluation.perturbations import parse

        self.material, self.settings = material, settings
        self.failed: dict[str, str] = {}
        self.empty: dict[str, None] = {}
        self.marked = False
        self.chains = [parse(spec) for spec in settings.augment]

    def example(self, draw_: Draw) -> Labelled:
        """The picture of one draw.

        Raises:
            UsageError: neither it nor its substitutes can be read.
        """
        rows = self.material.sets[draw_.chosen][draw_.label]
        for offset in range(min(SUBSTITUTES, len(rows))):
            sample = rows[(draw_.place + offset) % len(rows)]
            try:
                pixels, mask = self.read(sample, np.random.default_rng([self.settings.seed, 2, draw_.number]))
            except PictureError as error:
                self.failed[str(sample.path)] = str(error)
                continue
            return Labelled(draw_.number, sample, draw_.label, pixels, mask)
        raise UsageError(
            f"{len(self.failed)} pictures cannot be read (the last: {next(reversed(self.failed.values()))}); "
            "pixelsleuth datasets verify lists them."
        )

    def read(self, sample: Sample, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels (H, W, 3) and, for a tampered sample that has one, the mask (H, W) uint8 0/255."""
        picture, reading = sample.load()
        pixels = picture.pixels
        mask = reading.pixels if reading is not None and LABELS.index(sample.label) == TAMPERED else None
        if mask is not None and not mask.any():
            self.empty[str(sample.path)] = None
        elif mask is not None:
            self.marked = True
        if self.chains and random.random() < self.settings.augment_share:
            chain = self.chains[int(random.integers(len(self.chains)))]
            pixels, mask = chain.apply(pixels, mask, key=str(sample.path), seed=int(random.integers(2**31)))
        if self.settings.equalise != "off":
            how = draw(random) if self.settings.equalise == "random" else EVALUATION
            pixels = equalise(pixels, how, random)
        if mask is None or not mask.any():
            return pixels, None
        return pixels, _fitted(mask, pixels.shape[:2])


class Batches(Generic[B]):
    """What a loop learns from."""

    def batches(self, first: int, last: int) -> Iterator[tuple[B, Any]]:
        """Batches of the steps `first` + 1 to `last`, each with the state (JSON) to resume from."""
        raise NotImplementedError

    def restore(self, state: Any) -> None:
        """Go on from a state that `batches` gave."""

    def alarms(self, alarms: Alarms, step: int) -> list[str]:
        """Sentences about pictures that spoil the training."""
        del alarms, step
        return []

    def remarks(self) -> str:
        """A sentence for the end of the training; empty where there is nothing to say."""
        return ""


class Numbered(Batches[B]):
    """Batches that depend on their number alone: `make(n)` is that of step n + 1."""

    def __init__(self, make: Callable[[int], B]) -> None:
        self.make = make

    def batches(self, first: int, last: int) -> Iterator[tuple[B, Any]]:
        for number in range(first, last):
            yield self.make(number), None


class Feed(Batches[list[E]]):
    """Batches of labelled pictures, one step read ahead.

    Args:
        material: pictures by set and class; what it leaves out is printed on standard error.
        settings: batch, seed, augmentation, threads.
        example: makes an example of a picture, in a thread.
        turns: as for `Sampler`.
        rank, world: this process and their number; each gets its part of every batch.
    """

    def __init__(
        self, material: Material, settings: RunSettings, example: Callable[[Labelled], E], *,
        turns: Sequence[int] = CLASSES, rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        if rank == 0:
            material.left_out.tell()
            material.set_aside.tell("Not learnt from")
        self.sampler, self.loader = Sampler(material, settings, turns), Loader(material, settings)
        self.example, self.workers, self.rank, self.world = example, settings.workers, rank, world

    def batches(self, first: int, last: int) -> Iterator[tuple[list[E], dict[str, Any]]]:
        """Examples of the steps `first` + 1 to `last`, each with the sampler's state after it."""
        if self.workers == 0:
            for _ in range(first, last):
                yield [self._made(drawn) for drawn in self._share()], self.sampler.state()
            return
        with ThreadPoolExecutor(self.workers) as pool:

            def ahead() -> tuple[list[Future[E]], dict[str, Any]]:
                share = self._share()
                return [pool.submit(self._made, drawn) for drawn in share], self.sampler.state()

            try:
                coming = ahead() if first < last else None
                for step in range(first, last):
                    assert coming is not None
                    futures, state = coming
                    coming = ahead() if step + 1 < last else None
                    yield [future.result() for future in futures], state
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _made(self, drawn: Draw) -> E:
        return self.example(self.loader.example(drawn))

    def _share(self) -> list[Draw]:
        """This process' part of the next global batch."""
        draws = self.sampler.next()
        each = len(draws) // self.world
        return draws[self.rank * each :][:each]

    def restore(self, state: Any) -> None:
        self.sampler.restore(state)

    def alarms(self, alarms: Alarms, step: int) -> list[str]:
        return alarms.look_at_masks(step, self.loader.empty, self.loader.marked)

    def remarks(self) -> str:
        if not self.loader.failed:
            return ""
        name, why = next(iter(self.loader.failed.items()))
        return (
            f"{len(self.loader.failed)} pictures could not be read and were replaced, such as {name}: {why}"
        )


def _fitted(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool -> uint8 0/255 of `size` (height, width), as a resize of the picture left it."""
    import cv2

    levels = mask.astype(np.uint8) * 255
    if levels.shape != tuple(size):
        levels = cv2.resize(levels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return levels
