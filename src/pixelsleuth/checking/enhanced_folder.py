"""The folder of `inspect --enhance`."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from pixelsleuth.checking.mask_folder import png_folder, safe_stem
from pixelsleuth.core.io import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixelsleuth.evidence.enhancers import Enhancer

ENDING = ".look.png"


class EnhancedFolder:
    """Writes the pictures to look at (`evidence.enhancers`) as PNG into one folder, those of one picture side by side.

    Files are named `<stem>-<start of the picture's SHA-256>.<enhancer>.look.png`. Raises OutputError if the folder
    cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = png_folder(folder, option="--enhance", ending=ENDING)
        self.pictures = 0

    def save(self, source: str, sha256: str, looks: Sequence[Enhancer]) -> None:
        """Write the pictures to look at of one picture. Raises OutputError."""
        from PIL import Image

        for look in looks:
            encoded = io.BytesIO()
            Image.fromarray(look.image).save(encoded, "PNG")
            path = self.folder / f"{safe_stem(source, sha256)}.{look.name}{ENDING}"
            write_bytes(path, encoded.getvalue(), kind="picture")
        self.pictures += 1
