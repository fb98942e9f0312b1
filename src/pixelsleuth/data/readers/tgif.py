"""TGIF: inpainted COCO pictures, pasted back (`sp`) or regenerated as a whole (`fr`), with originals and masks.

The layout inside the archives is not published; known is that a picture goes by COCO id, kind of mask (bbox or segm)
and variation. So a folder whose name holds the setting `originals` has originals, one that holds `masks` has masks, and
one with the word `sp` or `fr` has fakes. The id is the longest number in the name. Masks are found by id and kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.reader import ReaderSpec, Setting
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras

_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[a-z0-9.]+")
MAKERS = {"sd2": "SD2", "sdxl": "SDXL", "ps": "Adobe Firefly", "flux": "FLUX.1", "firefly": "Adobe Firefly"}


def read(source: Source) -> Iterator[Sample]:
    masks = _masks(source)
    source.takes("")
    for path in source.pictures(source.root):
        words = _words(source, path)
        folder = "/".join(path.relative_to(source.root).parts[:-1]).lower()
        name, kind = _id(path), _kind(words)
        if source.settings["masks"] in folder:
            continue
        extra = extras(id=path.stem, kind=kind)
        if source.settings["originals"] in folder or "real" in words:
            yield Sample(path, Label.REAL, None, "TGIF", group=name, extra=extra)
            continue
        paste = next((form for form in ("sp", "fr") if form in words), None)
        if paste is None:
            source.leave_out("picture in a folder named neither sp nor fr", path)
            continue
        regenerated = Label(source.settings["regenerated"]) if paste == "fr" else Label.TAMPERED
        mask = masks.get((name, kind)) or masks.get((name, "")) if regenerated is Label.TAMPERED else None
        maker = next((value for key, value in MAKERS.items() if any(w.startswith(key) for w in words)), "")
        yield Sample(
            path, regenerated, mask, "TGIF", maker, "inpainting", name, extra={**extra, "paste": paste}
        )


def _masks(source: Source) -> dict[tuple[str, str], Path]:
    masks: dict[tuple[str, str], Path] = {}
    for folder in source.places(f"*{source.settings['masks']}*", f"*/*{source.settings['masks']}*"):
        for path in source.pictures(folder):
            masks.setdefault((_id(path), _kind(_words(source, path))), path)
    return masks


def _words(source: Source, path: Path) -> set[str]:
    return set(_WORD.findall(path.relative_to(source.root).with_suffix("").as_posix().lower()))


def _kind(words: set[str]) -> str:
    return "bbox" if "bbox" in words else "segm" if "segm" in words else ""


def _id(path: Path) -> str:
    numbers = _NUMBER.findall(path.stem) or _NUMBER.findall(path.parent.name)
    return str(int(max(numbers, key=len))) if numbers else path.stem


SPECS = (
    ReaderSpec(
        name="tgif",
        title="TGIF",
        read=read,
        licence="CC BY-SA 4.0",
        size="about 75,000 inpainted pictures",
        classes="real, tampered",
        get="IDLabMedia/tgif-dataset: fakes, originals and masks, each archive into a folder of its own name",
        folders=tuple(
            (originals, masks, fakes)
            for originals in ("*orig*", "*real*")
            for masks in ("*mask*",)
            for fakes in ("*sp", "*fr", "*/sp", "*/fr", "*-sp*", "*-fr*")
        ),
        settings={
            "originals": Setting(
                "orig", "a folder whose name holds this has originals; the layout is not published"
            ),
            "masks": Setting("mask", "a folder whose name holds this has masks"),
            "regenerated": Setting(
                "tampered", "label of whole regenerated frames (fr)", ("tampered", "full_synthetic")
            ),
        },
        masked=True,
    ),
)
