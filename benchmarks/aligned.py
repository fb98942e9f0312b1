"""Do aligned fakes (photographs through small autoencoders) help on generators that training never saw?

Fits the statistics branch with one family of sources left out and prints the AUROC of its two heads on the evaluation
corpus: the head that learned the corpus' other generators, the one that learned autoencoders alone, and their maximum.
Both heads share the embedding. Reals are all evaluation photographs but faces; faces stand apart.

Run: `python benchmarks/aligned.py --shards runs/statistics/0 --manifest CORPUS/manifest.csv --leave-out dcsan`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from pixelsleuth.core.images import open_picture
from pixelsleuth.data.equalise import equalise
from pixelsleuth.data.readers import open_data
from pixelsleuth.models.encoders.statistics import StatisticsBranch
from pixelsleuth.training.statistics import fit


@torch.no_grad()
def heads(branch: StatisticsBranch, pixels: np.ndarray) -> np.ndarray:
    """The two logits and their maximum for one picture (H, W, 3) uint8."""
    picture = torch.from_numpy(equalise(pixels)).permute(2, 0, 1)[None].float()
    logits = branch(picture)[1][0].numpy()
    return np.append(logits, logits.max())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=Path, nargs="+", required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--leave-out", nargs="*", default=["dcsan"])
    parser.add_argument("--epochs", type=int, default=25)
    options = parser.parse_args()
    branch = fit(options.shards, epochs=options.epochs, leave_out=tuple(options.leave_out))
    data = open_data(options.manifest, split="eval")
    samples = [s for s in data if s.label != "tampered"]
    data.left_out.tell()
    values = np.stack([heads(branch, open_picture(s.path).pixels) for s in samples])
    synthetic = np.array([s.label == "full_synthetic" for s in samples])
    source = np.array([s.source for s in samples])
    photographs = ~synthetic & (source != "faces")
    print(f"left out of training: {', '.join(options.leave_out) or 'nothing'}\n")
    print("| synthetic source | corpus head | aligned head | maximum |\n|---|---:|---:|---:|")
    for name in ["all dcsan", *sorted(set(source[synthetic]))]:
        member = np.char.startswith(source, "dcsan") if name == "all dcsan" else source == name
        rows = member if name == "faces" else (member & synthetic) | photographs
        aurocs = [roc_auc_score(synthetic[rows], values[rows, column]) for column in range(3)]
        print(f"| {name} | " + " | ".join(f"{a:.2f}" for a in aurocs) + " |")


if __name__ == "__main__":
    main()
