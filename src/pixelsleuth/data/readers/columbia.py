"""Columbia uncompressed: 4cam_auth/*.tif, 4cam_splc/*.tif, 4cam_splc/edgemask/STEM_edgemask.jpg.

The masks are coloured JPEGs: bright and regular red for one camera, bright and regular green for the other. Which
camera was inserted is stated nowhere; the setting `inserted` says which hue, bright and regular, counts as tampered.
"""

from __future__ import annotations

from collections.abc import Iterator

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.masks import Marks, Mask
from pixelsleuth.data.reader import ReaderSpec, Setting
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras, picture_named


def read(source: Source) -> Iterator[Sample]:
    source.takes("")
    for path in source.pictures(source.root / "4cam_auth", deep=False):
        yield Sample(path, Label.REAL, None, "Columbia", extra=extras(id=path.stem))
    hue = Marks(source.settings["inserted"])
    for path in source.pictures(source.root / "4cam_splc", deep=False):
        stored = picture_named(source.root / "4cam_splc" / "edgemask", f"{path.stem}_edgemask")
        mask = Mask(stored, hue) if stored else None
        yield Sample(path, Label.TAMPERED, mask, "Columbia", "", "splice", extra=extras(id=path.stem))


SPECS = (
    ReaderSpec(
        name="columbia",
        title="Columbia uncompressed splices",
        read=read,
        licence="research use",
        size="183 authentic, 180 spliced",
        classes="real, tampered",
        get="Columbia University, DVMM",
        folders=(("4cam_splc",), ("4cam_auth",)),
        settings={
            "inserted": Setting(
                "green", "the hue of the inserted camera; nobody states which, check by eye", ("green", "red")
            )
        },
        expects={"": 363},
        masked=True,
    ),
)
