"""What a file says by itself, examined beside the model: its bytes before they are decoded, its pixels meanwhile.

An examiner never changes a label or a probability. Its faults cost the evidence and a warning, never the verdict.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pixelsleuth.core.citing import with_citations

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.pictures.formats import Header
    from pixelsleuth.pictures.images import Picture

log = logging.getLogger("pixelsleuth")
MOST_BESIDE = 16_000_000
"""Pixels up to which a picture is examined while the model judges it; a larger one afterwards."""
UNREAD_PIXELS = "What the pixels show by themselves could not be examined."
"""The warning of a verdict where an examiner failed on the pixels."""


class Illustration(Protocol):
    """A picture that belongs to a finding: a plain `caption`, the bytes of a JPEG or PNG of our own making."""

    @property
    def caption(self) -> str: ...
    @property
    def image(self) -> bytes: ...
    @property
    def media_type(self) -> str: ...


class Evidence(Protocol):
    """One thing that a file says by itself (`evidence.finding.Finding`)."""

    @property
    def strength(self) -> str: ...
    @property
    def pictures(self) -> Sequence[Illustration]: ...

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as `Verdict.evidence` carries it."""


class Examiner(Protocol):
    """Looks at files beside a detector (`evidence.inspection.FileExaminer`)."""

    def of_file(self, data: memoryview, header: Header) -> Sequence[Evidence]:
        """Return what the bytes of a file say, before they are decoded; `data` must not be kept."""

    def of_pixels(self, picture: Picture) -> Sequence[Evidence]:
        """Return what the decoded picture shows; called in a thread of its own while the model judges."""


class Beside:
    """The examinations of the pixels of a batch; `attach` waits for that of one picture."""

    def __init__(self, examiner: Examiner | None = None) -> None:
        self._examiner = examiner
        self._running: dict[int, Future[Sequence[Evidence]]] = {}

    def attach(self, verdict: Verdict, picture: Picture) -> None:
        """Add what file and pixels of `picture` say to its verdict; nothing where nobody looked at the file."""
        if picture.evidence is None:
            return
        evidence = list(picture.evidence)
        try:
            evidence += self._shown_by(picture)
        except Exception:
            log.exception("examining the pixels of %s failed", picture.source)
            verdict.warnings.append(UNREAD_PIXELS)
        attach(verdict, evidence)

    def _shown_by(self, picture: Picture) -> Sequence[Evidence]:
        running = self._running.get(id(picture))
        if running is not None:
            return running.result()
        return () if self._examiner is None else self._examiner.of_pixels(picture)


@contextlib.contextmanager
def examined(examiner: Examiner | None, pictures: Sequence[Picture]) -> Iterator[Beside]:
    """Examine the pixels of those pictures whose file was examined, in one thread beside the body of the block.

    NumPy and ONNX Runtime let go of the interpreter while they compute. A picture above MOST_BESIDE pixels is examined
    when it is attached, after the model: both take much memory, in turn. A block that is left by an exception, such as
    Ctrl-C, does not wait for what has not begun.
    """
    beside = Beside(examiner)
    looked_at = [
        picture
        for picture in pictures
        if picture.evidence is not None and picture.width * picture.height <= MOST_BESIDE
    ]
    if examiner is None or not looked_at:
        yield beside
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1, thread_name_prefix="examining")
    beside._running = {id(picture): pool.submit(examiner.of_pixels, picture) for picture in looked_at}
    try:
        yield beside
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def attach(verdict: Verdict, evidence: Sequence[Evidence]) -> None:
    """Append `evidence` to a verdict, hints last, with its pictures, and let the explanation cite it."""
    first = len(verdict.evidence)
    ordered = sorted(evidence, key=lambda entry: entry.strength == "hints")
    verdict.evidence = [*verdict.evidence, *(entry.to_dict() for entry in ordered)]
    verdict.illustrations = {
        first + index: tuple(entry.pictures) for index, entry in enumerate(ordered) if entry.pictures
    }
    verdict.examined = True
    verdict.explanation = with_citations(verdict)
