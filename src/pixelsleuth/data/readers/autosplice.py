"""AutoSplice: Authentic/ID.jpg, Forged_JPEG{100,90,75}/ID_K.jpg, Mask/ID_mask.png (one mask for all variants of an id).

The authentic pictures have JPEG quality 75: beside the forged of 90 or 100, quality gives the class away. Whether white
or black is forged was not verified on the masks; the setting `marks` says it, white by default.
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
    for path in source.pictures(source.root / "Authentic"):
        yield Sample(path, Label.REAL, None, "AutoSplice", group=path.stem, extra=extras(id=path.stem))
    chosen = source.settings["quality"]
    marks = Marks(source.settings["marks"])
    for quality in ("75", "90", "100"):
        if chosen not in ("all", quality):
            continue
        for path in source.pictures(source.root / f"Forged_JPEG{quality}"):
            group = path.stem.rpartition("_")[0] or path.stem
            stored = picture_named(source.root / "Mask", f"{group}_mask")
            # A forged picture without its mask stays forged.
            mask = Mask(stored, marks) if stored else None
            extra = extras(id=path.stem, quality=int(quality))
            yield Sample(
                path, Label.TAMPERED, mask, "AutoSplice", "DALL-E 2", "inpainting", group, extra=extra
            )


SPECS = (
    ReaderSpec(
        name="autosplice",
        title="AutoSplice",
        read=read,
        licence="non-commercial, by form",
        size="3,621 forged, 2,273 authentic",
        classes="real, tampered",
        get="the form in shanface33/AutoSplice_Dataset",
        folders=(("Authentic", "Forged_JPEG*"),),
        settings={
            "quality": Setting(
                "75", "which of Forged_JPEG100, 90, 75; the authentic have 75", ("75", "90", "100", "all")
            ),
            "marks": Setting(
                "white", "what marks a forgery in its masks; not verified on its bytes", ("white", "black")
            ),
        },
        masked=True,
    ),
)
