"""`Listing`: the samples of a data set, to be gone through more than once, with no picture in memory.

Sets that keep pictures inside shards yield samples with bytes. Of these a listing keeps all but the bytes and the mask;
each pass streams the shards again. `left_out` holds what the reader left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from pixelsleuth.data.left_out import LeftOut
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
    left_out: LeftOut = field(default_factory=LeftOut, hash=False)
    settings: Mapping[str, str] = field(default_factory=dict, hash=False)
    allow_outside: bool = False

    def __iter__(self) -> Iterator[tuple[int, Sample]]:
        if not self.sharded:
            yield from self.light
            return
        listed = {index for index, _ in self.light}
        data = open_data(
            self.spec, self.reader, self.split, allow_outside=self.allow_outside, **self.settings
        )
        for index, sample in enumerate(data):
            if index in listed:
                yield index, sample

    def __len__(self) -> int:
        return len(self.light)

    def only(self, indexes: Iterable[int]) -> Listing:
        """The samples of these indexes, in the data set's order."""
        kept = set(indexes)
        return replace(self, light=tuple(item for item in self.light if item[0] in kept))


def list_data(
    spec: str | os.PathLike[str],
    *,
    split: str | None = None,
    reader: str | None = None,
    settings: Mapping[str, str] | None = None,
    allow_outside: bool = False,
) -> Listing:
    """List what `open_data` opens. Raises UsageError and MissingExtra as it does."""
    name, light, sharded = os.fspath(spec), [], False
    chosen = dict(settings or {})
    data = open_data(name, reader, split, allow_outside=allow_outside, **chosen)
    for index, sample in enumerate(data):
        if sample.data is not None:
            sharded = True
            sample = replace(sample, data=None, mask=None)
        light.append((index, sample))
    return Listing(name, split, reader, tuple(light), sharded, data.left_out, chosen, allow_outside)
