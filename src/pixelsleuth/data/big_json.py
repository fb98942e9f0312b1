"""JSON files of any size, item by item, in UTF-8 or UTF-16 (LOKI's open_ended_vqa.json begins with FF FE)."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pixelsleuth.errors import MissingExtra, UsageError


class _AsUtf8:
    """The bytes of a text file of another encoding as UTF-8, piece by piece."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._reader = codecs.getreader(encoding)(file)

    def read(self, size: int = -1) -> bytes:
        """At least one character's bytes where there are any; may be more than `size`, which the parser allows."""
        return b"" if size == 0 else self._reader.read(1 << 16).encode("utf-8")


def items(path: Path, prefix: str = "item") -> Iterator[Any]:
    """The elements of the list at `prefix` ("item": the top-level list; "images.item": the list under "images")."""
    return _read(path, "items", prefix)


def pairs(path: Path) -> Iterator[tuple[str, Any]]:
    """The (key, value) pairs of a top-level object."""
    return _read(path, "kvitems", "")


def _read(path: Path, what: str, prefix: str) -> Iterator[Any]:
    try:
        import ijson
    except ImportError as error:
        raise MissingExtra("ijson", "data") from error
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(3 if head.startswith(codecs.BOM_UTF8) else 0)
            wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            stream: Any = _AsUtf8(file, "utf-16") if wide else file
            yield from getattr(ijson, what)(stream, prefix, use_float=True)
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}; download the set's annotations.") from None
    except (ijson.JSONError, UnicodeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UsageError(f"{path} is damaged ({reason}); download it again.") from None
