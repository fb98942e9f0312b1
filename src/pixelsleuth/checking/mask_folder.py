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
        self.folder = png_folder(folder, option="--save-masks", ending=".mask.png")
        self.written = 0

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


def png_folder(folder: str | os.PathLike[str], *, option: str, ending: str) -> Path:
    """Return a folder that `option` names, made where it is missing; what a killed run left in it is removed.

    `ending` is how the names of its files end. Raises OutputError if the folder cannot be made or written to.
    """
    path = Path(folder)
    try:
        path.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except FileExistsError as error:
        raise OutputError(f"{folder} is a file; {option} needs a folder.") from error
    except OSError as error:
        raise failed(path, f"folder of {option}", error) from error
    sweep(path, rf".+{re.escape(ending)}")
    return path


def mask_name(source: str, sha256: str) -> str:
    r"""The file name of a mask: letters, digits, dot, dash and underscore only, at most 100 characters.

    >>> mask_name("../../etc/passwd.jpg", "0123456789abcdef")
    'passwd-0123456789ab.mask.png'
    >>> mask_name("..", ""), mask_name("C:\\photos\\a b.png", "ff" * 32)
    ('picture.mask.png', 'a_b-ffffffffffff.mask.png')
    """
    return f"{safe_stem(source, sha256)}.mask.png"


def safe_stem(source: str, sha256: str) -> str:
    """The beginning of the names of files about a picture: its stem, made safe, and the start of its SHA-256 if any.

    Pictures of the same name do not collide, and no name leads out of a folder. At most 73 characters.
    """
    stem = Path(re.split(r"[/\\]", source)[-1]).stem
    safe = re.sub(r"[^\w.-]+", "_", stem).strip("._")[:60] or "picture"
    return f"{safe}-{sha256[:12]}" if sha256 else safe
