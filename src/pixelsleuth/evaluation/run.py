"""One run of `pixelsleuth evaluate`: choose the pictures, judge them, sum up, write the report.

`predictions.jsonl` grows with every batch; `metrics.json` and `report.html` are made of it at the end. A run that was
stopped goes on where it was; a finished one only sums up again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.io import write_text
from pixelsleuth.core.progress import progress
from pixelsleuth.data.left_out import sentence_of
from pixelsleuth.errors import MissingExtra, UsageError
from pixelsleuth.evaluation import perturbations
from pixelsleuth.evaluation.audit.auditing import OUR_JSON
from pixelsleuth.evaluation.judging import CLEAN, Judge
from pixelsleuth.evaluation.pictures import Pictures, choose
from pixelsleuth.evaluation.predictions import PredictionLog, key_of
from pixelsleuth.evaluation.protocols import Protocol, get_protocol
from pixelsleuth.evaluation.recipes import Recipe
from pixelsleuth.evaluation.result import result_of
from pixelsleuth.evaluation.summary import Settings, as_json

ALL_JUDGED, SOME_FAILED = 0, 1
NO_MASKS = "Localization was to be measured, and no mask of a tampered picture could be used; see the report."


@dataclass(frozen=True)
class EvaluateOptions:
    """The options of one run; the defaults are those of the command. With `optional` the models are those of a table,
    and one that cannot be loaded is left out by name."""

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
    """Evaluate and return the exit status; prints on standard error what was left out. Raises UsageError.

    The status is 1 where a picture was left out or could not be judged, or where masks were to be measured and none
    could be used.
    """
    protocol = get_protocol(options.protocol)
    if options.raw:
        protocol = replace(protocol, equalise=False)
    conditions = conditions_of(options.perturb)
    pictures = choose(
        options.data, protocol, split=options.split, reader=options.reader, settings=options.settings,
        allow_outside=options.allow_outside, limit=options.limit,
    )  # fmt: skip
    pictures.listing.left_out.tell()
    encoder = _encoder(options)
    detectors, left_out = load_all(
        options
    )  # before the work: a detector that cannot be loaded ends the run at once
    if len({(detector.name, detector.version) for detector in detectors}) < len(detectors):
        raise UsageError(
            "Two of the models have the same name and version, and their results would be mixed; name each once."
        )
    log = PredictionLog(options.out, _about(options, protocol, pictures))
    total = len(pictures) * len(conditions) * len(detectors)
    try:
        with progress("Evaluating", total, done=len(log.done), quiet=options.quiet) as step:
            forced = [
                _judge_all(detector, pictures, protocol, conditions, options, log, step)
                for detector in detectors
            ]
    finally:
        log.close()
    settings = Settings(protocol, options.resamples, options.seed, encoder)
    result = result_of(options, settings, pictures, list(conditions), detectors, forced, left_out)
    write_text(options.out / "metrics.json", as_json(result), kind="file of figures", ours=OUR_JSON)
    from pixelsleuth.evaluation.report.metrics_page import write_report

    write_report(options.out, pictures)
    return _status(result, pictures)


def _status(result: Mapping[str, Any], pictures: Pictures) -> int:
    """The exit status. Prints on standard error what decoding has added to what was left out."""
    left_out = result["data"]["left_out"]
    if left_out != pictures.listing.left_out.to_dict():
        print(sentence_of(left_out), file=sys.stderr, flush=True)
    results = [condition for model in result["models"] for condition in model["conditions"].values()]
    blind = any(condition["masks"]["none_usable"] for condition in results)
    if blind:
        print(NO_MASKS, file=sys.stderr, flush=True)
    failed = any(condition["not_judged"]["count"] for condition in results)
    return SOME_FAILED if failed or blind or left_out["count"] else ALL_JUDGED


def load_all(options: EvaluateOptions) -> tuple[list[Detector], dict[str, str]]:
    """The detectors, and why each of a table's others could not be loaded. Raises UsageError where none could."""
    from pixelsleuth.models.registry import load, options_of, weights_of

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
    # Bounds are for detectors with a measured decision; where none has one, the first raises the error.
    for detector in [detector for detector in detectors if detector.scores is not None] or detectors[:1]:
        detector.decide_as(options.accuse_at_most, options.right_at_least, options.stable)
    return detectors, left_out


def conditions_of(specs: tuple[str, ...]) -> dict[str, perturbations.Chain | None]:
    """`clean` and every perturbation, each once. Raises UsageError."""
    chains = map(perturbations.parse, specs)
    return {CLEAN: None} | {chain.spec: chain for chain in chains}


def _judge_all(
    detector: Detector,
    pictures: Pictures,
    protocol: Protocol,
    conditions: dict[str, perturbations.Chain | None],
    options: EvaluateOptions,
    log: PredictionLog,
    step: Callable[[int], None],
) -> bool:
    maps = options.out / "maps" if options.save_maps else None
    judge = Judge(
        detector, pictures, protocol, conditions,
        batch_size=options.batch_size, explain=options.explain, seed=options.seed, maps=maps,
    )  # fmt: skip
    for batch in judge.rows(lambda row: key_of(row) in log.done):
        log.append(batch)
        step(len(batch))
    return judge.forced


def _about(options: EvaluateOptions, protocol: Protocol, pictures: Pictures) -> dict[str, Any]:
    """What must be the same for a rerun to go on: the pictures and what is done to them.

    Models and perturbations may be added later, so they stand in the rows.
    """
    bounds = {key: getattr(options, key) for key in ("accuse_at_most", "right_at_least", "stable")}
    about = {
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "equalise": protocol.equalise,
        "data": Path(options.data).name,
        "split": options.split,
        "pictures": pictures.digest,
        "seed": options.seed,
        "explain": options.explain,
    }
    # What is not given stays out, so that logs of earlier versions go on.
    about |= {key: value for key, value in bounds.items() if value is not None}
    return about | ({"settings": dict(options.settings)} if options.settings else {})


def _encoder(options: EvaluateOptions) -> Any:
    if options.encoder is None:
        return None
    from pixelsleuth.evaluation.metrics.explanation import SentenceEncoder

    return SentenceEncoder(options.encoder)
