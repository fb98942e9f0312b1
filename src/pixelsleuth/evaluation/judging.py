"""Judging: batches of pictures under every condition of one detector; each verdict becomes a row.

While the detector works on one batch, a thread decodes and equalises the next.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelsleuth.core import rle
from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.io import write_bytes
from pixelsleuth.core.verdict import LABELS, Verdict, valid_unicode
from pixelsleuth.data.left_out import BAD_MASK, EMPTY_MASK, reason_of
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import BadMask, PictureError
from pixelsleuth.evaluation.metrics import claims, localization
from pixelsleuth.evaluation.perturbations import Chain
from pixelsleuth.evaluation.pictures import Loaded, Pictures, Samples, load
from pixelsleuth.evaluation.predictions import Key, Row, pack_histogram
from pixelsleuth.evaluation.protocols import Protocol
from pixelsleuth.pictures.images import Picture

CLEAN = "clean"
Batch = list[tuple[int, list[str]]]
"""Pictures that are judged together: the index of each, and the conditions that it is judged under."""


@dataclass
class Judge:
    """One detector under one protocol. `conditions` maps names to perturbations (None: the picture as it is)."""

    detector: Detector
    pictures: Pictures
    protocol: Protocol
    conditions: dict[str, Chain | None]
    batch_size: int = 8
    explain: bool = True
    seed: int = 0
    maps: Path | None = None

    @property
    def can_localize(self) -> bool:
        return Capability.LOCALIZE in self.detector.capabilities

    @property
    def forced(self) -> bool:
        """True where the detector gets the true answer: the protocol says so, and the detector can take it."""
        return self.protocol.teacher_forced and hasattr(self.detector, "judge_teacher_forced")

    def batches(self, done: Collection[Key]) -> Iterator[Batch]:
        """What is left to judge, in order: everything but what is `done`. The same pictures always go together."""
        name, version = self.detector.name, self.detector.version
        indexes = [index for index, _ in self.pictures.listing.light]
        for start in range(0, len(indexes), self.batch_size):
            batch: Batch = []
            for index in indexes[start : start + self.batch_size]:
                wanted = [c for c in self.conditions if (name, version, c, index) not in done]
                if wanted:
                    batch.append((index, wanted))
            if batch:
                yield batch

    def rows(self, batches: Iterable[tuple[int, Batch]]) -> Iterator[tuple[int, list[Row]]]:
        """The rows of numbered batches, in order, each with its number (`core.engine.Work`)."""
        with ThreadPoolExecutor(1) as ahead:
            pending = iter(batches)
            following = next(pending, None)
            waiting = ahead.submit(self._load, following[1]) if following else None
            while following is not None and waiting is not None:
                (number, batch), loaded = following, waiting.result()
                following = next(pending, None)
                waiting = ahead.submit(self._load, following[1]) if following else None
                yield number, self._judge(batch, loaded)

    @functools.cached_property
    def _samples(self) -> Samples:
        return Samples(self.pictures)

    def name(self, index: int) -> str:
        """The path of a picture, as its rows carry it."""
        return self.pictures.name(next(sample for i, sample in self.pictures.listing.light if i == index))

    def _stub(self, index: int, sample: Sample, condition: str) -> Row:
        facts = {
            key: valid_unicode(getattr(sample, key)) for key in ("source", "generator", "tamper", "group")
        }
        return {
            "model": self.detector.name,
            "version": self.detector.version,
            "condition": condition,
            "index": index,
            "path": valid_unicode(self.pictures.name(sample)),
            "label": str(sample.label),
            **facts,
        }

    def _load(self, batch: Batch) -> list[tuple[Sample, Loaded | PictureError]]:
        loaded: list[tuple[Sample, Loaded | PictureError]] = []
        for sample in self._samples.take([index for index, _ in batch]):
            try:
                loaded.append((sample, load(sample, self.protocol)))
            except PictureError as error:
                loaded.append((sample, error))
        return loaded

    def _judge(self, batch: Batch, loaded: Sequence[tuple[Sample, Loaded | PictureError]]) -> list[Row]:
        rows: list[Row] = []
        for condition, chain in self.conditions.items():
            good: list[tuple[Row, Sample, Loaded]] = []
            for (index, left), (sample, result) in zip(batch, loaded, strict=True):
                if condition not in left:
                    continue
                stub = self._stub(index, sample, condition)
                if isinstance(result, PictureError):
                    rows.append({**stub, "error": result.to_dict(), "left_out": _reason(result)})
                else:
                    good.append((stub, sample, result))
            changed = [self._perturbed(stub, result, chain) for stub, _, result in good]
            verdicts = self._verdicts([picture for picture, _ in changed], [sample for _, sample, _ in good])
            rows += [
                self._row(stub, sample, result, picture, mask, verdict)
                for (stub, sample, result), (picture, mask), verdict in zip(
                    good, changed, verdicts, strict=True
                )
            ]
        return rows

    def _perturbed(
        self, stub: Row, loaded: Loaded, chain: Chain | None
    ) -> tuple[Picture, NDArray[np.bool_] | None]:
        if chain is None:
            return loaded.picture, loaded.mask
        pixels, mask = chain.apply(loaded.picture.pixels, loaded.mask, key=stub["path"], seed=self.seed)
        return replace(loaded.picture, pixels=pixels), mask

    def _verdicts(self, pictures: list[Picture], samples: list[Sample]) -> list[Verdict]:
        if self.forced and pictures:
            detector: Any = self.detector
            forced: list[Verdict] = detector.judge_teacher_forced(
                pictures, [sample.label for sample in samples], explain=self.explain
            )
            return forced
        return list(
            self.detector.check_many(pictures, explain=self.explain, batch_size=max(1, len(pictures)))
        )

    def _row(
        self,
        stub: Row,
        sample: Sample,
        loaded: Loaded,
        picture: Picture,
        mask: NDArray[np.bool_] | None,
        verdict: Verdict,
    ) -> Row:
        row = {**stub, "width": picture.width, "height": picture.height, "error": verdict.error}
        row["elapsed_ms"] = round(verdict.elapsed_ms, 1)
        if verdict.probabilities is None:
            return row
        row |= {
            "predicted": str(verdict.label),
            "probabilities": [round(float(verdict.probabilities[label]), 6) for label in LABELS],
            "inconclusive": verdict.inconclusive,
            "mask_resized": loaded.resized,
            "has_mask": mask is not None,
        }
        if (
            self.can_localize
            and stub["label"] == "tampered"
            and loaded.mask is not None
            and not loaded.mask.any()
        ):
            row["left_out"] = EMPTY_MASK
        if self.can_localize and mask is not None:
            row |= self._pixels(row, picture, mask, verdict)
        if mask is not None and mask.any():
            reported = localization.outer_box([region.box for region in verdict.regions])
            row["boxes"] = {"told": reported, "true": localization.mask_box(mask)}
        if verdict.explanation is not None:
            row["explanation"] = valid_unicode(verdict.explanation)
            row["claims"] = claims.check_claims(verdict.explanation, _known(sample, mask))
        return row | ({"reference": valid_unicode(sample.description)} if sample.description else {})

    def _pixels(self, row: Row, picture: Picture, mask: NDArray[np.bool_], verdict: Verdict) -> Row:
        levels = score_map(verdict, picture.width, picture.height)
        if self.maps is not None:
            _save_map(self.maps / map_name(row), levels)
        histogram = localization.histograms(levels, mask)
        marked = levels >= localization.HALF
        delivered = verdict.mask if verdict.mask is not None else np.zeros_like(mask)
        return {
            "mask": rle.encode(marked),
            "histogram": pack_histogram(histogram),
            "delivered": [int(n) for n in localization.mask_counts(delivered, mask)],
        }


def _reason(error: PictureError) -> str:
    return BAD_MASK if isinstance(error, BadMask) else reason_of(error)


def score_map(verdict: Verdict, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width) uint8, the tampering probability times 255: the heat map enlarged (bilinear), or without one the
    mask, or without either zeros.
    """
    if verdict.heatmap is not None:
        levels = localization.as_levels(np.nan_to_num(verdict.heatmap, nan=0.0).clip(0, 1))
        if levels.shape == (height, width):
            return levels
        return np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR))
    if verdict.mask is not None:
        return localization.as_levels(verdict.mask)
    return np.zeros((height, width), np.uint8)


def map_name(row: Row) -> str:
    """Where the score map of a row lies under the folder of maps: by number, so that no name leads out of it."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in f"{row['model']}-{row['condition']}")
    return f"{safe}/{int(row['index']):07d}.png"


def _save_map(path: Path, levels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = io.BytesIO()
    Image.fromarray(levels).save(encoded, "PNG", compress_level=1)
    write_bytes(path, encoded.getvalue(), kind="score map")


def _known(sample: Sample, mask: NDArray[np.bool_] | None) -> dict[str, Any]:
    """What is known of a sample: the forge's record where the data hold one, else label, operation and mask.

    Place and size are measured on the mask after the perturbation.
    """
    record: Any = sample.extra.get("claims")
    known = dict(record) if isinstance(record, dict) else {}
    known["label"] = str(sample.label)
    if sample.tamper and "operation" not in known:
        known["operation"] = sample.tamper
    if mask is not None and mask.any():
        known = {key: value for key, value in known.items() if key not in ("place", "size")}
    return claims.truth_of(known, mask)
