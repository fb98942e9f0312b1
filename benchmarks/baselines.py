"""Pictures per second of every baseline on this machine, at batch 1 and 16, and what bounds each.

    python benchmarks/baselines.py [--only npr --only cnnspot] [--size 400x300] [--patience 120]

Networks have the published dimensions and random weights, which cost what published ones cost. Preparing (decoded
pixels to tensor: resizes, transforms) and judging (all that the network does, LGrad's gradient and LNP's denoiser
included) are timed apart. The arithmetic of one picture is counted by torch; beside it stands the share of what this
machine reaches on a large matrix product, measured in the same run. "channels last" is how many times as fast one
picture is judged in that layout as in torch's own. Each time is the quickest of up to five. Ratios hold; absolute
times are this machine's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

BATCHES = (1, 16)
TOO_LARGE = ("lisa", "antifake_prompt")
"""Seven billion parameters and more: 31 GB in fp32."""


def clip_large() -> Any:
    """CLIP's ViT-L/14 image encoder, random."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    sizes = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    }
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(**sizes, image_size=224, patch_size=14, projection_dim=768, hidden_act="quick_gelu")
    )


def dinov2_base() -> Any:
    """DINOv2's ViT-B/14, random."""
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(Dinov2Config(image_size=518, patch_size=14))


def encoder_of(name: str) -> tuple[Any, ...]:
    """What the class takes in place of an encoder that is not at hand."""
    from pixelsleuth.models.backbones.efficientnet import Lite

    made: dict[str, Callable[[], Any]] = {
        "univfd": clip_large, "rine": clip_large, "dinov2": dinov2_base, "efficientnet_lite": Lite,
    }  # fmt: skip
    return (made[name](),) if name in made else ()


def peak(side: int = 1536) -> float:
    """Multiply-adds per second of a matrix product."""
    x = torch.randn(side, side)
    x @ x
    began, rounds = time.perf_counter(), 4
    for _ in range(rounds):
        x @ x
    return rounds * side**3 / (time.perf_counter() - began)


class Counter(TorchDispatchMode):
    """Adds up the floating-point operations of everything that runs inside, gradients too."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def arithmetic(network: Any, prepared: torch.Tensor) -> float:
    """Multiply-adds of judging one picture."""
    with torch.no_grad(), Counter() as counter:
        network.run([prepared])
    return counter.total / 2


def timed(act: Callable[[], Any], runs: int = 5, enough: float = 3.0) -> tuple[Any, float]:
    """What it gives, and the seconds of the quickest of several runs; after `enough` seconds none is begun."""
    result, took = None, list[float]()
    while len(took) < runs and sum(took) < enough:
        began = time.perf_counter()
        result = act()
        took.append(time.perf_counter() - began)
    return result, min(took)


@torch.inference_mode()
def measure(
    network: Any, pictures: Sequence[np.ndarray], patience: float
) -> list[tuple[float, float] | None]:
    """Seconds a picture for preparing and for judging, at each batch; None where it would take too long."""
    rates: list[tuple[float, float] | None] = []
    last = 0.0
    for batch in BATCHES:
        if last * batch > patience:
            rates.append(None)
            continue
        inputs, preparing = timed(lambda: [network.prepare(picture) for picture in pictures[:batch]])  # noqa: B023
        _, judging = timed(lambda: network.run(inputs))  # noqa: B023
        last = (preparing + judging) / batch
        rates.append((preparing / batch, judging / batch))
    return rates


def bound(preparing: float, judging: float, work: float, fastest: float) -> str:
    """What takes the time, in words."""
    if preparing > judging:
        return "preparing on one core"
    share = work / judging / fastest
    kind = "arithmetic" if share > 0.5 else "memory and small layers"
    return f"{kind} ({share:.0%} of a matrix product's speed)"


def main() -> None:
    from pixelsleuth.models.baseline import baseline_class, placed
    from pixelsleuth.models.facts import FACTS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", action="append", choices=list(FACTS), help="One baseline; may be given several times."
    )
    parser.add_argument("--size", default="400x300", help="Of the pictures, WIDTHxHEIGHT.")
    parser.add_argument("--patience", type=float, default=120.0, help="Seconds that a batch may take.")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 255, (height, width, 3), np.uint8) for _ in range(max(BATCHES))]
    fastest = peak()
    speed = f"{fastest / 1e9:.0f} billion multiply-adds a second in a matrix product"
    print(f"{torch.get_num_threads()} threads, {speed}, pictures of {options.size}.")
    print(
        "| baseline | parameters (M) | GMAC a picture | pictures/s, batch 1 | batch 16 | channels last | "
        "preparing, ms | bound by |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in options.only or FACTS:
        if name in TOO_LARGE:
            print(
                f"| {name} | {FACTS[name].parameters / 1e6:,.0f} | - | not measured: 31 GB in fp32 | - | - | - | - |"
            )
            continue
        torch.manual_seed(0)
        network = baseline_class(name)(*encoder_of(name)).eval()
        prepared = network.prepare(pictures[0])
        work = arithmetic(network, prepared)  # the first run makes what is made once
        with torch.inference_mode():
            _, first = timed(lambda: network.run([prepared]))  # noqa: B023
        network = placed(network, "cpu")
        single, many = measure(network, pictures, options.patience)
        assert single is not None
        rates = [f"{1 / sum(seconds):.2f}" if seconds else "over the patience" for seconds in (single, many)]
        size = sum(weights.numel() for weights in network.parameters()) / 1e6
        limit = bound(*(many or single), work, fastest)
        gain, preparing = f"{first / single[1]:.2f}", f"{1000 * single[0]:.1f}"
        cells = (f"{size:.1f}", f"{work / 1e9:.1f}", *rates, gain, preparing, limit)
        print(f"| {name} | {' | '.join(cells)} |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
