"""What evaluation costs: metrics against torchmetrics, and the share of `evaluate` that is not the detector's own time.

Metrics: score maps of 1024 x 1024 against masks, streamed one by one; F1 and IoU at 0.5 and the pixel AUC.
torchmetrics gets the same maps as tensors (F1 and IoU of binary maps; AUROC with 256 thresholds), without its checks of
arguments. Memory is the growth of the peak between the first tenth and the end. Overhead: pictures of the manifest are
judged by the detector alone (decoding included, as `check` does); then a detector that costs nothing is evaluated on
them, and what that takes beyond decoding is the evaluation's own. Every time is processor time of this process, all
threads together, so that what else the machine does is not counted.

Run: `python benchmarks/evaluation.py [--masks 10000] [--theirs 300] [--manifest ../shared/corpus/manifest.csv
--limit 30]`
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.evaluation.metrics.localization import Localization, mask_counts
from pixelsleuth.evaluation.pictures import choose
from pixelsleuth.evaluation.protocols import get_protocol
from pixelsleuth.evaluation.run import EvaluateOptions, run_evaluate
from pixelsleuth.pictures.images import Picture

SIDE = 1024


def maps(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(score uint8, mask bool) of SIDE x SIDE: eight smooth maps in turn, shifted, so that making them costs little."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (8, SIDE // 32, SIDE // 32), dtype=np.uint8)
    scores = [np.kron(score, np.ones((32, 32), np.uint8)) for score in coarse]
    masks = [np.roll(score, 16, axis=0) > 180 for score in scores]
    for i in range(count):
        yield np.roll(scores[i % 8], i % 64, axis=1), masks[i % 8]


def ours(count: int) -> dict[str, float]:
    """Seconds a map of the streaming class, and the growth of peak memory in MB after the first tenth."""
    stream, spent, early = Localization(), 0.0, 0
    for i, (score, mask) in enumerate(maps(count)):
        if i == max(1, count // 10):
            early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.process_time()
        stream.update(score, mask)
        spent += time.process_time() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early
    return {"seconds_a_map": spent / count, "maps": count, "grown_mb": grown / 1024} | {
        name: stream.compute()[name] for name in ("pooled_f1", "pooled_iou", "pooled_auc")
    }


def ours_masks(count: int) -> float:
    """Seconds a pair of binary masks: counts for F1 and IoU alone."""
    spent = 0.0
    for score, mask in maps(count):
        marked = score >= 128
        started = time.process_time()
        mask_counts(marked, mask)
        spent += time.process_time() - started
    return spent / count


def theirs(count: int) -> dict[str, float]:
    """Seconds a map of torchmetrics: F1 and IoU of the binary maps, then AUROC with 256 thresholds."""
    import torch
    from torchmetrics.classification import BinaryAUROC, BinaryF1Score, BinaryJaccardIndex

    torch.set_num_threads(1)
    f1, iou = BinaryF1Score(validate_args=False), BinaryJaccardIndex(validate_args=False)
    auc = BinaryAUROC(thresholds=256, validate_args=False)
    binary = area = 0.0
    for score, mask in maps(count):
        levels, truth = torch.from_numpy(score.reshape(-1)), torch.from_numpy(mask.reshape(-1)).int()
        marked = (levels >= 128).int()
        started = time.process_time()
        f1.update(marked, truth)
        iou.update(marked, truth)
        binary += time.process_time() - started
        started = time.process_time()
        auc.update(levels.float() / 255, truth)
        area += time.process_time() - started
    return {
        "seconds_a_map_f1_iou": binary / count,
        "seconds_a_map_auc": area / count,
        "maps": count,
        "pooled_f1": float(f1.compute()),
        "pooled_iou": float(iou.compute()),
        "pooled_auc": float(auc.compute()),
    }


class Nothing(Detector):
    """Judges at once and at no cost: what a run takes with it is the evaluation's own."""

    name, version, capabilities = "nothing", "0", frozenset(Capability)

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Picture) -> Verdict:
        heat = np.full((-(-picture.height // 8), -(-picture.width // 8)), 0.3, np.float32)
        heat[: len(heat) // 2, ::3] = 0.8
        text = "In the centre, 5 to 10 % of the picture was retouched in place; its pixels were resampled."
        chance = dict(zip(Label, (0.2, 0.3, 0.5), strict=True))
        return Verdict.of(picture, chance, model=self.model, heatmap=heat, explanation=text)


def nothing(device: str = "auto") -> Nothing:
    """The factory of `Nothing`."""
    return Nothing()


def overhead(manifest: Path, limit: int, model: str) -> dict[str, float]:
    """Seconds of the detector alone, and what `evaluate` adds on the same pictures (one condition)."""
    from pixelsleuth.models.registry import load

    pictures = choose(str(manifest), get_protocol("standard"), split="eval", limit=limit)
    paths = [sample.path for _, sample in pictures]
    detector, free = load(model), Nothing()
    detector.check(paths[0], on_error="record")  # the first call warms up
    alone = _seconds(lambda: list(detector.check_many(paths)))
    opening = _seconds(lambda: list(free.check_many(paths)))
    with tempfile.TemporaryDirectory() as folder:
        options = EvaluateOptions(
            data=str(manifest), out=Path(folder), models=("evaluation:nothing",), split="eval", limit=limit,
            audit=False, quiet=True,
        )  # fmt: skip
        both = _seconds(lambda: run_evaluate(options))
        after = _seconds(lambda: run_evaluate(options))  # everything is judged: figures and page alone
    added = both - after - opening
    return {
        "pictures": len(paths),
        "detector_seconds": alone,
        "added_while_judging_seconds": added,
        "added_share": added / alone,
        "figures_and_page_seconds": after,
    }


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--theirs", type=int, default=100)
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--limit", type=int, default=30)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": f"{platform.machine()}, Python {platform.python_version()}"}
    if options.masks:
        result["ours"] = ours(options.masks)
        result["ours_masks_alone"] = {"seconds_a_map_f1_iou": ours_masks(min(options.masks, 500))}
    if options.theirs:
        result["torchmetrics"] = theirs(options.theirs)
    if options.manifest:
        result["evaluate"] = overhead(options.manifest, options.limit, options.model)
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
