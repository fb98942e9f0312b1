"""SID-Set: folders as on Google Drive, shards as on the hub, and the subset with descriptions.

Folders: SPLIT/{real,full_synthetic,tampered}/NAME, SPLIT/masks/STEM_mask.png. The reference loader takes `.jpg` for
real pictures and `.png` for others; here the content counts. Hub: columns img_id, image, mask, width, height, label.
The label is a plain integer whose meaning the card states (0 real, 1 full_synthetic, 2 tampered); it is checked against
the prefix of img_id. Descriptions: SPLIT/description/LABEL_GT.json, an object {file name: text}.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.data import big_json
from pixelsleuth.data.left_out import NO_PICTURE
from pixelsleuth.data.reader import LOCAL, ReaderSpec, local_mask
from pixelsleuth.data.sample import Sample, label_named
from pixelsleuth.data.source import Source, extras, picture_named
from pixelsleuth.data.tables import Row, Table, label_text, names_of, picture_bytes
from pixelsleuth.errors import UsageError


def read(source: Source) -> Iterator[Sample]:
    """SID-Set in either form."""
    yield from _rows(source) if source.table is not None else _folders(source)


def _folders(source: Source) -> Iterator[Sample]:
    parts = {place.parent for place in source.places(*LABELS, *(f"*/{label}" for label in LABELS))}
    for part in sorted(parts):
        split = "" if part == source.root else part.name
        if not source.takes(split):
            continue
        for label in LABELS:
            for path in source.pictures(part / label):
                stored = (
                    picture_named(part / "masks", f"{path.stem}_mask") if label is Label.TAMPERED else None
                )
                keep, mask = local_mask(label, stored, source)
                if keep:
                    yield Sample(path, label, mask, "SID-Set", extra=extras(split, id=path.stem))


def _rows(source: Source) -> Iterator[Sample]:
    for row in source.rows():
        data = picture_bytes(row["image"])
        if data is None:
            source.leave_out(NO_PICTURE, row["_where"])
            continue
        name = str(row["img_id"])
        label = _label(row, source.table, name)
        keep, mask = local_mask(label, picture_bytes(row.get("mask")), source)
        if keep:
            # Ids repeat across rows; the row is what is unique.
            extra = extras(row["_split"], id=name)
            yield Sample(Path(row["_where"]), label, mask, "SID-Set", data=data, extra=extra)


def _label(row: Row, table: Table | None, name: str) -> Label:
    value = row["label"]
    if "label" in names_of(row, table) or not isinstance(value, int):
        label = label_named(label_text(row, table))
    else:
        label = LABELS[value] if 0 <= value < len(LABELS) else None
    fakes = (Label.FULL_SYNTHETIC, Label.TAMPERED)
    named = next((fake for fake in fakes if name.startswith(fake)), None)
    if label is None or (named is not None and named is not label):
        raise UsageError(
            f"{row['_where']} has the label {value!r} and the id {name!r}, which do not agree with SID-Set's "
            "order (0 real, 1 full_synthetic, 2 tampered); is this another set or version?"
        )
    return label


def read_described(source: Source) -> Iterator[Sample]:
    """The subset with descriptions, in either form."""
    if source.table is not None:
        yield from _described_rows(source)
        return
    files = sorted({*source.root.glob("*/description/*_GT.json"), *source.root.glob("description/*_GT.json")})
    for file in files:
        part = file.parent.parent
        split = "" if part == source.root else part.name
        label = label_named(file.stem.removesuffix("_GT"))
        if label is None:
            source.leave_out("description file of no known class")
            continue
        if not source.takes(split):
            continue
        for name, text in big_json.pairs(file):
            named = source.inside(name, part / label)
            if named is None:
                continue
            # The name's suffix need not be the file's.
            path = named if named.is_file() else picture_named(named.parent, named.stem)
            if path is None:
                source.leave_out("description without its picture", name)
                continue
            stored = picture_named(part / "masks", f"{path.stem}_mask") if label is Label.TAMPERED else None
            keep, mask = local_mask(label, stored, source)
            if keep:
                extra = extras(split, id=path.stem)
                yield Sample(path, label, mask, "SID-Set", description=str(text), extra=extra)


def _described_rows(source: Source) -> Iterator[Sample]:
    for row in source.rows():
        data, label = picture_bytes(row["image"]), label_named(label_text(row, source.table))
        if data is None or label is None:
            source.leave_out(NO_PICTURE if data is None else "row with an unknown label", row["_where"])
            continue
        keep, mask = local_mask(label, picture_bytes(row.get("mask")), source)
        if keep:
            yield Sample(
                Path(row["_where"]), label, mask, "SID-Set", description=str(row.get("description") or ""),
                data=data, extra=extras(row["_split"]),
            )  # fmt: skip


SPECS = (
    ReaderSpec(
        name="sid_set_description",
        title="SID-Set, 3,000 described pictures",
        read=read_described,
        licence="CC BY 4.0 (SID-Set's; not stated of its own)",
        size="3,000 pictures, about 1,000 a class",
        classes="real, full_synthetic, tampered",
        get="hf:saberzl/SID_Set_description, or text_label_images.zip linked from the SIDA repository",
        folders=(("*/description/*_GT.json",), ("description/*_GT.json",)),
        columns=frozenset({"image", "label", "description", "mask"}),
        hubs=("saberzl/SID_Set_description",),
        settings=LOCAL,
        masked=True,
    ),
    ReaderSpec(
        name="sid_set",
        title="SID-Set",
        read=read,
        licence="CC BY 4.0",
        size="300,000 pictures, 140 GB for train and validation",
        classes="real, full_synthetic, tampered",
        get="hf:saberzl/SID_Set (train, validation); test.zip linked from the SIDA repository",
        folders=(
            ("*/full_synthetic", "*/tampered"),
            ("full_synthetic", "masks"),
            ("*/full_synthetic", "*/masks"),
        ),
        columns=frozenset({"img_id", "image", "mask", "width", "height", "label"}),
        hubs=("saberzl/SID_Set",),
        settings=LOCAL,
        expects={"train": 210_000, "validation": 30_000, "test": 60_000},
        masked=True,
    ),
)
