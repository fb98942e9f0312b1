"""Checkpoints by name: a folder as it is, or a hub id, downloaded once and then read from the cache."""

from __future__ import annotations

from pathlib import Path

from pixelsleuth.core.errors import UsageError

SMALL = ["*.json", "*.model", "*.txt"]


def resolve(name: str, *, beside: Path | None = None) -> Path:
    """The folder that `name` stands for: a folder (also inside `beside`), else a hub id.

    Raises:
        UsageError: no such folder; no such repository; no network and nothing in the cache.
    """
    if beside is not None:
        inner = (beside / name).resolve()
        if inner.is_dir() and inner.is_relative_to(beside.resolve()):
            return inner
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UsageError(f"{name!r} is neither a folder nor a hub id (owner/name).")
    return download(name)


def download(repository: str) -> Path:
    """The local copy of a repository's weights; safetensors are preferred to `.bin`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repository, allow_patterns=[*SMALL, "*.safetensors"]))
        if not list(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(repository, allow_patterns=[*SMALL, "*.bin"]))
    except LocalEntryNotFoundError:
        raise UsageError(
            f"{repository} is not in the cache and the hub cannot be reached: connect, or name a folder that holds it."
        ) from None
    except HFValidationError:
        raise UsageError(f"{repository!r} is neither a folder nor a hub id (owner/name).") from None
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f"{repository} cannot be downloaded ({reason}).") from error
    return folder
