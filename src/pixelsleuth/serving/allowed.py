"""Which files an assistant may name: those in folders that the person who starts the server names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pixelsleuth.errors import NotAllowed, UsageError
from pixelsleuth.pictures.files import read_file
from pixelsleuth.reporting.words import printable

MOST_NAMED = 12
"""Names in a folder that a refusal tells."""


class AllowedFolders:
    """Reads files inside `folders` and no others. Raises UsageError for one that is no folder.

    Links are followed first: where they lead counts. A relative path is looked for in each folder in turn.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = [Path(os.path.realpath(folder)) for folder in folders]
        for folder, given in zip(self.folders, folders, strict=True):
            if not folder.is_dir():
                raise UsageError(f"--allow names {given}, which is no folder.")

    def read(self, path: str) -> bytearray:
        """The bytes of the file at `path`.

        Raises NotAllowed for a path outside the folders, whether there is something or not; UsageError for a folder,
        with names of files in it; PictureError for what cannot be read.
        """
        place = self._inside(path)
        if place.is_dir():
            raise UsageError(self._of_folder(path, place))
        data = read_file(str(place), path)
        if Path(os.path.realpath(place)) != place:  # replaced by a link meanwhile
            raise self._refused(path)
        return data

    def _inside(self, path: str) -> Path:
        """`path` with its links followed. Raises NotAllowed."""
        try:
            places = [Path(os.path.realpath(folder / path)) for folder in self.folders]
        except (OSError, ValueError):  # a NUL byte
            raise self._refused(path) from None
        inside = [place for place in places if any(place.is_relative_to(folder) for folder in self.folders)]
        if not inside:
            raise self._refused(path)
        return next((place for place in inside if place.exists()), inside[0])

    def _refused(self, path: str) -> NotAllowed:
        folders = ", ".join(printable(folder) for folder in self.folders)
        return NotAllowed(
            f"{printable(path)} is not inside a folder that may be read ({folders}); ask the user to copy it there, or "
            "to start the server with --allow and its folder."
        )

    @staticmethod
    def _of_folder(path: str, place: Path) -> str:
        try:
            names = sorted(entry.name for entry in os.scandir(place) if not entry.name.startswith("."))
        except OSError:
            names = []
        listed = ", ".join(printable(name) for name in names[:MOST_NAMED])
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        inside = f"it holds {listed}{more}" if names else "it is empty"
        return f"{printable(path)} is a folder, and one picture is judged at a time; {inside}."
