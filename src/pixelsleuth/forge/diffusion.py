"""Models of diffusers: loaded once a process, without code from the hub; inpainting and the control for it.

Every pipeline that takes image and mask will do (Stable Diffusion, SDXL, FLUX Fill). Without a paste-back the pipelines
return a picture that went through the autoencoder everywhere, so that a detector may learn the decoder and not the
edit; `editing.paste_back` undoes that, and `round_trip` makes the control for it.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from pixelsleuth.errors import MissingExtra, UsageError
from pixelsleuth.forge.configuration import EditConfig


def device_of(setting: str) -> str:
    """The device that `auto`, `cpu` or `cuda` stands for. Raises UsageError where there is no such device."""
    import torch

    if setting == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda: there is no CUDA device; use device=auto or device=cpu.")
    return "cuda" if setting != "cpu" and torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def loading(name: str, package: str) -> Iterator[None]:
    """Turn errors while the model `name` is loaded into UsageError, or MissingExtra for `package`."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra(getattr(error, "name", None) or package, "forge") from error
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{name} cannot be loaded ({reason}); name a folder or a hub id that you have access to."
        ) from error


@functools.lru_cache(maxsize=2)
def diffusion_pipeline(kind: str, model: str, revision: str | None, dtype: str, device: str) -> Any:
    """A diffusers pipeline of the class `kind` (its name) from a folder or a hub id, on its device, in evaluation.

    Raises UsageError where there is no such class or model.
    """
    with loading(model, "diffusers"):
        import diffusers
        import torch

        pipeline_class = getattr(diffusers, kind, None)
        if pipeline_class is None or not hasattr(pipeline_class, "from_pretrained") or "Pipeline" not in kind:
            raise UsageError(f"{kind} is no pipeline of diffusers {diffusers.__version__}.")
        options: dict[str, Any] = {
            "torch_dtype": getattr(torch, dtype),
            "local_files_only": os.path.isdir(model),
        }
        if revision:
            options["revision"] = revision
        pipe = pipeline_class.from_pretrained(model, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def accepted(call: Any, values: dict[str, Any], pipeline: str) -> dict[str, Any]:
    """`values` without those that are None. Raises UsageError where `pipeline` does not take one of them."""
    import inspect

    known = inspect.signature(call).parameters
    chosen = {key: value for key, value in values.items() if value is not None}
    unknown = [key for key in chosen if key not in known]
    if unknown:
        raise UsageError(f"{pipeline} does not take {', '.join(unknown)}; leave that setting empty.")
    return chosen


def inpaint(
    pixels: np.ndarray, mask: np.ndarray, prompt: str, seed: int, config: EditConfig, device: str
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Redraw `mask` (H, W) of `pixels` (H, W, 3), both uint8, by `prompt`.

    Returns the picture at the same size, the mask that the model was given (dilated by `config.dilate`), and a record
    of model, settings and sizes. The picture is not pasted back. Raises UsageError where the model cannot be loaded.
    """
    import torch
    from PIL import Image

    place = device_of(device)
    pipe = diffusion_pipeline(config.pipeline, config.model, config.revision, config.dtype, place)
    given = dilated(mask, config.dilate)
    height, width = pixels.shape[:2]
    size = working_size(width, height, config.side, grid_of(pipe))
    settings = {
        "num_inference_steps": config.steps,
        "guidance_scale": config.guidance,
        "strength": config.strength,
        "negative_prompt": config.negative_prompt,
    }
    picture, region = Image.fromarray(pixels), Image.fromarray(given)
    if size != (width, height):
        picture = picture.resize(size, Image.Resampling.LANCZOS)
        region = region.resize(size, Image.Resampling.NEAREST)
    with torch.inference_mode():
        result = pipe(
            prompt=prompt,
            image=picture,
            mask_image=region,
            width=size[0],
            height=size[1],
            generator=torch.Generator("cpu").manual_seed(seed),
            **accepted(pipe.__call__, settings, config.pipeline),
        )
    made = result.images[0].convert("RGB")
    if made.size != (width, height):
        made = made.resize((width, height), Image.Resampling.LANCZOS)
    flagged = getattr(result, "nsfw_content_detected", None)
    record = {
        "pipeline": config.pipeline,
        "generator": config.model,
        "revision": config.revision or "",
        "settings": {key: value for key, value in settings.items() if value is not None},
        "worked_at": list(size),
        "resampled": size != (width, height),
        "flagged": bool(flagged and flagged[0]),
    }
    return np.asarray(made, dtype=np.uint8).copy(), given, record


def round_trip(pixels: np.ndarray, config: EditConfig, device: str) -> np.ndarray:
    """`pixels` (H, W, 3) uint8 through the model's autoencoder, without any noise or edit; the same shape."""
    import torch

    place = device_of(device)
    pipe = diffusion_pipeline(config.pipeline, config.model, config.revision, config.dtype, place)
    height, width = pixels.shape[:2]
    grid = grid_of(pipe)
    padded = np.pad(pixels, [(0, -height % grid), (0, -width % grid), (0, 0)], mode="edge")
    tensor = torch.from_numpy(padded).permute(2, 0, 1)[None].to(place, pipe.vae.dtype) / 127.5 - 1
    with torch.inference_mode():
        decoded = pipe.vae.decode(pipe.vae.encode(tensor).latent_dist.mode()).sample
    made = ((decoded.float().clamp(-1, 1) + 1) * 127.5).round().byte()[0].permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(made[:height, :width])


def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    """A mask (H, W) uint8 grown by `radius` pixels."""
    if radius <= 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask, kernel), dtype=np.uint8)


def working_size(width: int, height: int, side: int, grid: int) -> tuple[int, int]:
    """(width, height) that the model works at: the longer side at most `side`, both on the model's grid.

    >>> working_size(512, 384, 512, 8), working_size(640, 427, 512, 8)
    ((512, 384), (512, 344))
    """
    factor = min(1.0, side / max(width, height))
    return max(grid, round(width * factor / grid) * grid), max(grid, round(height * factor / grid) * grid)


def grid_of(pipe: Any) -> int:
    """What a pipeline's sides must divide by: 8 for Stable Diffusion, 16 for FLUX, smaller for small models."""
    processor = getattr(pipe, "image_processor", None)
    return int(getattr(getattr(processor, "config", None), "vae_scale_factor", 8))
