"""Kills of a scan at random moments: which processes there are, and what is killed of them."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
from scale_tools import FAKES, STUB, rows_of

from pixelsleuth.scale.parts import missing
from pixelsleuth.scale.plan import Plan

WAIT = 600.0
"""Seconds that a busy machine may take until there is something to kill."""
SHARD = 8


class Scan:
    """`pixelsleuth scan` of a list in a process of its own, which is started again by `go_on`."""

    def __init__(self, source: Path, out: Path, *options: str, seconds: float) -> None:
        self.source, self.out, self.options, self.seconds = source, out, options, seconds
        self.process: subprocess.Popen[bytes] | None = None
        self.kills: Counter[str] = Counter()

    def go_on(self) -> None:
        """Start the command, or start it again where it has ended."""
        if self.process is not None and self.process.poll() is None:
            return
        paths = [str(FAKES), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "STUB_SECONDS": str(self.seconds),
        }
        command = [sys.executable, "-m", "pixelsleuth", "scan", str(self.source), "--out", str(self.out)]
        usual = ["--model", STUB, "--workers", "1", "--no-evidence", "--shard-size", str(SHARD), "--resume"]
        with open(self.out.with_name("errors.txt"), "ab") as errors:
            self.process = subprocess.Popen(
                [*command, *usual, *self.options],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def tree(self) -> list[psutil.Process]:
        """The command and all that it started, from the root on."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._pid())
            return [root, *root.children(recursive=True)]
        return []

    def parts(self) -> int:
        """The parts that stand; each of them is whole."""
        count = len(list((self.out / "parts").rglob("part-*.parquet")))
        if (self.out / "plan.parquet").exists():
            plan = Plan.open(self.out)
            assert plan.shards - len(missing(plan, self.out)) >= count
        return count

    def kill(
        self, kind: str, victims: Callable[[], list[psutil.Process]], number: int = signal.SIGKILL
    ) -> bool:
        """Send a signal to what `victims` gives, as soon as there is any; False where the scan ended before."""
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline and self._running():
            hit = 0
            for victim in victims():
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim.send_signal(number)
                    hit += 1
            if hit:
                self.kills[kind] += 1
                return True
            time.sleep(0.01)
        assert not self._running(), f"{kind}: nothing to kill for {WAIT:g} seconds"
        return False

    def finish(self) -> int:
        """Go on until the command ends by itself; its exit status."""
        for _ in range(3):
            self.go_on()
            assert self.process is not None
            status = self.process.wait(timeout=600)
            if status >= 0 and status != 130:
                return status
        return status

    def begin_again(self) -> None:
        """Remove the parts of a scan that ended before it was killed, and start it."""
        assert not self._running(), "a scan that runs does not look again for parts that it wrote"
        shutil.rmtree(self.out / "parts", ignore_errors=True)
        self.go_on()

    def wait_for_parts(self, more: int) -> None:
        """Wait until so many more parts stand, or the command ended."""
        wanted, deadline = self.parts() + more, time.monotonic() + WAIT
        while self.parts() < wanted and self._running() and time.monotonic() < deadline:
            time.sleep(0.02)

    def said(self) -> str:
        """What all the commands wrote on standard error."""
        return self.out.with_name("errors.txt").read_text(errors="replace")

    def _running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _pid(self) -> int:
        assert self.process is not None
        return self.process.pid


def workers(tree: list[psutil.Process]) -> list[psutil.Process]:
    """The decoding processes."""
    return [one for one in tree if "pixelsleuth.decoding.decoder" in command_of(one)]


def command_of(process: psutil.Process) -> str:
    """The command line of a process, empty where it is gone."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def assert_same_rows(scan: Scan, undisturbed: Path) -> None:
    """The rows are those of a run that was left alone, each once."""
    rows, expected = rows_of(scan.out), rows_of(undisturbed)
    assert [row["id"] for row in rows] == [row["id"] for row in expected]
    assert [row["error"] for row in rows] == [row["error"] for row in expected]
    assert rows == expected


def pause(draw: random.Random, scan: Scan) -> None:
    """Let a random amount of work be done: none, up to two parts, or the time for some pictures."""
    scan.wait_for_parts(draw.choice((0, 1, 2)))
    time.sleep(draw.uniform(0, 0.5))
