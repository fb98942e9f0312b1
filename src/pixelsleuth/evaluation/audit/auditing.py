"""`run_audit` writes `audit.json` and `report.html` of a data set; `audit_of` gives the short audit inside `evaluate`.

`run_audit` looks at every split and at what equalising leaves; `audit_of` at the evaluated files as they are.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.io import write_text
from pixelsleuth.core.progress import progress
from pixelsleuth.errors import MissingExtra, OutputError, PictureNotFound, PixelSleuthError, UsageError

if TYPE_CHECKING:
    from pixelsleuth.data.listing import Listing
    from pixelsleuth.data.sample import Sample
    from pixelsleuth.evaluation.audit.measure import Looked, Treatment
    from pixelsleuth.evaluation.pictures import Pictures

OUR_JSON = re.compile(rb'\s*\{\s*"schema": "pixelsleuth\.')
"""How an audit.json or metrics.json of this project begins; no other file is replaced."""
FEWEST = 30
"""Pictures below which a classifier of headers would measure chance."""


@dataclass(frozen=True)
class AuditOptions:
    """The options of one run, as the command takes them."""

    data: Path
    out: Path
    split: str | None = None
    equalise: bool = True
    size: str = "crop:256"
    quality: str = "75:95"
    limit: int | None = None
    seed: int = 0
    workers: int = 2
    quiet: bool = False
    reader: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    allow_outside: bool = False


def run_audit(options: AuditOptions) -> int:
    """Audit and write; the exit status. Raises UsageError, OutputError and MissingExtra."""
    from importlib.util import find_spec

    for module, package in (
        ("cv2", "opencv-python-headless"),
        ("sklearn", "scikit-learn"),
        ("matplotlib", "matplotlib"),
    ):
        if find_spec(module) is None:
            raise MissingExtra(package, "eval")
    from pixelsleuth.data.equalise import SizePolicy
    from pixelsleuth.data.left_out import ABSENT, UNREADABLE
    from pixelsleuth.evaluation.audit.measure import Treatment, parts_of

    low, high = _quality(options.quality)
    treatment = Treatment(SizePolicy.parse(options.size), low, high, options.seed)
    parts = parts_of(
        options.data, options.split, reader=options.reader, settings=options.settings,
        allow_outside=options.allow_outside,
    )  # fmt: skip
    left_out = next(iter(parts.values())).left_out.copied()
    total = sum(map(len, parts.values()))
    if options.limit:
        parts = {
            name: _drawn(part, options.limit // len(parts) or 1, options.seed) for name, part in parts.items()
        }
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{options.out} cannot be made ({error.strerror}); choose another folder."
        ) from error
    result = _measure(parts, options, treatment)
    for entry in result["skipped"]:
        left_out.add(ABSENT if entry["code"] == PictureNotFound.code else UNREADABLE, entry["path"])
    result |= {"data": _named(options.data), "split": options.split, "of": total, "seed": options.seed}
    result["left_out"] = left_out.to_dict()
    _write(result, options.out, left_out.sentence())
    from pixelsleuth.evaluation.audit.report import sentences

    for line in sentences(result):
        _say(line)
    for name, part in result["splits"].items():
        _say(f"\n{name}:")
        for line in sentences(part):
            _say(line)
    left_out.tell()
    _say(f"Report: {options.out / 'report.html'}")
    return 1 if left_out else 0


def _measure(parts: dict[str | None, Listing], options: AuditOptions, treatment: Treatment) -> dict[str, Any]:
    """Look at every part once, or twice with `equalise`; figures of all together, and of each where there are more."""
    from pixelsleuth.evaluation.audit.measure import look, together

    def samples(part: Listing) -> Iterator[Sample]:
        return (sample for _, sample in part)

    passes = 2 if options.equalise else 1
    raw: list[Looked] = []
    treated: list[Looked] = []
    with progress("Reading", sum(map(len, parts.values())) * passes, quiet=options.quiet) as step:
        for part in parts.values():
            raw.append(look(samples(part), workers=options.workers, step=step))
            if options.equalise:
                treated.append(look(samples(part), treatment=treatment, workers=options.workers, step=step))
    result: dict[str, Any] = {"schema": "pixelsleuth.audit/1"}
    result |= _figures(together(raw), together(treated) if treated else None, options.seed, treatment)
    result["splits"] = {
        str(name): _figures(raw[i], treated[i] if treated else None, options.seed, treatment)
        for i, name in enumerate(parts)
        if len(parts) > 1
    }
    return result


def _figures(looked: Looked, again: Looked | None, seed: int, treatment: Treatment) -> dict[str, Any]:
    from pixelsleuth.evaluation.audit.measure import three

    names = sorted(set(looked.labels.label.tolist()))
    result: dict[str, Any] = {
        "pictures": len(looked.texts),
        "classes": {name: int((looked.labels.label == name).sum()) for name in names},
        "groups": len(set(looked.labels.unit.tolist())),
        **three(looked, seed=seed),
        "skipped": looked.skipped,
        "equalised": None,
    }
    if again is not None:
        parts = three(again, seed=seed)
        del parts["text"]  # the texts stay what they are
        result["equalised"] = {"treatment": treatment.tell(), "enlarged": again.enlarged, **parts}
    return result


def audit_of(pictures: Pictures, *, seed: int = 0) -> dict[str, Any]:
    """`{"headers", "thumbnails", "text"}`: how much of the label each gives away (`leak`), or `{"skipped": why}`."""
    if len(pictures) < FEWEST:
        return {"skipped": f"The shortcut audit needs at least {FEWEST} pictures."}
    try:
        from pixelsleuth.evaluation.audit.measure import look, three

        looked = look(sample for _, sample in pictures)
        return {**three(looked, seed=seed), "skipped_pictures": len(looked.skipped)}
    except ModuleNotFoundError as error:
        return {"skipped": f"The shortcut audit needs {error.name}, which the extra eval brings."}
    except (PixelSleuthError, ValueError) as error:
        return {"skipped": f"The shortcut audit failed: {error}"}


def _write(result: dict[str, Any], out: Path, left_out: str) -> None:
    from pixelsleuth.evaluation.audit.report import write_report

    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    write_text(out / "audit.json", text, kind="audit", ours=OUR_JSON)
    write_report(result, out / "report.html", left_out=left_out)


def _quality(text: str) -> tuple[int, int]:
    low, _, high = text.partition(":")
    if not (low.isdigit() and (high or low).isdigit() and 1 <= int(low) <= int(high or low) <= 100):
        raise UsageError(f"--quality {text}: give one JPEG quality or two, such as 75:95, within 1 to 100.")
    return int(low), int(high or low)


def _drawn(part: Listing, limit: int, seed: int) -> Listing:
    """`limit` samples, as many of each class as there are, in their order."""
    from pixelsleuth.data.equalise import random_for

    turns: dict[str, int] = {}
    ranked = []
    for place in random_for("limit", seed).permutation(len(part)).tolist():
        index, sample = part.light[place]
        label = str(sample.label)
        turns[label] = turns.get(label, 0) + 1
        ranked.append((turns[label], index))
    return part.only(index for _, index in sorted(ranked)[:limit])


def _named(data: Path) -> str:
    """The end of the path: enough to know the set, without the folders of the machine."""
    return "/".join(data.resolve().parts[-2:])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
