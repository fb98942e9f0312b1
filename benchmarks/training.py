"""Pictures a second and peak memory of a stage 1 step, against the same step done the release's way.

The release runs SAM's image encoder on every picture of a batch and keeps nothing; here it runs for pictures that carry
a mask, and with a cache not at all once it has seen them. The model is drawn at random (speed does not depend on the
values), its parts in the proportion of the 7B's; batches are balanced: a third of the pictures carry a mask. Each way
runs in a process of its own, so that its peak memory is its own.

    python benchmarks/training.py --folder CHECKPOINT --steps 3
    python benchmarks/training.py --folder CHECKPOINT --size 7b --precision bf16 --per-device 2 --steps 20

CHECKPOINT is any folder with SIDA's tokenizer files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from pixelsleuth.models.sida.large import LargeConfig, LargeSida, spread
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.sida.prompts import ANSWERS, QUESTION
from pixelsleuth.models.sida.teacher import Example, collate
from pixelsleuth.models.sida.tokenizer import LegacyTokenizer
from pixelsleuth.training.sida.dry_run import CLIP, LANGUAGE, SAM
from pixelsleuth.training.sida.learnt import prepare
from pixelsleuth.training.sida.sam_cache import SamCache
from pixelsleuth.training.sida.settings import SidaSettings
from pixelsleuth.training.sida.step import optimiser_of, weighted

WAYS = ("release", "masked only", "cached")
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    # As in the 7B, SAM's encoder takes about as much arithmetic a picture as the language model's forward pass.
    "middle": {
        "language": {
            "hidden_size": 768,
            "intermediate_size": 2048,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
        },
        "clip": CLIP
        | {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 4},
        "sam": SAM
        | {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "mlp_dim": 1024}
        | {"global_attn_indexes": [2, 5]},
    },
    "7b": {"language": LANGUAGE["7b"], "clip": CLIP, "sam": SAM},
    "13b": {"language": LANGUAGE["13b"], "clip": CLIP, "sam": SAM},
}


def build(size: str, folder: Path, config: SidaSettings, device: str) -> tuple[LargeSida, SidaProcessor]:
    """A model of a size, drawn at random on the device in the precision of frozen weights."""
    parts = SIZES[size]
    side = parts["sam"]["image_size"]
    language = {
        "vocab_size": 32_005,
        "attn_implementation": "sdpa",
        "tie_word_embeddings": False,
        **parts["language"],
    }
    mask = {"side": side // 16, "image": side}
    sida = {
        "token": parts["clip"]["hidden_size"],
        "out": 256,
        "decoder": "sam",
        "mask": mask,
        "language": language,
    }
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if config.frozen == "bf16" else torch.float32)
    with torch.device(device):
        model = LargeSida(LargeConfig(sida=sida, clip=parts["clip"], sam=parts["sam"]))
    torch.set_default_dtype(torch.float32)
    spread(model)
    return model, SidaProcessor(LegacyTokenizer.from_folder(folder), sam_side=side)


def examples(count: int) -> list[Example]:
    """Pictures of 640 x 480, the classes in turn; a third carry a mask."""
    random = np.random.default_rng(0)
    pictures = []
    for i in range(count):
        mask = np.zeros((480, 640), np.uint8)
        mask[100:200, 150:350] = 255
        pixels = random.integers(0, 255, (480, 640, 3), dtype=np.uint8)
        pictures.append(Example(pixels, i % 3, QUESTION, ANSWERS[i % 3], mask if i % 3 == 2 else None))
    return pictures


def measure(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds, pictures a second and peak memory of one way; the first step warms up."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    frozen: Literal["bf16", "fp32"] = "bf16" if options.precision == "bf16" else "fp32"
    config = SidaSettings(
        precision=options.precision, frozen=frozen, gradient_checkpointing=options.size != "middle"
    )
    model, processor = build(options.size, options.folder, config, device)
    module = prepare(model, config)
    learns = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser, _ = optimiser_of(config, learns)
    kept = examples(options.pictures)
    chunks = [kept[i : i + options.per_device] for i in range(0, len(kept), options.per_device)]
    place = tempfile.TemporaryDirectory()
    cache = SamCache(Path(place.name), model) if way == "cached" else None
    took = []
    for _ in range(options.steps + 1):
        began = time.perf_counter()
        for chunk in chunks:
            batch = collate(processor, chunk).to(device, torch.float32)
            masked = [example.pixels for example in chunk if example.mask is not None]
            with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16"):
                dense = cache.dense(masked, batch.sam) if cache is not None and masked else None
                if way == "release":
                    resized = torch.stack([processor.sam(example.pixels) for example in chunk]).to(device)
                    with torch.no_grad():
                        whole = model.dense(resized)
                    rows = [i for i, example in enumerate(chunk) if example.mask is not None]
                    dense = whole[rows] if rows else None
                terms, _ = module(batch, dense)
                (weighted(terms, config) / len(chunks)).backward()
        torch.nn.utils.clip_grad_norm_(learns, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - began)
    place.cleanup()
    seconds = float(np.median(took[1:]))
    peak, name = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, platform.machine()
    if device == "cuda":
        peak, name = torch.cuda.max_memory_allocated(), torch.cuda.get_device_name()
    return {
        "way": way, "seconds": round(seconds, 3), "pictures_per_second": round(len(kept) / seconds, 3),
        "peak_gb": round(peak / 1e9, 2), "sam_calls": model.calls["sam"],
        "parameters": sum(p.numel() for p in model.parameters()), "device": name,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="middle")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--per-device", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options.way, options)))
        return
    rows = []
    for way in WAYS:
        words = [sys.executable, *sys.argv, "--way", way]
        done = subprocess.run(words, env=dict(os.environ), check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{rows[0]['parameters'] / 1e6:.0f} M parameters, {options.precision}, {rows[0]['device']}\n")
    print("| way | pictures/s | times the release's way | peak memory |\n|---|---:|---:|---:|")
    for row in rows:
        gain = rows[0]["seconds"] / row["seconds"]
        print(f"| {row['way']} | {row['pictures_per_second']:.3g} | {gain:.2f} | {row['peak_gb']:.1f} GB |")


if __name__ == "__main__":
    main()
