"""A plain folder: [SPLIT/]{real,fake,full_synthetic,tampered}/, masks in [SPLIT/]masks/ by name, with or without
_mask.
"""

from __future__ import annotations

from collections.abc import Iterator

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.masks import Marks, Mask
from pixelsleuth.data.readers.source import Source, beside, extras
from pixelsleuth.data.sample import LABELS, Sample


def read(source: Source) -> Iterator[Sample]:
    folders = {**{str(label): label for label in LABELS}, "fake": Label(source.settings["fake"])}
    for place in source.places(*folders, *(f"*/{name}" for name in folders)):
        part = place.parent
        split = "" if part == source.root else part.name
        if not source.wanted(split):
            continue
        label = folders[place.name]
        for path in source.pictures(place):
            mask: Mask | None = None
            if label is Label.TAMPERED:
                stored = beside(part / "masks", f"{path.stem}_mask") or beside(part / "masks", path.stem)
                mask = Mask(stored, Marks(source.settings["marks"])) if stored else None
            yield Sample(path, label, mask, source.root.resolve().name, extra=extras(split))
