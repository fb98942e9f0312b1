"""Stage 6: scores on sources that the training left out; what the decision and the calibration are fitted on.

Pictures of every source, and forgeries made of them, are judged by the whole head and the language model that never saw
the source's fold. Each is judged as it is (one JPEG pass, as evaluation equalises), recompressed, and reduced; and each
of these in three views: itself and the two mild re-saves that a conclusive verdict has to survive (`core.resaves`).

One thing is shared by all folds: the branches and the mask. The branches never saw the sources marked `unseen`; the
forgeries of these, and the sources that no gradient sees, set the mask's threshold and measure its claims.

Run: `python -m pixelsleuth.training.compact.scores judge --cache runs/cache --aligned runs/aligned --whole runs/whole
--encoder runs/masks/encoder.pt --folds runs/folds --out runs/scores --part 0/2` (and 1/2), then `... fit --out
runs/scores --checkpoint runs/compact`
"""

from __future__ import annotations

import argparse
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
from pixelsleuth.core.resaves import resave
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.data.cache import CachedPicture, load_cache
from pixelsleuth.data.equalise import EVALUATION, Draw, equalise, random_for
from pixelsleuth.models.compact.compact_sida import CompactSida
from pixelsleuth.training.compact.calibrate import fit_mask_threshold, fit_temperature, softened
from pixelsleuth.training.compact.features import Views
from pixelsleuth.training.compact.language import load_model
from pixelsleuth.training.compact.mixture import REAL, TAMPERED, Mixture, load_aligned
from pixelsleuth.training.compact.whole import load_heads

KINDS = {
    "photograph": EVALUATION,
    "recompressed": Draw(quality=70),
    "reduced": Draw(scale=0.6, interpolation=3, quality=85),
}
"""What was done to a picture before it was judged."""
RESAVES = ("jpeg:85", "resize:0.75")
FEWER = 4
"""Of recompressed and of reduced pictures so many times fewer are judged than of photographs."""
FORGED_SIDE = 256
FORGE = "our own forgeries"
"""The source of pictures that the forge made: one, so that they do not outweigh the forgeries of others."""


@dataclass
class Item:
    """One picture to be judged: pixels (H, W, 3), true mask (H, W) or None, and where it comes from."""

    name: str
    pixels: np.ndarray
    mask: np.ndarray | None
    label: int
    source: str
    fold: int
    unseen: bool
    operation: str = ""


def items(
    pictures: list[CachedPicture], mixture: Mixture, *, most: int, forged: int
) -> Iterator[tuple[str, Item]]:
    """Everything that is judged, with its kind, in a fixed order: `most` pictures of a source and class, and `forged`
    forgeries of all."""
    groups: dict[tuple[str, int], list[CachedPicture]] = defaultdict(list)
    for picture in sorted(pictures, key=lambda p: random_for(p.name, 3).random()):
        groups[picture.source, picture.label].append(picture)
    unseen = {picture.source: picture.unseen for picture in pictures}
    photographed = {picture.source for picture in pictures if picture.label == REAL}
    for kind, how in KINDS.items():
        share = 1 if kind == "photograph" else FEWER
        for members in groups.values():
            for p in members[: most // share]:
                yield (
                    kind,
                    Item(p.name, *_treated(p.pixels, p.mask, how), p.label, p.source, p.fold, p.unseen),
                )
        for number in range(forged // share):
            mixture.random = np.random.default_rng([6, number])
            canvas = mixture.canvas(TAMPERED, how=EVALUATION)
            if canvas.label != TAMPERED or canvas.source not in photographed:
                continue  # an edited generated picture is neither the one nor the other
            pixels, mask = (
                (canvas.pixels, canvas.mask)
                if kind == "photograph"
                else _treated(canvas.pixels, canvas.mask, how)
            )
            yield kind, Item(
                f"forged/{number}", pixels, mask, TAMPERED, canvas.source, canvas.fold, unseen[canvas.source],
                canvas.operation,
            )  # fmt: skip


def _treated(pixels: np.ndarray, mask: np.ndarray | None, how: Draw) -> tuple[np.ndarray, np.ndarray | None]:
    treated = equalise(np.array(pixels), how)
    if mask is not None and treated.shape[:2] != mask.shape:
        mask = cv2.resize(np.array(mask), treated.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return treated, mask


class Judge:
    """The encoder, and what each fold's model makes of it."""

    def __init__(self, encoder: Path, whole: Path, folds: Path) -> None:
        self.base = load_model(encoder).eval()
        self.views = Views(self.base.encoder, ("traces", "repeats", "look", "statistics"))
        self.everyone, self.without = load_heads(whole)
        self.models: dict[int, CompactSida] = {}
        for fold in self.without:
            model = load_model(encoder)
            model.load_state_dict(torch.load(folds / f"fold-{fold}.pt", weights_only=True)["model"])
            self.models[fold] = model.eval()

    @torch.no_grad()
    def see(self, pixels: np.ndarray) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 -> cells (1, N, C), summary (1, 68), description (1, D), plain mask logits (h, w)."""
        encoder, views = self.base.encoder, self.views
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
        """Class logits (3,) by the model without `fold`; of a source of no fold the mean of all."""
        chosen = list(self.models) if fold < 0 else [fold]
        rows = [self._classes(self.models[one], cells, summarised, description, one) for one in chosen]
        return np.mean(rows, axis=0)

    def _classes(
        self, model: CompactSida, cells: Tensor, summarised: Tensor, description: np.ndarray, fold: int
    ) -> np.ndarray:
        from pixelsleuth.models.compact.compact_sida import CLS_AT, PROMPT

        whole = self.without[fold](torch.from_numpy(description))
        tokens = model.encoder.tokens(cells, summarised, whole)
        hidden = model.sida.hidden_states(tokens, model.prefix, torch.tensor([PROMPT]))
        return model.sida.detection(hidden[:, CLS_AT])[0].numpy()


def judge(judge_: Judge, what: list[tuple[str, Item]], out: Path) -> None:
    """Write one line of JSON a picture; those that are there are not judged again."""
    done = len(out.read_text().splitlines()) if out.is_file() else 0
    with out.open("a") as lines:
        for number, (kind, item) in enumerate(what):
            if number < done:
                continue
            logits, seen = [], judge_.see(item.pixels)
            for spec in (None, *RESAVES):
                view = seen if spec is None else judge_.see(resave(item.pixels, spec))
                logits.append([round(float(x), 4) for x in judge_.classes(*view[:3], item.fold)])
            row = {
                "name": item.name,
                "kind": kind,
                "label": item.label,
                "source": item.source,
                "fold": item.fold,
            }
            row |= {"unseen": item.unseen, "operation": item.operation, "logits": logits}
            lines.write(json.dumps(row | _mask_figures(seen[3], item)) + "\n")
            lines.flush()
            if number % 200 == 0:
                print(f"{number} of {len(what)}", flush=True)


THRESHOLDS = np.arange(-3, 3.01, 0.25)


def _mask_figures(logits: np.ndarray, item: Item) -> dict[str, Any]:
    """At every threshold the area marked and, where there is a truth, the F1 and whether place and size are right."""
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


def fit(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(calibration, decision): what goes into `calibration.json`, and into `decision.json`."""
    for (
        row
    ) in rows:  # whatever they were made of, all forgeries are of one making, and of a kind that training saw
        row["source"] = FORGE if row["operation"] else row["source"]
    sources = sorted({row["source"] for row in rows})
    labels = np.array([row["label"] for row in rows])
    kinds = np.array([list(KINDS).index(row["kind"]) for row in rows])
    source = np.array([sources.index(row["source"]) for row in rows])
    logits = np.array([row["logits"] for row in rows])
    plain = kinds == 0
    weights = source_weights(source[plain], labels[plain])
    temperature, bias = fit_temperature(logits[plain, 0], labels[plain], weights)
    scores = softened(logits.reshape(-1, 3), temperature, bias).reshape(logits.shape)
    photographs = [row for row in rows if row["kind"] == "photograph"]
    held = [row for row in photographs if row["unseen"] or row["fold"] < 0]
    if not any("f1" in row for row in held):
        held = photographs  # no source was kept from the branches: figures of those that they saw
    best, f1, alarm = fit_mask_threshold(
        THRESHOLDS, [r["f1"] for r in held if "f1" in r], [r["area"] for r in held if r["label"] != TAMPERED]
    )
    at = int(np.argmin(np.abs(THRESHOLDS - best)))
    right = scores[plain, 0].argmax(1) == labels[plain]
    calibration = {
        "temperature": round(temperature, 4),
        "bias": bias.round(4).tolist(),
        "mask_threshold": round(best, 2),
        "calibration": {
            "pictures": int(plain.sum()),
            "sources": len(sources),
            "balanced_accuracy": round(float((weights * right).sum() / weights.sum()), 4),
            "pixel_f1": round(f1, 4),
            "alarmed_area": round(alarm, 4),
        },
    }
    located = [r for r in held if "place" in r]
    decision = {
        "schema": "pixelsleuth.decision/1",
        "how": "Pictures of 39 sources in five folds, judged by heads and language models that never saw the fold; "
        "forgeries made of them; two sources of tampered pictures that no training saw.",
        "classes": [label.value for label in LABELS],
        "resaves": list(RESAVES),
        "sources": sources,
        "kinds": list(KINDS),
        "rows": {
            "source": source.tolist(),
            "label": labels.tolist(),
            "kind": kinds.tolist(),
            "scores": (scores.reshape(len(rows), -1) * 1000).round().astype(int).tolist(),
        },
        "claims": {
            "place": {"": [sum(r["place"][at] for r in located), len(located)]},
            "size": {"": [sum(r["size"][at] for r in located), len(located)]},
        },
    }
    return calibration, decision


def source_weights(source: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights (N,) that sum to 1: classes alike, and sources alike within their class."""
    weights = np.zeros(len(labels))
    for label in set(labels.tolist()):
        members = labels == label
        for one in set(source[members].tolist()):
            rows = members & (source == one)
            weights[rows] = 1 / rows.sum() / len(set(source[members].tolist()))
    return weights / weights.sum()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("judge", "fit"))
    parser.add_argument("--out", type=Path, required=True)
    for name in ("cache", "aligned", "encoder", "whole", "folds", "checkpoint"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--most", type=int, default=60, help="pictures of each source and class")
    parser.add_argument("--forged", type=int, default=640)
    parser.add_argument("--part", default="0/1", help="which of how many parts, for several processes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.step == "judge":
        number, of = (int(value) for value in options.part.split("/"))
        cached = load_cache(options.cache)
        used = [picture for picture in cached if picture.fold >= 0]
        mixture = Mixture(used, load_aligned(options.aligned, cached), size=FORGED_SIDE)
        every = items(cached, mixture, most=options.most, forged=options.forged)
        what = [pair for place, pair in enumerate(every) if place % of == number]
        judge(
            Judge(options.encoder, options.whole, options.folds), what, options.out / f"part-{number}.jsonl"
        )
        (options.out / f"part-{number}.finished").touch()
        return
    rows = [json.loads(line) for path in sorted(options.out.glob("part-*.jsonl")) for line in path.open()]
    calibration, decision = fit(rows)
    (options.checkpoint / "calibration.json").write_text(json.dumps(calibration, indent=1) + "\n")
    (options.checkpoint / "decision.json").write_text(json.dumps(decision, separators=(",", ":")) + "\n")
    print(json.dumps(calibration, indent=1))


if __name__ == "__main__":
    main()
