"""Shards judged into rows: what every engine does with a shard, whichever machine it is on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from pixelsleuth.scale.rows import duplicate_row, row_of

if TYPE_CHECKING:
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.scale.listing import Entry

Rows = list[dict[str, Any]]


class Judge(Protocol):
    """What turns inputs into verdicts, in any order (`pipeline.Pipeline`)."""

    def judge(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Verdict]]:
        """Each input with its verdict."""


class Watch(Protocol):
    """Told of each input that became a row; `verdict` is None for a duplicate."""

    def __call__(self, entry: Entry, verdict: Verdict | None) -> None: ...


def _unwatched(entry: Entry, verdict: Verdict | None) -> None:
    del entry, verdict


def judge_shard(entries: list[Entry], judge: Judge, watch: Watch = _unwatched) -> Rows:
    """The rows of one shard (`parts.write_part` writes them): one an input, in any order."""
    for _, rows in judge_shards([(0, entries)], judge, watch):
        return rows
    return []


def judge_shards(
    shards: Iterable[tuple[int, list[Entry]]], judge: Judge, watch: Watch = _unwatched
) -> Iterator[tuple[int, Rows]]:
    """Yield each shard with its rows as soon as it is complete.

    The judge gets the inputs of all shards as one stream: it is never idle between two of them. As many shards are held
    as the judge reads ahead.
    """
    rows: dict[int, Rows] = {}
    left: dict[int, int] = {}
    shard_of: dict[int, int] = {}
    complete: list[int] = []

    def stream() -> Iterator[Entry]:
        for shard, entries in shards:
            rows[shard], left[shard] = [], len(entries)
            shard_of.update((entry.id, shard) for entry in entries)
            for entry in entries:
                if entry.duplicate_of is None:
                    yield entry
                else:
                    keep(entry, duplicate_row(entry, datetime.now(UTC)), None)

    def keep(entry: Entry, row: dict[str, Any], verdict: Verdict | None) -> None:
        shard = shard_of.pop(entry.id)
        rows[shard].append(row)
        left[shard] -= 1
        if not left[shard]:
            complete.append(shard)
        watch(entry, verdict)

    for entry, verdict in judge.judge(stream()):
        keep(entry, row_of(entry, verdict, datetime.now(UTC)), verdict)
        while complete:
            shard = complete.pop()
            del left[shard]
            yield shard, rows.pop(shard)
    for shard in complete:
        yield shard, rows.pop(shard)
