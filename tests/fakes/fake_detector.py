"""A stand-in detector for tests: it reads marks that the tests paint, and knows nothing of forgery.

Pure magenta pixels are "tampered", a picture of one colour is "full_synthetic", a dark one is inconclusive,
a picture whose first pixel is (1, 2, 3) makes the detector fail, and everything else is "real".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.region import Region
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.pictures.images import Picture


class FakeDetector(Detector):
    name = "fake"
    version = "1"
    capabilities = frozenset(Capability)

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        return [self._one(picture, explain) for picture in pictures]

    def _one(self, picture: Picture, explain: bool) -> Verdict:
        pixels = picture.pixels
        if tuple(pixels[0, 0]) == (1, 2, 3):
            raise RuntimeError("a fault of the detector")
        mask = (pixels[..., 0] > 200) & (pixels[..., 1] < 60) & (pixels[..., 2] > 200)
        label = Label.REAL
        if mask.any():
            label = Label.TAMPERED
        elif pixels.std() < 1:
            label = Label.FULL_SYNTHETIC
        inconclusive = bool(pixels.mean() < 40)
        sure = 0.45 if inconclusive else 0.93
        regions = []
        if mask.any():
            ys, xs = np.nonzero(mask)
            box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
            regions.append(Region(box, int(mask.sum()), 0.9))
        return Verdict.of(
            picture,
            {one: sure if one == label else (1 - sure) / 2 for one in Label},
            model=self.model,
            inconclusive=inconclusive,
            mask=mask if mask.any() else None,
            heatmap=np.where(mask, 0.95, 0.03).astype(np.float32),
            regions=regions,
            explanation=f"The picture carries the marks of {label.replace('_', ' ')}." if explain else None,
            evidence=[{"kind": "mark", "statement": "Magenta paint was found."}]
            if explain and mask.any()
            else [],
        )


def load(device: str = "auto") -> Detector:
    return FakeDetector()


def load_slow(device: str = "auto") -> Detector:
    """One second a picture, so that a test can interrupt the run."""
    import time

    class Slow(FakeDetector):
        def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
            time.sleep(1.0)
            return super().judge(pictures, explain=explain)

    return Slow()
