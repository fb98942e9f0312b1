"""A detector without a network for the tests of scan; named `scale_stub:quick`, in this folder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.region import regions
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.pictures.images import Picture


class Stub(Detector):
    """Judges by the mean of the pixels; marks what is brighter. STUB_SECONDS: what a picture takes."""

    name = "stub"

    def __init__(self, version: str) -> None:
        self.version = version

    def judge(self, pictures: Sequence[Picture], *, explain: bool = True) -> list[Verdict]:
        time.sleep(float(os.environ.get("STUB_SECONDS", "0")) * len(pictures))
        verdicts = []
        for picture in pictures:
            share = float(picture.pixels.mean()) / 255
            mask = picture.pixels.mean(axis=2) > share * 255
            probability = (mask * 255).astype("uint8")
            verdicts.append(
                Verdict.of(
                    picture,
                    {
                        Label.REAL: share,
                        Label.FULL_SYNTHETIC: (1 - share) / 2,
                        Label.TAMPERED: (1 - share) / 2,
                    },
                    model=self.model,
                    mask=mask,
                    regions=regions(mask, probability),
                    explanation="Brighter than the rest: “here”." if explain else None,
                )
            )
        return verdicts


class Warm(Stub):
    """Is never sure, and draws a heat map of the brightness at half the size, without a mask."""

    def judge(self, pictures: Sequence[Picture], *, explain: bool = True) -> list[Verdict]:
        verdicts = super().judge(pictures, explain=explain)
        for verdict, picture in zip(verdicts, pictures, strict=True):
            verdict.inconclusive, verdict.mask, verdict.regions = True, None, []
            verdict.heatmap = picture.pixels[::2, ::2, 0].astype("float32") / 255
        return verdicts


class Deadly(Stub):
    """Ends its process at a picture beside which a file `NAME.kills` stands: how often, and how."""

    def judge(self, pictures: Sequence[Picture], *, explain: bool = True) -> list[Verdict]:
        for picture in pictures:
            kills = Path(picture.source + ".kills")
            left, way = kills.read_text().split() if kills.exists() else ("0", "")
            if int(left):
                kills.write_text(f"{int(left) - 1} {way}")
                end(way)
        return super().judge(pictures, explain=explain)


def end(way: str) -> None:
    """End this process, or hang: as the kernel does for memory, as a library does by itself, as a fault does."""
    if way == "hang":
        while True:
            time.sleep(60)
    if way == "exit":
        os._exit(0)
    if way == "fault":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV if way == "fault" else signal.SIGKILL)


class Threads(Stub):
    """Says how many threads a session of ONNX Runtime has in its process."""

    def judge(self, pictures: Sequence[Picture], *, explain: bool = True) -> list[Verdict]:
        from pixelsleuth.compact.sessions import session_options

        verdicts = super().judge(pictures, explain=explain)
        for verdict in verdicts:
            verdict.explanation = str(session_options().intra_op_num_threads)
        return verdicts


def threads(device: str = "cpu") -> Detector:
    del device
    return Threads("1")


def quick(device: str = "cpu") -> Detector:
    del device
    return Stub("1")


def other(device: str = "cpu") -> Detector:
    del device
    return Stub("2")


def warm(device: str = "cpu") -> Detector:
    del device
    return Warm("3")


def deadly(device: str = "cpu") -> Detector:
    del device
    return Deadly("1")
