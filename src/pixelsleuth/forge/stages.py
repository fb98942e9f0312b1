"""The engine of the forge: a stage turns each line of one JSONL file into lines of the next.

A stage may be killed at any moment. Each finished line goes at once to a journal (`name.part.jsonl`). A rerun drops a
last line that was cut off and does only what is missing. The result (`name.jsonl`) appears whole, in the order of its
input, whatever finished first. What a line becomes depends on the line, the settings and the seed alone, so an
interrupted run gives the same files as an undisturbed one. Changed settings or input give another fingerprint, and the
stage starts anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelsleuth.core import io
from pixelsleuth.core.io import sha256_of
from pixelsleuth.core.journal import Journal
from pixelsleuth.core.progress import progress
from pixelsleuth.errors import OutputError, PixelSleuthError, Unavailable, Unfinished, UsageError

Row = dict[str, Any]
Work = Callable[[Row, Any], list[Row]]
"""(line, context) -> lines, each with an `id`. A module-level function: worker processes find it by name."""
Outcome = list[Row] | PixelSleuthError
Elsewhere = Callable[["Stage", Path, Collection[str]], Iterator[tuple[str, Outcome]]]
"""(stage, source, ids that are done) -> the id of each other line with what became of it, in any order."""


@dataclass(frozen=True)
class Stage:
    """`work` on every line. `settings`: what its result depends on.

    `kind` says where lines are done: `process`, many at a time, a core each; `serial`, one at a time, by a model; an
    engine takes over either. `thread`, many at a time, since they wait for a service; `here`, in this process, since
    handing them over would cost more.
    """

    name: str
    work: Work
    settings: dict[str, Any] = field(default_factory=dict)
    kind: str = "process"
    version: int = 1


def run_stage(
    stage: Stage,
    source: Path,
    folder: Path,
    context: Any,
    *,
    workers: int,
    say: Callable[[str], None],
    quiet: bool = False,
    processes: Processes | None = None,
    elsewhere: Elsewhere | None = None,
) -> Path:
    """Carry out `stage` on the lines of `source`; returns `folder/name.jsonl`. Raises Unfinished.

    `processes` are shared between stages; without them lines run in threads. With `elsewhere` that does the lines.
    """
    target = folder / f"{stage.name}.jsonl"
    mark = fingerprint(stage, source)
    if _stamp(target) == mark:
        say(f"{stage.name}: done before")
        return target
    journal = Journal(folder / f"{stage.name}.part.jsonl", mark)
    total = sum(1 for _ in read_rows(source))
    failed: list[PixelSleuthError] = []
    results: Iterator[tuple[str, Outcome]]
    if elsewhere is not None:
        results = elsewhere(stage, source, journal.places)
    else:
        pending = (row for row in read_rows(source) if row["id"] not in journal.places)
        results = _results(stage, pending, context, workers, processes)
    with progress(f"{stage.name:12}", total, done=len(journal.places), quiet=quiet) as advance:
        for name, result in results:
            if isinstance(result, PixelSleuthError):
                failed.append(result)
            else:
                journal.add(name, result)
            advance()
    if failed:
        journal.close()
        raise Unfinished(
            f"{stage.name}: {len(failed)} of {total} could not be done ({failed[0]}); all others are kept, run the "
            "same command again to go on."
        )
    rows, errors = _finish(journal, source, target, mark)
    say(f"{stage.name}: {rows} lines" + (f", {errors} without a result" if errors else ""))
    return target


def _finish(journal: Journal, source: Path, target: Path, mark: str) -> tuple[int, int]:
    """Write the result in the order of `source` and remove the journal; returns (lines, lines without a result)."""
    journal.close()
    rows = errors = 0
    try:
        with io.replaced(target) as part, journal.path.open("rb") as stream, part.open("wb") as out:
            for row in read_rows(source):
                stream.seek(journal.places[row["id"]])
                for made in json.loads(stream.readline())["rows"]:
                    out.write(_line(made))
                    rows += 1
                    errors += "error" in made
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise io.failed(target, "file", error) from error
    # The stamp comes last: a kill before it only means that the finished journal is read once more.
    write_file(_stamp_path(target), json.dumps({"fingerprint": mark, "sha256": sha256_of(target)}) + "\n")
    journal.remove()
    return rows, errors


class Processes:
    """Worker processes that start when first needed and serve every stage: starting them takes seconds."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: futures.ProcessPoolExecutor | None = None

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def pool(self) -> futures.ProcessPoolExecutor:
        # Spawned, not forked: a fork beside OpenCV's and the progress bar's threads may hang.
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = futures.ProcessPoolExecutor(self.count, spawn, initializer=_begin_worker)
        return self._pool


def _results(
    stage: Stage, pending: Iterator[Row], context: Any, workers: int, processes: Processes | None
) -> Iterator[tuple[str, Outcome]]:
    """Do lines in this process, its threads or its `processes`; yields the id of each line with what became of it."""
    if stage.kind in ("serial", "here") or workers <= 1:
        for row in pending:
            yield row["id"], attempt(stage.work, row, context)
        return
    pool: contextlib.AbstractContextManager[futures.Executor] = (
        contextlib.nullcontext(processes.pool())
        if stage.kind == "process" and processes is not None
        else futures.ThreadPoolExecutor(workers)
    )
    with pool as executor:
        running: dict[futures.Future[Outcome], str] = {}
        try:
            for row in pending:
                running[executor.submit(attempt, stage.work, row, context)] = row["id"]
                while len(running) >= 4 * workers:
                    yield from _done(running)
            while running:
                yield from _done(running)
        finally:
            for future in running:
                future.cancel()


def _done(running: dict[futures.Future[Outcome], str]) -> Iterator[tuple[str, Outcome]]:
    for future in futures.wait(running, return_when=futures.FIRST_COMPLETED).done:
        yield running.pop(future), future.result()


def attempt(work: Work, row: Row, context: Any) -> Outcome:
    """Do one line. A line with an `error` is handed on; one that fails now gets one; Unavailable is returned."""
    if "error" in row:
        return [row]
    try:
        return work(row, context)
    except Unavailable as error:
        return error
    except UsageError:
        raise
    except PixelSleuthError as error:
        return [{**row, "error": error.to_dict()}]


def _begin_worker() -> None:
    """A worker ends with its parent, also when that was killed; libraries keep to one thread each."""
    import cv2

    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def read_rows(path: Path) -> Iterator[Row]:
    """The lines of a JSONL file of the run, one at a time."""
    return (row for _, row in io.read_json_lines(path))


def write_rows(path: Path, rows: Iterable[Row], *, ascii: bool = False) -> Path:
    """Write a JSONL file, a line a row, whole or not at all; returns its path."""
    write_file(path, b"".join(_line(row, ascii) for row in rows))
    return path


def _line(row: Row, ascii: bool = False) -> bytes:
    return json.dumps(row, ensure_ascii=ascii, sort_keys=True).encode() + b"\n"


def fingerprint(stage: Stage, source: Path) -> str:
    """What the result depends on, as one number: the stage, its version and settings, the bytes of its input."""
    facts = json.dumps([stage.name, stage.version, stage.settings], sort_keys=True)
    return hashlib.sha256(f"{facts}/{sha256_of(source)}".encode()).hexdigest()


def _stamp_path(target: Path) -> Path:
    return target.with_name(f".{target.stem}.done")


def _stamp(target: Path) -> str | None:
    """The fingerprint under which `target` was made; None where there is none, or the file is another."""
    try:
        stamp = json.loads(_stamp_path(target).read_text(encoding="utf-8"))
        return str(stamp["fingerprint"]) if stamp["sha256"] == sha256_of(target) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file that is there whole or not at all; nothing is written where it already holds the same bytes."""
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise io.failed(path, "file", error) from error
    io.write_bytes(path, data)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One run at a time in a folder; the lock ends with the process, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = io.open_locked(folder / ".lock", wait=False)
    except BlockingIOError:
        raise UsageError(f"Another run works in {folder}; wait for it or choose another out=.") from None
    except OSError as error:
        raise OutputError(f"{folder} cannot be used ({error.strerror}); choose another out=.") from error
    try:
        yield
    finally:
        os.close(handle)
