"""DSO-1: DSO-1/normal-NN.png, DSO-1/splicing-NN.png, DSO-1-Fake-Images-Masks/splicing-NN.png; BLACK is tampered."""

from __future__ import annotations

from collections.abc import Iterator

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.masks import Marks, Mask
from pixelsleuth.data.readers.source import Source, beside, extras
from pixelsleuth.data.sample import Sample


def read(source: Source) -> Iterator[Sample]:
    source.wanted("")
    folder = source.root / source.settings["pictures"]
    masks = source.root / source.settings["masks"]
    for path in source.pictures(folder if folder.is_dir() else source.root, deep=False):
        extra = extras(id=path.stem)
        if path.stem.startswith("splicing"):
            stored = beside(masks, path.stem)
            mask = Mask(stored, Marks.BLACK) if stored else None
            yield Sample(path, Label.TAMPERED, mask, "DSO-1", "", "splice", extra=extra)
        elif path.stem.startswith("normal"):
            yield Sample(path, Label.REAL, None, "DSO-1", extra=extra)
        else:
            source.leave_out("picture of an unknown name", path)
