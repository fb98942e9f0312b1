"""OpenForensics: SPLIT_poly.json in COCO's form beside the pictures; a face is real or fake, with polygons.

A picture with a fake face is tampered; its mask is the union of the fake faces. Which category is fake goes by its
name. Annotations are not sorted by picture, so they pass through a temporary database on disk, not through memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelsleuth.core.verdict import Label
from pixelsleuth.data import big_json
from pixelsleuth.data.left_out import ABSENT, OUTSIDE
from pixelsleuth.data.masks import Mask
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras
from pixelsleuth.errors import UsageError

SUFFIX = "_poly.json"


def read(source: Source) -> Iterator[Sample]:
    for file in sorted({*source.root.glob(f"*{SUFFIX}"), *source.root.glob(f"*/*{SUFFIX}")}):
        split = file.name.removesuffix(SUFFIX)
        if source.takes(split):
            yield from _read(source, split, file)


def _read(source: Source, split: str, file: Path) -> Iterator[Sample]:
    names = {entry["id"]: str(entry["name"]).lower() for entry in big_json.items(file, "categories.item")}
    if not set(names.values()) & {"real", "fake"}:
        raise UsageError(f"{file} does not name the categories real and fake; download it again.")
    database = sqlite3.connect("")  # on disk, and gone when closed
    try:
        database.execute("create table faces (image integer, fake integer, polygons text)")
        faces = (
            (face["image_id"], names.get(face["category_id"]) == "fake", json.dumps(face.get("segmentation")))
            for face in big_json.items(file, "annotations.item")
        )
        database.executemany("insert into faces values (?, ?, ?)", faces)
        database.execute("create index by_image on faces (image)")
        for image in big_json.items(file, "images.item"):
            rows = database.execute(
                "select fake, polygons from faces where image = ?", (image["id"],)
            ).fetchall()
            path = _find(source, file, split, str(image["file_name"]))
            if path is None:
                name = str(image["file_name"])
                source.leave_out(OUTSIDE if source.within(name) is None else ABSENT, name)
            elif not rows:
                source.leave_out("picture without annotated faces", path)
            else:
                yield _sample(path, split, rows)
    except (KeyError, TypeError, sqlite3.Error) as error:
        raise UsageError(f"{file} is not in COCO's form ({error!r}); download it again.") from error
    finally:
        database.close()


def _sample(path: Path, split: str, rows: list[tuple[int, str]]) -> Sample:
    polygons = [polygon for fake, text in rows if fake for polygon in _polygons(json.loads(text))]
    fakes = sum(fake for fake, _ in rows)
    extra = extras(split, id=path.stem, faces=len(rows), fake_faces=fakes)
    if not fakes:
        return Sample(path, Label.REAL, None, "OpenForensics", extra=extra)
    mask = Mask(polygons=tuple(polygons)) if polygons else None
    return Sample(path, Label.TAMPERED, mask, "OpenForensics", "GAN", "face swap", extra=extra)


def _polygons(segmentation: Any) -> Iterator[tuple[float, ...]]:
    for polygon in segmentation if isinstance(segmentation, list) else []:
        if (
            isinstance(polygon, list)
            and len(polygon) >= 6
            and all(isinstance(v, int | float) for v in polygon)
        ):
            yield tuple(map(float, polygon))


def _find(source: Source, file: Path, split: str, name: str) -> Path | None:
    """Names read Images/Train/X.jpg, and the archives unpack into several forms."""
    if source.within(name) is None:
        return None
    path = Path(name.replace("\\", "/"))
    tails = (path, Path(*path.parts[1:]) if len(path.parts) > 1 else path, Path(path.name))
    bases = (
        source.root,
        file.parent,
        file.parent / split,
        file.parent / split / split,
        source.root / "Images" / split,
    )
    return next((base / tail for base in bases for tail in tails if (base / tail).is_file()), None)


SPECS = (
    ReaderSpec(
        name="openforensics",
        title="OpenForensics",
        read=read,
        licence="academic use",
        size="115,325 pictures, 334,000 faces",
        classes="real, tampered",
        get="Zenodo record 5528418",
        folders=(("*_poly.json",), ("*/*_poly.json",)),
        masked=True,
    ),
)
