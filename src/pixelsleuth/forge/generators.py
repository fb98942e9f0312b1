"""Stage 5: whole pictures by generators, and a registry of the methods that the So-Fake tables name.

The tables name methods, not checkpoints. `model` is the public checkpoint that is usual for a method;
`synthesis.model` names another. It is empty where diffusers runs none, and `note` then says why.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.core.names import nearest
from pixelsleuth.data.equalise import random_for
from pixelsleuth.errors import Rejected, UsageError
from pixelsleuth.forge.configuration import SynthesisConfig
from pixelsleuth.forge.diffusion import accepted, device_of, diffusion_pipeline
from pixelsleuth.forge.locating import png
from pixelsleuth.forge.sources import CARRIED, Context, photograph
from pixelsleuth.forge.stages import Row, write_file


@dataclass(frozen=True)
class Generator:
    """One method of the tables. `part`: Set or OOD; `makes`: F full synthetic, T tampered; `model`: a checkpoint."""

    name: str
    family: str
    part: str
    makes: str
    model: str = ""
    pipeline: str = "AutoPipelineForText2Image"
    steps: int | None = None
    guidance: float | None = None
    note: str = ""


_OWN = "a GAN or class-conditional model; run its own code and add the pictures to a manifest"
_API = "only behind its maker's service; add pictures to a manifest"
REGISTRY: dict[str, Generator] = {
    generator.name: generator
    for generator in (
        Generator("Absolute_Reality", "diffusion", "Set", "F", "Lykon/AbsoluteReality", note="version not stated"),
        Generator("Kandinsky3", "diffusion", "Set", "F", "kandinsky-community/kandinsky-3"),
        Generator("FLUX.1-dev", "diffusion", "Set", "F&T", "black-forest-labs/FLUX.1-dev", "FluxPipeline", 28, 3.5,
                  "gated, non-commercial"),
        Generator("Latent diffusion", "diffusion", "Set", "F&T", "CompVis/ldm-text2im-large-256", "DiffusionPipeline"),
        Generator("playground", "diffusion", "Set", "F", "playgroundai/playground-v2.5-1024px-aesthetic",
                  note="version not stated"),
        Generator("SD-3.5", "diffusion", "Set", "F", "stabilityai/stable-diffusion-3.5-large", note="gated"),
        Generator("SD-XL", "diffusion", "Set", "F&T", "stabilityai/stable-diffusion-xl-base-1.0"),
        Generator("Realistic Vision", "diffusion", "Set", "F", "SG161222/Realistic_Vision_V5.1_noVAE",
                  note="version not stated"),
        Generator("Qwen-image", "diffusion", "Set", "F", "Qwen/Qwen-Image", "DiffusionPipeline"),
        Generator("FLUX.1-Kontext-dev", "diffusion", "Set", "F", "black-forest-labs/FLUX.1-Kontext-dev",
                  "FluxKontextPipeline", note="edits pictures; gated, non-commercial"),
        Generator("Hi-Dream", "diffusion", "OOD", "F", "HiDream-ai/HiDream-I1-Full", "DiffusionPipeline"),
        Generator("rRealism_riiwa", "diffusion", "Set", "F", note="no public checkpoint of this name is known"),
        *(Generator(name, "diffusion", "Set", "F", note=_OWN) for name in
          ("Collaborative Diffusion", "DiT-XL", "SiT-XL", "RDDM")),
        *(Generator(name, "GAN", "Set", "F", note=_OWN) for name in
          ("AttGAN", "BEGAN", "CramerGAN", "InfoMaxGAN", "MMDGAN", "R3GAN", "RelGAN", "StyleGAN-2", "StyleGAN-3",
           "StyleGAN-XL", "SNGAN", "STGAN", "VQGAN", "OpenForensics")),
        Generator("Midjourney", "service", "Set", "F", note=_API),
        *(Generator(name, "service", "OOD", makes, note=_API) for name, makes in
          (("Recraft-v3", "F"), ("GPT-4o", "F&T"), ("Image3", "F"), ("Image4", "F"), ("Nano Banana", "F"),
           ("Seedream3.0", "F"), ("Ideogram3.0", "F&T"), ("Ideogram2.0", "F"), ("FLUX1.1_pro", "F"))),
    )
}  # fmt: skip
"""The 40 methods of So-Fake's second table."""


def find_generator(name: str) -> Generator:
    """A method of the registry that can be run. Raises UsageError with the nearest name, or with what to do instead."""
    if name not in REGISTRY:
        close = nearest(name, REGISTRY, cutoff=0.4)
        runnable = ", ".join(generator.name for generator in REGISTRY.values() if generator.model)
        hint = f"; did you mean {close}?" if close else "."
        raise UsageError(f"{name!r} is no generator of the registry{hint} Those that can be run: {runnable}.")
    generator = REGISTRY[name]
    if not generator.model:
        raise UsageError(f"{name} cannot be run here: {generator.note}.")
    return generator


def synthesise(row: Row, context: Context) -> list[Row]:
    """Whole pictures for one photograph: from its caption, or from itself through an autoencoder. Raises Rejected."""
    config = context.config.synthesis
    base = {key: value for key, value in (row | {"photograph": row["id"]}).items() if key in CARRIED}
    made = []
    for number in range(config.per_photograph):
        name = f"{row['id']}-s{number}"
        if config.method == "autoencoders":
            pixels, record = _regenerated(row, context)
        else:
            pixels, record = _generated(row, name, number, context)
        write_file(context.folder / f"pictures/{name}.png", png(pixels))
        record |= {"id": name, "label": "full_synthetic", "file": f"pictures/{name}.png"}
        made.append(base | record)
    return made


def _generated(row: Row, name: str, number: int, context: Context) -> tuple[np.ndarray, dict[str, Any]]:
    import torch

    config = context.config.synthesis
    prompt = row.get("caption") or ""
    if not prompt:
        raise Rejected(f"{row['id']}: there is no caption to make a picture from.")
    seed = int(random_for(f"synthesis/{name}", context.config.seed).integers(2**31))
    chosen = chosen_generator(config, row["id"], number, context.config.seed)
    place = device_of(context.config.device)
    pipe = diffusion_pipeline(chosen.pipeline, chosen.model, None, config.dtype, place)
    settings = {
        "num_inference_steps": config.steps or chosen.steps,
        "guidance_scale": config.guidance if config.guidance is not None else chosen.guidance,
        "height": config.side,
        "width": config.side,
    }
    with torch.inference_mode():
        result = pipe(
            prompt=prompt,
            generator=torch.Generator("cpu").manual_seed(seed),
            **accepted(pipe.__call__, settings, chosen.pipeline),
        )
    pixels = np.asarray(result.images[0].convert("RGB"), dtype=np.uint8).copy()
    if int(pixels.max()) <= 2:
        raise Rejected(f"{row['id']}: the picture came back black, as from a safety checker.")
    record = {"generator": chosen.name, "model": chosen.model, "pipeline": chosen.pipeline, "prompt": prompt}
    return pixels, record | {
        "settings": {key: value for key, value in settings.items() if value is not None},
        "synthesis_seed": seed,
    }


def chosen_generator(config: SynthesisConfig, name: str, number: int, seed: int) -> Generator:
    """The generator of one picture: drawn evenly from `generators`, or the one that `model` names."""
    if not config.generators:
        if not config.model:
            raise UsageError("synthesis.method=diffusers needs synthesis.generators or synthesis.model.")
        return Generator(
            config.model.rstrip("/").rsplit("/", 1)[-1], "diffusion", "", "F", config.model, config.pipeline
        )
    drawn = random_for(f"generator/{name}/{number}", seed).integers(len(config.generators))
    return find_generator(config.generators[int(drawn)])


def _regenerated(row: Row, context: Context) -> tuple[np.ndarray, dict[str, Any]]:
    """An aligned fake: the photograph itself through a generator's autoencoder (arXiv 2410.11835)."""
    from pixelsleuth.forge.autoencoders import regenerate

    pixels = regenerate(_autoencoder(context.config.synthesis.model), photograph(row, context))
    return pixels, {"generator": "autoencoder TAEF2", "model": "TAEF2", "prompt": ""}


@functools.lru_cache(maxsize=1)
def _autoencoder(folder: str) -> Any:
    from pixelsleuth.forge.autoencoders import load_autoencoder

    if not folder:
        raise UsageError(
            "synthesis.model names no folder: name that of TAEF2's weights (docs/reference/forge.md)."
        )
    return load_autoencoder(Path(folder))
