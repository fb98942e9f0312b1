"""MagicBrush: shards with img_id, turn_index, source_img, mask_img, instruction, target_img.

A row gives its target as tampered and, at the first turn, its source as real (the source of a later turn is an edit).
The card speaks of a white region, but the mask is where alpha is 0; the colours there are arbitrary.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.left_out import NO_PICTURE
from pixelsleuth.data.masks import Marks, Mask
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras
from pixelsleuth.data.tables import picture_bytes


def read(source: Source) -> Iterator[Sample]:
    assert source.table is not None
    for row in source.table.rows():
        split = row["_split"]
        if not source.takes(split):
            continue
        group, turn, where = str(row["img_id"]), int(row["turn_index"]), row["_where"]
        first, target = picture_bytes(row["source_img"]), picture_bytes(row["target_img"])
        if turn == 1 and first is not None:
            extra = extras(split, id=group, turn=0)
            yield Sample(
                Path(f"{where}/source"), Label.REAL, None, "COCO", group=group, data=first, extra=extra
            )
        if target is None:
            source.leave_out(NO_PICTURE, row["_where"])
            continue
        stored = picture_bytes(row["mask_img"])
        yield Sample(
            Path(f"{where}/target"), Label.TAMPERED, Mask(stored, Marks.ALPHA) if stored else None, "MagicBrush",
            "DALL-E 2", "inpainting", group, data=target,
            extra=extras(split, id=group, turn=turn, instruction=str(row.get("instruction") or "")),
        )  # fmt: skip


SPECS = (
    ReaderSpec(
        name="magicbrush",
        title="MagicBrush",
        read=read,
        licence="CC BY 4.0",
        size="8,807 edits to train on, 528 for dev; the test split is not for training",
        classes="real, tampered",
        get="hf:osunlp/MagicBrush",
        columns=frozenset({"img_id", "turn_index", "source_img", "mask_img", "instruction", "target_img"}),
        hubs=("osunlp/MagicBrush",),
        expects={"train": 8_807, "dev": 528},
        masked=True,
    ),
)
