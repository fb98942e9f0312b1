"""The base of all detectors: what turns pictures into verdicts. A new detector implements `judge`."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from os import PathLike
from typing import IO, TYPE_CHECKING, Literal, Protocol, TypeAlias, cast, overload

from pixelsleuth.core.examining import Examiner, examined
from pixelsleuth.core.verdict import Label, NamesOnly, Verdict
from pixelsleuth.errors import InternalError, PictureError, PixelSleuthError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from pixelsleuth.core.bounds import Bounds
    from pixelsleuth.core.decision import Decision
    from pixelsleuth.core.scores import Scores
    from pixelsleuth.pictures.images import Examine, Picture

    Source: TypeAlias = str | PathLike[str] | bytes | IO[bytes] | Image.Image | NDArray[np.generic] | Picture

BESIDE_PIXELS = 2_000_000
"""Pixels up to which pictures are judged beside each other: larger ones keep every core busy by themselves, and take
memory (the bundled detector 12 MB a million pixels)."""
log = logging.getLogger("pixelsleuth")


class Capability(StrEnum, metaclass=NamesOnly):
    """What a detector can do: name the class, draw the mask, say why."""

    DETECT = "detect"
    LOCALIZE = "localize"
    EXPLAIN = "explain"


@dataclass
class Turn:
    """One answer of a conversation.

    `text` as a person reads it; `label` and `probabilities` where the answer judges the picture; `mask` (H, W) bool,
    or None with `note` saying why.
    """

    text: str
    label: Label | None = None
    probabilities: dict[Label, float] | None = None
    mask: NDArray[np.bool_] | None = None
    note: str = ""


class Talk(Protocol):
    """A conversation about one picture, which is encoded once however many questions follow."""

    def ask(self, question: str) -> Turn:
        """The answer to one question."""


class Detector(ABC):
    """Base of all detectors.

    A subclass sets `name`, `version` and `capabilities` and implements `judge`. `max_megapixels` is the size limit that
    `check` and `check_many` apply to the header, before anything is decoded. `notices` are sentences for a person to
    read before the first verdict, such as that a member of a panel could not be loaded. `scores` are the detector's
    judgements of sources left out of training, `decision` the thresholds that follow from them; None where nobody
    measured that. `examiner` reads what a file says by itself (`evidence.inspection.FileExaminer`) beside the model;
    its findings join `Verdict.evidence` and change no score. `batches` is False where `judge` gains nothing from more
    pictures than it works at beside each other, in threads: `beside`. Commands give it as many where nobody names a
    number.
    """

    name: str = "detector"
    version: str = "0"
    capabilities: frozenset[Capability] = frozenset({Capability.DETECT})
    max_megapixels: float = 100.0
    notices: tuple[str, ...] = ()
    scores: Scores | None = None
    decision: Decision | None = None
    examiner: Examiner | None = None
    batches: bool = True
    beside: int = 1

    @property
    def model(self) -> dict[str, str]:
        """`{"name", "version"}`, as verdicts carry it."""
        return {"name": self.name, "version": self.version}

    def decide_by(self, bounds: Bounds | None = None, *, stable: bool = True) -> None:
        """Fit the decision to other bounds; without `stable` re-saves are not judged (faster, less sure).

        Raises UsageError where this detector's errors were never measured.
        """
        from pixelsleuth.core.decision import Decision

        if self.scores is None:
            raise UsageError(
                f"How often {self.name} is wrong was never measured, so it has no bounds: "
                "leave out --accuse-at-most, --right-at-least and --stable/--fast."
            )
        self.decision = Decision.fit(self.scores, bounds, stable=stable)

    def decide_as(self, accused: float | None, right: float | None, stable: bool | None) -> None:
        """`decide_by` for settings that may be None; where all are, nothing changes and nothing is refused."""
        from pixelsleuth.core.bounds import Bounds

        if accused is right is stable is None:
            return
        usual = Bounds()
        bounds = Bounds(
            usual.accused if accused is None else accused, usual.right if right is None else right
        )
        self.decide_by(bounds, stable=stable is not False)

    @abstractmethod
    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        """Return one verdict a picture, in order (`Verdict.of` fills in what the picture knows).

        The answer for a picture must not depend on the others of the batch.
        """

    def alone(self, picture: Picture) -> bool:
        """Whether a picture gains nothing from others beside it: a large one, where batches gain nothing."""
        return not self.batches and (self.beside == 1 or picture.width * picture.height > BESIDE_PIXELS)

    def converse(self, picture: Picture) -> Talk:
        """Open a conversation about a picture.

        Raises UsageError where the detector cannot talk.
        """
        raise UsageError(f"{self.name} cannot talk: name a model that does, for example sida-7b-description.")

    @property
    def question(self) -> str:
        """The first question of a conversation where the user asks none."""
        return ""

    @overload
    def check(  # type: ignore[overload-overlap]  # a path is an iterable of texts, too, and one picture
        self, source: Source, *, explain: bool = ..., on_error: OnError = ...
    ) -> Verdict: ...

    @overload
    def check(
        self, source: Iterable[Source], *, explain: bool = ..., on_error: OnError = ...
    ) -> list[Verdict]: ...

    def check(
        self,
        source: Source | Iterable[Source],
        *,
        explain: bool = True,
        on_error: OnError = None,
    ) -> Verdict | list[Verdict]:
        """Judge one picture (path, bytes, open file, PIL image, array), or an iterable of pictures: then return a list.

        `on_error`: "raise" raises the first PictureError, "record" turns it into a verdict with `error` set; by default
        a single picture raises and a list records. Verdicts of a list forget pixels that can be read from a file again.
        For thousands of pictures use `check_many`, which holds one at a time.
        """
        if on_error not in (None, "raise", "record"):
            raise UsageError(f"on_error must be 'raise' or 'record', not {on_error!r}.")
        several = several_of(source)
        if several is not None:
            return self._check_several(several, explain, raise_errors=on_error == "raise")
        return self._check_one(cast("Source", source), explain, raise_errors=on_error != "record")

    def check_many(
        self, sources: Iterable[Source] | Source, *, explain: bool = True, batch_size: int = 1
    ) -> Iterator[Verdict]:
        """Judge a stream of pictures and yield verdicts in order; a failure is a record, never an exception.

        A single picture, a path above all, is a stream of one. At most `batch_size` pictures are held at a time.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, not {batch_size}.")
        batch: list[Picture | Verdict] = []
        opened: list[float] = []
        several = several_of(sources)
        for source in [cast("Source", sources)] if several is None else several:
            started = time.perf_counter()
            batch.append(self._open(source))
            opened.append((time.perf_counter() - started) * 1000)
            if len(batch) == batch_size:
                yield from self._judge_batch(batch, opened, explain)
                batch, opened = [], []
        yield from self._judge_batch(batch, opened, explain)

    def _check_several(
        self, sources: Iterable[Source], explain: bool, *, raise_errors: bool
    ) -> list[Verdict]:
        verdicts = []
        for source in sources:
            verdict = self._check_one(source, explain, raise_errors=raise_errors)
            if isinstance(source, str | PathLike):
                verdict.forget_picture()
            verdicts.append(verdict)
        return verdicts

    def _check_one(self, source: Source, explain: bool, *, raise_errors: bool) -> Verdict:
        if not raise_errors:
            return next(self.check_many([source], explain=explain))
        from pixelsleuth.pictures.images import open_picture

        started = time.perf_counter()
        picture = open_picture(source, max_megapixels=self.max_megapixels, examine=self._examine)
        with examined(self.examiner, [picture]) as beside:
            (verdict,) = self._judged([picture], explain)
            beside.attach(verdict, picture)
        verdict.elapsed_ms = (time.perf_counter() - started) * 1000
        return verdict

    @property
    def _examine(self) -> Examine | None:
        return None if self.examiner is None else self.examiner.of_file

    def _open(self, source: Source) -> Picture | Verdict:
        from pixelsleuth.pictures.images import open_picture, source_name

        try:
            return open_picture(source, max_megapixels=self.max_megapixels, examine=self._examine)
        except PictureError as error:
            return Verdict.failed(source_name(source), error, self.model)
        except Exception as error:  # a reader's fault must not end a run over thousands of files
            log.exception("reading %s failed", source_name(source))
            return Verdict.failed(source_name(source), _internal(error), self.model)

    def _judge_batch(
        self, batch: Sequence[Picture | Verdict], opened: Sequence[float], explain: bool
    ) -> Iterator[Verdict]:
        pictures = [entry for entry in batch if not isinstance(entry, Verdict)]
        started = time.perf_counter()
        with examined(self.examiner, pictures) as beside:
            judged = self._judge_safely(pictures, explain)
            for verdict, picture in zip(judged, pictures, strict=True):
                beside.attach(verdict, picture)
        verdicts = iter(judged)
        each = (time.perf_counter() - started) * 1000 / max(1, len(pictures))
        for entry, open_ms in zip(batch, opened, strict=True):
            verdict = entry if isinstance(entry, Verdict) else next(verdicts)
            verdict.elapsed_ms = open_ms if isinstance(entry, Verdict) else open_ms + each
            yield verdict

    def _judge_safely(self, pictures: list[Picture], explain: bool) -> list[Verdict]:
        """Judge together; where that fails, one by one, so that a single picture cannot spoil its batch."""
        if not pictures:
            return []
        try:
            return self._judged(pictures, explain)
        except Exception as error:
            if len(pictures) > 1:
                log.warning("a batch of %d failed (%s); judging one by one", len(pictures), error)
                return [verdict for picture in pictures for verdict in self._judge_safely([picture], explain)]
            picture = pictures[0]
            log.exception("judging %s failed", picture.source)
            known = error if isinstance(error, PixelSleuthError) else _internal(error)
            verdict = Verdict.failed(picture.source, known, self.model)
            verdict.sha256, verdict.width, verdict.height = picture.sha256, picture.width, picture.height
            verdict.metadata, verdict.warnings = dict(picture.metadata), list(picture.warnings)
            return [verdict]

    def _judged(self, pictures: list[Picture], explain: bool) -> list[Verdict]:
        verdicts = self.judge(pictures, explain=explain)
        if len(verdicts) != len(pictures):
            raise RuntimeError(f"{self.name} gave {len(verdicts)} verdicts for {len(pictures)} pictures")
        return verdicts


def several_of(source: Source | Iterable[Source]) -> Iterable[Source] | None:
    """The pictures of an iterable, None for a single picture: paths, bytes, open files and arrays are iterable as well.

    An array of four dimensions is a stack of pictures.
    """
    if isinstance(source, str | bytes | bytearray | memoryview | PathLike | Mapping) or hasattr(
        source, "read"
    ):
        return None
    if hasattr(source, "__array__") or hasattr(source, "__array_interface__"):
        return cast("Iterable[Source]", source) if getattr(source, "ndim", 0) == 4 else None
    return source if isinstance(source, Iterable) else None


OnError: TypeAlias = Literal["raise", "record"] | None


def _internal(error: Exception) -> InternalError:
    return InternalError(
        f"The detector failed on this picture ({type(error).__name__}: {error}); please report it."
    )
