"""Stage 1b: the statistics branch, a perceptron over a fixed description of each picture, computed once.

Run: `python -m pixelsleuth.training.statistics describe --cache runs/cache --family runs/ae --out
runs/statistics/0 --seed 0`
then `python -m pixelsleuth.training.statistics fit --shards runs/statistics/[0-9]* --out runs/statistics`
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

from pixelsleuth.data.cache import load_cache
from pixelsleuth.forge.autoencoders import load_family
from pixelsleuth.models.encoders.statistics import StatisticsBranch
from pixelsleuth.training.branches import heads_loss, save_checkpoint, to_tensors
from pixelsleuth.training.mixture import SYNTHETIC, Mixture

SIZE = 256


@torch.no_grad()
def describe(mixture: Mixture, out: Path, *, count: int, aligned: float) -> None:
    """Store the descriptions (count, D) float16 of real and synthetic canvases, and what they were."""
    out.mkdir(parents=True, exist_ok=True)
    branch, rows, records = StatisticsBranch(), [], []
    for index in range(count):
        canvas = mixture.canvas(int(mixture.random.integers(2)), aligned=aligned)
        rows.append(branch.describe(to_tensors([canvas])[0])[0].half().numpy())
        records.append({"label": canvas.label, "aligned": canvas.aligned, "source": canvas.source})
        if index % 500 == 0:
            print(f"{index} of {count}", flush=True)
    np.save(out / "statistics.npy", np.stack(rows))
    (out / "records.json").write_text(json.dumps(records))


def fit(
    shards: list[Path], *, epochs: int, rate: float = 1e-3, leave_out: tuple[str, ...] = ()
) -> StatisticsBranch:
    """Train the perceptron: each head knows real pictures and its own kind of synthetic ones."""
    torch.manual_seed(0)
    values = torch.from_numpy(np.concatenate([np.load(shard / "statistics.npy") for shard in shards]))
    records = [record for shard in shards for record in json.loads((shard / "records.json").read_text())]
    keep = torch.tensor([not r["source"].startswith(leave_out or ("\0",)) for r in records])
    synthetic = torch.tensor([float(r["label"] == SYNTHETIC) for r in records])
    aligned = torch.tensor([bool(r["aligned"]) for r in records])
    branch = StatisticsBranch()
    branch.norm.momentum = 0.05
    optimiser = torch.optim.AdamW(branch.parameters(), rate, weight_decay=0.05)
    rows = torch.arange(len(values))[keep]
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * epoch / epochs))
        order = rows[torch.randperm(len(rows))]
        for first in range(0, len(order) - 63, 64):
            chosen = order[first : first + 64]
            loss = heads_loss(branch.read(values[chosen].float())[1], synthetic[chosen], aligned[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return branch.eval()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest="step", required=True)
    make = steps.add_parser("describe")
    for name in ("cache", "family", "out"):
        make.add_argument(f"--{name}", type=Path, required=True)
    make.add_argument("--count", type=int, default=9000)
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--aligned-share", type=float, default=0.3)
    learn = steps.add_parser("fit")
    learn.add_argument("--shards", type=Path, nargs="+", required=True)
    learn.add_argument("--out", type=Path, required=True)
    learn.add_argument("--epochs", type=int, default=30)
    learn.add_argument("--leave-out", nargs="*", default=[])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.step == "describe":
        family = list(load_family(options.family).values())
        mixture = Mixture(load_cache(options.cache, "fit"), family, size=SIZE, seed=2000 + options.seed)
        describe(mixture, options.out, count=options.count, aligned=options.aligned_share)
    else:
        branch = fit(options.shards, epochs=options.epochs, leave_out=tuple(options.leave_out))
        options.out.mkdir(parents=True, exist_ok=True)
        save_checkpoint(options.out / "checkpoint.pt", {"model": branch.state_dict()})


if __name__ == "__main__":
    main()
