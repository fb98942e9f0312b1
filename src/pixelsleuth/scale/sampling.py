"""A sample of a stream: the same rows for the same seed, whatever pieces the stream comes in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelsleuth.scale.listing import PIECE, arrow

if TYPE_CHECKING:
    import pyarrow as pa


def sample(tables: Iterable[pa.Table], count: int, seed: int) -> Iterator[pa.Table]:
    """`count` rows of the stream, uniformly without replacement, in its order; all rows where there are fewer.

    Every row draws a number, and the smallest stay. At most 2 x `count` rows and a piece are held.
    """
    pa = arrow()
    draw = np.random.default_rng(seed)
    kept: Any = None
    keys = np.empty(0)
    bound = np.inf
    for table in tables:
        drawn = draw.random(table.num_rows)
        chosen = np.flatnonzero(drawn < bound)
        if not len(chosen):
            continue
        rows = table.take(pa.array(chosen))
        kept = rows if kept is None else pa.concat_tables([kept, rows])
        keys = np.concatenate([keys, drawn[chosen]])
        if len(keys) > 2 * count:
            kept, keys, bound = _smallest(kept, keys, count)
    if kept is not None:
        kept, _, _ = _smallest(kept, keys, count)
        for start in range(0, kept.num_rows, PIECE):
            yield kept.slice(start, PIECE)


def _smallest(table: pa.Table, keys: np.ndarray, count: int) -> tuple[pa.Table, np.ndarray, float]:
    """The `count` rows with the smallest keys in their order, their keys, and the key that later rows must beat."""
    if len(keys) <= count:
        return table, keys, float("inf")
    order = np.sort(np.argpartition(keys, count - 1)[:count])
    keys = keys[order]
    return table.take(arrow().array(order)).combine_chunks(), keys, float(keys.max())
