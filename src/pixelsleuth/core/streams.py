"""Standard streams and signals, made safe for every command.

Standard output that cannot be written (a full disk, a reader that left, closed from the start) raises one OutputError.
Later writes are dropped silently, so that the command's other outputs go on. Standard error never raises. SIGTERM and
SIGHUP end a run as Ctrl-C does.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from pixelsleuth.errors import OutputError


class _Output(io.FileIO):
    """The descriptor of standard output or standard error; its first failure is raised, unless `silent`."""

    def __init__(self, descriptor: int, *, silent: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.reported = silent
        self._dead = False
        status = os.fstat(descriptor)
        self._regular = stat.S_ISREG(status.st_mode)
        # Where the next byte goes and where the last whole line ends: a full disk must not leave half a line.
        self._place = self._whole = self._start(descriptor) if self._regular else 0

    @staticmethod
    def _start(descriptor: int) -> int:
        appends = False
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            appends = bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND)
        return os.lseek(descriptor, 0, os.SEEK_END if appends else os.SEEK_CUR)

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if self._dead:
            return size
        try:
            written = super().write(data) or 0
        except OSError as error:
            self._dead = True
            self._cut()
            if self.reported:
                return size
            self.reported = True
            raise OutputError(_unwritable(error)) from error
        if self._regular:
            line_end = bytes(memoryview(data)[:written]).rfind(b"\n")
            self._whole = self._place + line_end + 1 if line_end >= 0 else self._whole
            self._place += written
        return written

    def _cut(self) -> None:
        """Remove the half line, unless something else (standard error, say) wrote to the same file."""
        with contextlib.suppress(OSError):
            if self._regular and os.lseek(self.fileno(), 0, os.SEEK_CUR) == self._place:
                os.ftruncate(self.fileno(), self._whole)
                os.lseek(self.fileno(), self._whole, os.SEEK_SET)


def _unwritable(error: OSError) -> str:
    if error.errno == errno.EPIPE:
        return "Standard output was closed by the program that read it, so the rest was not written; send it to a file."
    if error.errno == errno.EBADF:
        return "Standard output is closed, so nothing was written to it; send it to a file."
    reason = (error.strerror or str(error)).lower()
    return f"Standard output cannot be written ({reason}); make room or send it elsewhere."


def guard_streams() -> None:
    """Replace the process's own streams by safe ones; streams that a test or a caller set stay."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Closed by the caller: take the number, so that no file of ours gets it. Reading gives nothing; writing to
            # standard output fails as for a closed one.
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  (for the whole process)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(1, sys.stdout, silent=False)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(2, sys.stderr, silent=True)


def _stream(number: int, old: Any, *, silent: bool) -> io.TextIOWrapper:
    with contextlib.suppress(AttributeError, OSError, ValueError):
        old.flush()
    raw = _Output(number, silent=silent)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(old, "encoding", None) or "utf-8",
        errors="backslashreplace" if silent else (getattr(old, "errors", None) or "replace"),
        line_buffering=silent or raw.isatty(),
    )


TOGETHER = 1.0
"""Seconds within which several signals are one interruption: a terminal or a container sends its signal to all
processes of a run, and the first of them passes it on besides."""


class _Signals:
    """Whether signals are held back now, and whether one arrived meanwhile; when the last one arrived (monotonic)."""

    held = False
    waiting = False
    process = 0
    last = -TOGETHER


@contextlib.contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does. What the caller ignores (nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}
    _Signals.process, _Signals.held, _Signals.waiting = os.getpid(), False, False
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        usual = (signal.SIG_DFL, signal.default_int_handler)
        if number is not None and signal.getsignal(number) in usual:
            before[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: FrameType | None) -> None:
    if os.getpid() != _Signals.process and number != signal.SIGINT:
        # In a forked worker: end as a process without this handler does.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    now = time.monotonic()
    repeated, _Signals.last = now - _Signals.last < TOGETHER, now
    if repeated:
        return
    if _Signals.held:
        _Signals.waiting = True
        return
    raise KeyboardInterrupt


def forked() -> None:
    """Take the signals over: this process goes on in place of the one that it was forked from."""
    _Signals.process = os.getpid()


@contextlib.contextmanager
def undisturbed(*, last: bool = False) -> Iterator[None]:
    """Hold an interruption back until the block ends; with `last` the run is ending anyway, and it is dropped."""
    outer, _Signals.held = _Signals.held, True
    try:
        yield
    finally:
        _Signals.held = outer
    if _Signals.waiting and not outer:
        _Signals.waiting = False
        if not last:
            raise KeyboardInterrupt
