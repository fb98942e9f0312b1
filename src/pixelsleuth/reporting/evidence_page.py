"""The page of `inspect --report`: what files say by themselves, one self-contained file, no verdict.

Written file by file: memory does not grow with their number. The look is that of the report (`html.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from os import PathLike
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.outputs import AtomicFile
from pixelsleuth.reporting import drawings, findings, thumbnails, words
from pixelsleuth.reporting.html import thumbnail_side
from pixelsleuth.reporting.page import OUR_PAGE, environment, style
from pixelsleuth.reporting.words import printable, split_source

if TYPE_CHECKING:
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.reporting.drawings import Look

KIND = "HTML page"
LOOK_SIDES = ((12, 768), (60, 512), (600, 320))
"""(files, longer side in pixels of the pictures to look at): a page of 60 files stays near 25 MB."""
SMALLEST_LOOK = 192
MANY = 100
"""Files from which the browser lays out only what is in sight."""


class EvidencePage:
    """Writes one page to `path`, which appears when `close` is called; `total` is the number of files.

    Raises OutputError: at once if `path` cannot be written, later if the disk is full.
    """

    def __init__(self, path: str | PathLike[str], *, total: int, now: datetime | None = None) -> None:
        self.total, self.done = total, 0
        self.side = thumbnail_side(total)
        self.look_side = next((side for most, side in LOOK_SIDES if total <= most), SMALLEST_LOOK)
        self._now = now or datetime.now().astimezone()
        self._file = AtomicFile(path, ours=OUR_PAGE, kind=KIND)
        self.path = self._file.path
        # Typed here, where the checker cannot know what a template defines.
        macros: Any = environment().get_template("evidence.html.j2").module
        self._macros = macros
        self._file.write(macros.head(self._values()))

    def add(self, record: Verdict, *, kind: str | None = None, looks: Sequence[Look] = ()) -> None:
        """Add one file: a verdict without a label, whose `evidence` are its findings. `kind` is its format."""
        self.done += 1
        folder, name = split_source(printable(record.source))
        card: dict[str, Any] = {
            "number": self.done,
            "folder": folder,
            "file": name,
            "error": printable(record.error["message"]) if record.error is not None else "",
            "says": findings.values(record, number=self.done, side=min(drawings.SIDE, self.side // 2)),
            "looks": drawings.look_values(looks, self.look_side),
            "facts": list(_facts(record, kind)),
            "picture": None,
        }
        if record.picture is not None:
            small = thumbnails.thumbnail(record.picture.pixels, self.side)
            card |= {
                "picture": thumbnails.jpeg_uri(small),
                "shown": small.size,
                "wide": thumbnails.fills_column(small),
            }
        self._file.write(self._macros.card(card))

    def close(self, *, interrupted: bool = False) -> None:
        """Write the end and move the page into place; `interrupted` marks it as incomplete."""
        self._file.write(self._macros.tail(self._values() | {"interrupted": interrupted}))
        self._file.commit()

    def discard(self) -> None:
        """Leave nothing on the disk."""
        self._file.discard()

    def _values(self) -> dict[str, Any]:
        from pixelsleuth import __version__

        return {
            **style(),
            "version": __version__,
            "title": f"What {words.count(self.total, 'file says', 'files say')}",
            "date": f"{self._now.day} {self._now:%B %Y, %H:%M %Z}".strip(),
            "many": self.total > MANY,
            "total": self.total,
            "done": self.done,
        }


def _facts(record: Verdict, kind: str | None) -> list[tuple[str, str]]:
    facts = [("Size", f"{record.width} x {record.height} pixels")] if record.width and record.height else []
    return facts + [(name, text) for name, text in (("Format", kind), ("SHA-256", record.sha256)) if text]
