"""AutoSplice: Authentic/ID.jpg, Forged_JPEG{100,90,75}/ID_K.jpg, Mask/ID_mask.png (one mask for all variants of an id).

The authentic have JPEG quality 75: read with the 100 or 90 set, quality tells the class. Which pixels of a mask are
forged was not verified on its bytes; the setting `marks` says it, white by default.
"""

from __future__ import annotations

from collections.abc import Iterator

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.masks import Marks, Mask
from pixelsleuth.data.readers.source import Source, beside, extras
from pixelsleuth.data.sample import Sample


def read(source: Source) -> Iterator[Sample]:
    source.wanted("")
    for path in source.pictures(source.root / "Authentic"):
        yield Sample(path, Label.REAL, None, "AutoSplice", group=path.stem, extra=extras(id=path.stem))
    wanted = source.settings["quality"]
    marks = Marks(source.settings["marks"])
    for quality in ("75", "90", "100"):
        if wanted not in ("all", quality):
            continue
        for path in source.pictures(source.root / f"Forged_JPEG{quality}"):
            group = path.stem.rpartition("_")[0] or path.stem
            stored = beside(source.root / "Mask", f"{group}_mask")
            # A forged picture without its mask stays forged.
            mask = Mask(stored, marks) if stored else None
            extra = extras(id=path.stem, quality=int(quality))
            yield Sample(
                path, Label.TAMPERED, mask, "AutoSplice", "DALL-E 2", "inpainting", group, extra=extra
            )
