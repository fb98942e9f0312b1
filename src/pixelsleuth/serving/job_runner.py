"""Works through the jobs of a folder, one job at a time, in the gaps that requests leave."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.checking.results import OUR_RECORDS, record_text
from pixelsleuth.core.outputs import RecordFile
from pixelsleuth.core.verdict import Verdict
from pixelsleuth.decoding.pool import Upload
from pixelsleuth.errors import InternalError, NotKept, OutputError, OutputInUse, PictureNotFound
from pixelsleuth.serving import logs
from pixelsleuth.serving.jobs import FILES, RESULTS, TOLD, Job, JobFolder, stuck

if TYPE_CHECKING:
    from pixelsleuth.serving.service import Service

LOOK_SECONDS = 2.0
"""Seconds between two looks for jobs that another process left."""
ROOM_SECONDS = 2.0
"""Seconds between two tries to write a result to a full disk."""
MOST_STARTS = 3
"""After so many starts at the same picture, each of which ended the process, that picture gets an error."""
SWEEP_SECONDS = 600.0


class JobRunner:
    """Runs jobs until `close`. `tell(job)` is called once for each finished job."""

    def __init__(self, service: Service, folder: JobFolder, tell: Callable[[Job], Awaitable[bool]]) -> None:
        self.service, self.folder, self.tell = service, folder, tell
        self.waiting_for_room = False
        self._wake = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    def wake(self) -> None:
        """There is a new job."""
        self._wake.set()

    async def close(self) -> None:
        """Stop after the pictures that are being judged; the rest stays on the disk."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        swept = -math.inf
        while True:
            if time.monotonic() > swept + SWEEP_SECONDS:
                await asyncio.to_thread(self.folder.sweep)
                swept = time.monotonic()
            if self.service.ready and not self.service.draining:
                for job in await asyncio.to_thread(list, self.folder):
                    await self._attend(job)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()

    async def _attend(self, job: Job) -> None:
        """Do what is left of a job, unless another process does."""
        if job.model not in self.service.lanes:
            return
        try:
            if await asyncio.to_thread(self._settled, job):
                return
            with self._results(job) as results:
                await self._judge(job, results)
                if job.webhook is not None and self.folder.finished(job):
                    logs.event("webhook", job=job.id[:6], delivered=await self.tell(job))
                    self.folder.place(job, TOLD).touch()
        except OutputInUse:
            return
        except OutputError as error:
            self.waiting_for_room = True
            logs.event("job set aside", job=job.id[:6], error=type(error).__name__)
        except (NotKept, OSError) as error:  # removed meanwhile
            logs.event("job left", job=job.id[:6], error=type(error).__name__)

    def _settled(self, job: Job) -> bool:
        """True where nothing is left to do."""
        told = job.webhook is None or self.folder.place(job, TOLD).exists()
        return told and self.folder.finished(job)

    @contextlib.contextmanager
    def _results(self, job: Job) -> Iterator[RecordFile]:
        """The file of results, locked. Raises OutputInUse where another process works at the job."""
        results = RecordFile(self.folder.place(job, RESULTS), ours=OUR_RECORDS, kind="results", keep=True)
        try:
            yield results
        finally:
            with contextlib.suppress(OutputError):
                results.close()

    async def _judge(self, job: Job, results: RecordFile) -> None:
        place = self.folder.place(job)
        done = sum(1 for _ in results.lines())
        if done >= len(job.names):
            return
        starts = await asyncio.to_thread(stuck, place, done)
        if done == 0:
            logs.event("job started", job=job.id[:6], pictures=len(job.names))
        else:
            logs.event("job resumed", job=job.id[:6], done=done, pictures=len(job.names))
        if starts > MOST_STARTS:
            await self._write(results, self._given_up(job, done), place)
            done += 1
        under_way: deque[asyncio.Task[str]] = deque()
        following = done
        turns = self.service.turns(self.service.lanes[job.model])
        try:
            while done < len(job.names):
                while following < len(job.names) and len(under_way) < turns and not self.service.draining:
                    under_way.append(asyncio.ensure_future(self._line(job, following)))
                    following += 1
                if not under_way:  # draining
                    return
                await self._write(results, await under_way.popleft(), place)
                done += 1
                with contextlib.suppress(OSError):
                    (place / FILES / str(done)).unlink()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _line(self, job: Job, number: int) -> str:
        """The line of one picture."""
        name = job.names[number]
        lane = self.service.lanes[job.model]
        file = self.folder.place(job, FILES, str(number + 1))
        try:
            data = await asyncio.to_thread(file.read_bytes)
        except OSError:
            lost = PictureNotFound(
                f"{name or 'The picture'} is gone from the disk of the service; send it again."
            )
            return record_text(Verdict.failed(name or "bytes", lost, lane.detector.model).to_dict()) + "\n"
        verdict = await self.service.check(
            Upload(data, name, job.evidence), lane, explain=job.explain, until=math.inf, background=True
        )
        verdict.forget_picture()
        return await asyncio.to_thread(lambda: record_text(verdict.to_dict()) + "\n")

    async def _write(self, results: RecordFile, line: str, place: Path) -> None:
        """Append a line; on a full disk, wait for room. Raises NotKept where the job was removed."""
        while True:
            if not place.is_dir():
                raise NotKept("The job was removed.")
            try:
                results.write(line)
                await asyncio.to_thread(results.commit)
                self.waiting_for_room = False
                return
            except OutputError:
                if not self.waiting_for_room:
                    logs.event("the disk is full; jobs wait for room")
                self.waiting_for_room = True
            await asyncio.sleep(ROOM_SECONDS)

    def _given_up(self, job: Job, number: int) -> str:
        name, lane = job.names[number], self.service.lanes[job.model]
        error = InternalError(
            f"The service ended {MOST_STARTS} times while it judged {name or 'this picture'}."
        )
        return record_text(Verdict.failed(name or "bytes", error, lane.detector.model).to_dict()) + "\n"
