"""`open_data` opens labelled pictures: for training, evaluation and audit.

    from pixelsleuth.data.readers import open_data
    for sample in open_data("SID_Set/", split="validation"):
        picture, mask = sample.load()

The data are a manifest (CSV, JSON lines, Parquet), a folder in a known layout (`pixelsleuth datasets` lists them), a
folder of Parquet or WebDataset shards, or `hf:owner/name`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.data import layouts, tables, webdataset
from pixelsleuth.data.left_out import LeftOut
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source
from pixelsleuth.errors import UsageError

HUB = "hf:"
PACKED = frozenset((".zip", ".gz", ".tgz", ".7z", ".rar", ".z01", ".bz2", ".xz", ".zst"))


class Data(Iterator[Sample]):
    """The samples of one data set, one after the other; an iterator, so they come once.

    `spec` is the reader. `left_out` counts what was not yielded and why (links without a picture, names that lead
    outside the folder); it is complete when the iteration is.
    """

    def __init__(self, name: str, spec: ReaderSpec, source: Source) -> None:
        self.name, self.spec, self.source = name, spec, source
        self.count = 0
        self._samples = spec.read(source)

    @property
    def left_out(self) -> LeftOut:
        """Why pictures were not yielded, with their number and the first names."""
        return self.source.left_out

    def __next__(self) -> Sample:
        try:
            sample = next(self._samples)
        except StopIteration:
            self._finish()
            raise
        self.count += 1
        return sample

    def _finish(self) -> None:
        table, splits = self.source.table, self.source.splits
        if table is not None:
            splits = splits | table.splits
            for shard in table.unreadable:
                self.left_out.add(f"shard that cannot be read: {shard}")
        split = self.source.split
        if split is not None and splits and split not in splits:
            raise UsageError(
                f"{self.name} has no split {split!r}; it has: {', '.join(sorted(filter(None, splits)))}."
            )


def open_data(
    spec: str | os.PathLike[str],
    reader: str | None = None,
    split: str | None = None,
    *,
    allow_outside: bool = False,
    **settings: str,
) -> Data:
    """Open labelled pictures and return an iterator of samples.

    Nothing but names and headers is held in memory; `Sample.open` and `Sample.load` decode pictures.

    Args:
        spec: a manifest file, a folder, or `hf:owner/name[@revision]`.
        reader: a name out of `pixelsleuth datasets`; without it the layout decides.
        split: one part of the set, as the set names it.
        allow_outside: names in a manifest may lead anywhere (absolute paths, `..`, links); for sets that you made.
        settings: what the reader leaves open (`pixelsleuth datasets show NAME`), such as `synthetic_mask="zeros"`.

    Raises:
        UsageError: nothing is there, the layout or the reader is unknown, a setting or a label is wrong.
        MissingExtra: the set needs pyarrow, `datasets` or ijson, and it is not installed.
    """
    name = os.fspath(spec)
    chosen = layouts.get(reader) if reader is not None else None
    local = Path(name[len(HUB) :] or os.devnull)
    if name.startswith(HUB) and local.is_dir() and webdataset.shards_in(local):
        chosen, source = _of_path(local, chosen or layouts.get(webdataset.READER), split)
    elif name.startswith(HUB):
        source = _of_hub(name, split)
        chosen = (
            chosen
            or layouts.of_hub(name[len(HUB) :].partition("@")[0])
            or layouts.of_table(source.table, name)
        )
    else:
        path = Path(name)
        if not path.exists():
            raise UsageError(f"There is no {name}; name a manifest, a folder, or hf:owner/name.")
        chosen, source = _of_path(path, chosen, split)
    source.settings, source.allow_outside = layouts.settings_of(chosen, settings), allow_outside
    return Data(name, chosen, source)


def _of_hub(name: str, split: str | None) -> Source:
    place = name[len(HUB) :]
    if not place.strip("/"):
        raise UsageError("hf: wants the name of a data set, such as hf:saberzl/SID_Set.")
    local = Path(place)
    return Source(root=local if local.is_dir() else Path(), table=tables.hub(place, split), split=split)


def _of_path(path: Path, chosen: ReaderSpec | None, split: str | None) -> tuple[ReaderSpec, Source]:
    if path.is_file():
        if path.suffix.lower() == webdataset.SUFFIX:
            table = webdataset.open_shards([path], path.parent, split)
            return chosen or layouts.get(webdataset.READER), Source(path.parent, path, table, split)
        if path.suffix.lower() not in (".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".pq"):
            advice = "name a CSV, JSON lines or Parquet file, or a folder"
            if path.suffix.lower() in PACKED:
                advice = "unpack it and name the folder"
            raise UsageError(f"{path} is no manifest; {advice}.")
        table = tables.open_table(path, split)
        chosen = chosen or layouts.of_table(table, str(path))
        return chosen, Source(root=path.parent, file=path, table=table, split=split)
    if chosen is None:
        match = layouts.of_folder(path)
        if match is not None:
            return match[0], Source(root=match[1], split=split)
    if next(path.rglob("*.parquet"), None) is not None and (chosen is None or chosen.columns):
        table = tables.open_table(path, split)
        return chosen or layouts.of_table(table, str(path)), Source(root=path, table=table, split=split)
    if (shards := webdataset.shards_in(path)) and (chosen is None or chosen.columns):
        table = webdataset.open_shards(shards, path, split)
        return chosen or layouts.get(webdataset.READER), Source(root=path, table=table, split=split)
    if chosen is None:
        raise UsageError(
            f"The layout of {path} is not known; force a reader with --reader ({', '.join(layouts.names())}), "
            "sort the pictures into real/ and fake/, or write a manifest with the columns path and label."
        )
    if not chosen.folders:
        raise UsageError(f"The reader {chosen.name} reads a table, and {path} holds none; name the file.")
    return chosen, Source(root=layouts.root_of(chosen, path), split=split)
