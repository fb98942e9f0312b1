"""A journal on disk: results in the order in which they came, each found again by its name, also after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pixelsleuth.core import io

Rows = list[dict[str, Any]]


class Journal:
    """A file with a line of JSON a result; `places` holds the byte at which each begins.

    A journal of another `mark` starts anew; a last line that was cut off is dropped. Raises OutputError where the file
    cannot be written.
    """

    def __init__(self, path: Path, mark: str) -> None:
        self.path = path
        self.places: dict[str, int] = {}
        head = json.dumps({"fingerprint": mark}).encode() + b"\n"
        good = self._recover(head) if path.is_file() else 0
        try:
            self.stream = path.open("r+b" if good else "w+b", buffering=0)
            self.stream.truncate(good)
        except OSError as error:
            raise io.failed(path, "journal", error) from error
        self.end = good
        if not good:
            self._append(head)

    def _recover(self, head: bytes) -> int:
        """Bytes of the journal that are whole; 0 where it belongs to other settings."""
        with self.path.open("rb") as stream:
            if stream.readline() != head:
                return 0
            good = len(head)
            for line in stream:
                try:
                    name = json.loads(line)["id"] if line.endswith(b"\n") else None
                except (ValueError, KeyError, TypeError):
                    name = None
                if name is None:
                    break
                self.places[name] = good
                good += len(line)
        return good

    def add(self, name: str, rows: Rows) -> None:
        """Keep the result of this name, at once."""
        place = self.end
        self._append(json.dumps({"id": name, "rows": rows}, ensure_ascii=False).encode() + b"\n")
        self.places[name] = place

    def _append(self, line: bytes) -> None:
        """A whole line or none: where the disk is full, the journal ends as before and a rerun goes on from there."""
        try:
            self.end = io.append_at(self.stream.fileno(), line, self.end)
        except OSError as error:
            raise io.failed(self.path, "journal", error) from error

    def rows(self, name: str) -> Rows:
        """The result of this name. Raises KeyError, OSError."""
        with self.path.open("rb") as stream:
            stream.seek(self.places[name])
            rows: Rows = json.loads(stream.readline())["rows"]
            return rows

    def close(self) -> None:
        """End the file; it stays."""
        self.stream.close()

    def remove(self) -> None:
        """End the file and remove it."""
        self.stream.close()
        self.path.unlink(missing_ok=True)
