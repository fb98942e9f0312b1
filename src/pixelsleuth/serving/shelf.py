"""Verdicts that are kept for a while, so that their report and pictures can be asked for.

Kept are the upload itself, the heat map and the mask as run lengths, in memory only: pixels are decoded again when a
picture is asked for. The oldest go first where there are too many.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pixelsleuth.errors import NotKept

if TYPE_CHECKING:
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.decoding.pool import Upload

MOST_KEPT = 500
"""Verdicts that are kept at a time."""
KEPT_BYTES = 128 << 20
"""Bytes that kept verdicts hold together; a single larger one is not kept."""
ID_BYTES = 16
"""Random bytes of an id: who does not know it cannot find the verdict."""


@dataclass(frozen=True)
class Kept:
    """A verdict without its pixels; `rle` are the run lengths of its mask, None where it has none."""

    verdict: Verdict
    rle: dict[str, Any] | None
    upload: Upload
    until: float

    @property
    def size(self) -> int:
        """Bytes that it holds, about."""
        heat = self.verdict.heatmap
        drawn = sum(len(entry.image) for entries in self.verdict.illustrations.values() for entry in entries)
        runs = len(self.rle["counts"]) if self.rle is not None else 0
        return len(self.upload.data) + (0 if heat is None else heat.nbytes) + runs + drawn + 4096

    def whole(self) -> Verdict:
        """The verdict with its mask; its picture is still missing."""
        from pixelsleuth.core.rle import decode

        return replace(self.verdict, mask=None if self.rle is None else decode(self.rle))


class Shelf:
    """The verdicts that are kept, for `seconds` each."""

    def __init__(self, seconds: float, *, most: int = MOST_KEPT, most_bytes: int = KEPT_BYTES) -> None:
        self.seconds, self.most, self.most_bytes = seconds, most, most_bytes
        self.held = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, verdict: Verdict, upload: Upload, rle: dict[str, Any] | None) -> str | None:
        """Keep a verdict, `rle` its mask as run lengths, and return its id; None where it is not kept."""
        if self.seconds <= 0 or verdict.error is not None:
            return None
        kept = Kept(replace(verdict, mask=None, picture=None), rle, upload, time.monotonic() + self.seconds)
        if kept.size > self.most_bytes:
            return None
        name = secrets.token_urlsafe(ID_BYTES)
        with self._lock:
            self._entries[name] = kept
            self.held += kept.size
        self.sweep()
        return name

    def get(self, name: str) -> Kept:
        """The verdict of an id. Raises NotKept."""
        self.sweep()
        kept = self._entries.get(name)
        if kept is None:
            raise NotKept("There is no such verdict, or it is no longer kept; check the picture again.")
        return kept

    def sweep(self) -> None:
        """Drop what is too old, then the oldest while there are too many."""
        now = time.monotonic()
        with self._lock:
            while self._entries:
                name, oldest = next(iter(self._entries.items()))
                if oldest.until > now and len(self._entries) <= self.most and self.held <= self.most_bytes:
                    return
                del self._entries[name]
                self.held -= oldest.size
