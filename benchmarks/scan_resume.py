"""What going on costs: Ray's own checkpoints beside parts, and a scan that is run again.

    python benchmarks/scan_resume.py checkpoints [--rows 10000 100000 1000000]
    python benchmarks/scan_resume.py ids [--rows 10000 100000 1000000]
    python benchmarks/scan_resume.py again [--pictures 20000]

`checkpoints`: a data set of ids in Parquet through Ray Data into Parquet, without and with
`ray.data.checkpoint.CheckpointConfig` (its id column is the row's: an integer of 64 bits, or a path of 40 characters),
then once more with everything recorded; beside it the look at parts of 500 rows that `scan --resume` takes. Seconds are
those of the processor, in all processes of Ray; memory is that of the largest of them.

`ids`: of going on only what Ray does with the record itself (read it, convert it, sort it: `ray.data.checkpoint`'s own
function, called without a cluster), which busy machines do not disturb. Memory is what it adds to an idle process.

`again`: a scan with a detector that answers at once, then what later runs on the same folder cost beside judging.
Each measurement runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from pixelsleuth.scale.parts import FOLDER, part_path
from pixelsleuth.scale.scanning import ScanOptions, run_scan
from pixelsleuth.scale.sessions import connected
from scan_tools import alone, picture, processor, timed, watched

SHARD = 500
FILES = 100
"""Different pictures of the scan; the list names them again and again."""
MORE = 10
"""One new picture for so many that were there."""


def checkpoints(kind: str, rows: int, folder: Path) -> dict[str, float]:
    """Seconds and memory of a run without, with, and after checkpoints; bytes that are recorded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = folder / "source"
    source.mkdir()
    pq.write_table(
        pa.table({"id": _named(kind, rows), "value": pa.array(range(rows))}), source / "ids.parquet"
    )
    figures: dict[str, float] = {}
    with connected(None):
        import ray.data
        from ray.data.checkpoint import CheckpointConfig

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        _carried(source, folder / "first")  # Ray's workers have started
        for name in ("without", "with", "after"):
            if name == "with":
                context.checkpoint_config = CheckpointConfig(
                    id_column="id", checkpoint_path=str(folder / "ids"), delete_checkpoint_on_success=False
                )
            with watched() as seen:
                out = folder / ("out" if name != "without" else "plain")
                _carried(source, out)
            figures |= {f"{name}, cpu": seen["cpu"], f"{name}, MB": seen["most"]}
            if name == "with":
                figures["bytes"] = sum(path.stat().st_size for path in (folder / "ids").rglob("*.parquet"))
    return figures


def ids(kind: str, rows: int, folder: Path) -> dict[str, float]:
    """Processor seconds and memory of loading the record of `rows` ids, as Ray's own function does it."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from ray.data.checkpoint.checkpoint_filter import convert_and_sort_checkpointed_ids

    record = folder / "ids.parquet"
    pq.write_table(pa.table({"id": _named(kind, rows)}), record)
    load = convert_and_sort_checkpointed_ids._function
    load(pa.table({"id": [1]}), "id")
    before = psutil.Process().memory_info().rss
    kept: list[object] = []
    figures = timed(lambda: kept.append(load(pq.read_table(record), "id")))
    added = psutil.Process().memory_info().rss - before
    return figures | {"bytes": record.stat().st_size, "added": added / 1e6}


def _named(kind: str, rows: int) -> list[str] | range:
    """The ids: integers, or paths of 40 characters."""
    if kind == "text":
        return [f"/store/{n // 1000:06d}/picture-{n:014d}.jpg" for n in range(rows)]
    return range(rows)


def _carried(source: Path, out: Path) -> None:
    """Read, pass through one operator, write."""
    import ray.data

    ray.data.read_parquet(str(source)).map_batches(_same).write_parquet(str(out))


def _same(batch: dict[str, object]) -> dict[str, object]:
    return batch


def again(pictures: int, folder: Path) -> dict[str, float]:
    """Wall and processor seconds of the first run and of each kind of later one, as `NAME` and `NAME, cpu`."""
    paths = [picture(folder, number, 64) for number in range(FILES)]

    def named(name: str, count: int) -> str:
        source = folder / f"{name}.txt"
        source.write_text("".join(f"{paths[n % FILES]}\n" for n in range(count)))
        return str(source)

    out = folder / "scan"
    figures: dict[str, float] = {}

    def run(name: str, source: str, where: Path, model: str = "stub", **options: Any) -> None:
        call = ScanOptions(
            str(where), model=f"scan_tools:{model}", evidence=False, quiet=True, shard_size=SHARD, **options
        )
        before = processor()
        figures[name] = timed(lambda: run_scan(source, call))["wall"]
        figures[f"{name}, cpu"] = processor() - before

    source = named("all", pictures)
    run("first", source, out)
    run("done", source, out, resume=True)
    part_path(out, 0).unlink()
    run("one", source, out, resume=True)
    shutil.rmtree(out / FOLDER)
    run("judge", source, out, resume=True)
    run("model", source, out, model="other_stub", rejudge=True)
    run("source", named("more", pictures // MORE), folder / "more")
    return figures


def checkpoint_lines(sizes: list[int]) -> Iterator[str]:
    """The lines of the table of checkpoints."""
    heads = "without, s | with, s | recorded, MB | going on, s | its memory, MB | parts: going on, s | their memory, MB"
    yield f"| rows | ids | {heads} |"
    yield "|---:|---|---:|---:|---:|---:|---:|---:|---:|"
    resume = str(Path(__file__).with_name("scale.py"))
    for rows in sizes:
        ours = alone(resume, "resume", max(2, rows // SHARD))
        for kind, spoken in (("number", "64 bits"), ("text", "paths")):
            got = alone(__file__, "checkpoints", kind, rows)
            yield (
                f"| {rows:,} | {spoken} | {got['without, cpu']:.1f} | {got['with, cpu']:.1f} | "
                f"{got['bytes'] / 1e6:.2f} | {got['after, cpu']:.1f} | {got['after, MB']:.0f} | "
                f"{ours['cpu']:.2f} | {ours['peak']:.0f} |"
            )


def id_lines(sizes: list[int]) -> Iterator[str]:
    """The lines of the table of loading a record."""
    yield "| rows | ids | recorded, MB | load, s | MB | parts of 500: look, s | MB |"
    yield "|---:|---|---:|---:|---:|---:|---:|"
    resume = str(Path(__file__).with_name("scale.py"))
    empty = alone(resume, "resume", 2)["peak"]
    for rows in sizes:
        ours = alone(resume, "resume", max(2, rows // SHARD))
        for kind, spoken in (("number", "64 bits"), ("text", "paths")):
            got = alone(__file__, "ids", kind, rows)
            yield (
                f"| {rows:,} | {spoken} | {got['bytes'] / 1e6:.2f} | {got['cpu']:.2f} | {max(0, got['added']):.0f} | "
                f"{ours['cpu']:.3f} | {max(0, ours['peak'] - empty):.0f} |"
            )


def again_lines(pictures: int) -> Iterator[str]:
    """The lines of the table of later runs."""
    got = alone(__file__, "again", pictures)
    yield f"| run on {pictures:,} pictures | seconds | of the processor |\n|---|---:|---:|"
    names = {
        "first": "the first: plan and judge",
        "judge": "the plan stands, no part: judge all",
        "model": "another model (`--rejudge`)",
        "one": "one part of 500 is missing (`--resume`)",
        "done": "nothing is missing (`--resume`)",
        "source": f"one more source of {pictures // MORE:,}, in a folder of its own",
    }
    for name, spoken in names.items():
        yield f"| {spoken} | {got[name]:.2f} | {got[f'{name}, cpu']:.2f} |"


def main(arguments: list[str]) -> None:
    """Run one measurement and print its table."""
    if arguments[:1] == ["--measure"]:
        folder, what, *rest = arguments[1:]
        measure = {"checkpoints": checkpoints, "ids": ids, "again": again}[what]
        values = [int(value) if value.isdigit() else value for value in rest]
        print(json.dumps(measure(*values, Path(folder))))  # type: ignore[operator]
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["checkpoints", "ids", "again"])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--pictures", type=int, default=20_000)
    given = parser.parse_args(arguments)
    tables = {
        "checkpoints": lambda: checkpoint_lines(given.rows),
        "ids": lambda: id_lines(given.rows),
        "again": lambda: again_lines(given.pictures),
    }
    for line in tables[given.what]():
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
