"""The local engine's judge in a process that is replaced when it dies: by a crash of the detector, or for its memory.

The process is forked before anything heavy is imported, so it needs no second start and no passing of pixels: the child
runs the whole scan, the parent waits with a few megabytes. What the child was judging is in its journals (`journal`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from pixelsleuth.core.streams import forked, undisturbed
from pixelsleuth.errors import InternalError

BARREN = 6
"""Processes in a row that ended before they had judged a picture, after which the run ends: the fault is not that of a
picture, which costs two of them."""
ENDED, JUDGED, FAILED = b"e", b"j", b"f"
"""What a child tells: that it ends in order; its first verdict; its first error row."""
SOME_FAILED = 1
"""Exit status of a run with error rows."""


@dataclass(frozen=True)
class Run:
    """One run of a scan, in one process or in several that follow each other.

    `name` is theirs alone. `pipe` is the descriptor that leads to the supervisor, None where nobody replaces this
    process. `successor` is True in a process that goes on after another one.
    """

    name: str
    pipe: int | None = None
    successor: bool = False

    @classmethod
    def new(cls) -> Run:
        """A run in this process."""
        return cls(secrets.token_hex(8))

    @property
    def replaceable(self) -> bool:
        """True in a process that gets a successor when it dies."""
        return self.pipe is not None

    def tell(self, what: bytes) -> None:
        """Send a byte to the supervisor, if there is one."""
        if self.pipe is not None:
            with contextlib.suppress(OSError):
                os.write(self.pipe, what)


def supervised(work: Callable[[Run], int], say: Callable[[str], None]) -> int:
    """The exit status of `work`, which runs in a child; a child that dies gets a successor.

    Call it before anything is imported that starts threads; where some run already, `work` runs in this process. It
    returns in the parent and in a child. `say` is given the reason why a child ended. Raises InternalError where they
    end again and again before they have judged a picture.
    """
    run = Run.new()
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return work(run)
    barren, some_failed = 0, 0
    while True:
        child = _Child(run)
        if child.run is not None:
            return work(child.run)
        status, told = child.wait()
        some_failed |= SOME_FAILED if FAILED in told else 0
        if ENDED in told:
            return max(status, some_failed)
        why = _spoken(status)
        barren = 0 if JUDGED in told else barren + 1
        if barren == BARREN:
            raise InternalError(
                f"The process that judges ended {barren} times in a row ({why}) before it had judged a picture; check "
                "one picture with this model to see why, then go on with --resume."
            )
        say(f"The process that judges ended ({why}); another one goes on.")
        run = replace(run, successor=True)


class _Child:
    """A forked process. In the child `run` is set, in the parent it is None."""

    def __init__(self, run: Run) -> None:
        self.run: Run | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.told, tell = os.pipe()
        alive, self.living = os.pipe()
        with undisturbed():
            self.pid = os.fork()
            if not self.pid:
                forked()
                os.close(self.told)
                os.close(self.living)
                self.run = replace(run, pipe=tell)
                atexit.register(self.run.tell, ENDED)
                threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
                return
        os.close(tell)
        os.close(alive)

    def wait(self) -> tuple[int, bytes]:
        """The exit status (negative: the signal) and what the child told. Signals are passed on to it."""
        while True:
            try:
                _, status = os.waitpid(self.pid, 0)
                break
            except KeyboardInterrupt:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGTERM)
            except ChildProcessError:  # interrupted in the moment in which it ended
                status = signal.SIGTERM
                break
        told = os.read(self.told, 16)
        os.close(self.told)
        os.close(self.living)
        return os.waitstatus_to_exitcode(status), told


def _end_with_parent(alive: int) -> None:
    """In a thread of the child: wait until the parent is gone, then end at once, as the parent did."""
    os.read(alive, 1)
    os._exit(128 + signal.SIGKILL)


def _spoken(status: int) -> str:
    """The exit status of a process that died, for a person."""
    if status == -signal.SIGALRM:
        return "a picture took too long"
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"
