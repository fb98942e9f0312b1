"""One run of `pixelsleuth evaluate`: choose the pictures, judge them, sum up, write the report.

Stages leave files: `predictions.jsonl` grows with every batch, `metrics.json` and `report.html` are written at the
end and from that file alone. A run that was stopped goes on where it was, a finished one only sums up again.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.io import write_text
from pixelsleuth.data.left_out import LeftOut, sentence_of
from pixelsleuth.errors import MissingExtra, UsageError
from pixelsleuth.evaluation import perturbations, records
from pixelsleuth.evaluation.audit.auditing import audit_of
from pixelsleuth.evaluation.compare import paired_differences
from pixelsleuth.evaluation.environment import stamp
from pixelsleuth.evaluation.judging import CLEAN, Judge
from pixelsleuth.evaluation.pictures import Pictures, choose
from pixelsleuth.evaluation.protocols import Protocol, get_protocol
from pixelsleuth.evaluation.recipes import Recipe, beside
from pixelsleuth.evaluation.summary import SCHEMA, Settings, as_json, condition_result

ALL_JUDGED, SOME_FAILED = 0, 1
OURS = re.compile(rb'\s*\{\s*"schema": "pixelsleuth\.')
"""How a metrics.json of this project begins; no other is replaced."""
EACH_WITH_EACH = 3
"""Up to so many detectors are all compared with one another."""
NO_MASKS = "Localization was to be measured, and no mask of a tampered picture could be used; see the report."
TWO_CLASSES = (
    "Tells two classes apart: figures of three classes count a fake of the kind that it was not made for as wrong, "
    "and its AUROC of that kind is 0.5; figures of fake against real count a fake of either kind as right."
)


@dataclass(frozen=True)
class EvaluateOptions:
    """The options of one run; the defaults are those of the command. `optional`: the models are a table's, and one that
    cannot be loaded is left out by name."""

    data: str
    out: Path
    models: tuple[str, ...] = ("compact",)
    split: str | None = None
    reader: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    allow_outside: bool = False
    perturb: tuple[str, ...] = ()
    protocol: str = "standard"
    raw: bool = False
    limit: int | None = None
    batch_size: int = 8
    device: str = "auto"
    weights: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    explain: bool = True
    resamples: int = 1000
    seed: int = 0
    encoder: str | None = None
    accuse_at_most: float | None = None
    right_at_least: float | None = None
    stable: bool | None = None
    save_maps: bool = False
    audit: bool = True
    quiet: bool = False
    recipe: Recipe | None = None
    optional: bool = False


def run_evaluate(options: EvaluateOptions) -> int:
    """Do all of it and return the exit status: 1 where a picture was left out or could not be judged, or where masks
    were to be measured and none could be used. What was left out is told on standard error. Raises UsageError.
    """
    protocol = protocol_of(options)
    conditions = conditions_of(options.perturb)
    pictures = choose(
        options.data, protocol, split=options.split, reader=options.reader, settings=options.settings,
        allow_outside=options.allow_outside, limit=options.limit,
    )  # fmt: skip
    pictures.listing.left_out.tell()
    encoder = _encoder(options)
    # Detectors first: one that cannot be loaded is told before hours of work, not after.
    detectors, left_out = load_all(options)
    named = {(one.name, one.version) for one in detectors}
    if len(named) < len(detectors):
        raise UsageError("Two of the models are the same name and version; results could not be told apart.")
    log = records.PredictionLog(options.out, _about(options, protocol, pictures))
    try:
        with _progress(len(pictures) * len(conditions) * len(detectors), options.quiet) as step:
            step(len(log.done))
            forced = [
                _judge_all(one, pictures, protocol, conditions, options, log, step) for one in detectors
            ]
    finally:
        log.close()
    settings = Settings(protocol, options.resamples, options.seed, encoder)
    result = summarise(options, settings, pictures, list(conditions), detectors, forced, left_out)
    write_text(options.out / "metrics.json", as_json(result), kind="file of figures", ours=OURS)
    from pixelsleuth.evaluation.report.page import write_report

    write_report(options.out, pictures)
    return _status(result, pictures)


def _status(result: Mapping[str, Any], pictures: Pictures) -> int:
    """The exit status; says on standard error what the decoding of pictures and masks added to what is left out."""
    told = pictures.listing.left_out.to_dict()
    if result["data"]["left_out"] != told:
        print(sentence_of(result["data"]["left_out"]), file=sys.stderr, flush=True)
    conditions = [one for model in result["models"] for one in model["conditions"].values()]
    blind = [one["masks"]["none_usable"] for one in conditions]
    if any(blind):
        print(NO_MASKS, file=sys.stderr, flush=True)
    failed = any(one["not_judged"]["count"] for one in conditions)
    return SOME_FAILED if failed or any(blind) or result["data"]["left_out"]["count"] else ALL_JUDGED


def load_all(options: EvaluateOptions) -> tuple[list[Detector], dict[str, str]]:
    """The detectors, and why each of a table's others could not be loaded. Raises UsageError where none could."""
    from pixelsleuth.models.choices import options_of, weights_of
    from pixelsleuth.models.registry import load

    weights = weights_of(options.models, options.weights)
    variants = options_of(options.models, options.variants)
    detectors, left_out = [], {}
    for name in options.models:
        try:
            detectors.append(
                load(name, device=options.device, weights=weights.get(name), options=variants[name])
            )
        except (UsageError, MissingExtra) as error:
            if not options.optional:
                raise
            left_out[name] = str(error)
    if not detectors:
        raise UsageError(
            f"No detector of the table can be loaded; {next(iter(left_out.values()), 'it names none')}"
        )
    # Bounds are for detectors with a measured decision; where no one has it, the first says so.
    for detector in [one for one in detectors if one.scores is not None] or detectors[:1]:
        detector.decide_as(options.accuse_at_most, options.right_at_least, options.stable)
    return detectors, left_out


def protocol_of(options: EvaluateOptions) -> Protocol:
    """The protocol, with `--raw` taking equalisation away."""
    from dataclasses import replace

    protocol = get_protocol(options.protocol)
    return replace(protocol, equalise=False) if options.raw else protocol


def conditions_of(specs: tuple[str, ...]) -> dict[str, perturbations.Chain | None]:
    """`clean` and every perturbation, each once. Raises UsageError."""
    found: dict[str, perturbations.Chain | None] = {CLEAN: None}
    for spec in specs:
        chain = perturbations.parse(spec)
        found[chain.spec] = chain
    return found


def summarise(
    options: EvaluateOptions,
    settings: Settings,
    pictures: Pictures,
    conditions: list[str],
    detectors: list[Detector],
    forced: list[bool],
    left_out: dict[str, str],
) -> dict[str, Any]:
    """`metrics.json` as a dictionary, from `predictions.jsonl` alone."""
    wanted = {index for index, _ in pictures}
    rows: dict[tuple[str, str], dict[str, list[records.Row]]] = defaultdict(lambda: defaultdict(list))
    for row in records.read_rows(options.out / "predictions.jsonl"):
        if row["index"] in wanted:
            rows[row["model"], row["version"]][row["condition"]].append(row)
    models = []
    for detector, was_forced in zip(detectors, forced, strict=True):
        mine = rows[detector.name, detector.version]
        models.append(
            {
                "name": detector.name,
                "version": detector.version,
                "capabilities": sorted(str(one) for one in detector.capabilities),
                "notes": _notes(detector, settings.protocol, was_forced),
                "conditions": {
                    name: condition_result(mine[name], settings, localizes=localizes(detector))
                    for name in conditions
                },
            }
        )
    lost = left_out_of(pictures, [row for kinds in rows.values() for one in kinds.values() for row in one])
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "protocol": settings.protocol.to_dict() | {"equalised": settings.protocol.equalise},
        "data": _data(options, pictures) | {"left_out": lost.to_dict()},
        "settings": {
            "resamples": settings.resamples,
            "interval": "95 % percentile bootstrap over groups",
            "seed": settings.seed,
            "css_encoder": options.encoder,
        },
        "environment": stamp(),
        "audit": audit_of(pictures, seed=settings.seed) if options.audit else {"skipped": "Not asked for."},
        "models": models,
        "differences": [
            paired_differences(
                rows[a.name, a.version][CLEAN], rows[b.name, b.version][CLEAN], settings, (a.name, b.name)
            )
            for a, b in pairs(detectors)
        ],
    }
    return result | ({"table": beside(options.recipe, models, left_out)} if options.recipe else {})


def localizes(detector: Detector) -> bool:
    """True where it draws masks."""
    return "localize" in {str(one) for one in detector.capabilities}


def left_out_of(pictures: Pictures, rows: Sequence[records.Row]) -> LeftOut:
    """What the reader left out, and each picture that no figure, or no pixel figure, counts."""
    tally, seen = pictures.listing.left_out.copied(), set()
    for row in rows:
        if row.get("left_out") and row["index"] not in seen:
            seen.add(row["index"])
            tally.add(row["left_out"], row["path"])
    return tally


def pairs(detectors: Sequence[Detector]) -> list[tuple[Detector, Detector]]:
    """Which detectors are compared: each with each, or where they are many, each with the first."""
    first = detectors if len(detectors) <= EACH_WITH_EACH else detectors[:1]
    return [(a, b) for i, a in enumerate(first) for b in detectors[i + 1 :]]


def _judge_all(
    detector: Detector,
    pictures: Pictures,
    protocol: Protocol,
    conditions: dict[str, perturbations.Chain | None],
    options: EvaluateOptions,
    log: records.PredictionLog,
    step: Callable[[int], None],
) -> bool:
    maps = options.out / "maps" if options.save_maps else None
    judge = Judge(
        detector, pictures, protocol, conditions,
        batch_size=options.batch_size, explain=options.explain, seed=options.seed, maps=maps,
    )  # fmt: skip
    for batch in judge.rows(lambda row: records.key_of(row) in log.done):
        log.append(batch)
        step(len(batch))
    return judge.forced


def _about(options: EvaluateOptions, protocol: Protocol, pictures: Pictures) -> dict[str, Any]:
    """What must be the same for a rerun to go on: the pictures and what is done to them. Models and perturbations
    may be added later, so they stand in the rows.
    """
    bounds = {
        key: getattr(options, key) for key in ("accuse_at_most", "right_at_least", "stable")
    }  # only where given, so that earlier logs go on
    return {
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "equalise": protocol.equalise,
        "data": Path(options.data).name,
        "split": options.split,
        "pictures": pictures.digest,
        "seed": options.seed,
        "explain": options.explain,
        **{key: value for key, value in bounds.items() if value is not None},
    } | ({"settings": dict(options.settings)} if options.settings else {})


def _notes(detector: Detector, protocol: Protocol, forced: bool) -> list[str]:
    notes = []
    if protocol.teacher_forced and not forced:
        notes.append(
            "Cannot be given the true answer, so it was free-running: the published figures of this protocol had an "
            "easier task."
        )
    if getattr(detector, "made_for", None) is not None:
        notes.append(TWO_CLASSES)
    if not localizes(detector):
        notes.append("Draws no masks, so there are no localization figures.")
    return notes


def _data(options: EvaluateOptions, pictures: Pictures) -> dict[str, Any]:
    labels: dict[str, int] = defaultdict(int)
    for _, sample in pictures:
        labels[str(sample.label)] += 1
    groups = {sample.unit for _, sample in pictures}
    return {
        "name": Path(options.data).name,
        "split": options.split,
        "reader": options.reader,
        "settings": dict(options.settings),
        "limit": options.limit,
        "pictures": len(pictures),
        "labels": dict(sorted(labels.items())),
        "groups": len(groups),
        "digest": pictures.digest,
    }


def _encoder(options: EvaluateOptions) -> Any:
    if options.encoder is None:
        return None
    from pixelsleuth.evaluation.metrics.explanation import SentenceEncoder

    return SentenceEncoder(options.encoder)


@contextlib.contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where someone is there to see it."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from pixelsleuth.reporting.terminal import console_for

    columns = (TextColumn("Evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console_for(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
