"""A plain folder: [SPLIT/]{real,fake,full_synthetic,tampered}/, masks in [SPLIT/]masks/ by name, with or without
_mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.data.masks import Marks, Mask
from pixelsleuth.data.reader import MARKS, ReaderSpec, Setting
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras, picture_named

MASKS = ("mask", "masks")
OTHER = "picture in a folder of no known class"


def read(source: Source) -> Iterator[Sample]:
    folders = {**{str(label): label for label in LABELS}, "fake": Label(source.settings["fake"])}
    places = source.places(*folders, *(f"*/{name}" for name in folders))
    parts = {place.parent for place in places}
    for part in sorted(parts):
        if source.takes("" if part == source.root else part.name):
            _count_others(source, part, {*folders, *MASKS, *(other.name for other in parts if other != part)})
    for place in places:
        part = place.parent
        split = "" if part == source.root else part.name
        if not source.takes(split):
            continue
        label = folders[place.name]
        for path in source.pictures(place):
            mask: Mask | None = None
            if label is Label.TAMPERED:
                stored = picture_named(part / "masks", f"{path.stem}_mask") or picture_named(
                    part / "masks", path.stem
                )
                mask = Mask(stored, Marks(source.settings["marks"])) if stored else None
            yield Sample(path, label, mask, source.root.resolve().name, extra=extras(split))


def _count_others(source: Source, part: Path, known: set[str]) -> None:
    """Count the pictures in folders of no known class: a mistyped name would lose a class unnoticed."""
    for folder in sorted(part.iterdir()):
        if folder.is_dir() and folder.name not in known and not folder.name.startswith("."):
            for path in source.pictures(folder):
                source.leave_out(OTHER, path)


SPECS = (
    ReaderSpec(
        name="folder",
        title="Plain folder",
        read=read,
        licence="yours",
        size="any",
        classes="real, full_synthetic, tampered",
        get="sort pictures into real/ and fake/ (or full_synthetic/, tampered/), masks into masks/",
        folders=(
            *((real, fake) for real in ("real", "*/real") for fake in ("fake", "*/fake")),
            *((name,) for name in ("full_synthetic", "tampered", "*/full_synthetic", "*/tampered")),
        ),
        settings={
            "fake": Setting("full_synthetic", "what the folder fake/ holds", ("full_synthetic", "tampered")),
            "marks": MARKS,
        },
    ),
)
