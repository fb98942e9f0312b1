"""Stored features: what the frozen views see of a fixed set of canvases, computed once.

Masks and language train on these for many epochs at a fraction of the cost. A shard is a folder of .npy files and
journals; every canvas depends on the shard's seed and its number alone, so that a shard that was cut off is completed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pixelsleuth.compact import grammar
from pixelsleuth.core.io import read_json_lines, write_text
from pixelsleuth.core.progress import progress
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.data.picture_cache import load_cache
from pixelsleuth.models.backbones.efficientnet import load_lite
from pixelsleuth.models.compact.compact_sida import CompactSida
from pixelsleuth.models.compact.forensic import ForensicEncoder
from pixelsleuth.models.compact.onnx_graphs import export_graphs
from pixelsleuth.training.compact.fit import weights_of
from pixelsleuth.training.compact.mixture import TAMPERED, Canvas, Mixture, load_aligned
from pixelsleuth.training.compact.settings import CompactRecipe
from pixelsleuth.training.compact.train_branches import BRANCHES

SIZE = 224
SHARES = (0.32, 0.33, 0.35)
"""Of real, synthetic and tampered canvases."""
ALIGNED = 0.15
"""Share of autoencoder fakes among synthetic canvases."""
CHUNK = 64
GRAPHS = {"views": ("repeats", "look", "statistics"), "local": ("traces",)}
"""The graphs that each part of a shard needs."""
ARRAYS = ("local", "repeats", "map4", "map8", "map16", "description", "mask")


def shard_stage(recipe: CompactRecipe, what: Literal["views", "local"], seed: int) -> None:
    """Store one part of the shard number `seed`: `views`, or the trained `local` view."""
    pictures = load_cache(recipe.folder("cache"))
    used = [picture for picture in pictures if picture.fold >= 0]
    mixture = Mixture(used, load_aligned(recipe.folder("aligned"), pictures), size=SIZE)
    branch = "repeat" if what == "views" else "local"
    views = Views(load_encoder(recipe, (branch,)), GRAPHS[what])
    write_shard(views, mixture, recipe.shards[seed], what, seed=seed, count=recipe.features.count)


def load_encoder(recipe: CompactRecipe, branches: Collection[str] = tuple(BRANCHES)) -> ForensicEncoder:
    """An encoder with EfficientNet-Lite0's weights and the trained `branches`; everything else is untrained."""
    encoder = ForensicEncoder()
    encoder.lite = load_lite(Path(recipe.lite))
    for name in branches:
        getattr(encoder, name).load_state_dict(weights_of(recipe.folder(name)))
    return encoder.eval()


def words_for(canvas: Canvas) -> str:
    """The explanation that is true of a canvas: from the forge's record, or measured."""
    if canvas.label == TAMPERED:
        operation = "splice" if canvas.operation == "text" else canvas.operation
        return grammar.describe_forgery(canvas.mask, operation, canvas.traces[0])
    return grammar.describe_whole(LABELS[canvas.label], canvas.pixels)


def canvas_of(mixture: Mixture, seed: int, number: int) -> Canvas:
    """Canvas `number` of a shard."""
    mixture.random = np.random.default_rng([4, seed, number])
    return mixture.canvas(int(mixture.random.choice(3, p=SHARES)), aligned=ALIGNED)


class Views:
    """The views of pictures through the exported graphs: what the detector will compute, and twice as fast.

    `names`: of `traces`, `repeats`, `look`, `statistics`.
    """

    def __init__(self, encoder: ForensicEncoder, names: Collection[str]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        with tempfile.TemporaryDirectory() as folder:
            paths = export_graphs(CompactSida(encoder).eval(), Path(folder), names)
            self.graphs = {path.stem: onnxruntime.InferenceSession(str(path), options) for path in paths}
        self.encoder = encoder

    def run(self, name: str, picture: np.ndarray) -> list[np.ndarray]:
        """One graph on pictures (1, H, W, 3) uint8."""
        return self.graphs[name].run(None, {"picture": picture})

    def describe(self, picture: np.ndarray) -> np.ndarray:
        """The description (1, D) of a picture (1, H, W, 3), a single window."""
        return np.concatenate([self.run("look", picture)[-1], *self.run("statistics", picture)], axis=1)

    def views(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        """All views of a picture (1, H, W, 3) but the local one, by name."""
        *maps, moments = self.run("look", picture)
        described = np.concatenate([moments, *self.run("statistics", picture)], axis=1)
        named = dict(zip(("map4", "map8", "map16"), maps, strict=True))
        return named | {"repeats": self.run("repeats", picture)[0], "description": described}

    @torch.no_grad()
    def local(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        """The local view (1, 33, H/4, W/4)."""
        traces = torch.from_numpy(self.run("traces", picture)[0])
        return {"local": self.encoder.local_view(traces).numpy()}


def write_shard(views: Views, mixture: Mixture, out: Path, what: str, *, seed: int, count: int) -> None:
    """Make `count` canvases and store their views in `out`: the `local` view, or all others (`views`)."""
    out.mkdir(parents=True, exist_ok=True)
    see = views.views if what == "views" else views.local
    shapes = {
        name: (count, *value.shape[1:]) for name, value in see(np.zeros((1, SIZE, SIZE, 3), np.uint8)).items()
    }
    if what == "views":
        shapes["mask"] = (count, 1, SIZE // 4, SIZE // 4)
    stores = _stores(out, shapes)
    journal = out / f"{what}.jsonl"
    done = keep_whole_lines(journal, CHUNK)
    with progress(f"{what} {seed}", count, done=done) as bar:
        for first in range(done, count, CHUNK):
            records = []
            for number in range(first, min(first + CHUNK, count)):
                canvas = canvas_of(mixture, seed, number)
                for name, value in see(canvas.pixels[None]).items():
                    stores[name][number] = value[0]
                if what == "views":
                    shares = canvas.mask.reshape(SIZE // 4, 4, SIZE // 4, 4).mean(axis=(1, 3)) / 255
                    stores["mask"][number, 0] = shares
                records.append(json.dumps(_record(canvas)) + "\n")
                bar()
            for store in stores.values():
                store.flush()
            with journal.open("a") as handle:
                handle.write("".join(records))
    (out / f"{what}.finished").touch()


def keep_whole_lines(journal: Path, chunk: int = 1) -> int:
    """Cut a journal to whole chunks of lines, as a killed run may have left less, and return how many lines it has."""
    if not journal.is_file():
        return 0
    lines = [json.dumps(line) + "\n" for _, line in read_json_lines(journal)]
    done = len(lines) // chunk * chunk
    write_text(journal, "".join(lines[:done]))
    return done


def _stores(out: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.memmap]:
    stores = {}
    for name, shape in shapes.items():
        path = out / f"{name}.npy"
        mode = "r+" if path.is_file() else "w+"
        stores[name] = np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=shape)
    return stores


def _record(canvas: Canvas) -> dict[str, Any]:
    return {
        "label": canvas.label,
        "text": words_for(canvas),
        "source": canvas.source,
        "fold": canvas.fold,
        "aligned": canvas.aligned,
    }


@dataclass
class Features:
    """Features of N canvases: arrays (N, ...) float16 by name, and their records; `extra` lies in memory."""

    shards: list[dict[str, np.ndarray]]
    records: list[dict[str, Any]]
    extra: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.records)

    @property
    def labels(self) -> np.ndarray:
        """(N,) int."""
        return np.array([record["label"] for record in self.records])

    @property
    def folds(self) -> np.ndarray:
        """(N,) int."""
        return np.array([record["fold"] for record in self.records])

    def batch(self, name: str, rows: np.ndarray) -> Tensor:
        """Rows (sorted) of one array as float32."""
        if name in self.extra:
            return torch.from_numpy(self.extra[name][rows]).float()
        parts, first = [], 0
        for shard in self.shards:
            length = len(shard[name])
            inside = rows[(rows >= first) & (rows < first + length)] - first
            if len(inside):
                parts.append(shard[name][inside])
            first += length
        return torch.from_numpy(np.concatenate(parts)).float()


def load_features(folders: list[Path]) -> Features:
    """The features of all shards; the large arrays stay on disk."""
    shards, records = [], []
    for folder in folders:
        lines = [record for _, record in read_json_lines(folder / "views.jsonl")]
        shards.append({name: np.load(folder / f"{name}.npy", mmap_mode="r")[: len(lines)] for name in ARRAYS})
        records += lines
    return Features(shards, records, {})
