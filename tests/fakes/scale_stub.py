"""A detector without a network for the tests of scan; named `scale_stub:quick`, in this folder."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

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


def quick(device: str = "cpu") -> Detector:
    del device
    return Stub("1")


def other(device: str = "cpu") -> Detector:
    del device
    return Stub("2")
