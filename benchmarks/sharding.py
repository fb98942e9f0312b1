"""What FSDP saves and costs against DDP: weights, gradients and moments that a process holds, and seconds a step.

The model is that of a recipe of SIDA's. Run it once with `parallel=ddp` and once with `parallel=fsdp`:

    torchrun --nproc-per-node 2 benchmarks/sharding.py recipes/tiny.yaml data=MANIFEST.csv out=DIR parallel=fsdp \\
        random.sida.language.hidden_size=768 random.sida.language.intermediate_size=2048 \\
        random.sida.language.num_hidden_layers=12

The main process prints its own figures; DIR holds no training afterwards, only the random start.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

STEPS = 4
"""Measured steps, after one that warms up."""
MOMENTS = ("exp_avg", "exp_avg_sq")


def megabytes(values: Any) -> float:
    """The memory of tensors; of sharded ones, that of this process' part."""
    own = [value.to_local() if hasattr(value, "to_local") else value for value in values]
    return sum(value.numel() * value.element_size() for value in own) / 1e6


def main() -> None:
    from pixelsleuth.training.sida.settings import read_settings
    from pixelsleuth.training.sida.step import begin

    _, step = begin(read_settings(Path(sys.argv[1]), sys.argv[2:]))
    taken = []
    for batch, _ in step.feed.batches(0, STEPS + 1):
        begun = time.monotonic()
        step.take(batch)
        taken.append(time.monotonic() - begun)
    weights = list(step.module.parameters())
    learning = [weight for weight in weights if weight.requires_grad]
    state = step.optimiser.optimizer.state.values()
    moments = [entry[name] for entry in state for name in MOMENTS]
    if step.main:
        print(
            f"{step.settings.parallel}, {step.accelerator.num_processes} processes: "
            f"weights {megabytes(weights):.0f} MB, gradients {megabytes(learning):.0f} MB, "
            f"moments {megabytes(moments):.0f} MB, "
            f"{sum(taken[1:]) / STEPS:.2f} s a step"
        )


if __name__ == "__main__":
    main()
