"""So-Fake-Set and So-Fake-OOD, versions 1 to 3: shards on the hub.

The three versions of So-Fake-OOD number their labels in three orders, so labels are read by name (ClassLabel names, or
the texts in version 3's `scope`); a table without names is refused. Version 3 releases some pictures as links only
(`release_form`); their rows are counted, not yielded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.reader import LOCAL, ReaderSpec, local_mask
from pixelsleuth.data.sample import Sample, label_named
from pixelsleuth.data.source import Source, extras
from pixelsleuth.data.tables import Row, label_text, picture_bytes
from pixelsleuth.errors import UsageError

_STATED = ("authenticity", "source_type", "source_platform", "release_form", "version")
_MAKER = re.compile(r"^\d+_(?P<maker>[^_.]+)_", re.ASCII)


def read_set(source: Source) -> Iterator[Sample]:
    """So-Fake-Set."""
    yield from _read(source, "So-Fake-Set")


def read_ood(source: Source) -> Iterator[Sample]:
    """So-Fake-OOD of any version."""
    yield from _read(source, "So-Fake-OOD")


def _read(source: Source, name: str) -> Iterator[Sample]:
    assert source.table is not None
    column = "scope" if "scope" in source.table.columns else "label"
    own_split = "split" in source.table.columns
    for row in source.table.rows():
        split = str(row.get("split") or "") if own_split else row["_split"]
        if not source.takes(split):
            continue
        data = picture_bytes(row.get("image"))
        if data is None:
            source.leave_out("picture released as a link only", row["_where"])
            continue
        text = label_text(row, source.table, column)
        label = label_named(text)
        if label is None:
            raise UsageError(
                f"{row['_where']} has the label {text!r}, which {name} does not know; is it another set?"
            )
        keep, mask = local_mask(label, picture_bytes(row.get("mask")), source)
        if not keep:
            continue
        extra = extras(
            split, id=row.get("id"), filename=row.get("filename"), **{k: row.get(k) for k in _STATED}
        )
        yield Sample(
            Path(row["_where"]), label, mask, source=str(row.get("source_name") or row.get("source") or name),
            generator=_maker(row, label), data=data, extra=extra,
        )  # fmt: skip


def _maker(row: Row, label: Label) -> str:
    """The generator or editor; in version 1 it stands in file names alone, such as 06068_sd_tampered.png."""
    if label is Label.REAL:
        return ""
    stated = row.get("generator") or row.get("editor")
    match = _MAKER.match(str(row.get("filename") or ""))
    return str(stated) if stated else match["maker"] if match else ""


SPECS = (
    ReaderSpec(
        name="so_fake_ood",
        title="So-Fake-OOD, versions 1 to 3",
        read=read_ood,
        licence="CC BY-NC 4.0",
        size="about 100,000 pictures, 104 to 135 GB; test only",
        classes="real, full_synthetic, tampered",
        get="hf:saberzl/So-Fake-OOD (the revision chooses the version)",
        columns=frozenset({"image", "label", "mask", "filename"}),
        hubs=("saberzl/So-Fake-OOD",),
        settings=LOCAL,
    ),
    ReaderSpec(
        name="so_fake_ood_v3",
        title="So-Fake-OOD, version 3",
        read=read_ood,
        licence="CC BY-NC 4.0",
        size="91,370 pictures, others as links only; 135 GB; test only",
        classes="real, full_synthetic, tampered",
        get="hf:saberzl/So-Fake-OOD",
        columns=frozenset({"image", "scope", "release_form", "filename", "version"}),
        settings=LOCAL,
        expects={"test_image": 91_370},
    ),
    ReaderSpec(
        name="so_fake_set",
        title="So-Fake-Set",
        read=read_set,
        licence="not stated here; see its card",
        size="2.23 million pictures, 1.28 TB",
        classes="real, full_synthetic, tampered",
        get="hf:saberzl/So-Fake-Set",
        columns=frozenset({"image", "mask", "label", "generator"}),
        hubs=("saberzl/So-Fake-Set",),
        settings=LOCAL,
        masked=True,
    ),
)
