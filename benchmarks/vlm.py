"""FakeVLM's speed against the release's loop, on one random LLaVA; and the curves of GRPO runs.

    python benchmarks/vlm.py speed [--batches 1 8 32] [--pictures 32] [--tokens 128] [--device auto] [--width 256]
    python benchmarks/vlm.py curve runs/r1/log.jsonl [runs/r2/log.jsonl ...] docs/images/grpo.png

The release pads every prompt to 1024 tokens and runs one picture at a time (its evaluation batch). Both loops generate
the same number of tokens for each picture with the same weights, and write the same text (checked).
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelsleuth.models.fakevlm.answers import QUESTION
from pixelsleuth.models.fakevlm.engine import FakeVlmEngine

PADDED = 1024


def random_engine(width: int, layers: int, device: str) -> FakeVlmEngine:
    """A LLaVA with the published picture size (336 px, 576 tokens), other dimensions free, weights at random."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        PreTrainedTokenizerFast,
    )

    special = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    letters = [chr(code) for code in range(32, 127)]
    core = Tokenizer(
        models.WordLevel({name: i for i, name in enumerate(special + letters)}, unk_token="<unk>")
    )
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
    )
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        image_size=336,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=32_064,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    torch.manual_seed(0)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=4)
    model = LlavaForConditionalGeneration(config).eval().to(device)
    if device == "cuda":
        model = model.to(torch.bfloat16)
    model.generation_config.update(eos_token_id=2, pad_token_id=3)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    return FakeVlmEngine(model, tokenizer, processor)


def as_released(engine: FakeVlmEngine, pixels: list[np.ndarray], tokens: int) -> list[str]:
    """The release's loop: batch of one, prompt padded to 1024, cached greedy decoding by transformers."""
    from transformers import GenerationConfig

    texts = []
    settings = GenerationConfig(
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        pad_token_id=engine.pad,
        eos_token_id=[2],
    )
    for picture in pixels:
        values = engine.pixel_values([picture])
        row = engine.prompt_ids(QUESTION)
        ids = torch.tensor([[engine.pad] * (PADDED - len(row)) + row], device=engine.model.device)
        with torch.inference_mode():
            out = engine.model.generate(
                input_ids=ids,
                attention_mask=(ids != engine.pad).long(),
                pixel_values=values,
                generation_config=settings,
            )
        texts.append(engine.tokenizer.decode(out[0, PADDED:], skip_special_tokens=True).strip())
    return texts


def measure(run: Any) -> float:
    """Seconds of a run, with the device's work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def speed(options: argparse.Namespace) -> None:
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    engine = random_engine(options.width, options.layers, device)
    engine.ends = [
        engine.model.config.text_config.vocab_size + 1
    ]  # nothing ends early: the same work for both
    random = np.random.default_rng(0)
    pixels = [random.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(options.pictures)]
    parameters = sum(p.numel() for p in engine.model.parameters())
    print(
        f"{parameters / 1e6:.0f} M weights, {device}, {torch.get_num_threads()} threads, {platform.processor()}"
    )
    few = pixels[: options.released]
    engine.answer(pixels[:1], max_new_tokens=2)
    release = [measure(lambda: as_released(engine, few, options.tokens))]
    rows = []
    for batch in options.batches:
        seconds = 0.0
        for start in range(0, len(pixels), batch):
            part = pixels[start : start + batch]
            seconds += measure(lambda part=part: engine._generate(
                engine.pixel_values(part), [engine.prompt_ids(QUESTION)] * len(part), options.tokens
            ))  # fmt: skip
        rows.append((f"batch {batch}", seconds / len(pixels)))
    each = measure(lambda: engine.answer(pixels[: max(options.batches)], explain=False)) / max(
        options.batches
    )
    rows.append((f"verdict alone, batch {max(options.batches)}", each))
    release.append(measure(lambda: as_released(engine, few, options.tokens)))
    slow = sum(release) / 2 / len(few)
    runs = ", ".join(f"{len(few) / seconds:.2f}" for seconds in release)
    print(f"release's loop (batch 1, 1024 tokens): {1 / slow:.2f} pictures/s (before and after: {runs})")
    for name, each in rows:
        print(f"{name}: {1 / each:.2f} pictures/s, {slow / each:.1f} times the release's")
    answers = engine.answer(pixels[:2], max_new_tokens=16)
    same = as_released(engine, pixels[:2], 16) == [answer.text for answer in answers]
    print(f"same texts as the release's loop: {same}")


def curve(options: argparse.Namespace) -> None:
    """Draw two panels a run, smoothed over ten steps: the mean reward (share of its maximum) with each reward, and, on
    tampered pictures, the area of the answers' boxes and of the true boxes with their intersection over union."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        2, len(options.logs), figsize=(max(8, 4 * len(options.logs)), 7), dpi=110, sharey="row", squeeze=False
    )
    for (above, below), path in zip(panels.T, map(Path, options.logs), strict=True):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        steps, total = [line["step"] for line in lines], [line["reward"] for line in lines]
        for name in lines[0]["rewards"]:
            above.plot(steps, smooth([line["rewards"][name] for line in lines]), linewidth=1, label=name)
        above.plot(steps, smooth(total), color="black", linewidth=2.2, label="all, share of the maximum")
        above.axhline(0.8, color="0.5", linestyle=":")
        above.set(ylim=(0, 1.02), title=path.parent.name)
        areas = {
            "box_area": "area of the answers' boxes",
            "true_area": "area of the true boxes",
            "box_iou": "IoU",
        }
        for name, label in areas.items():
            below.plot(steps, smooth([line.get(name) for line in lines]), label=label)
        below.set(ylim=(0, 1.02), xlabel="step")
        ends = ", ".join(
            f"{name} {smooth([line.get(name) for line in lines[:10]])[-1]:.2f} -> "
            f"{smooth([line.get(name) for line in lines])[-1]:.2f}"
            for name in ("reward", *areas)
        )
        print(f"{path}: mean of the first ten steps -> of the last: {ends}; best {max(smooth(total)):.3f}")
    panels[0, 0].set_ylabel("mean reward")
    panels[1, 0].set_ylabel("share of the frame, IoU")
    for above in panels[0]:  # runs may have other rewards
        above.legend(loc="lower right", fontsize=7)
    panels[1, 0].legend(loc="upper right", fontsize=7)
    figure.suptitle("GRPO of a small random policy: mean of ten steps")
    figure.tight_layout()
    figure.savefig(options.picture)


def smooth(values: list[float | None], width: int = 10) -> list[float]:
    """Mean over the last `width` values, without those that are None; NaN where all are."""
    windows = [values[max(0, i - width + 1) : i + 1] for i in range(len(values))]
    known = [[value for value in window if value is not None] for window in windows]
    return [sum(window) / len(window) if window else float("nan") for window in known]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(required=True)
    timing = parts.add_parser("speed")
    timing.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    timing.add_argument("--pictures", type=int, default=32)
    timing.add_argument("--released", type=int, default=4, help="pictures for the release's loop")
    timing.add_argument("--tokens", type=int, default=128)
    timing.add_argument("--width", type=int, default=256)
    timing.add_argument("--layers", type=int, default=4)
    timing.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    timing.set_defaults(run=speed)
    curves = parts.add_parser("curve")
    curves.add_argument("logs", nargs="+")
    curves.add_argument("picture")
    curves.set_defaults(run=curve)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
