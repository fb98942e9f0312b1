"""Speed of SIDA's paths against the release's method, in one process on one machine.

The release runs one picture at a time, keeps no keys and values, and runs CLIP and the whole row again for each token;
its mask comes from the generated answer. Here the same modules imitate that method, so that the ratio measures the
method alone. Models are drawn at random (`tiny`, `1b`, `7b`): speed does not depend on the values.

    python benchmarks/sida_inference.py --sizes tiny 1b --batches 1 4 16
    python benchmarks/sida_inference.py --sizes 7b --device cuda --precision bf16
    python benchmarks/sida_inference.py --sizes 1b --encoder --repeats 5     # SAM's image encoder against transformers'
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelsleuth.models.sida.inference import Row, SidaEngine
from pixelsleuth.models.sida.large import LargeConfig, LargeSida, spread
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.sida.prompts import ANSWERS, QUESTION
from pixelsleuth.models.sida.tokenizer import LegacyTokenizer

CLIP = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 224, "patch_size": 14, "hidden_act": "quick_gelu",
}  # fmt: skip
SAM = {
    "hidden_size": 768, "output_channels": 256, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 1024,
    "patch_size": 16, "mlp_dim": 3072, "window_size": 14, "global_attn_indexes": [2, 5, 8, 11], "num_pos_feats": 128,
}  # fmt: skip
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "language": {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4, "num_attention_heads": 8},
        "clip": CLIP | {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4},
        "sam": SAM | {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "mlp_dim": 256,
                      "global_attn_indexes": [2]},
    },
    "1b": {
        "language": {"hidden_size": 2048, "intermediate_size": 5504, "num_hidden_layers": 16,
                     "num_attention_heads": 16},
        "clip": CLIP, "sam": SAM,
    },
    "7b": {
        "language": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                     "num_attention_heads": 32},
        "clip": CLIP,
        "sam": SAM | {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "mlp_dim": 5120,
                      "global_attn_indexes": [7, 15, 23, 31]},
    },
}  # fmt: skip
TOKENS = 64


def build(size: str, folder: Path, device: str, dtype: torch.dtype) -> SidaEngine:
    """A model of a size with random weights; the tokenizer is that of a checkpoint folder."""
    tokenizer = LegacyTokenizer.from_folder(folder)
    parts = SIZES[size]
    language = {
        "vocab_size": 32_005,
        "attn_implementation": "sdpa",
        "tie_word_embeddings": False,
        **parts["language"],
    }
    sida = {
        "token": parts["clip"]["hidden_size"],
        "out": 256,
        "decoder": "sam",
        "mask": {},
        "language": language,
    }
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = LargeSida(LargeConfig(sida=sida, clip=parts["clip"], sam=parts["sam"]))
    torch.set_default_dtype(torch.float32)
    spread(model)
    model = model.eval().requires_grad_(False)
    return SidaEngine(model, SidaProcessor(tokenizer))


@torch.inference_mode()
def release_way(engine: SidaEngine, picture: np.ndarray, tokens: int, *, mask: bool) -> None:
    """Run a picture by the release's method: no cache, CLIP and the whole row once for each of `tokens` tokens."""
    model, processor = engine.model, engine.processor
    row = processor.ids(QUESTION)
    generated: list[int] = []
    answer = processor.ids(QUESTION, ANSWERS[2]).after[len(row.after) :]
    for step in range(tokens):
        tokens_of_picture = engine._encode([picture])
        parts = [torch.tensor([ids], device=engine.device) for ids in (row.before, [*row.after, *generated])]
        embedded = [model.sida.embed(part) for part in parts]
        hidden, _ = model.sida.read(torch.cat([embedded[0], tokens_of_picture, embedded[1]], dim=1))
        model.sida.language.lm_head(hidden)
        generated.append(answer[step] if step < len(answer) else 300)
    if mask:
        state = hidden[0, -1]
        engine._masks(Row([state], [state]), engine._dense([picture]), picture)


def decode(engine: SidaEngine, pictures: list[np.ndarray]) -> None:
    """Class, mask and 64 tokens, each run explicitly: random weights neither end an answer nor write [SEG]."""
    with torch.inference_mode():
        hidden, ends, context = engine._prefill(engine._encode(pictures), [QUESTION] * len(pictures))
        state = hidden[torch.arange(len(pictures)), ends]
        for _ in range(TOKENS):
            chosen = engine.model.sida.language.lm_head(state).argmax(dim=-1)
            hidden, context = engine.model.sida.read(engine.model.sida.embed(chosen[:, None]), None, context)
            state = hidden[:, 0]
        rows = [Row([row], [row]) for row in state]
        engine._replies(pictures, rows, torch.tensor([[0.0, 0.0, 9.0]] * len(pictures)), None)


def located(engine: SidaEngine, pictures: list[np.ndarray]) -> None:
    """Class and mask of every picture, as if all were tampered."""
    engine.locate(pictures, threshold=0.0)


def seconds(work: Callable[[], object], repeats: int, device: str) -> float:
    """Seconds of the fastest of `repeats` runs; the first warms up."""
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - started)
    return min(spent)


def measure(
    engine: SidaEngine, batches: list[int], repeats: int, device: str, tokens: int
) -> list[dict[str, Any]]:
    """Print and return the table's rows: path, batch, pictures a second, ratio to the release's method.

    Of the release's 64 tokens `tokens` are measured and multiplied: each costs as much as the first, or a little more.
    """
    random = np.random.default_rng(0)
    picture = random.integers(0, 255, (768, 1024, 3), dtype=np.uint8)
    answer = len(engine.processor.ids(QUESTION, ANSWERS[2]).after) - len(engine.processor.ids(QUESTION).after)
    slow = {
        "class": seconds(lambda: release_way(engine, picture, 1, mask=False), repeats, device),
        "class + mask": seconds(lambda: release_way(engine, picture, answer, mask=True), repeats, device),
    }
    mask_alone = seconds(lambda: engine._dense([picture]), repeats, device)
    few = seconds(lambda: release_way(engine, picture, tokens, mask=False), repeats, device)
    slow["class + mask + 64 tokens"] = few * TOKENS / tokens + mask_alone
    paths: dict[str, Callable[[list[np.ndarray]], object]] = {
        "class": engine.classify,
        "class + mask": lambda pictures: located(engine, pictures),
        "class + mask + 64 tokens": lambda pictures: decode(engine, pictures),
    }
    rows: list[dict[str, Any]] = []

    def row(**values: Any) -> None:
        rows.append(values)
        print("| {path} | {batch} | {pictures_s:.3g} | {ratio:.1f} |".format(**values), flush=True)

    for name, path in paths.items():
        row(path=name, batch="release", pictures_s=1 / slow[name], ratio=1.0)
        for batch in batches:
            pictures = [picture] * batch
            spent = seconds(lambda path=path, pictures=pictures: path(pictures), repeats, device) / batch  # type: ignore[misc]
            row(path=name, batch=batch, pictures_s=1 / spent, ratio=slow[name] / spent)
    return rows


@torch.inference_mode()
def encoder(size: str, repeats: int, device: str, dtype: torch.dtype) -> None:
    """Print seconds a picture of SAM's image encoder, transformers' own and ours with the same weights, in turns."""
    from transformers import SamVisionConfig
    from transformers.models.sam.modeling_sam import SamVisionEncoder

    from pixelsleuth.models.sam_encoder import hasten

    config = SamVisionConfig(**SIZES[size]["sam"])
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    with torch.device(device):
        theirs, ours = SamVisionEncoder(config), SamVisionEncoder(config)
        pixels = torch.randn(1, 3, config.image_size, config.image_size, dtype=dtype)
    spread(theirs)
    ours.load_state_dict(theirs.state_dict())
    both = [theirs.to(dtype).eval(), hasten(ours).to(dtype).eval()]
    spent: list[list[float]] = [[], []]
    for _ in range(repeats):
        for model, times in zip(both, spent, strict=True):
            times.append(seconds(lambda model=model: model(pixel_values=pixels), 1, device))  # type: ignore[misc]
    outputs = [model(pixel_values=pixels).last_hidden_state for model in both]
    before, after = (min(times) for times in spent)
    print(
        f"SAM's image encoder, {size}: {before:.2f} s with transformers, {after:.2f} s here, {before / after:.2f} times"
    )
    print(f"outputs equal bit by bit: {torch.equal(*outputs)}\n")


def peak(device: str) -> str:
    """Peak memory so far: of the GPU, or of the process."""
    if device == "cuda":
        return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB on the GPU"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["tiny"], choices=SIZES)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument(
        "--tokenizer", type=Path, default=Path("../shared/parity/sida"), help="a checkpoint folder"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--release-tokens", type=int, default=8, help="of 64, measured in the release's way")
    parser.add_argument("--encoder", action="store_true", help="SAM's image encoder alone")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    dtype = torch.float32 if options.precision == "fp32" else torch.bfloat16
    tables = {}
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{platform.machine()}, {where}, {options.precision}, torch {torch.__version__}\n")
    for size in options.sizes:
        if options.encoder:
            encoder(size, options.repeats, options.device, dtype)
            continue
        engine = build(size, options.tokenizer, options.device, dtype)
        parameters = sum(p.numel() for p in engine.model.parameters())
        print(f"**{size}**, {parameters / 1e9:.2f} billion parameters\n")
        print("| path | batch | pictures/s | times the release's way |\n|---|---:|---:|---:|", flush=True)
        rows = measure(engine, options.batches, options.repeats, options.device, options.release_tokens)
        print(f"\nPeak memory {peak(options.device)}.\n")
        tables[size] = rows
        del engine
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
