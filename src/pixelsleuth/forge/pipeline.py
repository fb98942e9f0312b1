"""The forge from end to end: which stages there are, what each of them depends on, and in which order they run.

    photographs -> objects -> masks -> choices -> edits -+
                          `-> synthesis -----------------+-> pictures -> descriptions -> review -> data set

Each arrow is a JSONL file in `out/`; pictures lie beside them until the data set is put together in `out/dataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from pixelsleuth.errors import UsageError
from pixelsleuth.forge import assemble, describe, editing, locating, objects, sources
from pixelsleuth.forge.llm import estimate
from pixelsleuth.forge.recipe import ForgeConfig
from pixelsleuth.forge.review.decisions import apply_decisions
from pixelsleuth.forge.sources import Context
from pixelsleuth.forge.stages import Processes, Row, Stage, locked, read_rows, run_stage, write_rows

Say = Callable[[str], None]


def run_forge(config: ForgeConfig, *, say: Say = print, quiet: bool = False) -> dict[str, int]:
    """Carry out every stage that is not done yet; returns the counts of the data set by split and class.

    Raises UsageError for wrong settings, Unfinished where a service failed (the same call goes on), OutputError.
    """
    folder = Path(config.out)
    sources.size_policy(config)
    if config.edit.method == "none" and config.synthesis.method == "none":
        raise UsageError("Nothing would be forged: set edit.method or synthesis.method.")
    with locked(folder), Processes(config.workers) as processes:
        return _run(Context(config, folder), say, quiet, processes)


def _run(context: Context, say: Say, quiet: bool, processes: Processes) -> dict[str, int]:
    config, folder = context.config, context.folder

    def carry_out(stage: Stage, source: Path) -> Path:
        serial = stage.kind == "serial"
        threads = config.objects.llm.parallel if stage.name == "objects" else config.descriptions.llm.parallel
        workers = 1 if serial else threads if stage.kind == "thread" else config.workers
        return run_stage(
            stage, source, folder, context, workers=workers, say=say, quiet=quiet, processes=processes
        )

    listed = folder / "listed.jsonl"
    count, left_out = sources.list_photographs(config, listed)
    say(f"photographs: {count} listed")
    common = {"size": config.size, "validation": config.validation, "seed": config.seed}
    inspected = carry_out(Stage("inspected", sources.inspect, common), listed)
    photographs = sources.without_doubles(inspected, folder / "photographs.jsonl")
    sources.count_unusable(inspected, left_out)
    left_out.tell()
    _tell_cost(config, photographs, say)
    plan = stages(config, common)
    edits = photographs
    for stage in plan["edits"]:
        edits = carry_out(stage, edits)
    made: list[Iterable[Row]] = (
        [_reals(photographs), _good(edits)] if plan["edits"] else [_reals(photographs)]
    )
    if plan["synthesis"]:
        made.append(_good(carry_out(plan["synthesis"][0], photographs)))
    pictures = _join(made, folder / "pictures.jsonl")
    described = carry_out(plan["descriptions"][0], pictures)
    reviewed = apply_decisions(described, folder)
    chosen = assemble.balanced(reviewed, folder / "chosen.jsonl", config)
    finished = carry_out(plan["finish"][0], chosen)
    told = {
        "rejected": _errors(edits) - _errors(photographs) if plan["edits"] else 0,
        "unreadable": _errors(photographs),
        "left_out": left_out.sentence(),
        "versions": _versions(),
    }
    counts = assemble.write_data_set(finished, context, told)
    say(f"data set: {', '.join(f'{n} {name}' for name, n in sorted(counts.items()))} in {folder / 'dataset'}")
    return counts


def stages(config: ForgeConfig, common: dict[str, Any]) -> dict[str, list[Stage]]:
    """The stages of these settings with what each depends on, and how it may run beside itself."""
    all_of = asdict(config)
    models = "serial" if config.edit.method == "inpaint" else "process"
    with_model = common | {"device": config.device}
    edits = [
        Stage("objects", objects.name_object, {"objects": all_of["objects"], "seed": config.seed},
              "thread" if config.objects.method == "llm" else "process"),
        Stage("masks", locating.find_mask, with_model | {"masks": all_of["masks"]},
              "serial" if config.masks.method == "grounded" else "process"),
        Stage("choices", objects.choose, common | {"choices": all_of["choices"], "edit": config.edit.method}),
        Stage("edits", editing.edit, with_model | {"edit": all_of["edit"], "masks": all_of["masks"]}, models),
    ]  # fmt: skip
    synthesis = []
    if config.synthesis.method != "none":
        from pixelsleuth.forge.generators import synthesise

        synthesis = [
            Stage("synthesis", synthesise, with_model | {"synthesis": all_of["synthesis"]}, "serial")
        ]
    told = common | {"descriptions": all_of["descriptions"], "quality": config.output.quality}
    kind = "process" if config.descriptions.method == "record" else "thread"
    finish = common | {"quality": config.output.quality, "names": config.output.names}
    return {
        "edits": [] if config.edit.method == "none" else edits,
        "synthesis": synthesis,
        "descriptions": [Stage("descriptions", describe.describe, told, kind)],
        "finish": [Stage("finished", assemble.finish_picture, finish)],
    }


def _reals(photographs: Path) -> Iterable[Row]:
    for row in read_rows(photographs):
        if "error" not in row:
            yield {**row, "label": "real", "photograph": row["id"]}


def _good(lines: Path) -> Iterable[Row]:
    return (row for row in read_rows(lines) if "error" not in row)


def _join(parts: list[Iterable[Row]], target: Path) -> Path:
    rows = (row for part in parts for row in part)
    return write_rows(target, ({key: row[key] for key in row if key != "objects"} for row in rows))


def _errors(lines: Path) -> int:
    return sum("error" in row for row in read_rows(lines))


def _tell_cost(config: ForgeConfig, photographs: Path, say: Say) -> None:
    """Say what the language model will cost before anything is asked. Raises UsageError beyond `max_cost`."""
    rows = [row for row in read_rows(photographs) if "error" not in row]
    if config.objects.method == "llm":
        asked = [row for row in rows if row.get("caption")]
        text = len(objects.SYSTEM) + sum(len(row["caption"]) for row in asked) // max(len(asked), 1)
        say(f"objects: {estimate(config.objects.llm, len(asked), text, images=False)}")
    pictures = len(rows) * (1 + config.choices.edits_per_photograph * (config.edit.method != "none"))
    pictures += len(rows) * config.synthesis.per_photograph * (config.synthesis.method != "none")
    told = config.descriptions
    if told.method == "llm":
        say(f"descriptions: {estimate(told.llm, pictures, 900, images=True)}")
    elif told.method == "annotators":
        for one in describe.annotators_of(told.annotators, told.llm):
            say(f"descriptions: {estimate(one, pictures, 700, images=True)}")
        say(f"descriptions: {estimate(told.llm, pictures, 3000, images=False)}")


def _versions() -> dict[str, str]:
    found = {}
    for name in (
        "pixelsleuth",
        "numpy",
        "opencv-python-headless",
        "pillow",
        "torch",
        "diffusers",
        "transformers",
    ):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
