"""One run of `scan`: lock the folder, plan or take the plan that stands, judge what is missing, say what was done."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.io import failed, open_locked, write_json
from pixelsleuth.core.outputs import refuse_folder
from pixelsleuth.core.progress import Bar, progress
from pixelsleuth.errors import OutputError, PlanMismatch, UsageError
from pixelsleuth.reporting import words
from pixelsleuth.scale.actors import run_ray
from pixelsleuth.scale.duplicates import write_duplicates
from pixelsleuth.scale.engine import RayEngine, engine_of
from pixelsleuth.scale.heatmaps import MOST_INPUTS
from pixelsleuth.scale.listing import arrow
from pixelsleuth.scale.local import Tally, run_local
from pixelsleuth.scale.parts import FOLDER, drop_unread, missing
from pixelsleuth.scale.pipeline import JudgeSettings, usual_workers
from pixelsleuth.scale.plan import FILE, Plan, PlanSettings, write_plan
from pixelsleuth.scale.sources import Selection, inputs
from pixelsleuth.scale.supervisor import SOME_FAILED, Run

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector

LOCK = ".scan.lock"
"""Is locked while a run works in the folder; its presence says that the folder is a scan's."""
JUDGED_BY = "scan.json"
"""Says which model judges, and how: parts of two models must not stand in one folder."""
SCHEMA = "pixelsleuth.scan/1"
SHARD_SIZE = 500
"""Inputs of a shard where the user names no number: an interruption loses those under way."""
ALL_JUDGED, INTERRUPTED = 0, 130
"""Exit statuses, beside SOME_FAILED."""


@dataclass(frozen=True)
class ScanOptions:
    """The options of one run; the defaults are those of the command."""

    out: str
    model: str = "auto"
    engine: str = "local"
    address: str | None = None
    actors: int | None = None
    gpus_per_actor: float = 0.0
    resume: bool = False
    rejudge: bool = False
    retry_errors: bool = False
    device: str = "auto"
    precision: str = "auto"
    weights: str | None = None
    options: tuple[str, ...] = ()
    explain: bool = True
    evidence: bool = True
    trust_list: str | None = None
    max_megapixels: float = 100.0
    batch_size: int | None = None
    workers: int | None = None
    judge_seconds: float = 1800.0
    shard_size: int = SHARD_SIZE
    where: str | None = None
    sample: int | None = None
    seed: int = 0
    dedup: str | None = None
    accuse_at_most: float | None = None
    right_at_least: float | None = None
    stable: bool | None = None
    heat_maps: bool = False
    quiet: bool = False


def run_scan(source: str, options: ScanOptions, run: Run | None = None) -> int:
    """Judge everything in `source` into the folder `options.out`; return the exit status.

    `run` is that of a supervisor (`supervisor.supervised`), which replaces this process when the detector ends it.

    Raises UsageError: OutputInUse where another run works in the folder, PlanMismatch where the folder holds another
    scan, SourceError where the source cannot be listed, OutputError where nothing more can be written.
    """
    arrow()
    engine = engine_of(
        options.engine, options.address, options.actors, options.gpus_per_actor, options.workers
    )
    out = Path(options.out)
    refuse_folder(out, kind="scan", ours=LOCK)
    if options.trust_list is not None:
        from pixelsleuth.evidence.trust_lists import read_trust_lists

        read_trust_lists(options.trust_list)
    detector = _detector(options)
    with _locked(out):
        on = options.resume or options.rejudge or options.retry_errors
        if not on and (out / FILE).exists():
            raise OutputError(f"{out} holds a scan; go on with it by --resume, or choose another --out.")
        with progress("Planning", quiet=options.quiet) as bar:
            plan = _plan(source, out, options, bar)
        if options.dedup is not None and plan.duplicates is None:
            with progress("Comparing", quiet=options.quiet) as bar:
                write_duplicates(plan, out, options.dedup, _judge_settings(plan, options), bar)
            plan.close()
            plan = Plan.open(out)
        try:
            _bind(out, detector, options)
            return _judge(plan, out, detector, options, engine, run or Run.new())
        finally:
            plan.close()


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the lock of the folder. Raises OutputInUse, OutputError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = open_locked(out / LOCK, wait=False)
    except OSError as error:
        raise failed(out, "scan", error) from error
    try:
        yield
    finally:
        os.close(handle)


def _plan(source: str, out: Path, options: ScanOptions, bar: Bar) -> Plan:
    """The plan that stands, or a new one."""
    settings = PlanSettings(
        source,
        os.getcwd(),
        options.shard_size,
        options.where,
        options.sample,
        options.seed,
        options.dedup,
    )
    plan = Plan.open(out) if (out / FILE).exists() else None
    if plan is not None:
        plan.check(settings)
    size = settings.shard_size if plan is None else plan.settings.shard_size
    if options.heat_maps and size > MOST_INPUTS:
        raise UsageError(
            f"With --heat-maps a shard has at most {MOST_INPUTS:,} inputs, not {size:,}; choose another "
            "--shard-size, and another --out where a plan stands."
        )
    if plan is not None:
        return plan
    tables = inputs(source, Selection(options.where, options.sample, options.seed))
    return write_plan(out, tables, settings, lambda rows: bar.note("", rows))


def _detector(options: ScanOptions) -> Detector:
    from pixelsleuth.models.registry import load, options_of

    detector = load(
        options.model,
        device=options.device,
        precision=options.precision,
        weights=options.weights,
        options=options_of([options.model], options.options)[options.model],
    )
    detector.decide_as(options.accuse_at_most, options.right_at_least, options.stable)
    detector.max_megapixels = options.max_megapixels
    return detector


def _bind(out: Path, detector: Detector, options: ScanOptions) -> None:
    """Bind the folder to a model and its settings; with `rejudge` the parts of others go. Raises PlanMismatch."""
    ours: dict[str, Any] = {
        "schema": SCHEMA,
        "model": detector.model,
        "explain": options.explain,
        "evidence": options.evidence,
        "max_megapixels": options.max_megapixels,
        "accuse_at_most": options.accuse_at_most,
        "right_at_least": options.right_at_least,
        "stable": options.stable,
        "heat_maps": options.heat_maps,
    }
    path = out / JUDGED_BY
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        theirs = None
    except (OSError, ValueError):
        theirs = {}
    if theirs == ours:
        return
    if theirs is not None or (out / FOLDER).exists():
        if not options.rejudge:
            differ = sorted(name for name in ours if (theirs or {}).get(name) != ours[name])
            raise PlanMismatch(
                f"The parts in {out} were judged otherwise ({', '.join(differ)} differ); judge all again with "
                "--rejudge, or choose another --out."
            )
        shutil.rmtree(out / FOLDER, ignore_errors=True)
    write_json(path, ours, kind="scan")


def _judge_settings(plan: Plan, options: ScanOptions) -> JudgeSettings:
    return JudgeSettings(
        base=plan.settings.base,
        workers=options.workers or usual_workers(),
        batch_size=options.batch_size,
        explain=options.explain,
        evidence=options.evidence,
        max_megapixels=options.max_megapixels,
        trust_list=options.trust_list,
        heat_maps=options.heat_maps,
        seconds=options.judge_seconds,
    )


def _judge(
    plan: Plan, out: Path, detector: Detector, options: ScanOptions, engine: RayEngine | None, run: Run
) -> int:
    if options.retry_errors and not run.successor:
        drop_unread(plan, out)
    todo = missing(plan, out)
    left = sum(plan.size_of(shard) for shard in todo)
    settings = _judge_settings(plan, options)
    interrupted = False
    with (
        engine or contextlib.nullcontext(),
        progress("Scanning", plan.rows, done=plan.rows - left, quiet=options.quiet) as bar,
    ):
        tally = Tally(bar, run)
        try:
            if engine is not None:
                load = functools.partial(_detector, options)
                run_ray(engine, todo, out, load, detector.model, settings, tally, run.name)
            else:
                run_local(plan, todo, out, detector, settings, tally, run)
        except KeyboardInterrupt:
            interrupted = True
    if not options.quiet:
        _say(plan, out, tally, left, interrupted)
    if interrupted:
        return INTERRUPTED
    return SOME_FAILED if tally.states["failed"] else ALL_JUDGED


def _say(plan: Plan, out: Path, tally: Tally, left: int, interrupted: bool) -> None:
    say = Bar().say
    if plan.rows > left:
        say(f"{words.count(plan.rows - left, 'input')} had been judged before.")
    if interrupted:
        say(
            "Stopped; the shards under way are lost, the parts that stand are kept: --resume goes on from there."
        )
    if left:
        done = tally.states.total()
        counts = f": {tally.spoken()}; {tally.rate:.1f} pictures/s." if done or tally.duplicates else "."
        say(words.count(done, "picture") + counts)
    say(f"Parts: {words.printable(out / FOLDER)} ({words.count(plan.shards, 'shard')})")
