"""What SOURCE of a scan stands for: its kind, and its inputs as a stream of tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pixelsleuth.errors import SourceError
from pixelsleuth.pictures.formats import SUFFIXES, UNREAD_SUFFIXES
from pixelsleuth.scale import manifests, remote, sampling, tars, trees
from pixelsleuth.scale.listing import PIECE, pieces, stored
from pixelsleuth.scale.where import Condition

if TYPE_CHECKING:
    import pyarrow as pa

LISTS = (".txt", ".list", ".lst")
"""Suffixes of a file with a path a line."""


@dataclass(frozen=True)
class Selection:
    """Which inputs of a source are taken: those for which `where` holds, and of these `sample`, drawn by `seed`."""

    where: str | None = None
    sample: int | None = None
    seed: int = 0


def inputs(source: str, selection: Selection = Selection()) -> Iterator[pa.Table]:
    """The inputs of a source, in tables of `listing`.

    A folder, an archive (.tar), a manifest (Parquet, CSV, JSON lines), a list (.txt: a path a line), a picture, or an
    address of one of these. Raises SourceError at once for what is none of them.
    """
    condition = None if selection.where is None else Condition.parse(selection.where)
    tables = _inputs(source, condition)
    return tables if selection.sample is None else sampling.sample(tables, selection.sample, selection.seed)


def _inputs(source: str, condition: Condition | None) -> Iterator[pa.Table]:
    name = source.lower()
    suffix = PurePosixPath(name).suffix
    if name.endswith(tars.COMPRESSED):
        raise SourceError(
            f"{source} is a compressed archive, in which no picture can be read alone; decompress it to a .tar."
        )
    if suffix in manifests.SUFFIXES and not os.path.isdir(source):
        stream = remote.opened(source) if remote.is_address(source) else source
        return manifests.manifest(source, stream, condition)
    if condition is not None:
        raise SourceError(
            f"--where speaks of the columns of a manifest (Parquet, CSV, JSON lines), not {source}."
        )
    if remote.is_address(source):
        return _stored_there(source)
    if os.path.isdir(source):
        return trees.tree(source)
    if not os.path.exists(source):
        raise SourceError(
            f"There is no {source}; name a folder, a list, a manifest, an archive or an address."
        )
    if suffix == tars.SUFFIX:
        return tars.members(source)
    if suffix in LISTS:
        return trees.paths(source)
    if suffix in SUFFIXES:
        return pieces([(stored(source), os.path.getsize(source))])
    raise SourceError(
        f"{source} is no source that a scan knows: a folder, a list (.txt), a manifest (.parquet, .csv, .jsonl) or "
        "an archive (.tar)."
    )


def _stored_there(address: str) -> Iterator[pa.Table]:
    """The pictures and the members of tar files below an address."""
    pending: list[tuple[str, int | None]] = []
    for location, size in remote.files(address):
        suffix = PurePosixPath(location.lower()).suffix
        if suffix in SUFFIXES or suffix in UNREAD_SUFFIXES:
            pending.append((location, size))
        if suffix == tars.SUFFIX or len(pending) == PIECE:
            yield from pieces(pending)
            pending = []
        if suffix == tars.SUFFIX:
            with remote.opened(location) as stream:
                yield from tars.members(location, stream)
    yield from pieces(pending)
