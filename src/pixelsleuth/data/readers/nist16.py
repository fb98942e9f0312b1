"""NIST16 (NC2016): probe/NC2016_NNNN.jpg, reference/{manipulation,splice,removal}/mask/*.png; BLACK is tampered.

A probe with a mask in any of the references is tampered, any other real. Masks are found by the probe's number in their
names, never by their place in a listing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.masks import Marks, Mask
from pixelsleuth.data.reader import ReaderSpec, Setting
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras

KINDS = ("manipulation", "splice", "removal")
_ID = re.compile(r"^(?:NC2016_)?(?P<id>\d+)")


def read(source: Source) -> Iterator[Sample]:
    first = source.settings["reference"]
    order = (first, *(kind for kind in KINDS if kind != first))
    masks = {kind: _by_id(source, source.root / "reference" / kind / "mask") for kind in order}
    source.takes("")
    for path in source.pictures(source.root / "probe"):
        match = _ID.match(path.stem)
        if match is None:
            source.leave_out("picture of an unknown name", path)
            continue
        kinds = [kind for kind in order if match["id"] in masks[kind]]
        extra = extras(id=match["id"], references=kinds)
        if not kinds:
            yield Sample(path, Label.REAL, None, "NIST16", extra=extra)
            continue
        mask = Mask(masks[kinds[0]][match["id"]], Marks.BLACK)
        kind = next((kind for kind in kinds if kind != "manipulation"), "")
        yield Sample(path, Label.TAMPERED, mask, "NIST16", "", kind, extra=extra)


def _by_id(source: Source, folder: Path) -> dict[str, Path]:
    masks: dict[str, Path] = {}
    for path in source.pictures(folder):
        if match := _ID.match(path.stem):
            masks.setdefault(match["id"], path)
    return masks


SPECS = (
    ReaderSpec(
        name="nist16",
        title="NIST16 (NC2016)",
        read=read,
        licence="registration with NIST",
        size="564 fakes",
        classes="real, tampered",
        get="NIST, Nimble Challenge 2016",
        folders=(("probe", "reference"),),
        settings={
            "reference": Setting(
                "manipulation",
                "whose masks are read; where it has none for a picture, the first of the others",
                ("manipulation", "splice", "removal"),
            )
        },
        masked=True,
    ),
)
