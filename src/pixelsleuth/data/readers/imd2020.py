"""IMD2020, real-life part: ID/X_orig.jpg, ID/X_K.{jpg,png}, ID/X_K_mask.png; white is tampered.

A folder holds an original and what was made of it: a group. Real and fake pictures almost always differ in container
and size: equalise before anything is measured.
"""

from __future__ import annotations

from collections.abc import Iterator

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras, picture_named


def read(source: Source) -> Iterator[Sample]:
    source.takes("")
    for path in source.pictures(source.root):
        stem, group = path.stem, path.parent.name
        extra = extras(id=f"{group}/{stem}")
        if stem.endswith("_mask"):
            continue
        if stem.endswith("_orig"):
            yield Sample(path, Label.REAL, None, "IMD2020", group=group, extra=extra)
            continue
        mask = picture_named(path.parent, f"{stem}_mask")
        yield Sample(path, Label.TAMPERED, mask, "IMD2020", "", "manual edit", group, extra=extra)


SPECS = (
    ReaderSpec(
        name="imd2020",
        title="IMD2020, real-life part",
        read=read,
        licence="research use",
        size="414 reals, 2,010 fakes",
        classes="real, tampered",
        get="UTIA, Prague",
        folders=(("*/*_orig.*",), ("*/*_mask.png",)),
        expects={"": 2_424},
        masked=True,
    ),
)
