"""How fast `scan` is: beside the model's own speed, and on two Ray nodes of one host beside the local engine.

    python benchmarks/scan_speed.py speed [--manifest CSV] [--pictures N] [--slices N] [--skip-evidence]
    python benchmarks/scan_speed.py nodes [--manifest CSV] [--pictures N] [--slices N]
    python benchmarks/scan_speed.py nodes --stub [--pictures N] [--slices N]

The pictures are drawn from the manifest, or made (512 x 512; 64 x 64 with --stub, a detector that answers at once,
so that all time is the engine's). They are cut into slices, and each slice goes through every way in turn, in an order
that rotates: drift of the machine hits all ways alike. Printed as Markdown: pictures a second over all slices, and of
the ratios of the slices the mean, their standard deviation and their range.

`nodes` starts two nodes of Ray on loopback, each with half of the cores, and runs the command line once a slice on them
and on the local engine. Rates are those between the first and the last row of a run (`judged_at`), without the start of
processes and the loading of the model. These stand in a column of their own; the processor's time includes them, and
that of all of Ray's processes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pixelsleuth.errors import ClusterError
from pixelsleuth.pictures.images import open_picture
from pixelsleuth.scale import sources
from pixelsleuth.scale.pipeline import JudgeSettings, Pipeline, usual_workers
from pixelsleuth.scale.plan import PlanSettings, write_plan
from pixelsleuth.scale.sessions import connected
from scan_tools import environment, picture, pictures_of, timed, watched

SHARD = 500
SHARD_OF_A_NODE = 25
"""Inputs of a shard on the nodes: a slice must hold many, or one node waits for the other at its end."""
STUB_SHARD = 250
STUB_FILES = 100
"""Different pictures of the stub; the list names them again and again."""
START_SECONDS = 300.0
Rates = dict[str, list[float]]


def slices(paths: list[str], count: int) -> list[list[str]]:
    """The paths in `count` parts that differ in length by one at most."""
    return [paths[len(paths) * i // count : len(paths) * (i + 1) // count] for i in range(count)]


def speed(paths: list[str], count: int, ways: list[str], folder: Path) -> tuple[Rates, list[int]]:
    """Pictures a second of each way in each slice, and the sizes of the slices."""
    from pixelsleuth.models.registry import load

    detector = load("compact")
    detector.decide_as(None, None, False)
    lines = folder / "list.txt"
    lines.write_text("".join(f"{path}\n" for path in paths))
    plan = write_plan(folder, sources.inputs(str(lines)), PlanSettings(str(lines), "", SHARD), lambda _: None)
    entries = [entry for shard in range(plan.shards) for entry in plan.entries(shard)]
    rates: Rates = {way: [] for way in ways}
    sizes = []
    with contextlib.ExitStack() as stack:
        pipelines = {
            way: stack.enter_context(
                Pipeline(detector, JudgeSettings(workers=usual_workers(), evidence=way == "evidence"))
            )
            for way in ways
            if way != "alone"
        }
        examiners: dict[str, Any] = {"alone": None}
        for way, pipeline in pipelines.items():
            examiners[way] = None if way == "scan" else pipeline.detector.examiner
            list(pipeline.judge(entries[: 2 * usual_workers()]))  # processes and graphs have started
        for number in range(count):
            part = entries[len(entries) * number // count : len(entries) * (number + 1) // count]
            sizes.append(len(part))
            for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                detector.examiner = examiners[way]
                if way == "alone":
                    decoded = [open_picture(entry.location) for entry in part]
                    alone = functools.partial(detector.check_many, batch_size=detector.beside)
                    spent = timed(functools.partial(_all, alone, decoded))
                    del decoded
                else:
                    spent = timed(functools.partial(_all, pipelines[way].judge, part))
                rates[way].append(len(part) / spent["wall"])
            print(f"slice {number + 1} of {count}", file=sys.stderr, flush=True)
    return rates, sizes


def _all(judge: Callable[[list[Any]], Iterator[Any]], inputs: list[Any]) -> None:
    for _ in judge(inputs):
        pass


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def two_nodes(cores: int, folder: Path) -> Iterator[str]:
    """Two Ray nodes of `cores` each on loopback, as `ray start` begins them; yields the address of the first."""
    address = f"127.0.0.1:{free_port()}"
    ray_command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block"]
    common = [
        "--num-cpus",
        str(cores),
        "--object-store-memory",
        str(128 << 20),
        "--node-ip-address",
        "127.0.0.1",
    ]
    head = [
        "--head",
        "--port",
        address.split(":")[1],
        "--include-dashboard",
        "false",
        "--temp-dir",
        str(folder),
    ]
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    nodes = []
    try:
        for own in (head, ["--address", address]):
            nodes.append(
                subprocess.Popen(
                    [*ray_command, *common, *own],
                    env=environment() | quiet,
                    start_new_session=True,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            wanted, deadline = len(nodes), time.monotonic() + START_SECONDS
            while True:
                with contextlib.suppress(ClusterError), connected(address) as ray:
                    if sum(node["Alive"] for node in ray.nodes()) == wanted:
                        break
                if time.monotonic() > deadline:
                    raise SystemExit(f"Ray's node {wanted} did not start within {START_SECONDS:.0f} seconds.")
                time.sleep(0.5)
        yield address
    finally:
        for process in reversed(nodes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def scanned(lines: Path, out: Path, options: list[str]) -> tuple[float, float, float]:
    """Run the command line; return pictures a second between the first and the last row, its other seconds, and seconds
    of the processor a picture, Ray's own processes included.
    """
    import pyarrow.dataset as ds

    command = [sys.executable, "-m", "pixelsleuth", "scan", str(lines), "--out", str(out), "--quiet"]
    started = time.time()
    with watched(own=False) as seen:
        subprocess.run([*command, "--no-evidence", *options], env=environment(), check=True)
    ended = time.time()
    times = ds.dataset(out / "parts", format="parquet").to_table(["judged_at"])["judged_at"].to_pylist()
    first, last = min(times).timestamp(), max(times).timestamp()
    return (len(times) - 1) / (last - first), ended - started - (last - first), seen["cpu"] / len(times)


def nodes(
    paths: list[str], count: int, judge: list[str], folder: Path
) -> tuple[Rates, dict[str, Rates], list[int]]:
    """Rates and other figures of each engine in each slice, and the sizes of the slices."""
    rates: Rates = {"local": [], "ray": []}
    besides: Rates = {"local": [], "ray": []}
    processor: Rates = {"local": [], "ray": []}
    sizes = []
    cores = max(1, usual_workers() // 2)
    with two_nodes(cores, folder / "r") as address:
        engines = {"local": [], "ray": ["--engine", "ray", "--address", address]}
        for number, part in enumerate(slices(paths, count)):
            lines = folder / f"list{number}.txt"
            lines.write_text("".join(f"{path}\n" for path in part))
            sizes.append(len(part))
            for engine in list(engines)[:: 1 - 2 * (number % 2)]:
                rate, rest, used = scanned(lines, folder / f"{engine}{number}", [*engines[engine], *judge])
                rates[engine].append(rate)
                besides[engine].append(rest)
                processor[engine].append(used)
            print(f"slice {number + 1} of {count}", file=sys.stderr, flush=True)
    return rates, {"start and end, s": besides, "processor ms each": processor}, sizes


def overall(rates: list[float], sizes: list[int]) -> float:
    """Pictures a second over all slices."""
    return sum(sizes) / sum(size / rate for size, rate in zip(sizes, rates, strict=True))


def ratios(rates: list[float], base: list[float]) -> str:
    """Cells: mean, standard deviation and range of the slices' ratios."""
    each = [one / other for one, other in zip(rates, base, strict=True)]
    spread = f"{statistics.stdev(each):.3f}" if len(each) > 1 else ""
    return f"{statistics.mean(each):.3f} | {spread} | {min(each):.3f} to {max(each):.3f}"


def table(
    rates: Rates, sizes: list[int], names: Mapping[str, str], extra: Mapping[str, Any]
) -> Iterator[str]:
    """The lines of a table; ratios are to the first way."""
    heads = "".join(f" {head} |" for head in extra)
    yield f"{sum(sizes):,} pictures in {len(sizes)} slices\n"
    yield f"| | pictures/s | ms each | ratio, mean of slices | standard deviation | range |{heads}"
    yield "|---|---:|---:|---:|---:|---:|" + "---:|" * len(extra)
    base = next(iter(rates.values()))
    for way, values in rates.items():
        rate = overall(values, sizes)
        rest = "".join(f" {column[way]} |" for column in extra.values())
        yield f"| {names[way]} | {rate:.2f} | {1000 / rate:.2f} | {ratios(values, base)} |{rest}"


def main(arguments: list[str]) -> None:
    """Run one measurement and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["speed", "nodes"])
    parser.add_argument("--manifest")
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--slices", type=int, default=10)
    parser.add_argument("--stub", action="store_true")
    parser.add_argument("--skip-evidence", action="store_true")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Ray's nodes end, too
    with tempfile.TemporaryDirectory() as name:  # a short path: Ray's sockets lie below it
        folder = Path(name)
        if given.stub:
            files = [picture(folder, number, 64) for number in range(STUB_FILES)]
            paths = [files[i % STUB_FILES] for i in range(given.pictures or 40_000)]
        else:
            paths = pictures_of(given.manifest, given.pictures or 60, folder, 512)
        if given.what == "speed":
            ways = ["alone", "scan"] + ["evidence"] * (not given.skip_evidence)
            rates, sizes = speed(paths, given.slices, ways, folder)
            names = {
                "alone": "the model alone, pictures decoded before",
                "scan": "scan",
                "evidence": "scan with evidence",
            }
            lines = table(rates, sizes, names, {})
        else:
            judge = ["--model", "compact", "--fast", "--shard-size", str(SHARD_OF_A_NODE)]
            if given.stub:
                judge = ["--model", "scan_tools:stub", "--shard-size", str(STUB_SHARD)]
            rates, besides, sizes = nodes(paths, given.slices, judge, folder)
            more = {
                head: {
                    engine: f"{statistics.mean(each) * (1000 if 'ms' in head else 1):.2f}"
                    for engine, each in values.items()
                }
                for head, values in besides.items()
            }
            lines = table(rates, sizes, {"local": "local engine", "ray": "two Ray nodes"}, more)
        for line in lines:
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
