"""Stores behind an address (`s3://`, `hf:`): Arrow's own file system for S3, and fsspec's for the others."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pixelsleuth.errors import MissingExtra, PixelSleuthError, SourceError
from pixelsleuth.scale.listing import arrow

if TYPE_CHECKING:
    import pyarrow.fs as pafs

HUB = "hf:"
ARROWS_OWN = ("s3",)
"""Schemes that Arrow's wheels read without another package; its `gs` tries for a quarter of an hour what fails."""
NEVER = ("http", "https", "ftp", "file", "data")
"""Schemes that are no store of many pictures, or that would read around the checks of local files."""


def is_address(location: str) -> bool:
    """True for what names a store: `s3://bucket/key`, `hf:owner/name`."""
    return "://" in location or location.startswith(HUB)


def store(address: str) -> tuple[pafs.FileSystem, str, str]:
    """(file system, path in it, what stands before a path of it in an address).

    Raises SourceError where the store cannot be opened, MissingExtra where a package for it is not installed.
    """
    if address.startswith(HUB):
        rest = address.removeprefix(HUB)
        path = rest.removeprefix("//") if rest.startswith("//") else f"datasets/{rest}"
        return _opened("hf", "hf://"), path, "hf://"
    scheme, _, path = address.partition("://")
    scheme = scheme.lower()
    if scheme in NEVER:
        raise SourceError(f"{address} is no store that is scanned; download it, or name a list of files.")
    return _opened(scheme, address if scheme in ARROWS_OWN else f"{scheme}://"), path, f"{scheme}://"


@functools.lru_cache(maxsize=16)
def _bucket(scheme: str, root: str) -> Any:
    import pyarrow.fs as pafs

    if scheme in ARROWS_OWN:
        system, _ = pafs.FileSystem.from_uri(root)
        return system
    try:
        import fsspec
    except ImportError:
        raise MissingExtra("fsspec", "scale") from None
    return pafs.PyFileSystem(pafs.FSSpecHandler(fsspec.filesystem(scheme)))


def _opened(scheme: str, address: str) -> Any:
    """The file system of a scheme; of Arrow's own ones, one a bucket."""
    arrow()
    root = address if scheme not in ARROWS_OWN else f"{scheme}://{address.split('://')[1].partition('/')[0]}/"
    try:
        return _bucket(scheme, root)
    except PixelSleuthError:
        raise
    except ImportError as error:  # fsspec knows the scheme, its package is missing
        raise SourceError(f"{address} needs a package that is not installed ({error}).") from error
    except Exception as error:  # each store has errors of its own
        raise SourceError(f"{address} cannot be opened ({_first_line(error)}); check it.") from error


def files(address: str) -> Iterator[tuple[str, int | None]]:
    """(address, bytes) of the files below an address, folder by folder, sorted; a folder is held at a time.

    Raises SourceError where it cannot be listed.
    """
    system, path, before = store(address)
    import pyarrow.fs as pafs

    try:
        (there,) = system.get_file_info([path.rstrip("/")])
        if there.type == pafs.FileType.File:
            yield address, there.size
            return
        folders = [path.rstrip("/")]
        while folders:
            infos = system.get_file_info(pafs.FileSelector(folders.pop(), recursive=False))
            below = []
            for info in sorted(infos, key=lambda info: info.path):
                if info.base_name.startswith("."):
                    continue
                if info.type == pafs.FileType.Directory:
                    below.append(info.path)
                elif info.type == pafs.FileType.File:
                    yield before + info.path.lstrip("/"), info.size
            folders += reversed(below)
    except Exception as error:  # each store has errors of its own
        raise SourceError(f"{address} cannot be listed ({_first_line(error)}); check it.") from error


def opened(address: str) -> Any:
    """The file at an address, open to be read at any place. Raises what its store raises."""
    system, path, _ = store(address)
    return system.open_input_file(path)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
