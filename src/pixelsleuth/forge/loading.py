"""How models are loaded: once a process, without code from the hub, and with errors that say what to do."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

from pixelsleuth.errors import MissingExtra, UsageError


def device_of(wanted: str) -> str:
    """The device that `auto`, `cpu` or `cuda` stands for. Raises UsageError where there is no such device."""
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda: there is no CUDA device; use device=auto or device=cpu.")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def loading(name: str, package: str) -> Iterator[None]:
    """Turn what goes wrong while a model is loaded into one sentence."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra(getattr(error, "name", None) or package, "forge") from error
    except (OSError, ValueError, KeyError) as error:
        told = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{name} cannot be loaded ({told}); name a folder or a hub id that you have access to."
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


def accepted(call: Any, values: dict[str, Any], told: str) -> dict[str, Any]:
    """`values` without those that are None. Raises UsageError where the pipeline does not know one of the rest."""
    import inspect

    known = inspect.signature(call).parameters
    wanted = {key: value for key, value in values.items() if value is not None}
    unknown = [key for key in wanted if key not in known]
    if unknown:
        raise UsageError(f"{told} does not take {', '.join(unknown)}; leave that setting empty.")
    return wanted
