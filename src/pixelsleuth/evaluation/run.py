"""One run of `pixelsleuth evaluate`: choose the pictures, judge them, sum up, write the report.

`predictions.jsonl` grows with every batch; `metrics.json` and `report.html` are made of it at the end. A run that was
stopped goes on where it was; a finished one only sums up again.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.engine import Engine
from pixelsleuth.core.io import write_text
from pixelsleuth.core.progress import progress
from pixelsleuth.data.left_out import sentence_of
from pixelsleuth.errors import MissingExtra, UsageError
from pixelsleuth.evaluation import perturbations
from pixelsleuth.evaluation.audit.auditing import OUR_JSON
from pixelsleuth.evaluation.engines import judged
from pixelsleuth.evaluation.judging import CLEAN, Judge
from pixelsleuth.evaluation.pictures import Pictures, choose
from pixelsleuth.evaluation.predictions import PredictionLog
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


def run_evaluate(options: EvaluateOptions, engine: Engine | None = None) -> int:
    """Evaluate and return the exit status; prints on standard error what was left out. Raises UsageError,
    and MissingExtra without OpenCV.

    `engine` judges the pictures; without one this process does.
    The status is 1 where a picture was left out or could not be judged, or where masks were to be measured and none
    could be used.
    """
    if find_spec("cv2") is None:  # what equalises the pictures
        raise MissingExtra("opencv-python-headless", "eval")
    protocol = protocol_of(options)
    conditions = conditions_of(options.perturb)
    pictures = pictures_of(options)
    pictures.listing.left_out.tell()
    encoder = _encoder(options)
    # Before the work: a detector that cannot be loaded ends the run at once.
    named, left_out = load_all(options)
    detectors = list(named.values())
    if len({(detector.name, detector.version) for detector in detectors}) < len(options.models) - len(
        left_out
    ):
        raise UsageError(
            "Two of the models have the same name and version, and their results would be mixed; name each once."
        )
    log = PredictionLog(options.out, _about(options, protocol, pictures))
    total = len(pictures) * len(conditions) * len(detectors)
    try:
        with progress("Evaluating", total, done=len(log.done), quiet=options.quiet) as step:
            judges = [judge_of(options, detector, pictures) for detector in detectors]
            for name, judge in zip(named, judges, strict=True):
                for batch in judged(judge, log, engine, functools.partial(make_judge, options, name)):
                    log.append(batch)
                    step(len(batch))
    finally:
        log.close()
    settings = Settings(protocol, options.resamples, options.seed, encoder)
    forced = [judge.forced for judge in judges]
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


def load_all(options: EvaluateOptions) -> tuple[dict[str, Detector], dict[str, str]]:
    """The detectors by the name that the user gave, and why each of a table's others could not be loaded.

    Raises UsageError where none could.
    """
    detectors: dict[str, Detector] = {}
    left_out: dict[str, str] = {}
    for name in options.models:
        try:
            detectors[name] = _load(options, name)
        except (UsageError, MissingExtra) as error:
            if not options.optional:
                raise
            left_out[name] = str(error)
    if not detectors:
        raise UsageError(
            f"No detector of the table can be loaded; {next(iter(left_out.values()), 'it names none')}"
        )
    # Bounds are for detectors with a measured decision; where none has one, the first raises the error.
    if all(detector.scores is None for detector in detectors.values()):
        _decide(options, next(iter(detectors.values())))
    return detectors, left_out


def _load(options: EvaluateOptions, name: str) -> Detector:
    from pixelsleuth.models.registry import load, options_of, weights_of

    weights = weights_of(options.models, options.weights).get(name)
    variants = options_of(options.models, options.variants)[name]
    detector = load(name, device=options.device, weights=weights, options=variants)
    if detector.scores is not None:
        _decide(options, detector)
    return detector


def _decide(options: EvaluateOptions, detector: Detector) -> None:
    detector.decide_as(options.accuse_at_most, options.right_at_least, options.stable)


def make_judge(options: EvaluateOptions, name: str) -> Judge:
    """The judge of one detector, in a process that has nothing yet. Raises UsageError."""
    return judge_of(options, _load(options, name), pictures_of(options))


def judge_of(options: EvaluateOptions, detector: Detector, pictures: Pictures) -> Judge:
    """What judges the pictures by one detector, as the options say. Raises UsageError."""
    return Judge(
        detector,
        pictures,
        protocol_of(options),
        conditions_of(options.perturb),
        batch_size=options.batch_size,
        explain=options.explain,
        seed=options.seed,
        maps=options.out / "maps" if options.save_maps else None,
    )


def protocol_of(options: EvaluateOptions) -> Protocol:
    """The protocol that the options name; with `raw` it does not equalise. Raises UsageError."""
    protocol = get_protocol(options.protocol)
    return replace(protocol, equalise=False) if options.raw else protocol


def pictures_of(options: EvaluateOptions) -> Pictures:
    """The pictures that the options name. Raises UsageError."""
    return choose(
        options.data, protocol_of(options), split=options.split, reader=options.reader, settings=options.settings,
        allow_outside=options.allow_outside, limit=options.limit,
    )  # fmt: skip


def conditions_of(specs: tuple[str, ...]) -> dict[str, perturbations.Chain | None]:
    """`clean` and every perturbation, each once. Raises UsageError."""
    chains = map(perturbations.parse, specs)
    return {CLEAN: None} | {chain.spec: chain for chain in chains}


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
