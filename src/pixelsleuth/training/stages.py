"""Stages 3 and 4: the fusion with plain heads, then the language model on its tokens; both on cached features.

Run: `python -m pixelsleuth.training.stages --branches runs --features runs/features/* --validation runs/features-val
--out runs/compact`
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.compact import grammar
from pixelsleuth.models.encoders.forensic import Encoded, ForensicEncoder
from pixelsleuth.models.sida.compact import CompactSida, load_compact, save_compact
from pixelsleuth.models.sida.losses import mask_loss
from pixelsleuth.models.sida.model import Answer
from pixelsleuth.models.sida.modules import QueryMaskDecoder
from pixelsleuth.models.sida.text import IGNORE, target_rows
from pixelsleuth.training.features import Features, load_branches, load_features
from pixelsleuth.training.mixture import TAMPERED


def fuse(encoder: ForensicEncoder, features: Features, rows: np.ndarray) -> Encoded:
    """The fusion's output on some rows of cached features."""
    return encoder.join(
        *(features.batch(name, rows) for name in ("local", "texture", "repeats", "statistics"))
    )


def seen_masks(logits: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
    """Mask loss on tampered pictures, plus the cross entropy of an empty mask on authentic ones."""
    tampered = labels == TAMPERED
    loss = logits.new_zeros(())
    if tampered.any():
        loss = loss + mask_loss(logits[tampered], masks[tampered], bce=1.0, dice=1.0, smooth=1.0)
    if (~tampered).any():
        loss = loss + F.binary_cross_entropy_with_logits(logits[~tampered], masks[~tampered])
    return loss


def run_epochs(
    parameters: list[nn.Parameter],
    loss_of: Callable[[np.ndarray], Tensor],
    check: Callable[[], dict],
    *,
    count: int,
    seconds: float,
    batch: int,
    rate: float,
    log: Path,
    name: str,
) -> None:
    """AdamW with warm-up and a cosine over `seconds`; validation figures to the log after each epoch."""
    optimiser = torch.optim.AdamW(parameters, rate, weight_decay=0.02)
    random, start, step, epoch = np.random.default_rng(0), time.monotonic(), 0, 0
    while (done := (time.monotonic() - start) / seconds) < 1:
        order, losses = random.permutation(count), []
        for first in range(0, count - batch + 1, batch):
            done = min((time.monotonic() - start) / seconds, 1.0)
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-6
            loss = loss_of(np.sort(order[first : first + batch]))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            losses.append(loss.item())
            step += 1
            if done >= 1:
                break
        epoch += 1
        line = {
            "stage": name,
            "epoch": epoch,
            "done": round(done, 3),
            "loss": round(float(np.mean(losses)), 4),
            **check(),
        }
        with log.open("a") as handle:
            handle.write(json.dumps(line) + "\n")
        print(line, flush=True)


def scores(classes: np.ndarray, labels: np.ndarray, f1: list[float]) -> dict[str, float]:
    """Balanced three-class accuracy and mean pixel F1 at logit 0 over tampered canvases."""
    predicted = classes.argmax(1)
    recalls = [float((predicted[labels == c] == c).mean()) for c in range(3)]
    return {"balanced_accuracy": round(float(np.mean(recalls)), 4), "f1": round(float(np.mean(f1)), 4)}


def pixel_f1(logits: Tensor, masks: Tensor) -> list[float]:
    """F1 of each mask at logit 0; logits and masks (B, 1, h, w)."""
    predicted, truth = logits.flatten(1) > 0, masks.flatten(1) > 0.5
    both = (predicted & truth).sum(1)
    return (2 * both / (predicted.sum(1) + truth.sum(1)).clamp_min(1)).tolist()


def train_fusion(
    encoder: ForensicEncoder, train: Features, held: Features, *, seconds: float, log: Path
) -> None:
    """Train the fusion and its plain heads; the branches stay as they are."""
    frozen = [encoder.local, encoder.texture, encoder.repeat, encoder.statistics]
    for module in frozen:
        module.requires_grad_(False)
    labels = np.array([r["label"] for r in train.records])
    held_labels = np.array([r["label"] for r in held.records])

    def loss_of(rows: np.ndarray) -> Tensor:
        encoded, truth = fuse(encoder, train, rows), torch.from_numpy(labels[rows])
        masks = train.batch("mask", rows)
        return seen_masks(encoded.plain_mask, masks, truth) + F.cross_entropy(
            encoded.plain_classes, truth, label_smoothing=0.02
        )

    @torch.no_grad()
    def check() -> dict:
        encoder.eval()
        classes, f1 = [], []
        for first in range(0, len(held), 32):
            rows = np.arange(first, min(first + 32, len(held)))
            encoded = fuse(encoder, held, rows)
            classes.append(encoded.plain_classes.numpy())
            keep = torch.from_numpy(held_labels[rows] == TAMPERED)
            f1 += pixel_f1(encoded.plain_mask[keep], held.batch("mask", rows)[keep])
        set_training()
        return scores(np.concatenate(classes), held_labels, f1)

    def set_training() -> None:
        encoder.train()
        for module in frozen:
            module.eval()

    set_training()
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    run_epochs(
        parameters,
        loss_of,
        check,
        count=len(train),
        seconds=seconds,
        batch=16,
        rate=1.5e-3,
        log=log,
        name="fusion",
    )
    encoder.eval().requires_grad_(False)


@torch.no_grad()
def tokens_of(encoder: ForensicEncoder, features: Features) -> dict[str, np.ndarray]:
    """Tokens (N, 65, token) and dense features (N, dense, h, w) of every canvas, float16."""
    kept: dict[str, list[np.ndarray]] = {"tokens": [], "dense": []}
    for first in range(0, len(features), 32):
        encoded = fuse(encoder, features, np.arange(first, min(first + 32, len(features))))
        kept["tokens"].append(encoded.tokens.half().numpy())
        kept["dense"].append(encoded.dense.half().numpy())
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def start_mask(model: CompactSida) -> None:
    """Let the language model's mask decoder begin where the fusion's plain head ended."""
    decoder = model.sida.decoder
    assert isinstance(decoder, QueryMaskDecoder)
    assert model.encoder.plain_mask.bias is not None
    with torch.no_grad():
        decoder.base.weight.copy_(model.encoder.plain_mask.weight.flatten(1))
        decoder.base.bias.copy_(model.encoder.plain_mask.bias)


def train_language(model: CompactSida, train: Features, held: Features, *, seconds: float, log: Path) -> None:
    """Train everything behind the encoder: text, class and mask at once (equation 6, all weights 1)."""
    model.sida.requires_grad_(True)
    for features in (train, held):
        features.arrays |= tokens_of(model.encoder, features)
    sets = {id(f): (target_rows(f.records), np.array([r["label"] for r in f.records])) for f in (train, held)}

    def answer(features: Features, rows: np.ndarray) -> tuple[Answer, Tensor, Tensor]:
        ids, targets, seg_at = sets[id(features)][0]
        truth = torch.from_numpy(sets[id(features)][1][rows])
        output = model.answer(
            features.batch("tokens", rows), features.batch("dense", rows), ids[rows], seg_at[rows]
        )
        return output, targets[rows], truth

    def loss_of(rows: np.ndarray) -> Tensor:
        output, targets, truth = answer(train, rows)
        text = F.cross_entropy(output.text.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
        return (
            text
            + F.cross_entropy(output.classes, truth, label_smoothing=0.02)
            + seen_masks(output.mask, train.batch("mask", rows), truth)
        )

    @torch.no_grad()
    def check() -> dict:
        model.sida.eval()
        classes, f1, right, total = [], [], 0, 0
        for first in range(0, len(held), 64):
            rows = np.arange(first, min(first + 64, len(held)))
            output, targets, truth = answer(held, rows)
            classes.append(output.classes.numpy())
            keep = truth == TAMPERED
            f1 += pixel_f1(output.mask[keep], held.batch("mask", rows)[keep])
            said = targets != IGNORE
            right += int((output.text.argmax(-1)[said] == targets[said]).sum())
            total += int(said.sum())
        model.sida.train()
        figures = scores(np.concatenate(classes), sets[id(held)][1], f1)
        return figures | {"words": round(right / total, 4)}

    parameters = list(model.sida.parameters())
    run_epochs(
        parameters,
        loss_of,
        check,
        count=len(train),
        seconds=seconds,
        batch=32,
        rate=1e-3,
        log=log,
        name="language",
    )
    model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--branches", type=Path, required=True)
    parser.add_argument("--features", type=Path, nargs="+", required=True)
    parser.add_argument("--validation", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="a compact checkpoint to go on from")
    parser.add_argument("--no-aligned", action="store_true", help="leave the autoencoders' fakes out")
    parser.add_argument("--fusion-seconds", type=float, default=600)
    parser.add_argument("--language-seconds", type=float, default=400)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    train, held = (
        load_features(folders, aligned=not options.no_aligned)
        for folders in (options.features, options.validation)
    )
    model = load_compact(options.start) if options.start else CompactSida(load_branches(options.branches))
    log = options.out / "log.jsonl"
    train_fusion(model.encoder, train, held, seconds=options.fusion_seconds, log=log)
    if options.start is None:
        start_mask(model)
    save_compact(model, options.out)
    train_language(model, train, held, seconds=options.language_seconds, log=log)
    save_compact(model, options.out)
    print(f"saved {options.out} ({len(grammar.VOCABULARY)} words)")


if __name__ == "__main__":
    main()
