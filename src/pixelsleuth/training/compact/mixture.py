"""Training pictures made on the fly: canvases, each with its label, its mask and a record of what was done.

Tampered canvases are forged from cached pictures by `forge.edits`; synthetic ones are generated pictures of the corpora
or *aligned* fakes (photographs passed through an autoencoder, `forge.autoencoders`). In every class, each picture first
gets a history of its own (`Prior`), some canvases are made hard (`forge.hard`), and all are equalised alike: resize,
noise and JPEG by `data.equalise`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pixelsleuth.data.equalise import Draw, draw, equalise, jpeg
from pixelsleuth.data.picture_cache import CachedPicture
from pixelsleuth.forge import edits
from pixelsleuth.forge.edits import Forgery, Random, bounding_box, outline_shape
from pixelsleuth.forge.hard import hard_case

REAL, SYNTHETIC, TAMPERED = 0, 1, 2
OPERATIONS = {
    "splice": 0.36,
    "copy-move": 0.22,
    "removal": 0.08,
    "local edit": 0.1,
    "text": 0.03,
    "generative edit": 0.09,
    "composite": 0.12,
}
"""Share of each operation among tampered canvases; `composite`: the corpora's own splices with their masks."""
HARD = 0.12
"""Share of canvases, of every class, that are made hard."""


@dataclass
class Canvas:
    """Pixels (S, S, 3) uint8, mask (S, S) uint8 0/255, label index, the operation with its traces, and the origin."""

    pixels: np.ndarray
    mask: np.ndarray
    label: int
    operation: str = ""
    traces: list[str] = field(default_factory=list)
    source: str = ""
    fold: int = 0
    aligned: bool = False


@dataclass(frozen=True)
class Prior:
    """The history of a picture before it is forged or judged: a reduction, a JPEG pass, both or neither."""

    scale: float = 1.0
    quality: int | None = None
    full_chroma: bool = False

    @classmethod
    def draw(cls, random: Random) -> Prior:
        scale = random.uniform(0.65, 0.95) if random.random() < 0.3 else 1.0
        quality = int(random.integers(55, 96)) if random.random() < 0.45 else None
        return cls(scale, quality, bool(random.random() < 0.4))

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8, sides times `scale`."""
        if self.scale != 1.0:
            pixels = cv2.resize(pixels, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
        return pixels if self.quality is None else jpeg(pixels, self.quality, self.full_chroma)


class Mixture:
    """Draws canvases of `size` pixels.

    `aligned` holds autoencoder copies of photographs by the picture's name, for aligned fakes and generative edits. A
    canvas depends on the generator `random` alone, which may be replaced at any time.
    """

    def __init__(
        self,
        pictures: list[CachedPicture],
        aligned: Mapping[str, np.ndarray],
        *,
        size: int,
        seed: int = 0,
        operations: Mapping[str, float] | None = None,
    ) -> None:
        self.size, self.aligned, self.random = size, aligned, np.random.default_rng(seed)
        by_label: dict[int, list[CachedPicture]] = {REAL: [], SYNTHETIC: [], TAMPERED: []}
        for picture in pictures:
            by_label[picture.label].append(picture)
        self.by_source = {label: _by_source(members) for label, members in by_label.items()}
        self.copied = _by_source([picture for picture in by_label[REAL] if picture.name in aligned])
        operations = dict(operations or OPERATIONS)
        if not by_label[TAMPERED]:
            operations.pop("composite", None)
        if not self.copied[0]:
            operations.pop("generative edit", None)
        self.operations = operations

    def pick(self, label: int) -> CachedPicture:
        """A picture of a class. Sources are drawn by the square root of their size, so that none outweighs the rest."""
        return self._drawn(self.by_source[label])

    def canvas(self, label: int, *, aligned: float = 0.0, how: Draw | None = None) -> Canvas:
        """One canvas of a class; `aligned` is the share of autoencoder fakes among the synthetic ones."""
        how = how or self.draw()
        if label == TAMPERED:
            forgery, base = self._tampered(how)
            return self.finish(forgery, how, TAMPERED, base)
        is_aligned = bool(label == SYNTHETIC and self.copied[0] and self.random.random() < aligned)
        picture = self._drawn(self.copied) if is_aligned else self.pick(label)
        pixels = self.aligned[picture.name] if is_aligned else picture.pixels
        cut = self.cut(pixels, self.side_before(how))
        result = self.finish(Forgery(cut, np.zeros(cut.shape[:2], np.uint8), ""), how, label, picture)
        result.aligned = is_aligned
        return result

    def _drawn(self, sources: tuple[list[list[CachedPicture]], np.ndarray]) -> CachedPicture:
        members = sources[0][self.random.choice(len(sources[0]), p=sources[1])]
        return members[self.random.integers(len(members))]

    def draw(self) -> Draw:
        """Draw how a canvas is equalised; a reduced picture must still fill the canvas."""
        how = draw(self.random, resize=0.25)
        return dataclasses.replace(how, scale=max(how.scale, min(1.0, self.size / 300)))

    def side_before(self, how: Draw) -> int:
        """The side in pixels that a canvas needs before `how` resizes it."""
        return int(np.ceil(self.size / how.scale)) + 1

    def _window(self, shape: tuple[int, ...], size: int, random: Random) -> tuple[slice, slice]:
        grid = 8 if random.random() < 0.5 else 1
        starts = [int(random.integers(max(length - size, 0) // grid + 1)) * grid for length in shape[:2]]
        return slice(starts[0], starts[0] + size), slice(starts[1], starts[1] + size)

    def cut(self, pixels: np.ndarray, size: int) -> np.ndarray:
        """A window of `size` pixels, mirrored or not, of a picture with a history."""
        return self._cuts([pixels], size)[0]

    def _cuts(self, pictures: list[np.ndarray], size: int) -> list[np.ndarray]:
        """The same window of pictures of one size, each mirrored and given the same history."""
        prior, shape = Prior.draw(self.random), pictures[0].shape
        if min(shape[:2]) * prior.scale < size:
            prior = dataclasses.replace(prior, scale=1.0)
        window = self._window(shape, int(np.ceil(size / prior.scale)), self.random)
        mirrored = self.random.random() < 0.5
        cuts = [
            np.ascontiguousarray(pixels[window][:, ::-1] if mirrored else pixels[window])
            for pixels in pictures
        ]
        return [prior.apply(cut) for cut in cuts]

    def _tampered(self, how: Draw) -> tuple[Forgery, CachedPicture]:
        random, need = self.random, self.side_before(how)
        names = list(self.operations)
        shares = np.array([self.operations[name] for name in names])
        operation = names[random.choice(len(names), p=shares / shares.sum())]
        if operation == "composite":
            return self._composite(need)
        if operation == "generative edit":
            base = self._drawn(self.copied)
            canvas, copy = self._cuts([np.asarray(base.pixels), self.aligned[base.name]], need)
            return edits.generative_edit(canvas, copy, edits.shape_in(canvas, random), random), base
        base = self.pick(REAL if random.random() < 0.85 else SYNTHETIC)
        canvas = self.cut(base.pixels, need)
        if operation == "splice":
            donor, mask, synthetic = self._donor(need)
            return edits.splice(canvas, donor, mask, random, synthetic=synthetic), base
        if operation == "text":
            return edits.text(canvas, random), base
        mask = edits.shape_in(canvas, random)
        forge = {"copy-move": edits.copy_move, "removal": edits.removal, "local edit": edits.local_edit}[
            operation
        ]
        return forge(canvas, mask, random), base

    def _composite(self, need: int) -> tuple[Forgery, CachedPicture]:
        picture = self.pick(TAMPERED)
        for _ in range(4):
            window = self._window(picture.pixels.shape, need, self.random)
            mask = picture.mask[window] if picture.mask is not None else None
            if mask is not None and 0.01 < mask.mean() / 255 < 0.6:
                break
        assert mask is not None
        return Forgery(
            np.ascontiguousarray(picture.pixels[window]), np.array(mask), "splice", ["noise"]
        ), picture

    def _donor(self, need: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """A donor picture with a history of its own, its region's mask, and whether it is synthetic."""
        synthetic = self.random.random() < 0.25
        donor = self.pick(SYNTHETIC if synthetic else REAL)
        if donor.polygons and self.random.random() < 0.9:
            mask = outline_shape(
                donor.polygons[self.random.integers(len(donor.polygons))], *donor.pixels.shape[:2]
            )
            if bounding_box(mask) is not None and (mask > 0).mean() > 0.003:
                prior = dataclasses.replace(Prior.draw(self.random), scale=1.0)
                return prior.apply(np.array(donor.pixels)), mask, synthetic
        cut = self.cut(donor.pixels, max(need, 128))
        return cut, edits.shape_in(cut, self.random), synthetic

    def finish(self, forgery: Forgery, how: Draw, label: int, picture: CachedPicture) -> Canvas:
        """Make some canvases hard, equalise them as `how` says, and cut or pad them to the canvas' size."""
        pixels = forgery.pixels
        if self.random.random() < HARD:
            pixels = hard_case(pixels, self.random)
        pixels = equalise(pixels, how, self.random)
        mask = forgery.mask
        if how.scale != 1.0:
            mask = cv2.resize(mask, pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        pixels, mask = pixels[: self.size, : self.size], mask[: self.size, : self.size]
        if pixels.shape[:2] != (self.size, self.size):
            lack = [(0, self.size - pixels.shape[0]), (0, self.size - pixels.shape[1])]
            pixels, mask = np.pad(pixels, [*lack, (0, 0)], mode="reflect"), np.pad(mask, lack, mode="reflect")
        if label == TAMPERED and not mask.any():
            # The region fell outside: what is left was never changed.
            label = SYNTHETIC if picture.label == SYNTHETIC else REAL
        changed = (forgery.operation, forgery.traces) if label == TAMPERED else ("", [])
        return Canvas(pixels, mask, label, *changed, source=picture.source, fold=picture.fold)


def load_aligned(folder: Path, pictures: list[CachedPicture]) -> dict[str, np.ndarray]:
    """The autoencoder copies in `folder` (`forge.autoencoders`) by the name of the picture; `pictures`: the
    whole cache."""
    return {
        pictures[int(path.stem)].name: np.load(path, allow_pickle=False)
        for path in sorted(folder.glob("[0-9]*.npy"))
    }


def _by_source(members: list[CachedPicture]) -> tuple[list[list[CachedPicture]], np.ndarray]:
    groups: dict[str, list[CachedPicture]] = {}
    for member in members:
        groups.setdefault(member.source, []).append(member)
    weights = np.sqrt([len(group) for group in groups.values()])
    return list(groups.values()), weights / weights.sum() if len(weights) else weights
