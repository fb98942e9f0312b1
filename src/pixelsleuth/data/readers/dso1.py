"""DSO-1: DSO-1/normal-NN.png, DSO-1/splicing-NN.png, DSO-1-Fake-Images-Masks/splicing-NN.png; BLACK is tampered."""

from __future__ import annotations

from collections.abc import Iterator

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.masks import Marks, Mask
from pixelsleuth.data.reader import ReaderSpec, Setting
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras, picture_named


def read(source: Source) -> Iterator[Sample]:
    source.takes("")
    folder = source.root / source.settings["pictures"]
    masks = source.root / source.settings["masks"]
    for path in source.pictures(folder if folder.is_dir() else source.root, deep=False):
        extra = extras(id=path.stem)
        if path.stem.startswith("splicing"):
            stored = picture_named(masks, path.stem)
            mask = Mask(stored, Marks.BLACK) if stored else None
            yield Sample(path, Label.TAMPERED, mask, "DSO-1", "", "splice", extra=extra)
        elif path.stem.startswith("normal"):
            yield Sample(path, Label.REAL, None, "DSO-1", extra=extra)
        else:
            source.leave_out("picture of an unknown name", path)


SPECS = (
    ReaderSpec(
        name="dso1",
        title="DSO-1",
        read=read,
        licence="research use",
        size="100 normal, 100 splices, from memory",
        classes="real, tampered",
        get="RECOD, Campinas: tifs-database.zip",
        folders=(("DSO-1", "DSO-1-Fake-Images-Masks"), ("splicing-*", "normal-*")),
        settings={
            "pictures": Setting("DSO-1", "folder of the pictures; layout as third parties describe it"),
            "masks": Setting("DSO-1-Fake-Images-Masks", "folder of the masks"),
        },
        expects={"": 200},
        masked=True,
    ),
)
