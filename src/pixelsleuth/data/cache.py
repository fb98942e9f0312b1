"""Decode a corpus once: pictures and masks in one memory-mapped file, so that training never waits for a decoder.

The cache holds three parts, split by group; groups that also occur in the evaluation split are dropped. `fit` is what
the branches learn on, `stack` is what the fusion learns on (it must not learn to trust a branch on pictures that the
branch knows by heart), `validation` is what neither sees. `train` stands for `fit` and `stack` together.

Run: `python -m pixelsleuth.data.cache --manifest corpus/manifest.csv --out runs/cache`
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelsleuth.core.errors import PictureError, PixelSleuthError, UsageError
from pixelsleuth.data.left_out import EMPTY_MASK, LeftOut, reason_of
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import LABELS, Sample, hold_out, without_groups_of

STACK_SHARE = 0.25
"""Share of the training groups that the fusion learns on."""


@dataclass(frozen=True)
class CachedPicture:
    """Pixels (H, W, 3) uint8; mask (H, W) uint8 0/255 or None; `label` is an index into LABELS."""

    name: str
    pixels: np.ndarray
    mask: np.ndarray | None
    label: int
    source: str
    generator: str
    polygons: tuple[np.ndarray, ...] = ()


def parts_of(
    manifest: Path, known: Path | None = None, *, allow_outside: bool = False, left_out: LeftOut | None = None
) -> dict[str, list[Sample]]:
    """The split `train` of a manifest as `fit`, `stack` and `validation`, less the groups of `eval`.

    `known` is a JSON file that names the pictures of `stack` and `validation` (relative to the manifest's folder): the
    parts that shipped weights were made with. Without it a hash of each group decides. What the reader leaves out goes
    into `left_out`.

    Raises:
        UsageError: `known` is about other pictures.
    """
    data = open_data(manifest, allow_outside=allow_outside)
    members = list(data)
    if left_out is not None:
        left_out.join(data.left_out)
    held = [sample for sample in members if sample.split == "eval"]
    samples = without_groups_of([sample for sample in members if sample.split == "train"], held)
    root = manifest.parent
    if known is None:
        training, validation = hold_out(samples, root=root)
        fit, stack = hold_out(training, share=STACK_SHARE, salt="stack", root=root)
        return {"fit": fit, "stack": stack, "validation": validation}
    part_of = {name: part for part, names in json.loads(known.read_text()).items() for name in names}
    parts: dict[str, list[Sample]] = {"fit": [], "stack": [], "validation": []}
    for sample in samples:
        parts[part_of.get(name_of(sample, root), "fit")].append(sample)
    if not parts["stack"] or not parts["validation"]:
        raise UsageError(
            f"{known} names no pictures of {manifest}: it is for another corpus; take parts=hash."
        )
    return parts


def name_of(sample: Sample, root: Path) -> str:
    """The sample's path relative to `root`, whole where it lies elsewhere."""
    path = sample.path
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def build_cache(
    manifest: Path, out: Path, known: Path | None = None, *, allow_outside: bool = False
) -> LeftOut:
    """Write `out/pictures.bin` and `out/index.json` for the manifest's split `train` (`known`: see `parts_of`); returns
    what could not be used.
    """
    left_out = LeftOut()
    parts = parts_of(manifest, known, allow_outside=allow_outside, left_out=left_out)
    objects_file = manifest.parent / "coco_instances.json"
    objects = json.loads(objects_file.read_text()) if objects_file.is_file() else {}
    out.mkdir(parents=True, exist_ok=True)
    index, offset = [], 0
    with (out / "pictures.bin").open("wb") as store:
        for split, part in parts.items():
            for sample in part:
                entry = _entry(sample, manifest.parent, objects, left_out)
                if entry is None:
                    continue
                row, blob = entry
                index.append({"split": split, "offset": offset, **row})
                store.write(blob)
                offset += len(blob)
    partial = out / "index.partial"
    partial.write_text(json.dumps(index))
    os.replace(partial, out / "index.json")
    return left_out


def _entry(sample: Sample, root: Path, objects: dict, left_out: LeftOut) -> tuple[dict, bytes] | None:
    """Row and bytes of a picture and its mask; None, counted, where they cannot be read."""
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
    row = {"name": name, "height": pixels.shape[0], "width": pixels.shape[1], "mask": has_mask}
    row |= {"label": LABELS.index(sample.label), "source": sample.source, "generator": sample.generator}
    return row | {"polygons": polygons}, blob


def load_cache(folder: Path, split: str) -> list[CachedPicture]:
    """All cached pictures of a part (`train`: of `fit` and `stack`), memory-mapped (read-only arrays)."""
    store = np.memmap(folder / "pictures.bin", dtype=np.uint8, mode="r")
    pictures = []
    for row in json.loads((folder / "index.json").read_text()):
        if row["split"] not in (("fit", "stack") if split == "train" else (split,)):
            continue
        height, width, offset = row["height"], row["width"], row["offset"]
        size = height * width
        pixels = store[offset : offset + 3 * size].reshape(height, width, 3)
        mask = store[offset + 3 * size : offset + 4 * size].reshape(height, width) if row["mask"] else None
        polygons = tuple(np.array(p, dtype=np.float32).reshape(-1, 2) for p in row["polygons"])
        pictures.append(
            CachedPicture(row["name"], pixels, mask, row["label"], row["source"], row["generator"], polygons)
        )
    return pictures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--parts",
        default="hash",
        help="JSON file that names the pictures of stack and validation, or 'hash': a hash of each group decides",
    )
    parser.add_argument(
        "--allow-outside",
        nargs="?",
        const="true",
        default="false",
        type=str.lower,
        choices=("true", "false"),
        help="also take paths that lead out of the manifest's folder",
    )
    options = parser.parse_args()
    known = None if options.parts == "hash" else Path(options.parts)
    try:
        allowed = options.allow_outside == "true"
        build_cache(options.manifest, options.out, known, allow_outside=allowed).tell()
    except PixelSleuthError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
