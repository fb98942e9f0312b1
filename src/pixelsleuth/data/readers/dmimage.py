"""DMimageDetection's test set: TestSet/GENERATOR/FILE and operations.csv (src, cropsize, x1, y1, jpegQF).

Folders that begin with "real" are real (real_coco_valid, real_imagenet_val or _valid, real_ucid; not shipped), all
others wholly generated. With the setting operations=apply each picture is cropped, resized to 200 x 200 (Lanczos where
that shrinks, else bicubic) and saved as JPEG, as its row says. Whether the published figures did so is not known.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.reader import ReaderSpec, Setting
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras
from pixelsleuth.data.tables import comma_separated
from pixelsleuth.errors import PictureError, UsageError

SIDE = 200


def read(source: Source) -> Iterator[Sample]:
    root = source.root / "TestSet" if (source.root / "TestSet").is_dir() else source.root
    source.takes("")
    if source.settings["operations"] == "ignore":
        for folder in sorted(path for path in root.iterdir() if path.is_dir()):
            for path in source.pictures(folder):
                yield _sample(path, folder.name)
        return
    tables = (root / "operations.csv", source.root / "operations.csv")
    table = next((path for path in tables if path.is_file()), None)
    if table is None:
        raise UsageError(f"{root} has no operations.csv; download it, or read with operations=ignore.")
    for row in comma_separated(table).rows():
        picture = source.existing(str(row.get("src") or ""), root)
        if picture is None:
            continue
        try:
            data = processed(picture, row)
        except (PictureError, ValueError, TypeError, KeyError):
            source.leave_out("picture to which operations.csv cannot be applied", picture)
            continue
        yield _sample(picture, picture.parent.name, data)


def _sample(path: Path, folder: str, data: bytes | None = None) -> Sample:
    real = folder.startswith("real")
    label = Label.REAL if real else Label.FULL_SYNTHETIC
    generator = "" if real else folder
    return Sample(path, label, None, f"DMimage {folder}", generator, data=data, extra=extras(folder=folder))


def processed(path: Path, row: dict[str, Any]) -> bytes:
    """The JPEG file that a row of operations.csv makes of a picture.

    Raises PictureError, or ValueError where the row does not fit.
    """
    from PIL import Image

    from pixelsleuth.pictures.images import open_picture

    size, x, y, quality = (int(float(row[key])) for key in ("cropsize", "x1", "y1", "jpegQF"))
    image = Image.fromarray(open_picture(path).pixels)
    inside = size >= 1 and 0 <= x <= image.width - size and 0 <= y <= image.height - size
    if not inside or not 1 <= quality <= 100:
        raise ValueError("the row does not fit the picture")
    method = Image.Resampling.LANCZOS if size > SIDE else Image.Resampling.BICUBIC
    image = image.crop((x, y, x + size, y + size)).resize((SIDE, SIDE), method)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


SPECS = (
    ReaderSpec(
        name="dmimage",
        title="DMimageDetection, test set",
        read=read,
        licence="non-profit use",
        size="fakes of each generator; the reals are not shipped",
        classes="real, full_synthetic",
        get="grip-unina/DMimageDetection; reals from COCO, ImageNet and UCID into real_coco_valid/ and so on",
        folders=(("TestSet/operations.csv",), ("operations.csv",), ("TestSet", "operations.csv")),
        settings={
            "operations": Setting(
                "ignore", "apply: crop, resize to 200 and JPEG as operations.csv says", ("ignore", "apply")
            )
        },
    ),
)
