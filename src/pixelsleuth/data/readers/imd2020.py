"""IMD2020, real-life part: ID/X_orig.jpg, ID/X_K.{jpg,png}, ID/X_K_mask.png; white is tampered.

A folder is one original and what was made of it: a group. Reals and fakes differ in container and size almost always;
equalise before anything is measured.
"""

from __future__ import annotations

from collections.abc import Iterator

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.readers.source import Source, beside, extras
from pixelsleuth.data.sample import Sample


def read(source: Source) -> Iterator[Sample]:
    source.wanted("")
    for path in source.pictures(source.root):
        stem, group = path.stem, path.parent.name
        extra = extras(id=f"{group}/{stem}")
        if stem.endswith("_mask"):
            continue
        if stem.endswith("_orig"):
            yield Sample(path, Label.REAL, None, "IMD2020", group=group, extra=extra)
            continue
        mask = beside(path.parent, f"{stem}_mask")
        yield Sample(path, Label.TAMPERED, mask, "IMD2020", "", "manual edit", group, extra=extra)
