"""Checkpoints by name: a folder, or a hub id that is downloaded once and then read from the cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.content import ensure_regular
from pixelsleuth.errors import UnknownModel, UsageError
from pixelsleuth.models.catalogue import CHECKPOINTS, kinds_of
from pixelsleuth.models.facts import CHECKPOINT_SETTINGS

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector


def resolve(name: str, *, beside: Path | None = None, **options: Any) -> Path:
    """The folder that `name` stands for: a folder (also inside `beside`), else a hub id; `options` as in `download`.

    Raises:
        UsageError: no such folder; no such repository; no network and nothing in the cache.
    """
    if beside is not None:
        inner = (beside / name).resolve()
        if inner.is_dir() and inner.is_relative_to(beside.resolve()):
            ensure_regular(inner)
            return inner
    if Path(name).is_dir():
        ensure_regular(name)
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UsageError(f"{name!r} is neither a folder nor a hub id (owner/name).")
    return download(name, **options)


def short_name(name: str) -> str:
    """The name of a detector that `name`, a folder or a hub id, holds: its last part."""
    return Path(name).name if Path(name).is_dir() else name.rpartition("/")[2].lower()


def load(name: str, device: str = "auto", precision: str = "auto") -> Detector:
    """The detector of a hub id. Its config.json, which is fetched first, says which kind it is.

    Raises:
        UnknownModel: a checkpoint of another kind. UsageError: it cannot be downloaded.
    """
    from huggingface_hub import hf_hub_download

    with in_one_sentence(name):
        config = json.loads(Path(hf_hub_download(name, "config.json")).read_text(encoding="utf-8"))
    kinds = kinds_of(config)
    factory = next((CHECKPOINTS[kind] for kind in kinds if kind in CHECKPOINTS), None)
    if factory is None:
        kind = kinds[-1] if kinds else "unknown"
        raise UnknownModel(
            f"{name} is a checkpoint of another kind ({kind}), which this version cannot load."
        )
    module, _, attribute = factory.partition(":")
    detector: Detector = getattr(import_module(module), attribute)(name, device=device, precision=precision)
    return detector


def download(repository: str, **options: Any) -> Path:
    """The local copy of a repository's weights; safetensors are preferred to `.bin`.

    `options` are huggingface_hub's: `revision`, `token`, `cache_dir`, `force_download`, `local_files_only`.
    """
    from huggingface_hub import snapshot_download

    with in_one_sentence(repository):
        fetch = partial(snapshot_download, repository, **options)
        folder = Path(fetch(allow_patterns=[*CHECKPOINT_SETTINGS, "*.safetensors"]))
        if not list(folder.glob("*.safetensors")):
            folder = Path(fetch(allow_patterns=[*CHECKPOINT_SETTINGS, "*.bin"]))
    return folder


def ensure_online(repository: str) -> None:
    """Raise UsageError where HF_HUB_OFFLINE forbids to reach the hub."""
    from huggingface_hub import is_offline_mode

    if is_offline_mode():
        raise UsageError(f"{repository} cannot be uploaded while HF_HUB_OFFLINE is set: unset it.")


@contextmanager
def in_one_sentence(repository: str, done: str = "downloaded") -> Iterator[None]:
    """Turn the errors of a transfer into a UsageError of one sentence; `done` says what could not be done."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        yield
    except LocalEntryNotFoundError:
        raise UsageError(
            f"{repository} is not in the cache and the hub cannot be reached: connect, or name a folder that holds it."
        ) from None
    except HFValidationError:
        raise UsageError(f"{repository!r} is neither a folder nor a hub id (owner/name).") from None
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f"{repository} cannot be {done} ({reason}).") from error
