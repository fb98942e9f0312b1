"""The forge from end to end: the stages, what each depends on, and their order.

    photographs -> objects -> masks -> choices -> edits -+
                          `-> synthesis -----------------+-> pictures -> descriptions -> review -> data set

Each arrow is a JSONL file in `out/`; pictures lie beside them until the data set is put together in `out/dataset`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from pixelsleuth.core.engine import Engine
from pixelsleuth.errors import UsageError
from pixelsleuth.forge import assemble, describe, editing, locating, objects, sources
from pixelsleuth.forge.configuration import ForgeConfig
from pixelsleuth.forge.engines import KINDS, by_engine
from pixelsleuth.forge.llm import estimate
from pixelsleuth.forge.review.decisions import apply_decisions
from pixelsleuth.forge.sources import Context
from pixelsleuth.forge.stages import Processes, Row, Stage, locked, read_rows, run_stage, write_rows

Say = Callable[[str], None]
PACKAGES = ("pixelsleuth", "numpy", "opencv-python-headless", "pillow", "torch", "diffusers", "transformers")
"""Whose versions the data card names."""


def run_forge(
    config: ForgeConfig, *, say: Say = print, quiet: bool = False, engine: Engine | None = None
) -> dict[str, int]:
    """Carry out every stage that is not done yet; returns the counts of the data set by split and class.

    `engine` does the lines of those stages that read or make pictures; without one this machine does.

    Raises UsageError for wrong settings, Unfinished where a service failed (the same call goes on), OutputError.
    """
    folder = Path(config.out)
    sources.size_policy(config)
    if config.edit.method == "none" and config.synthesis.method == "none":
        raise UsageError("Nothing would be forged: set edit.method or synthesis.method.")
    with locked(folder), Processes(config.workers) as processes:
        return _run(Context(config, folder), say, quiet, processes, engine)


def _run(
    context: Context, say: Say, quiet: bool, processes: Processes, engine: Engine | None
) -> dict[str, int]:
    config, folder = context.config, context.folder

    def carry_out(stage: Stage, source: Path) -> Path:
        workers = config.workers
        if stage.kind == "thread":
            workers = (config.objects if stage.name == "objects" else config.descriptions).llm.parallel
        elsewhere = None
        if engine is not None and stage.kind in KINDS:
            elsewhere = functools.partial(by_engine, engine, context)
        return run_stage(
            stage, source, folder, context, workers=workers, say=say, quiet=quiet, processes=processes,
            elsewhere=elsewhere,
        )  # fmt: skip

    listed = folder / "listed.jsonl"
    count, left_out = sources.list_photographs(config, listed)
    say(f"photographs: {count} listed")
    common = {"size": config.size, "validation": config.validation, "seed": config.seed}
    inspected = carry_out(Stage("inspected", sources.inspect, common), listed)
    photographs = sources.without_doubles(inspected, folder / "photographs.jsonl")
    sources.count_unusable(inspected, left_out)
    left_out.tell()
    _announce_cost(config, photographs, say)
    plan = stages(config, common)
    edits = photographs
    for stage in plan["edits"]:
        edits = carry_out(stage, edits)
    made: list[Iterable[Row]] = [_reals(photographs)]
    if plan["edits"]:
        made.append(_without_errors(edits))
    for stage in plan["synthesis"]:
        made.append(_without_errors(carry_out(stage, photographs)))
    rows = ({key: row[key] for key in row if key != "objects"} for row in itertools.chain(*made))
    pictures = write_rows(folder / "pictures.jsonl", rows)
    described = carry_out(plan["descriptions"][0], pictures)
    reviewed = apply_decisions(described, folder)
    chosen = assemble.balanced(reviewed, folder / "chosen.jsonl", config)
    finished = carry_out(plan["finish"][0], chosen)
    facts = {
        "rejected": _errors(edits) - _errors(photographs) if plan["edits"] else 0,
        "unreadable": _errors(photographs),
        "left_out": left_out.sentence(),
        "versions": _versions(),
    }
    counts = assemble.write_data_set(finished, context, facts)
    say(f"data set: {', '.join(f'{n} {name}' for name, n in sorted(counts.items()))} in {folder / 'dataset'}")
    return counts


def stages(config: ForgeConfig, common: dict[str, Any]) -> dict[str, list[Stage]]:
    """The stages of these settings, each with what it depends on and how its lines may run beside each other."""
    every = asdict(config)
    with_model = common | {"device": config.device}
    edits = [
        Stage("objects", objects.name_object, {"objects": every["objects"], "seed": config.seed},
              "thread" if config.objects.method == "llm" else "here"),
        Stage("masks", locating.find_mask, with_model | {"masks": every["masks"]},
              "serial" if config.masks.method == "grounded" else "process"),
        Stage("choices", objects.choose, common | {"choices": every["choices"], "edit": config.edit.method},
              "here"),
        Stage("edits", editing.edit, with_model | {"edit": every["edit"], "masks": every["masks"]},
              "serial" if config.edit.method == "inpaint" else "process"),
    ]  # fmt: skip
    synthesis = []
    if config.synthesis.method != "none":
        from pixelsleuth.forge.generators import synthesise

        synthesis = [Stage("synthesis", synthesise, with_model | {"synthesis": every["synthesis"]}, "serial")]
    describing = common | {"descriptions": every["descriptions"], "quality": config.output.quality}
    kind = "process" if config.descriptions.method == "record" else "thread"
    finish = common | {"quality": config.output.quality, "names": config.output.names}
    return {
        "edits": [] if config.edit.method == "none" else edits,
        "synthesis": synthesis,
        "descriptions": [Stage("descriptions", describe.describe, describing, kind)],
        "finish": [Stage("finished", assemble.finish_picture, finish)],
    }


def _reals(photographs: Path) -> Iterable[Row]:
    for row in _without_errors(photographs):
        yield {**row, "label": "real", "photograph": row["id"]}


def _without_errors(lines: Path) -> Iterable[Row]:
    return (row for row in read_rows(lines) if "error" not in row)


def _errors(lines: Path) -> int:
    return sum("error" in row for row in read_rows(lines))


def _announce_cost(config: ForgeConfig, photographs: Path, say: Say) -> None:
    """Say what the language models will cost before a question is sent. Raises UsageError beyond `max_cost`."""
    rows = list(_without_errors(photographs))
    if config.objects.method == "llm":
        captions = [row["caption"] for row in rows if row.get("caption")]
        characters = len(objects.SYSTEM) + sum(map(len, captions)) // max(len(captions), 1)
        say(f"objects: {estimate(config.objects.llm, len(captions), characters, images=False)}")
    pictures = len(rows) * (1 + config.choices.edits_per_photograph * (config.edit.method != "none"))
    pictures += len(rows) * config.synthesis.per_photograph * (config.synthesis.method != "none")
    writing = config.descriptions
    if writing.method == "llm":
        say(f"descriptions: {estimate(writing.llm, pictures, 900, images=True)}")
    elif writing.method == "annotators":
        for annotator in describe.annotators_of(writing.annotators, writing.llm):
            say(f"descriptions: {estimate(annotator, pictures, 700, images=True)}")
        say(f"descriptions: {estimate(writing.llm, pictures, 3000, images=False)}")


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
