"""OpenSDI: shards with key, image, mask, label (ClassLabel real, fake); keys such as partial/sd15/fake/000651821.jpg.

A key that begins with "partial" is a local edit; any other fake is wholly generated, and its empty mask means, by this
set's convention, that every pixel is (setting synthetic_mask). The stored label counts, not the mask: a crop that
misses the edit is still a crop of a fake.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.left_out import NO_PICTURE
from pixelsleuth.data.reader import ReaderSpec, Setting, local_mask
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras
from pixelsleuth.data.tables import label_text, picture_bytes
from pixelsleuth.errors import UsageError


def read(source: Source) -> Iterator[Sample]:
    for row in source.rows():
        data = picture_bytes(row["image"])
        text = label_text(row, source.table).lower()
        if text not in ("real", "fake"):
            raise UsageError(f"{row['_where']} has the label {text!r}, which OpenSDI does not know.")
        if data is None:
            source.leave_out(NO_PICTURE, row["_where"])
            continue
        key = str(row["key"])
        parts = key.split("/")
        label = Label.REAL
        if text == "fake":
            label = Label.TAMPERED if parts[0] == "partial" else Label.FULL_SYNTHETIC
        _, mask = local_mask(label, picture_bytes(row.get("mask")), source)
        made = parts[1] if label is not Label.REAL and len(parts) > 2 else ""
        yield Sample(
            Path(row["_where"]), label, mask, "OpenSDI", made, "inpainting" if label is Label.TAMPERED else "",
            data=data, extra=extras(row["_split"], id=key),
        )  # fmt: skip


SPECS = (
    ReaderSpec(
        name="opensdi",
        title="OpenSDI",
        read=read,
        licence="CC BY-SA 4.0",
        size="200,824 to train on, 100,000 to test on",
        classes="real, full_synthetic, tampered",
        get="hf:nebula/OpenSDI_train, hf:nebula/OpenSDI_test",
        columns=frozenset({"key", "image", "mask", "label"}),
        hubs=("nebula/OpenSDI_train", "nebula/OpenSDI_test"),
        settings={
            "synthetic_mask": Setting(
                "ones",
                "mask of wholly generated pictures; ones is this set's own convention",
                ("none", "zeros", "ones"),
            )
        },
    ),
)
