"""The folder of `check --save-masks`."""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.core.io import failed, sweep, write_bytes
from pixelsleuth.errors import OutputError

if TYPE_CHECKING:
    from pixelsleuth.core.verdict import Verdict


class MaskFolder:
    """Writes masks as PNG (0 untouched, 255 tampered, the size of the upright picture) into one folder.

    Files are named `<stem>-<start of the picture's SHA-256>.mask.png`: pictures of the same name do not collide, and no
    name leads out of the folder. Raises OutputError if the folder cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.written = 0
        try:
            self.folder.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except FileExistsError as error:
            raise OutputError(f"{folder} is a file; --save-masks needs a folder.") from error
        except OSError as error:
            raise failed(self.folder, "mask folder", error) from error
        sweep(self.folder, r".+\.mask\.png")

    def save(self, verdict: Verdict) -> str | None:
        """Write the mask of a tampered picture and return its path; None for other verdicts."""
        if str(verdict.label) != "tampered" or verdict.mask is None:
            return None
        from PIL import Image

        path = self.folder / mask_name(verdict.source, verdict.sha256 or "")
        encoded = io.BytesIO()
        Image.fromarray(verdict.mask.astype("uint8") * 255).save(encoded, "PNG", optimize=False)
        write_bytes(path, encoded.getvalue(), kind="mask")
        self.written += 1
        return str(path)


def mask_name(source: str, sha256: str) -> str:
    r"""The file name of a mask: letters, digits, dot, dash and underscore only, at most 100 characters.

    >>> mask_name("../../etc/passwd.jpg", "0123456789abcdef")
    'passwd-0123456789ab.mask.png'
    >>> mask_name("..", ""), mask_name("C:\\photos\\a b.png", "ff" * 32)
    ('picture.mask.png', 'a_b-ffffffffffff.mask.png')
    """
    stem = Path(re.split(r"[/\\]", source)[-1]).stem
    safe = re.sub(r"[^\w.-]+", "_", stem).strip("._")[:60] or "picture"
    return f"{safe}-{sha256[:12]}.mask.png" if sha256 else f"{safe}.mask.png"
