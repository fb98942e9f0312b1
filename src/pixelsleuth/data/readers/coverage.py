"""COVERAGE: image/N.tif (original), image/Nt.tif (tampered); mask/Nforged.tif is where the copy was put.

mask/Ncopy.tif and Npaste.tif are other things. Nine ids have masks of another size than their picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras, picture_named

_NAME = re.compile(r"^(?P<id>\d+)(?P<tampered>t?)$")


def read(source: Source) -> Iterator[Sample]:
    source.takes("")
    for path in source.pictures(source.root / "image", deep=False):
        match = _NAME.match(path.stem)
        if match is None:
            source.leave_out("picture of an unknown name", path)
        elif not match["tampered"]:
            yield Sample(path, Label.REAL, None, "COVERAGE", group=match["id"], extra=extras(id=path.stem))
        else:
            mask = picture_named(source.root / "mask", f"{match['id']}forged")
            extra = extras(id=path.stem)
            yield Sample(path, Label.TAMPERED, mask, "COVERAGE", "", "copy-move", match["id"], extra=extra)


SPECS = (
    ReaderSpec(
        name="coverage",
        title="COVERAGE",
        read=read,
        licence="non-commercial",
        size="100 originals, 100 copy-moves, from memory",
        classes="real, tampered",
        get="wenbihan/coverage",
        folders=(("image/*t.tif", "mask/*forged.tif"), ("image", "mask", "image/*t.tif")),
        expects={"": 200},
        masked=True,
    ),
)
