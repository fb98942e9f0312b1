"""Decoded pictures and masks of data sets in one memory-mapped file, so that training never waits for a decoder.

The cache holds the split `train` of every manifest; groups that also occur in an evaluation split are dropped. Sources
belong to *folds*: related sources (the same photographs, the same generator) lie in one fold, so that a fold
can be left out and stand for pictures of unknown origin.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.core.io import write_text
from pixelsleuth.core.settings import fill, read_yaml
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.data.left_out import EMPTY_MASK, LeftOut, reason_of
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import Sample, without_groups_of
from pixelsleuth.errors import PictureError, UsageError


@dataclass(frozen=True)
class Sources:
    """Which sources train together.

    `folds`: lists of sources. `measured`: sources that are only measured on; no gradient sees them. `unseen`: real
    sources that the branches never see, so that it can be measured what the branches know by heart.
    """

    folds: list[list[str]] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def fold(self, source: str) -> int:
        """The number of a source's fold; -1 for a source that is only measured on.

        Raises:
            UsageError: the file names no such source.
        """
        if source in self.measured:
            return -1
        for number, members in enumerate(self.folds):
            if source in members:
                return number
        raise UsageError(f"The source {source!r} belongs to no fold: add it to the file of sources.")

    @classmethod
    def read(cls, path: Path | None, names: set[str]) -> Sources:
        """The sources in the file `path`; without one, five folds that the `names` are dealt to in turn."""
        if path is None:
            ordered = sorted(names)
            return cls([ordered[start::5] for start in range(min(5, len(ordered)))])
        return fill(cls, read_yaml(path))


@dataclass(frozen=True)
class CachedPicture:
    """Pixels (H, W, 3) uint8; mask (H, W) uint8 0/255 or None; `label` is an index into LABELS."""

    name: str
    pixels: np.ndarray
    mask: np.ndarray | None
    label: int
    source: str
    generator: str
    fold: int = 0
    unseen: bool = False
    polygons: tuple[np.ndarray, ...] = ()


def training_samples(manifest: Path, left_out: LeftOut, *, allow_outside: bool = False) -> list[Sample]:
    """The split `train` of a manifest without the groups of `eval`; what the reader drops is counted in `left_out`."""
    data = open_data(manifest, allow_outside=allow_outside)
    members = list(data)
    left_out.join(data.left_out)
    held = [sample for sample in members if sample.split == "eval"]
    return without_groups_of([sample for sample in members if sample.split == "train"], held)


def name_of(sample: Sample, root: Path) -> str:
    """The sample's path relative to `root`; the whole path where it lies elsewhere."""
    path = sample.path
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def build_cache(
    manifests: list[Path], out: Path, sources: Path | None = None, *, allow_outside: bool = False
) -> LeftOut:
    """Write `out/pictures.bin` and `out/index.json` for the training splits; returns what was left out.

    Raises:
        UsageError: a source belongs to no fold.
    """
    left_out = LeftOut()
    sets = [
        (manifest, training_samples(manifest, left_out, allow_outside=allow_outside))
        for manifest in manifests
    ]
    known = Sources.read(sources, {sample.source for _, samples in sets for sample in samples})
    out.mkdir(parents=True, exist_ok=True)
    index: list[dict[str, Any]] = []
    offset = 0
    with (out / "pictures.bin").open("wb") as store:
        for manifest, samples in sets:
            objects_file = manifest.parent / "coco_instances.json"
            objects = json.loads(objects_file.read_text()) if objects_file.is_file() else {}
            for sample in samples:
                entry = _entry(sample, manifest.parent, objects, left_out)
                if entry is None:
                    continue
                row, blob = entry
                row |= {"fold": known.fold(sample.source), "unseen": sample.source in known.unseen}
                index.append({"offset": offset, **row})
                store.write(blob)
                offset += len(blob)
    write_text(out / "index.json", json.dumps(index))
    return left_out


def _entry(
    sample: Sample, root: Path, objects: dict[str, Any], left_out: LeftOut
) -> tuple[dict[str, Any], bytes] | None:
    """The index row and the bytes of a picture and its mask; None where they cannot be read, which is counted."""
    try:
        picture, mask = sample.load()
    except PictureError as error:
        left_out.add(reason_of(error), str(sample.path))
        return None
    if mask is not None and sample.label == LABELS[2] and not mask.pixels.any():
        left_out.add(EMPTY_MASK, str(sample.path))
    pixels = picture.pixels
    blob, has_mask = pixels.tobytes(), mask is not None
    if mask is not None:
        blob += (mask.pixels * np.uint8(255)).tobytes()
    name = name_of(sample, root)
    polygons = [p for o in objects.get(name, {}).get("objs", []) for p in o["polygons"] if len(p) >= 8]
    row = {"name": f"{root.name}/{name}", "height": pixels.shape[0], "width": pixels.shape[1]}
    row |= {"label": LABELS.index(sample.label), "source": sample.source, "generator": sample.generator}
    return row | {"polygons": polygons, "mask": has_mask}, blob


def load_cache(folder: Path) -> list[CachedPicture]:
    """All cached pictures, memory-mapped (read-only arrays)."""
    store = np.memmap(folder / "pictures.bin", dtype=np.uint8, mode="r")
    pictures = []
    for row in json.loads((folder / "index.json").read_text()):
        height, width, offset = row["height"], row["width"], row["offset"]
        size = height * width
        pixels = store[offset : offset + 3 * size].reshape(height, width, 3)
        mask = store[offset + 3 * size : offset + 4 * size].reshape(height, width) if row["mask"] else None
        polygons = tuple(np.array(p, dtype=np.float32).reshape(-1, 2) for p in row["polygons"])
        facts = {key: row[key] for key in ("name", "label", "source", "generator", "fold", "unseen")}
        pictures.append(CachedPicture(pixels=pixels, mask=mask, polygons=polygons, **facts))
    return pictures
