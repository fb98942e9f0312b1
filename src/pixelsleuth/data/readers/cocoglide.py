"""CocoGlide: real/CATEGORY_ID.png, fake/glide_inpainting_val2017_ID_up.png, mask/CATEGORY_ID_mask.png; or hub shards.

Picture and mask belong together by COCO id; sorted lists of the three folders do not line up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.left_out import NO_PICTURE
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras
from pixelsleuth.data.tables import label_text, picture_bytes
from pixelsleuth.errors import UsageError

_ID = re.compile(r"_(?P<id>\d+)(?:_up|_mask)?$")
MAKER = "GLIDE"


def read(source: Source) -> Iterator[Sample]:
    yield from _rows(source) if source.table is not None else _folders(source)


def _folders(source: Source) -> Iterator[Sample]:
    source.takes("")
    masks = {_id(path): path for path in source.pictures(source.root / "mask")}
    for folder, label in (("real", Label.REAL), ("fake", Label.TAMPERED)):
        for path in source.pictures(source.root / folder):
            name = _id(path)
            mask = masks.get(name) if label is Label.TAMPERED else None
            made = MAKER if label is Label.TAMPERED else ""
            tamper = "inpainting" if made else ""
            yield Sample(path, label, mask, "CocoGlide", made, tamper, name, extra=extras(id=name))


def _id(path: Path) -> str:
    match = _ID.search(path.stem)
    return str(int(match["id"])) if match else path.stem


def _rows(source: Source) -> Iterator[Sample]:
    for row in source.rows():
        data = picture_bytes(row["image"])
        text = label_text(row, source.table).lower()
        if text not in ("real", "fake", "tampered"):
            raise UsageError(f"{row['_where']} has the label {text!r}, which CocoGlide does not know.")
        if data is None:
            source.leave_out(NO_PICTURE, row["_where"])
            continue
        fake = text != "real"
        name = _id(Path(str(row["key"])))
        yield Sample(
            Path(row["_where"]), Label.TAMPERED if fake else Label.REAL,
            picture_bytes(row.get("mask")) if fake else None, "CocoGlide", MAKER if fake else "",
            "inpainting" if fake else "", name, data=data,
            extra=extras(row["_split"], id=str(row["key"]), prompt=str(row.get("prompt") or "")),
        )  # fmt: skip


SPECS = (
    ReaderSpec(
        name="cocoglide",
        title="CocoGlide",
        read=read,
        licence="non-profit use",
        size="512 real, 512 tampered, 256 x 256",
        classes="real, tampered",
        get="grip-unina/TruFor, or hf:nebula/CocoGlide",
        folders=(("fake/glide_inpainting_*", "mask"),),
        columns=frozenset({"key", "image", "mask", "label", "prompt"}),
        hubs=("nebula/CocoGlide",),
        expects={"": 1_024},
        masked=True,
    ),
)
