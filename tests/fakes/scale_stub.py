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
    """Ends its process at a picture beside which a file `kills` stands that says how often; 0 for not any more."""

    def judge(self, pictures: Sequence[Picture], *, explain: bool = True) -> list[Verdict]:
        for picture in pictures:
            kills = Path(picture.source).with_name("kills")
            left = int(kills.read_text()) if kills.exists() else 0
            if left:
                kills.write_text(str(left - 1))
                os.kill(os.getpid(), signal.SIGKILL)
        return super().judge(pictures, explain=explain)


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
