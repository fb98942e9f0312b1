"""What the measurements of `scan` share: a detector that answers at once, made pictures, times, peak memory."""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.pictures.images import Picture

HERE = Path(__file__).resolve().parent


class Stub(Detector):
    """Judges at once, so that all time is that of the scan."""

    name = "stub"

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        del explain
        even = {Label.REAL: 0.5, Label.FULL_SYNTHETIC: 0.25, Label.TAMPERED: 0.25}
        return [Verdict.of(picture, even, model=self.model) for picture in pictures]


class OtherStub(Stub):
    """The same under another name: a new model for a plan that stands."""

    name = "other-stub"


def stub(device: str = "cpu") -> Detector:
    """The factory of the stub: the model `scan_tools:stub`."""
    del device
    return Stub()


def other_stub(device: str = "cpu") -> Detector:
    """The factory of the other stub."""
    del device
    return OtherStub()


def peak() -> float:
    """Peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def processor() -> float:
    """Seconds of the processor that this process and its ended children have used."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Wall and processor seconds of `work`, and the peak memory after it, in MB."""
    wall, cpu = time.perf_counter(), processor()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": processor() - cpu, "peak": peak()}


def picture(folder: Path, number: int, side: int) -> str:
    """The path of a JPEG of blurred noise."""
    draw = np.random.default_rng(number)
    small = draw.integers(0, 256, (side // 8, side // 8, 3)).astype(np.uint8)
    path = folder / f"p{number:05d}.jpg"
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
    return str(path)


def pictures_of(manifest: str | None, count: int, folder: Path, side: int) -> list[str]:
    """Paths of `count` pictures drawn from a manifest (all of them where it names fewer), or made."""
    if manifest is None:
        return [picture(folder, number, side) for number in range(count)]
    with open(manifest, newline="", encoding="utf-8") as file:
        paths = [str((Path(manifest).parent / row["path"]).resolve()) for row in csv.DictReader(file)]
    drawn = np.random.default_rng(0).permutation(len(paths))[:count]
    return [paths[number] for number in drawn]


def environment() -> dict[str, str]:
    """The environment for processes that shall find the stub."""
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def alone(script: str, *call: object) -> dict[str, float]:
    """The figures that `script --measure FOLDER CALL...` prints as JSON: in a process and a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, script, "--measure", folder, *map(str, call)],
            env=environment(), stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


@contextmanager
def watched(seconds: float = 1.0, *, own: bool = True) -> Iterator[dict[str, float]]:
    """Watch this process and its children: afterwards `most` is the peak memory of one in MB, `cpu` the seconds
    of the processor meanwhile. Without `own` only the children count.
    """
    import psutil

    figures = {"most": 0.0, "cpu": 0.0, "watching": 0.0}
    done = threading.Event()
    first: dict[int, float] = {}
    last: dict[int, float] = {}

    def look(known: bool = True) -> None:
        this = psutil.Process()
        for process in ([this] if own else []) + this.children(recursive=True):
            try:
                figures["most"] = max(figures["most"], process.memory_info().rss / 1e6)
                last[process.pid] = sum(process.cpu_times()[:2])
            except psutil.Error:  # it has ended
                continue
            first.setdefault(process.pid, 0.0 if known else last[process.pid])

    def sample() -> None:
        while not done.wait(seconds):
            look()
        figures["watching"] = time.thread_time()

    look(known=False)
    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield figures
    finally:
        done.set()
        thread.join()
        look()
        watching = figures["watching"] if own else 0.0
        figures["cpu"] = sum(last[pid] - first[pid] for pid in last) - watching
