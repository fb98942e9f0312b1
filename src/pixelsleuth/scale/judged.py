"""The rows of a scan one by one, damaged ones left out, and whether the mask of one is a finding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.rle import bounding_box, decode
from pixelsleuth.scale.listing import arrow
from pixelsleuth.scale.rows import JUDGED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pixelsleuth.scale.results import Results

MOST_PIXELS = 1 << 28
"""Of a mask that is unfolded: an untrusted record may state any size."""
Box = tuple[int, int, int, int]


def rows_of(results: Results, path: Path, batch: Any) -> Iterator[dict[str, Any]]:
    """The rows of a batch; a damaged one is left out."""
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except (arrow().ArrowException, ValueError) as error:  # a text that is no UTF-8
        if batch.num_rows == 1:
            results.leave_out_row(path, batch["id"][0].as_py(), error)
        else:
            for place in range(batch.num_rows):
                yield from rows_of(results, path, batch.slice(place, 1))
        return
    yield from rows


def judged_rows(results: Results, columns: Sequence[str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The file and the row of every picture that was judged."""
    for path, batch in results.batches(columns):
        for row in rows_of(results, path, batch):
            if row["state"] == JUDGED:
                yield path, row


def located(row: dict[str, Any]) -> bool:
    """`Verdict.located` of a row."""
    tampered = row["label"] == "tampered" and not row["inconclusive"]
    return tampered or (row["decision"] is None and row["mask"] is not None)


def finding(row: dict[str, Any]) -> tuple[dict[str, Any], Box, int] | None:
    """The run lengths, the box and the area of a row's mask; None without a mask that is a finding.

    Raises ValueError for a damaged one.
    """
    if row["mask"] is None or not located(row):
        return None
    rle = row["mask"]["rle"]
    if rle["size"] != [row["height"], row["width"]]:
        raise ValueError("it is of another size than the picture")
    marked = bounding_box(rle)
    return None if marked is None else (rle, *marked)


def unfolded(rle: dict[str, Any]) -> NDArray[np.bool_]:
    """The (height, width) mask of run lengths. Raises ValueError for one that is too large."""
    height, width = rle["size"]
    if height * width > MOST_PIXELS:
        raise ValueError(f"a mask of {width} x {height} pixels is not unfolded")
    return decode(rle)
