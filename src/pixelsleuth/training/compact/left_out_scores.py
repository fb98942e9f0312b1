"""Scores on sources that the training left out: what calibration and decision are fitted on.

Pictures of every source, and forgeries made of them, are judged by the whole head and the language model that never saw
the source's fold. Each is judged as it is (one JPEG pass, as evaluation equalises), recompressed, and reduced; and each
of these in three views: itself and the two mild re-saves that a conclusive verdict has to survive (`core.resaves`).

All folds share the branches and the mask. The branches never saw the sources marked `unseen`; the forgeries of these,
and the sources that no gradient sees, set the mask's threshold and measure its claims.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from pixelsleuth.compact import grammar
from pixelsleuth.compact.detector import LOOK_SIDE, REPEAT_SIDE
from pixelsleuth.compact.tiles import GRID, middle, pad_to, small, windows
from pixelsleuth.core.progress import progress
from pixelsleuth.core.resaves import RESAVES, resave
from pixelsleuth.data.equalise import EVALUATION, Draw, equalise, random_for
from pixelsleuth.data.picture_cache import CachedPicture, load_cache
from pixelsleuth.models.compact.compact_sida import CLS_AT, PROMPT, CompactSida
from pixelsleuth.training.compact.feature_shards import Views, keep_whole_lines
from pixelsleuth.training.compact.fit import weights_of
from pixelsleuth.training.compact.mixture import REAL, TAMPERED, Mixture, load_aligned
from pixelsleuth.training.compact.settings import CompactRecipe
from pixelsleuth.training.compact.train_heads import learning_parts, load_model
from pixelsleuth.training.compact.whole_head import load_heads

KINDS = {
    "photograph": EVALUATION,
    "recompressed": Draw(quality=70),
    "reduced": Draw(scale=0.6, interpolation=3, quality=85),
}
"""What was done to a picture before it was judged."""
FEWER = 4
"""How many times fewer recompressed and reduced pictures are judged than photographs."""
FORGED_SIDE = 256
THRESHOLDS = np.arange(-3, 3.01, 0.25)
"""Thresholds on the mask's logit at which its figures are measured."""
KEPT = ("name", "kind", "label", "source", "fold", "unseen", "operation")
"""Fields of an item that its line holds."""


@dataclass
class Item:
    """One picture to be judged: its name, kind, pixels (H, W, 3), true mask (H, W) or None, and where it comes from."""

    name: str
    kind: str
    pixels: np.ndarray
    mask: np.ndarray | None
    label: int
    source: str
    fold: int
    unseen: bool
    operation: str = ""


def score_stage(recipe: CompactRecipe) -> None:
    """Judge the pictures and forgeries of every source; leaves `scores/part-0.jsonl`."""
    out = recipe.folder("scores")
    out.mkdir(parents=True, exist_ok=True)
    pictures = load_cache(recipe.folder("cache"))
    used = [picture for picture in pictures if picture.fold >= 0]
    mixture = Mixture(used, load_aligned(recipe.folder("aligned"), pictures), size=FORGED_SIDE)
    items = list(items_of(pictures, mixture, most=recipe.scores.pictures, forged=recipe.scores.forged))
    write_scores(Judge(recipe), items, out / "part-0.jsonl")
    (out / "part-0.finished").touch()


def items_of(pictures: list[CachedPicture], mixture: Mixture, *, most: int, forged: int) -> Iterator[Item]:
    """Everything that is judged, in a fixed order: `most` pictures of a source and class, and `forged` forgeries."""
    groups: dict[tuple[str, int], list[CachedPicture]] = defaultdict(list)
    for picture in sorted(pictures, key=lambda p: random_for(p.name, 3).random()):
        groups[picture.source, picture.label].append(picture)
    unseen = {picture.source: picture.unseen for picture in pictures}
    photographed = {picture.source for picture in pictures if picture.label == REAL}
    for kind, how in KINDS.items():
        share = 1 if kind == "photograph" else FEWER
        for members in groups.values():
            for p in members[: most // share]:
                pixels, mask = _treated(p.pixels, p.mask, how)
                yield Item(p.name, kind, pixels, mask, p.label, p.source, p.fold, p.unseen)
        for number in range(forged // share):
            mixture.random = np.random.default_rng([6, number])
            canvas = mixture.canvas(TAMPERED, how=EVALUATION)
            if canvas.label != TAMPERED or canvas.source not in photographed:
                continue  # an edited generated picture is neither tampered nor synthetic
            pixels, mask = canvas.pixels, canvas.mask
            if kind != "photograph":
                pixels, mask = _treated(pixels, mask, how)
            yield Item(
                f"forged/{number}", kind, pixels, mask, TAMPERED, canvas.source, canvas.fold,
                unseen[canvas.source], canvas.operation,
            )  # fmt: skip


def _treated(pixels: np.ndarray, mask: np.ndarray | None, how: Draw) -> tuple[np.ndarray, np.ndarray | None]:
    treated = equalise(np.array(pixels), how)
    if mask is not None and treated.shape[:2] != mask.shape:
        mask = cv2.resize(np.array(mask), treated.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return treated, mask


class Judge:
    """The encoder, and a head and a language model for each fold that they never saw."""

    def __init__(self, recipe: CompactRecipe) -> None:
        self.encoder = load_model(recipe).eval().encoder
        self.views = Views(self.encoder, ("traces", "repeats", "look", "statistics"))
        _, self.heads = load_heads(recipe.folder("whole"))
        self.models: dict[int, CompactSida] = {}
        for fold in self.heads:
            model = load_model(recipe)
            learning_parts(model).load_state_dict(weights_of(recipe.folder("folds") / f"fold-{fold}"))
            self.models[fold] = model.eval()

    @torch.no_grad()
    def look_at(self, pixels: np.ndarray) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 -> cells (1, N, C), summary (1, 68), description (1, D), plain mask logits (h, w)."""
        encoder, views = self.encoder, self.views
        traces = torch.from_numpy(views.run("traces", pad_to(pixels, 8)[None])[0])
        repeats = torch.from_numpy(views.run("repeats", small(pixels, REPEAT_SIDE, 8)[None])[0])
        *maps, _ = views.run("look", small(pixels, LOOK_SIDE, GRID)[None])
        moments = views.run("look", windows(pixels))[-1].mean(axis=0, keepdims=True)
        statistics = views.run("statistics", middle(pixels)[None])[0]
        dense = encoder.dense_of(encoder.local_view(traces), repeats, [torch.from_numpy(m) for m in maps])
        mask = encoder.plain_mask(dense)
        logits = mask[0, 0, : -(-pixels.shape[0] // 4), : -(-pixels.shape[1] // 4)].numpy()
        return (
            encoder.cells(dense, mask), encoder.summarised(dense, mask),
            np.concatenate([moments, statistics], axis=1), logits,
        )  # fmt: skip

    @torch.no_grad()
    def classes(self, cells: Tensor, summarised: Tensor, description: np.ndarray, fold: int) -> np.ndarray:
        """Class logits (3,) by the model without `fold`; for fold -1 the mean over all models."""
        rows = []
        for number in list(self.models) if fold < 0 else [fold]:
            model, whole = self.models[number], self.heads[number](torch.from_numpy(description))
            tokens = model.encoder.tokens(cells, summarised, whole)
            hidden = model.sida.hidden_states(tokens, model.prefix, torch.tensor([PROMPT]))
            rows.append(model.sida.detection(hidden[:, CLS_AT])[0].numpy())
        return np.mean(rows, axis=0)


def write_scores(judge: Judge, items: list[Item], out: Path) -> None:
    """Write one line of JSON a picture to `out`, after those that an earlier run wrote."""
    done = keep_whole_lines(out)
    with out.open("a") as lines, progress("scores", len(items), done=done) as bar:
        for item in items[done:]:
            views = [judge.look_at(item.pixels)]
            views += [judge.look_at(resave(item.pixels, spec)) for spec in RESAVES]
            classes = [judge.classes(*view[:3], item.fold) for view in views]
            row = {name: getattr(item, name) for name in KEPT}
            row["logits"] = [[round(float(x), 4) for x in logits] for logits in classes]
            lines.write(json.dumps(row | _mask_figures(views[0][3], item)) + "\n")
            lines.flush()
            bar()


def _mask_figures(logits: np.ndarray, item: Item) -> dict[str, Any]:
    """At every threshold the marked area and, where there is a true mask, F1 and whether place and size are right."""
    figures: dict[str, Any] = {"area": [round(float((logits > t).mean()), 4) for t in THRESHOLDS]}
    if item.mask is not None and item.mask.any():
        truth = cv2.resize(item.mask, logits.shape[::-1], interpolation=cv2.INTER_AREA) > 127
        marked = [logits > t for t in THRESHOLDS]
        figures["f1"] = [
            round(2 * float((m & truth).sum()) / max(1, int(m.sum() + truth.sum())), 4) for m in marked
        ]
        if truth.any():
            figures["place"] = [bool(m.any() and grammar.place(m) == grammar.place(truth)) for m in marked]
            figures["size"] = [bool(m.any() and grammar.size(m) == grammar.size(truth)) for m in marked]
    return figures
