"""`metrics.json` of a run: every detector under every condition, and what the figures were measured on.

All figures come from the rows of `predictions.jsonl`, so the same predictions give the same bytes.
"""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth._version import __version__
from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.data.left_out import LeftOut
from pixelsleuth.evaluation.audit.auditing import audit_of
from pixelsleuth.evaluation.differences import paired_differences
from pixelsleuth.evaluation.judging import CLEAN
from pixelsleuth.evaluation.pictures import Pictures
from pixelsleuth.evaluation.predictions import LOG, Row, read_rows
from pixelsleuth.evaluation.protocols import Protocol
from pixelsleuth.evaluation.recipes import table_of
from pixelsleuth.evaluation.summary import SCHEMA, Settings, condition_result

if TYPE_CHECKING:
    from pixelsleuth.evaluation.run import EvaluateOptions

EACH_WITH_EACH = 3
"""Up to so many detectors are all compared with one another."""
TWO_CLASSES = (
    "Tells two classes apart: figures of three classes count a fake of the kind that it was not made for as wrong, "
    "and its AUROC of that kind is 0.5; figures of fake against real count a fake of either kind as right."
)
PACKAGES = (
    *("numpy", "pillow", "opencv-python-headless", "onnxruntime", "torch", "transformers"),
    *("rouge-score", "sentence-transformers"),
)
"""Packages whose version may change a figure."""


def result_of(
    options: EvaluateOptions,
    settings: Settings,
    pictures: Pictures,
    conditions: Sequence[str],
    detectors: Sequence[Detector],
    forced: Sequence[bool],
    left_out: dict[str, str],
) -> dict[str, Any]:
    """`metrics.json` as a dictionary. `forced`: of each detector, whether it was given the true answer; `left_out`: the
    detectors of a table that could not be loaded, and why.
    """
    judged = {index for index, _ in pictures}
    rows: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in read_rows(options.out / LOG):
        if row["index"] in judged:
            rows[row["model"], row["version"]][row["condition"]].append(row)
    models = []
    for detector, was_forced in zip(detectors, forced, strict=True):
        of_detector = rows[detector.name, detector.version]
        localizes = Capability.LOCALIZE in detector.capabilities
        models.append(
            {
                "name": detector.name,
                "version": detector.version,
                "capabilities": sorted(map(str, detector.capabilities)),
                "notes": _notes(detector, settings.protocol, was_forced),
                "conditions": {
                    name: condition_result(of_detector[name], settings, localizes=localizes)
                    for name in conditions
                },
            }
        )
    every_row = [row for by_condition in rows.values() for group in by_condition.values() for row in group]
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "protocol": settings.protocol.to_dict() | {"equalised": settings.protocol.equalise},
        "data": _data(options, pictures) | {"left_out": _left_out(pictures, every_row).to_dict()},
        "settings": {
            "resamples": settings.resamples,
            "interval": "95 % percentile bootstrap over groups",
            "seed": settings.seed,
            "css_encoder": options.encoder,
        },
        "environment": environment(),
        "audit": audit_of(pictures, seed=settings.seed) if options.audit else {"skipped": "Not asked for."},
        "models": models,
        "differences": [
            paired_differences(
                rows[a.name, a.version][CLEAN], rows[b.name, b.version][CLEAN], settings, (a.name, b.name)
            )
            for a, b in _pairs(detectors)
        ],
    }
    return result | ({"table": table_of(options.recipe, models, left_out)} if options.recipe else {})


def _pairs(detectors: Sequence[Detector]) -> list[tuple[Detector, Detector]]:
    """Which detectors are compared: each with each, or where they are many, each with the first."""
    first = detectors if len(detectors) <= EACH_WITH_EACH else detectors[:1]
    return [(a, b) for i, a in enumerate(first) for b in detectors[i + 1 :]]


def _left_out(pictures: Pictures, rows: Sequence[Row]) -> LeftOut:
    """What the reader left out, and each picture that no figure, or no pixel figure, counts."""
    tally, counted = pictures.listing.left_out.copied(), set()
    for row in rows:
        if row.get("left_out") and row["index"] not in counted:
            counted.add(row["index"])
            tally.add(row["left_out"], row["path"])
    return tally


def _notes(detector: Detector, protocol: Protocol, forced: bool) -> list[str]:
    notes = []
    if protocol.teacher_forced and not forced:
        notes.append(
            "Cannot be given the true answer, so it was free-running: the published figures of this protocol had an "
            "easier task."
        )
    if getattr(detector, "made_for", None) is not None:
        notes.append(TWO_CLASSES)
    if Capability.LOCALIZE not in detector.capabilities:
        notes.append("Draws no masks, so there are no localization figures.")
    return notes


def _data(options: EvaluateOptions, pictures: Pictures) -> dict[str, Any]:
    labels: dict[str, int] = defaultdict(int)
    for _, sample in pictures:
        labels[str(sample.label)] += 1
    return {
        "name": Path(options.data).name,
        "split": options.split,
        "reader": options.reader,
        "settings": dict(options.settings),
        "limit": options.limit,
        "pictures": len(pictures),
        "labels": dict(sorted(labels.items())),
        "groups": len({sample.unit for _, sample in pictures}),
        "digest": pictures.digest,
    }


def environment() -> dict[str, str | int]:
    """What may change a figure: versions, interpreter, processor, cores of this process. No date and no host name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    stamp: dict[str, str | int] = {
        "pixelsleuth": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": cores,
    }
    for package in PACKAGES:
        try:
            stamp[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return stamp


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
