"""Manifest stores of C2PA, read by c2pa-python in a process of its own.

A stranger's manifest may keep the library busy for minutes (its time grows with the square of the number of
assertions: `benchmarks/credentials.py --assertions 5000`), fill the memory or crash. That ends the other process and
costs one file.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from typing import IO, Any

SECONDS = 10.0
"""Time for one answer, the start of the other process included."""
MEMORY = 2 << 30
"""Address space of the other process, in bytes, where the system can limit it."""
LONGEST_REPORT = 8 << 20
"""Bytes of JSON that are taken of one file."""
LARGEST_RESOURCE = 4 << 20
"""Bytes of one thumbnail."""
COMMAND = [sys.executable, "-P", "-m", "pixelsleuth.evidence.manifest_reader"]

_LENGTH = struct.Struct("<Q")
_DONE, _NOTHING, _REFUSED, _TOO_LARGE, _MISSING = (bytes([number]) for number in range(5))


class LimitError(ValueError):
    """The store was not read to its end; the message says why."""


class ManifestStore:
    """What the library says of one file. `report` is JSON, None where the file holds no manifest."""

    def __init__(self, process: _Process, report: str | None) -> None:
        self.report = report
        self._process = process

    def resource(self, uri: str) -> bytes | None:
        """Return the bytes behind an address in the report, None where there are none or too many."""
        try:
            kind, content = self._process.ask(json.dumps({"uri": uri}).encode())
        except LimitError:
            return None
        return content if kind == _DONE else None


@contextlib.contextmanager
def opened(content: bytes, settings: str) -> Iterator[ManifestStore]:
    """Read the manifests in the bytes of a picture file; `settings` are those of c2pa-rs, as JSON.

    Raises ImportError where c2pa-python is not installed, LimitError where the limits of this file are reached, and
    ValueError, in the words of the library, where it cannot read the manifests.
    """
    if find_spec("c2pa") is None:
        raise ImportError("c2pa")
    with _lock:
        order = {"settings": settings, "longest": LONGEST_REPORT}
        kind, answer = _process.ask(json.dumps(order).encode(), content)
        if kind == _MISSING:
            raise ImportError("c2pa")
        if kind == _TOO_LARGE:
            raise LimitError(f"its manifests are described in more than {LONGEST_REPORT >> 20} MiB of text")
        text = answer.decode("utf-8", "replace")
        if kind == _REFUSED:
            raise ValueError(text)
        yield ManifestStore(_process, text if kind == _DONE else None)


class _Process:
    """The other process: started when it is needed, ended when it is late."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None

    def ask(self, *messages: bytes) -> tuple[bytes, bytes]:
        """Send `messages` and return (kind, content) of the answer. Raises LimitError where none comes in time."""
        late = threading.Event()
        try:
            running = self._started()
        except OSError as error:
            raise LimitError(f"the process that reads them could not be started ({error.strerror})") from None

        def stop() -> None:
            late.set()
            running.kill()

        timer = threading.Timer(SECONDS, stop)
        timer.daemon = True
        timer.start()
        assert running.stdin is not None
        assert running.stdout is not None
        try:
            for message in messages:
                running.stdin.write(_LENGTH.pack(len(message)) + message)
            running.stdin.flush()
            answer = _receive(running.stdout)
        except OSError:  # a broken pipe: it is gone
            answer = None
        except BaseException:
            self.end()
            raise
        finally:
            timer.cancel()
        if not answer:
            self.end()
            slow = f"reading them takes longer than {SECONDS:g} s"
            raise LimitError(slow if late.is_set() else "the process that reads them ended")
        return answer[:1], answer[1:]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._running is None or self._running.poll() is not None:
            paths = os.pathsep.join(path for path in sys.path if path)
            self._running = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": paths},
            )
        return self._running

    def end(self) -> None:
        """End the other process, if there is one."""
        running, self._running = self._running, None
        if running is not None:
            running.kill()
            running.wait()
            for pipe in (running.stdin, running.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]


_process, _lock = _Process(), threading.Lock()
atexit.register(lambda: _process.end())


def _forget() -> None:
    """In a forked process: the other process belongs to the parent, and a lock may have been held."""
    global _process, _lock
    _process, _lock = _Process(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _receive(stream: IO[bytes]) -> bytes | None:
    """One message, None where the other side is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    length = _LENGTH.unpack(head)[0]
    message = stream.read(length)
    return message if len(message) == length else None


# What follows runs in the other process.


def _serve() -> None:
    """Answer requests from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks; it ends this one
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _limit_memory()
    reader: Any = None
    while (request := _receive(source)) is not None:
        order = json.loads(request)
        if "uri" in order:
            answer = _resource(reader, order["uri"])
        else:
            content = _receive(source)
            if content is None:
                return
            reader = None  # two files at a time would take twice the memory
            reader, answer = _read(content, order["settings"], order["longest"])
        sink.write(_LENGTH.pack(len(answer)) + answer)
        sink.flush()


def _read(content: bytes, settings: str, longest: int) -> tuple[Any, bytes]:
    try:
        from c2pa import Reader
    except ImportError:
        return None, _MISSING
    try:
        reader = Reader.try_create(None, io.BytesIO(content), context=_context(settings))
        text = reader.json().encode() if reader is not None else b""
    except Exception as error:
        return None, _REFUSED + str(error)[:1000].encode("utf-8", "replace")
    if len(text) > longest:
        return None, _TOO_LARGE
    return reader, _DONE + text if reader is not None else _NOTHING


def _resource(reader: Any, uri: str) -> bytes:
    stream = io.BytesIO()
    try:
        reader.resource_to_stream(uri, stream)
    except Exception:  # no such address, no reader
        return _NOTHING
    content = stream.getvalue()
    return _DONE + content if 0 < len(content) <= LARGEST_RESOURCE else _NOTHING


@lru_cache(maxsize=4)
def _context(settings: str) -> Any:
    from c2pa import Context

    return Context.from_json(settings)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on Windows, not everywhere
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


if __name__ == "__main__":
    _serve()
