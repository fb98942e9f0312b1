"""The folder of `inspect --enhance`."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from pixelsleuth.checking.mask_folder import png_folder, safe_stem
from pixelsleuth.core.io import write_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENDING = ".look.png"


class EnhancedFolder:
    """Writes the pictures to look at (`evidence.enhancers`) as PNG into one folder, those of one picture side by side.

    Files are named `<stem>-<start of the picture's SHA-256>.<enhancer>.look.png`. Raises OutputError if the folder
    cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = png_folder(folder, option="--enhance", ending=ENDING)
        self.pictures = 0

    def save(self, source: str, sha256: str, pixels: NDArray[np.uint8]) -> None:
        """Write all pictures to look at of one upright picture, (H, W, 3) uint8. Raises OutputError."""
        from PIL import Image

        from pixelsleuth.evidence.enhancers import NAMES, enhanced

        for name in NAMES:  # one at a time in memory
            (enhancer,) = enhanced(pixels, [name])
            encoded = io.BytesIO()
            Image.fromarray(enhancer.image).save(encoded, "PNG")
            path = self.folder / f"{safe_stem(source, sha256)}.{name}{ENDING}"
            write_bytes(path, encoded.getvalue(), kind="picture")
        self.pictures += 1
