"""`Listing`: the samples of a data set, gone through as often as wanted, without holding a picture in memory.

Sets that keep pictures inside shards yield samples with bytes. Of these a listing keeps names, labels and the like;
each pass over it streams the shards again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import Sample


@dataclass(frozen=True)
class Listing:
    """Samples by their index in the data set. `light` holds them without bytes; iteration gives them whole."""

    spec: str
    split: str | None
    reader: str | None
    light: tuple[tuple[int, Sample], ...]
    sharded: bool

    def __iter__(self) -> Iterator[tuple[int, Sample]]:
        if not self.sharded:
            yield from self.light
            return
        wanted = {index for index, _ in self.light}
        for index, sample in enumerate(open_data(self.spec, reader=self.reader, split=self.split)):
            if index in wanted:
                yield index, sample

    def __len__(self) -> int:
        return len(self.light)

    def only(self, indexes: Iterable[int]) -> Listing:
        """The samples of these indexes, in the data set's order."""
        kept = set(indexes)
        return replace(self, light=tuple(item for item in self.light if item[0] in kept))


def list_data(
    spec: str | os.PathLike[str], *, split: str | None = None, reader: str | None = None
) -> Listing:
    """List what `open_data` opens. Raises UsageError and MissingExtra as it does."""
    name, light, sharded = os.fspath(spec), [], False
    for index, sample in enumerate(open_data(name, reader=reader, split=split)):
        if sample.data is not None:
            sharded = True
            sample = replace(sample, data=None, mask=None)
        light.append((index, sample))
    return Listing(name, split, reader, tuple(light), sharded)
