"""Background jobs on the disk: large batches whose results outlive the process.

A job is a folder `ID/` with `job.json`, its pictures in `files/` and `results.jsonl`. It appears under its name when
its upload is complete. The number of whole lines in `results.jsonl` is the number of pictures that are done, so that a
job goes on where a killed process left it; the lock on that file says that a process works at it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pixelsleuth.core.io import failed, write_json
from pixelsleuth.errors import NotKept, ServiceBusy

SCHEMA = "pixelsleuth.job/1"
MOST_FILES = 10_000
"""Files of one job."""
MOST_UNFINISHED = 20
"""Jobs that may wait or run at a time."""
ABANDONED_SECONDS = 6 * 3600
"""Age at which a half-uploaded job is taken for abandoned."""
ID = re.compile(r"[A-Za-z0-9_-]{22}")
DESCRIPTION, RESULTS, FILES, TOLD, STUCK = "job.json", "results.jsonl", "files", "told.json", "stuck.json"


@dataclass(frozen=True)
class Job:
    """What `job.json` holds; `names` are the sources of the pictures, None for one without a name."""

    id: str
    model: str
    explain: bool = True
    evidence: bool = True
    webhook: str | None = None
    created: float = 0.0
    names: list[str | None] = field(default_factory=list)
    schema: str = SCHEMA


class JobFolder:
    """All jobs of a service; several processes may share the folder. Finished jobs stay for `seconds`."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds

    def make(self) -> None:
        """Make the folder. Raises OutputError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise failed(self.folder, "folder of jobs", error) from error

    def begin(self) -> Draft:
        """A new job whose pictures are still to come. Raises OutputError, ServiceBusy."""
        unfinished = sum(not self.finished(job) for job in self)
        if unfinished >= MOST_UNFINISHED:
            raise ServiceBusy(f"{unfinished} jobs are waiting or running, as many as the service holds.")
        self.make()
        return Draft(self.folder, secrets.token_urlsafe(16))

    def __iter__(self) -> Iterator[Job]:
        """The jobs whose upload is complete, the oldest first."""
        with contextlib.suppress(FileNotFoundError):
            jobs = [job for entry in self.folder.iterdir() if (job := self._read(entry.name)) is not None]
            yield from sorted(jobs, key=lambda job: (job.created, job.id))

    def get(self, name: str) -> Job:
        """The job of an id. Raises NotKept."""
        job = self._read(name)
        if job is None:
            raise NotKept("There is no such job, or it is no longer kept.")
        return job

    def place(self, job: Job, *parts: str) -> Path:
        """The path of a job's file."""
        return self.folder.joinpath(job.id, *parts)

    def state(self, job: Job) -> dict[str, Any]:
        """How far a job is: `done` of `total` pictures, `failed` of those could not be read."""
        done = unreadable = 0
        with contextlib.suppress(FileNotFoundError), self.place(job, RESULTS).open("rb") as lines:
            for line in lines:
                done += line.endswith(b"\n")
                unreadable += b'"error": {"code"' in line  # quotes inside texts are escaped
        return {
            "id": job.id,
            "state": "done" if done >= len(job.names) else "running" if done else "waiting",
            "total": len(job.names),
            "done": done,
            "failed": unreadable,
            "model": job.model,
            "created": job.created,
        }

    def finished(self, job: Job) -> bool:
        """True where every picture has its line."""
        return bool(self.state(job)["state"] == "done")

    def lines(self, job: Job, start: int = 0) -> Iterator[bytes]:
        """The whole lines of the results, from number `start` on."""
        with contextlib.suppress(FileNotFoundError), self.place(job, RESULTS).open("rb") as lines:
            for number, line in enumerate(lines):
                if not line.endswith(b"\n"):
                    return
                if number >= start:
                    yield line

    def remove(self, name: str) -> None:
        """Remove a job with everything of it. Raises NotKept."""
        job = self.get(name)
        hidden = self.folder / f".{job.id}.gone"
        with contextlib.suppress(OSError):
            os.replace(self.folder / job.id, hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def sweep(self) -> None:
        """Remove finished jobs that are too old, and what broken uploads and removals left."""
        now = time.time()
        for job in list(self):
            with contextlib.suppress(OSError, NotKept):
                if self.finished(job) and self.place(job, RESULTS).stat().st_mtime < now - self.seconds:
                    self.remove(job.id)
        with contextlib.suppress(OSError):
            for entry in self.folder.iterdir():
                old = entry.stat().st_mtime < now - ABANDONED_SECONDS
                if entry.name.endswith(".gone") or (entry.name.endswith(".part") and old):
                    shutil.rmtree(entry, ignore_errors=True)

    def _read(self, name: str) -> Job | None:
        if not ID.fullmatch(name):
            return None
        try:
            content = json.loads((self.folder / name / DESCRIPTION).read_bytes())
            return Job(**content) if content["schema"] == SCHEMA and content["id"] == name else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


class Draft:
    """A job whose pictures arrive. `commit` puts it in its place, `discard` leaves nothing. Raises OutputError."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.names = name, list[str | None]()
        self._part, self._target = folder / f".{name}.part", folder / name
        try:
            (self._part / FILES).mkdir(parents=True)
        except OSError as error:
            raise failed(self._part, "job", error) from error

    def open(self, name: str | None) -> BinaryIO:
        """The file of the next picture."""
        self.names.append(name)
        return (self._part / FILES / str(len(self.names))).open("xb", buffering=0)

    def commit(self, **settings: Any) -> Job:
        """Put the job in its place."""
        job = Job(self.name, names=self.names, created=round(time.time(), 3), **settings)
        write_json(self._part / DESCRIPTION, asdict(job), kind="job")
        try:
            os.replace(self._part, self._target)
        except OSError as error:
            raise failed(self._target, "job", error) from error
        return job

    def discard(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._part, ignore_errors=True)


def stuck(folder: Path, done: int) -> int:
    """How often in a row a job was begun at the same picture, this time included. Raises OutputError."""
    times = 1
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        before = json.loads((folder / STUCK).read_bytes())
        times = before["times"] + 1 if before["done"] == done else 1
    write_json(folder / STUCK, {"done": done, "times": times}, kind="job")
    return times
