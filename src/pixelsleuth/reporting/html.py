"""The HTML report: one self-contained file.

`HtmlReport` takes verdicts one at a time and keeps none, so a page of thousands of pictures needs bounded memory. The
look is in `templates/report.html.j2` and `templates/report.css`, the content of a card in `cards.py`.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections import Counter
from datetime import datetime
from os import PathLike
from typing import IO, TYPE_CHECKING, Any

from pixelsleuth.core.io import failed
from pixelsleuth.core.outputs import AtomicFile
from pixelsleuth.errors import OutputError
from pixelsleuth.reporting import cards, words
from pixelsleuth.reporting.page import OUR_PAGE, environment, style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.reporting.cards import Truth
    from pixelsleuth.reporting.drawings import Look

THUMBNAILS = ((60, 1024), (600, 640), (6000, 384))
"""(pictures, longer side of their thumbnails in pixels); a report of 60 pictures stays near 15 MB."""

SMALLEST_THUMBNAIL = 256
MOST_WITH_LOOKS = 12
"""Pictures of a report that holds the pictures to look at: near 0.2 MB each."""
MOST_NAMED = 10
"""Pictures that the heading names, because file and model contradict each other there."""

KIND = "HTML report"


class HtmlReport:
    """Writes one report to `path`, which appears when `close` is called.

    `total` is the number of pictures if known (it sets the size of the thumbnails); with `truth` there is a column of
    true labels; the attribute `note` is a sentence under the heading. Raises OutputError: at once if `path` cannot be
    written, later if the disk is full.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        total: int | None = None,
        title: str | None = None,
        truth: bool = False,
        now: datetime | None = None,
    ) -> None:
        self.total, self.title, self.truth = total, title, truth
        self.note: str | None = None
        self.done = 0
        self.states: Counter[str] = Counter()
        self._models: dict[str, None] = {}
        self._contradicted: list[tuple[int, str]] = []
        self._now = now or datetime.now().astimezone()
        self.thumb = thumbnail_side(total)
        self._file = AtomicFile(path, ours=OUR_PAGE, kind=KIND)
        self.path = self._file.path
        self._macros: Any = environment().get_template("report.html.j2").module
        # The heading counts what follows it, so the parts wait in unnamed files until the end.
        self._spools: list[IO[str]] = []
        try:
            self._rows, self._failures, self._cards = (self._spool() for _ in range(3))
        except OutputError:
            self.discard()
            raise

    @property
    def wants_looks(self) -> bool:
        """True where the report is small enough for pictures to look at."""
        return (self.total or MOST_WITH_LOOKS + 1) <= MOST_WITH_LOOKS

    def add(
        self,
        verdict: Verdict,
        *,
        mask_file: str | None = None,
        truth: Truth | None = None,
        looks: Sequence[Look] = (),
    ) -> None:
        """Add one verdict, with pictures to look at where there are any. Without `verdict.picture` it shows none."""
        self.done += 1
        state = words.state_of(verdict)
        self.states[state] += 1
        self._models.setdefault(words.model_name(verdict))
        card = cards.card(
            verdict, number=self.done, thumb=self.thumb, mask_file=mask_file, truth=truth, looks=looks
        )
        self._put(self._rows, self._macros.row(card, self.truth))
        if state == "failed":
            self._put(self._failures, self._macros.failure(card))
        else:
            if card["contradiction"]:
                self._contradicted.append((self.done, card["file"]))
            self._put(self._cards, self._macros.card(card))

    def publish(self) -> None:
        """Put the page as it is now into its place; more verdicts may follow. Raises OutputError."""
        self._write_page(interrupted=False)
        self._file.commit()
        self._file = AtomicFile(self.path, ours=OUR_PAGE, kind=KIND)

    def close(self, *, interrupted: bool = False) -> None:
        """Write the page and move it into place; `interrupted` marks it as incomplete."""
        self._write_page(interrupted=interrupted)
        self._close_spools()
        self._file.commit()

    def _write_page(self, *, interrupted: bool) -> None:
        try:
            for part in self._parts(self._macros, self._values(interrupted)):
                self._file.write(part)
        except OSError as error:  # a spool may reach the disk only when it is read again
            self.discard()
            raise failed(self.path, KIND, error) from error
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Leave nothing on the disk."""
        self._close_spools()
        self._file.discard()

    def _parts(self, macros: Any, values: dict[str, Any]) -> Iterator[str]:
        yield macros.head(values)
        if self.done > 1:
            yield from _replay(self._rows)
        yield macros.after_rows(values)
        yield from _replay(self._failures)
        yield macros.before_cards(values)
        yield from _replay(self._cards)
        yield macros.tail(values)

    def _values(self, interrupted: bool) -> dict[str, Any]:
        from pixelsleuth import __version__

        shown = [state for state in words.STATES if self.states[state]]
        starts = [sum(self.states[earlier] for earlier in shown[:i]) for i in range(len(shown))]
        return {
            **style(),
            "version": __version__,
            "title": self.title or f"{words.count(self.done, 'picture')} checked",
            "date": f"{self._now.day} {self._now:%B %Y, %H:%M %Z}".strip(),
            "model": ", ".join(filter(None, self._models)),
            "names": words.NAMES,
            "counts": [(state, self.states[state]) for state in words.STATES],
            "spread": [(state, self.states[state], x) for state, x in zip(shown, starts, strict=True)],
            "filter": len([state for state in shown if state != "failed"]) > 1,
            "done": self.done,
            "total": self.total,
            "judged_any": self.done > 1,
            "failures": self.states["failed"],
            "many": self.done > 100,
            "interrupted": interrupted,
            "truth": self.truth,
            "note": self.note,
            "contradicted": self._contradicted[:MOST_NAMED],
            "contradictions": len(self._contradicted),
            "thumb": self.thumb,
        }

    def _put(self, spool: IO[str], text: str) -> None:
        try:
            spool.write(text)
        except OSError as error:
            raise failed(self.path, KIND, error) from error

    def _spool(self) -> IO[str]:
        # Beside the report: the system's folder for temporary files may be a small memory disk.
        folder = str(self.path.resolve().parent)
        try:
            spool: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115  (closed with the report)
                "w+", encoding="utf-8", errors="replace", newline="\n", dir=folder
            )
        except OSError as error:
            raise failed(self.path, KIND, error) from error
        self._spools.append(spool)
        return spool

    def _close_spools(self) -> None:
        for spool in self._spools:
            with contextlib.suppress(OSError):  # a full disk: the content is discarded anyway
                spool.close()


def card_html(verdict: Verdict, *, number: int = 1, looks: Sequence[Look] = ()) -> str:
    """One card of the report as a piece of a page, with the ids of picture `number`; also of a verdict with `error`.

    It needs the style sheet of `page.style`, and no script.
    """
    macros: Any = environment().get_template("report.html.j2").module
    values = cards.card(verdict, number=number, thumb=thumbnail_side(1), looks=looks)
    failed = words.state_of(verdict) == "failed"
    return str(macros.failed_card(values) if failed else macros.card(values))


def thumbnail_side(total: int | None) -> int:
    """The longer side of the pictures in a report of `total` pictures, in pixels.

    >>> thumbnail_side(1), thumbnail_side(100), thumbnail_side(1_000_000)
    (1024, 640, 256)
    """
    for limit, side in THUMBNAILS:
        if (total or 1) <= limit:
            return side
    return SMALLEST_THUMBNAIL


def _replay(spool: IO[str]) -> Iterator[str]:
    spool.seek(0)
    while chunk := spool.read(1 << 20):
        yield chunk
    spool.seek(0, io.SEEK_END)  # where what follows is written
