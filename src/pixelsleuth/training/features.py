"""Stage 2: run the trained branches once over a fixed set of canvases and keep what they saw.

Fusion and language model then train on these features for many epochs at a fraction of the cost. One shard is a folder
of .npy files (float16) and `records.json`; shards are made by separate processes.

Run: `python -m pixelsleuth.training.features --cache runs/cache --family runs/ae --branches runs --out
runs/features/0 --seed 0`
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixelsleuth.compact import grammar
from pixelsleuth.data.cache import load_cache
from pixelsleuth.data.sample import LABELS
from pixelsleuth.forge.autoencoders import load_family
from pixelsleuth.models.encoders.forensic import ForensicEncoder
from pixelsleuth.training.branches import BRANCHES, to_tensors
from pixelsleuth.training.mixture import TAMPERED, Canvas, Mixture

SIZE = 256
SHARES = (0.32, 0.3, 0.38)
ARRAYS = ("local", "texture", "repeats", "statistics", "mask")


def load_branches(folder: Path) -> ForensicEncoder:
    """An encoder whose branches come from stage 1's checkpoints; the fusion is untrained."""
    encoder = ForensicEncoder()
    for name in (*BRANCHES, "statistics"):
        if name == "statistics" and not (folder / name / "checkpoint.pt").is_file():
            continue  # its description is fixed; the perceptron is trained on shards
        state = torch.load(folder / name / "checkpoint.pt", weights_only=True)
        getattr(encoder, name).load_state_dict(state["model"])
    return encoder.eval()


def describe(canvas: Canvas) -> str:
    """The explanation that is true of a canvas: from the forge's record, or measured."""
    if canvas.label == TAMPERED:
        return grammar.describe_forgery(canvas.mask, canvas.operation, canvas.traces[0])
    return grammar.describe_whole(LABELS[canvas.label], canvas.pixels)


@torch.no_grad()
def write_shard(encoder: ForensicEncoder, mixture: Mixture, out: Path, *, count: int, batch: int = 8) -> None:
    """Make `count` canvases and store their features, masks (at stride 4) and records."""
    out.mkdir(parents=True, exist_ok=True)
    shapes: dict[str, tuple[int, ...]] = {
        "local": (33, SIZE // 4, SIZE // 4),
        "texture": (64, SIZE // 8, SIZE // 8),
    }
    shapes |= {
        "statistics": (encoder.statistics.norm.num_features,),
        "repeats": (17, SIZE // 8, SIZE // 8),
        "mask": (1, SIZE // 4, SIZE // 4),
    }
    stores = {
        name: np.lib.format.open_memmap(
            out / f"{name}.npy", mode="w+", dtype=np.float16, shape=(count, *shape)
        )
        for name, shape in shapes.items()
    }
    records = []
    for start in range(0, count, batch):
        labels = mixture.random.choice(3, size=min(batch, count - start), p=SHARES)
        canvases = [mixture.canvas(int(label), aligned=0.3) for label in labels]
        pictures, masks = to_tensors(canvases)
        traces, texture = encoder.traces(pictures)
        values = {
            "local": encoder.local_view(traces),
            "texture": texture,
            "repeats": encoder.repeats(pictures),
        }
        values["statistics"] = encoder.statistics.describe(pictures)
        values["mask"] = torch.nn.functional.avg_pool2d(masks, 4)
        for name, value in values.items():
            stores[name][start : start + len(canvases)] = value.numpy()
        records += [
            {"label": c.label, "text": describe(c), "source": c.source, "aligned": c.aligned}
            for c in canvases
        ]
        if start % 400 == 0:
            print(f"{start} of {count}", flush=True)
    (out / "records.json").write_text(json.dumps(records))


@dataclass
class Features:
    """Features of many canvases: arrays (N, ...) float16 by name, and their records."""

    arrays: dict[str, np.ndarray]
    records: list[dict]

    def __len__(self) -> int:
        return len(self.records)

    def batch(self, name: str, rows: np.ndarray) -> Tensor:
        """Rows of one array as float32."""
        return torch.from_numpy(self.arrays[name][rows]).float()


def load_features(folders: list[Path], *, aligned: bool = True) -> Features:
    """Join shards in memory; without `aligned` the autoencoders' fakes are left out."""
    records = [record for f in folders for record in json.loads((f / "records.json").read_text())]
    keep = np.array([aligned or not record["aligned"] for record in records])
    arrays = {name: np.concatenate([np.load(f / f"{name}.npy") for f in folders])[keep] for name in ARRAYS}
    return Features(arrays, [record for record, kept in zip(records, keep, strict=True) if kept])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("cache", "family", "branches", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--part", default="stack", choices=("stack", "validation"))
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    family = list(load_family(options.family).values())
    mixture = Mixture(load_cache(options.cache, options.part), family, size=SIZE, seed=1000 + options.seed)
    write_shard(load_branches(options.branches), mixture, options.out, count=options.count)


if __name__ == "__main__":
    main()
