"""Training pictures made on the fly: one canvas, one label, one mask, one record of what was done.

Tampered canvases are forged from cached pictures by `forge.edits`; synthetic ones are the corpus' generated pictures or
*aligned* fakes (photographs passed through an autoencoder). Every class then gets the same resize, noise and JPEG draw
(`data.equalise`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from pixelsleuth.data.cache import CachedPicture
from pixelsleuth.data.equalise import Draw, draw, equalise
from pixelsleuth.forge import edits
from pixelsleuth.forge.autoencoders import Autoencoder, regenerate
from pixelsleuth.forge.edits import Forgery
from pixelsleuth.forge.shapes import Random, bounding_box, outline_shape

REAL, SYNTHETIC, TAMPERED = 0, 1, 2
OPERATIONS = {
    "splice": 0.36,
    "copy-move": 0.24,
    "removal": 0.08,
    "local edit": 0.1,
    "generative edit": 0.1,
    "composite": 0.12,
}
"""Share of each operation among tampered canvases; `composite`: the corpus' own splices with their masks."""


@dataclass
class Canvas:
    """pixels (S, S, 3) uint8, mask (S, S) uint8 0/255, label index, what was done, and where it comes from."""

    pixels: np.ndarray
    mask: np.ndarray
    label: int
    operation: str = ""
    traces: list[str] = field(default_factory=list)
    source: str = ""
    aligned: bool = False


class Mixture:
    """Draws canvases. `family` holds the autoencoders that make aligned fakes and generative edits."""

    def __init__(
        self,
        pictures: list[CachedPicture],
        family: list[Autoencoder],
        *,
        size: int,
        seed: int,
        operations: dict[str, float] | None = None,
        leave_out: tuple[str, ...] = (),
    ) -> None:
        self.size, self.family, self.random = size, family, np.random.default_rng(seed)
        by_label: dict[int, list[CachedPicture]] = {REAL: [], SYNTHETIC: [], TAMPERED: []}
        for picture in pictures:
            if not picture.source.startswith(leave_out or ("\0",)):
                by_label[picture.label].append(picture)
        self.by_source = {label: _by_source(members) for label, members in by_label.items()}
        self.operations = operations or OPERATIONS

    def pick(self, label: int) -> CachedPicture:
        """A picture of a class: sources drawn by the square root of their size, so that none drowns the others."""
        sources, weights = self.by_source[label]
        members = sources[self.random.choice(len(sources), p=weights)]
        return members[self.random.integers(len(members))]

    def canvas(self, label: int, *, aligned: float = 0.5, how: Draw | None = None) -> Canvas:
        """One canvas of a class; `aligned` is the share of autoencoder fakes among the synthetic ones."""
        how = how or draw(self.random)
        if label == TAMPERED:
            return self._finish(self._tampered(how), how, TAMPERED)
        is_aligned = bool(label == SYNTHETIC and self.family and self.random.random() < aligned)
        picture = self.pick(REAL if is_aligned else label)
        cut = self._cut(picture.pixels, self._need(how))
        if is_aligned:
            cut = self._regenerate(cut)
        result = self._finish(Forgery(cut, np.zeros(cut.shape[:2], np.uint8), ""), how, label)
        result.source, result.aligned = picture.source, is_aligned
        return result

    def _regenerate(self, pixels: np.ndarray) -> np.ndarray:
        return regenerate(self.family[self.random.integers(len(self.family))], pixels)

    def _need(self, how: Draw) -> int:
        return int(np.ceil(self.size / how.scale)) + 1

    def _window(self, shape: tuple[int, ...], size: int, random: Random) -> tuple[slice, slice]:
        grid = 8 if random.random() < 0.5 else 1
        starts = [int(random.integers(max(length - size, 0) // grid + 1)) * grid for length in shape[:2]]
        return slice(starts[0], starts[0] + size), slice(starts[1], starts[1] + size)

    def _cut(self, pixels: np.ndarray, size: int) -> np.ndarray:
        pixels = np.asarray(pixels)
        if self.random.random() < 0.5:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels[self._window(pixels.shape, size, self.random)])

    def _tampered(self, how: Draw) -> Forgery:
        random, need = self.random, self._need(how)
        names = list(self.operations)
        shares = np.array([self.operations[name] for name in names])
        operation = names[random.choice(len(names), p=shares / shares.sum())]
        if operation == "composite":
            return self._composite(need)
        base = self.pick(REAL if operation == "generative edit" or random.random() < 0.85 else SYNTHETIC)
        canvas = self._cut(base.pixels, need)
        if operation == "splice":
            donor, mask, synthetic = self._donor(need)
            return edits.splice(canvas, donor, mask, random, synthetic=synthetic)
        mask = edits.shape_in(canvas, random)
        if operation == "copy-move":
            return edits.copy_move(canvas, mask, random)
        if operation == "removal":
            return edits.removal(canvas, mask, random)
        if operation == "generative edit":
            return edits.generative_edit(canvas, self._regenerate(canvas), mask, random)
        return edits.local_edit(canvas, mask, random)

    def _composite(self, need: int) -> Forgery:
        picture = self.pick(TAMPERED)
        for _ in range(4):
            window = self._window(picture.pixels.shape, need, self.random)
            mask = picture.mask[window] if picture.mask is not None else None
            if mask is not None and 0.01 < mask.mean() / 255 < 0.6:
                break
        assert mask is not None
        return Forgery(np.ascontiguousarray(picture.pixels[window]), np.array(mask), "splice", ["noise"])

    def _donor(self, need: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """A donor picture, its region's mask, and whether it is synthetic."""
        synthetic = self.random.random() < 0.25
        donor = self.pick(SYNTHETIC if synthetic else REAL)
        if donor.polygons and self.random.random() < 0.9:
            mask = outline_shape(
                donor.polygons[self.random.integers(len(donor.polygons))], *donor.pixels.shape[:2]
            )
            if bounding_box(mask) is not None and (mask > 0).mean() > 0.003:
                return np.asarray(donor.pixels), mask, synthetic
        cut = self._cut(donor.pixels, max(need, 128))
        return cut, edits.shape_in(cut, self.random), synthetic

    def _finish(self, forgery: Forgery, how: Draw, label: int) -> Canvas:
        pixels = equalise(forgery.pixels, how, self.random)
        mask = forgery.mask
        if how.scale != 1.0:
            mask = cv2.resize(mask, pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        pixels, mask = pixels[: self.size, : self.size], mask[: self.size, : self.size]
        if pixels.shape[:2] != (self.size, self.size):
            lack = [(0, self.size - pixels.shape[0]), (0, self.size - pixels.shape[1])]
            pixels, mask = np.pad(pixels, [*lack, (0, 0)], mode="reflect"), np.pad(mask, lack, mode="reflect")
        if label == TAMPERED and not mask.any():
            label = REAL  # the region fell outside: what is left was never changed
        return Canvas(pixels, mask, label, forgery.operation, forgery.traces)


def _by_source(members: list[CachedPicture]) -> tuple[list[list[CachedPicture]], np.ndarray]:
    groups: dict[str, list[CachedPicture]] = {}
    for member in members:
        groups.setdefault(member.source, []).append(member)
    weights = np.sqrt([len(group) for group in groups.values()])
    return list(groups.values()), weights / weights.sum() if len(weights) else weights
