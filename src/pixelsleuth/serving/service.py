"""The service without HTTP: detectors, decoding processes and the bound on what is accepted."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.core.verdict import Verdict
from pixelsleuth.decoding.examined import SentExaminer
from pixelsleuth.decoding.pool import DecoderPool, Opened, Upload
from pixelsleuth.errors import ServiceBusy, ServiceUnavailable, UnknownModel
from pixelsleuth.evidence.trust_lists import read_trust_lists
from pixelsleuth.serving import logs
from pixelsleuth.serving.intake import BATCH_BODIES
from pixelsleuth.serving.job_runner import JobRunner
from pixelsleuth.serving.jobs import JobFolder
from pixelsleuth.serving.lanes import Entry, Lane
from pixelsleuth.serving.metrics import Metrics
from pixelsleuth.serving.settings import ServeOptions
from pixelsleuth.serving.shelf import Shelf
from pixelsleuth.serving.webhooks import call

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector

WARM_UP = (384, 512)
"""Height and width of the picture that is judged before the service says that it is ready."""


HELD_BODIES = 512 << 20
"""Bytes of bodies in memory at a time; more where two of the largest batches need it."""
READERS = 4
"""For each place in the queue, so many bodies may be on their way in."""


class Gate:
    """Requests that are accepted and not answered yet, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit, self.inside = limit, 0

    def ensure_room(self) -> None:
        """Raise ServiceBusy where no further request is accepted now."""
        if self.inside >= self.limit:
            raise ServiceBusy(
                f"{self.inside} requests are waiting, as many as the service holds; try again later."
            )

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Hold a place while the block runs. Raises ServiceBusy."""
        self.ensure_room()
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


class Bodies:
    """Bytes of bodies in memory, at most `limit`: no number of clients can fill it with half-sent forms."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Yield what counts the bytes of one request; they are given back at the end. It raises ServiceBusy."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self.held + size > self.limit:
                raise ServiceBusy("The service holds as many bytes as it may; try again later.")
            self.held += size
            taken += size

        try:
            yield take
        finally:
            self.held -= taken


class Service:
    """Everything that requests share. `start` loads the models in a thread; `ready` is True after the warm-up."""

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self.gate = Gate(options.queue)
        self.reading = Gate(READERS * options.queue)
        self.drawing = Gate(options.queue)
        self.shelf = Shelf(options.keep * 60)
        self.metrics = Metrics()
        self.lanes: dict[str, Lane] = {}
        self.bodies = Bodies(max(HELD_BODIES, 2 * BATCH_BODIES * options.max_bytes))
        self.jobs = None if options.jobs is None else JobFolder(Path(options.jobs), options.keep_jobs * 3600)
        self.runner: JobRunner | None = None
        self.ready = self.draining = False
        self.failure: BaseException | None = None
        if options.trust_list is not None:
            read_trust_lists(options.trust_list)  # refused here, not in a process that nobody watches
        self.pool = DecoderPool(
            options.decoding_processes,
            seconds=options.decode_seconds,
            max_megapixels=options.max_megapixels,
            trust_lists=options.trust_list,
        )

    def start(self, failed: Callable[[], None] = lambda: None) -> None:
        """Load the models and judge a picture with each, in a thread; `failed` is called where that is impossible."""

        def prepare() -> None:
            try:
                for name in self.options.models:
                    self.lanes[name] = Lane(
                        self._load(name), batch_size=self.options.batch_size, watch=self.metrics.watch
                    )
                self._warm_up()
                self.ready = True
                logs.event("ready", models=list(self.lanes))
            except BaseException as error:
                self.failure = error
                failed()

        threading.Thread(target=prepare, name="load", daemon=True).start()

    def close(self) -> None:
        """End the decoding processes and the judging threads."""
        self.ready = False
        for lane in self.lanes.values():
            lane.close()
        self.pool.close()

    def run_jobs(self) -> None:
        """Work at the jobs of the folder, in the running event loop."""
        if self.jobs is not None:
            jobs = self.jobs
            self.runner = JobRunner(self, jobs, lambda job: call(job.webhook or "", jobs.state(job)))

    def turns(self, lane: Lane) -> int:
        """How many pictures of one batch or job are on their way at a time: those that fill a batch of the model, and
        those that are decoded meanwhile."""
        return self.options.decoding_processes + lane.batch_size

    def lane(self, name: str | None) -> Lane:
        """The queue of a model, of the first one where `name` is None. Raises UnknownModel, ServiceUnavailable."""
        if not self.ready or self.draining:
            doing = "stopping" if self.draining else "starting"
            raise ServiceUnavailable(f"The service is {doing}; try again later.")
        lane = self.lanes.get(name or self.options.models[0])
        if lane is None:
            raise UnknownModel(f"This service has no model {name!r}; it has {', '.join(self.lanes)}.")
        return lane

    def ensure_room(self, lane: Lane) -> None:
        """Raise ServiceBusy where no further picture is accepted now, or none would be judged within its deadline."""
        self.gate.ensure_room()
        lane.ensure_time(self.options.deadline)

    @contextmanager
    def accepted(self, lane: Lane) -> Iterator[None]:
        """Hold a place while a request is answered. Raises ServiceBusy."""
        self.ensure_room(lane)
        with self.gate.passing():
            yield

    async def check(
        self,
        upload: Upload,
        lane: Lane,
        *,
        explain: bool,
        until: float | None = None,
        background: bool = False,
    ) -> Verdict:
        """The verdict on one picture; a picture that cannot be read gives a verdict with `error` set.

        Raises ServiceUnavailable where `until` (monotonic seconds) passes first. Cancelling skips the picture.
        """
        until = time.monotonic() + self.options.deadline if until is None else until
        async with AsyncExitStack() as held:
            held.enter_context(lane.counting(background))
            with lane.coming():
                opened = await held.enter_async_context(self.opened(upload, until))
                if opened.picture is None:
                    assert opened.error is not None
                    verdict = Verdict.failed(upload.name or "bytes", opened.error, lane.detector.model)
                    verdict.elapsed_ms = opened.milliseconds
                    self.metrics.judged(verdict)
                    return verdict
                entry = Entry(opened.picture, explain, until, opened.milliseconds, background)
                future = lane.submit(entry)
            verdict = await asyncio.wrap_future(future)
        self.metrics.judged(verdict)
        return verdict

    @asynccontextmanager
    async def opened(self, upload: Upload, until: float) -> AsyncIterator[Opened]:
        """A decoded picture, whose room is given back at the end of the block. Raises ServiceUnavailable."""
        decoding = self.pool.decode(upload, until)
        try:
            opened = await asyncio.wrap_future(decoding)
        except asyncio.CancelledError:
            decoding.add_done_callback(self.pool.drop)
            raise
        try:
            yield opened
        finally:
            if opened.picture is not None:
                self.pool.budget.give(opened.picture.pixels.nbytes)

    def _load(self, name: str) -> Detector:
        from pixelsleuth.models.registry import load

        detector = load(name, self.options.device, precision=self.options.precision)
        detector.examiner = SentExaminer()
        return detector

    def _warm_up(self) -> None:
        """One picture through the decoding processes and every model: what is loaded on first use is loaded then."""
        import numpy as np
        from PIL import Image

        noise = np.random.default_rng(0).integers(0, 256, (*WARM_UP, 3), np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(noise).save(encoded, "JPEG")
        upload = Upload(encoded.getvalue(), "warm-up", evidence=True)
        for lane in self.lanes.values():
            until = time.monotonic() + 3600
            opened = self.pool.decode(upload, until).result()
            assert opened.picture is not None, opened.error
            try:
                verdict = lane.submit(Entry(opened.picture, True, until)).result()
            finally:
                self.pool.budget.give(opened.picture.pixels.nbytes)
            if verdict.error is not None:
                raise ServiceUnavailable(verdict.error["message"])
