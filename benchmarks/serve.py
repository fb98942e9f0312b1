"""The service under load, over loopback: throughput, overhead, overload, and good, broken and hostile requests.

    python benchmarks/serve.py                                       # everything: some 20 minutes on two cores
    python benchmarks/serve.py throughput overhead                   # some of it
    python benchmarks/serve.py overload --seconds 60
    python benchmarks/serve.py mixed --requests 10000 --broken ../shared/samples/broken

Each part starts `pixelsleuth serve` on a free port and asks it from this process. Pictures are JPEGs of 512 x 384, cut
from photographs inside scikit-image's wheel. Prints a Markdown table: what, measured, goal, met.

throughput: pictures a second of 16 clients that each wait for their answer, against `check --batch-size 8` on the same
pictures. Both run `--rounds` times in turn, from the eighth answer to the last, and the best of each counts: other work
on the machine only slows. The ratio of processor times (threads and decoding processes included) is disturbed least.
overhead: one client; each picture is judged by the service and by the same detector in this process, in turn, and the
median of the differences counts. Once as `check` does it, once without evidence on both sides. Other work on the
machine disturbs that. It hardly disturbs what the latency is beyond the record's `elapsed_ms`, the decoding and judging
of that very request: HTTP, queue, transport between processes, JSON.
overload: requests at four times the rate of `throughput` for `--seconds`; memory, the median of many looks in the
first, middle and last fifth; how long the service then takes until it accepts again, and a lone request after that.
mixed: `--requests` requests by 8 clients, judged by `--model` (a stand-in, `module:callable`, shows the service alone);
memory and descriptors after the first tenth and at the end. Memory is that
of the whole tree of processes, less the kept verdicts, which have a limit of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from traffic import (
    CLI,
    MEGABYTE,
    NO_ANSWER,
    Answer,
    Connection,
    Request,
    Served,
    closed_loop,
    mixed_requests,
    open_loop,
    pictures,
    request,
    serving,
)

BATCH = 8
"""Pictures of a batch of `check`, and those at whose answer the clock of `throughput` starts."""
CLIENTS = 16
"""Clients of `throughput`: as many as the default queue holds."""
WARMING = 2
"""Clients before `overload`: none of them is refused, however busy the machine is."""
TIMES_CAPACITY = 4.0
DEADLINE = 30.0
"""The default of `--deadline`, seconds."""
PATIENT = ("--deadline", "600")
"""Options of a service whose speed alone is measured, on a busy machine too."""
SAMPLE_SECONDS = 0.25
"""Between two looks at the memory: judging a picture takes a hundred megabytes and gives them back."""
PROBE_SECONDS = 0.05
"""Between two tries of a client that waits to be accepted again."""
SETTLE_SECONDS = 30.0
"""For which a service may have to do with clients that are gone."""
KEPT = "pixelsleuth_kept_bytes"


@dataclass
class Row:
    """One line of the table; `met` is None where there is no goal."""

    name: str
    measured: str
    goal: str = ""
    met: bool | None = None


@dataclass
class Pace:
    """How fast pictures were judged: wall seconds and processor seconds each."""

    wall: float
    cpu: float


def check_pace(folder: Path, count: int) -> Pace:
    """`pixelsleuth check --batch-size 8` over the pictures of a folder, from its eighth record to its last."""
    command = [*CLI, "check", str(folder), "--model", "compact", "--format", "jsonl", "--quiet"]
    process = psutil.Popen([*command, "--batch-size", str(BATCH)], stdout=subprocess.PIPE)
    marks: list[tuple[float, float]] = []
    for _ in process.stdout:
        marks.append((time.perf_counter(), sum(process.cpu_times()[:2])))
    if process.wait() or len(marks) != count:
        raise SystemExit("check failed")
    return between(marks)


def service_pace(served: Served, bodies: Sequence[bytes], clients: int = CLIENTS) -> Pace:
    """The service with so many clients over the same pictures, from its eighth answer to its last."""
    marks: list[tuple[float, float]] = []

    def watch(_: Request, answer: Answer) -> None:
        if answer.status != 200:
            raise SystemExit(f"a picture was answered with {answer.status}: {answer.body[:300]!r}")
        marks.append((time.perf_counter(), served.cpu()))

    asyncio.run(closed_loop(served, asked(served, bodies), clients, watch))
    return between(marks)


def between(marks: Sequence[tuple[float, float]]) -> Pace:
    """Seconds a picture from the eighth mark (wall, processor) to the last."""
    (wall, cpu), (end, used) = marks[BATCH - 1], marks[-1]
    count = len(marks) - BATCH
    return Pace((end - wall) / count, (used - cpu) / count)


def asked(served: Served, bodies: Sequence[bytes], query: str = "") -> list[Request]:
    """Each picture as a request."""
    return [Request("good", request(served, f"/v1/check{query}", body)) for body in bodies]


def throughput(options: argparse.Namespace) -> list[Row]:
    """Pictures a second against `check`."""
    bodies = pictures(options.pictures)
    checked, serviced = list[Pace](), list[Pace]()
    with tempfile.TemporaryDirectory() as name, serving(*PATIENT) as served:
        for number, body in enumerate(bodies):
            (Path(name) / f"{number:05}.jpg").write_bytes(body)
        for _ in range(options.rounds):
            checked.append(check_pace(Path(name), len(bodies)))
            serviced.append(service_pace(served, bodies))
    options.capacity = 1 / min(pace.wall for pace in serviced)
    check = min(pace.wall for pace in checked)
    cpu, own = (min(pace.cpu for pace in paces) for paces in (serviced, checked))
    ratio = check * options.capacity
    return [
        Row("`check --batch-size 8`", f"{1 / check:.2f} pictures/s, {own * 1000:.0f} ms of processor time each"),
        Row("service, 16 clients", f"{options.capacity:.2f} pictures/s, {cpu * 1000:.0f} ms of processor time each"),
        Row("throughput against `check`", f"{ratio:.0%}", ">= 90 %", ratio >= 0.9),
        Row("the same by processor time", f"{own / cpu:.0%}", ">= 90 %", own / cpu >= 0.9),
    ]  # fmt: skip


def overhead(options: argparse.Namespace) -> list[Row]:
    """Milliseconds of a request beyond the detector's own, with evidence and without."""
    import pixelsleuth
    from pixelsleuth.evidence.inspection import FileExaminer

    bodies, detector, rows = pictures(options.pictures), pixelsleuth.load("compact"), list[Row]()

    def own(body: bytes) -> float:
        started = time.perf_counter()
        detector.check(body)
        return time.perf_counter() - started

    async def measure(served: Served, query: str) -> list[tuple[float, float, float]]:
        """For each picture milliseconds of the service, of the detector here, and of `elapsed_ms`."""
        connection, times = Connection(served), list[tuple[float, float, float]]()
        for number, entry in enumerate(asked(served, bodies, query)):
            here = own(bodies[number]) if number % 2 else 0.0
            answer = await connection.ask(entry.data)
            here = here or own(bodies[number])
            elapsed = json.loads(answer.body)["elapsed_ms"]
            times.append((answer.seconds * 1000, here * 1000, elapsed))
        connection.close()
        return times[2:]  # the first ones warm up

    with serving(*PATIENT) as served:
        for name, query, examiner in (("", "", FileExaminer()), (", no evidence", "?evidence=false", None)):
            detector.examiner = examiner
            times = asyncio.run(measure(served, query))
            there, here = (statistics.median(values) for values in list(zip(*times, strict=True))[:2])
            more = statistics.median(row[0] - row[1] for row in times)
            beyond = statistics.median(row[0] - row[2] for row in times)
            rows += [
                Row(f"one client{name}: median", f"{there:.0f} ms; detector alone {here:.0f} ms"),
                Row(f"overhead{name}", f"{more:.1f} ms", "< 10 ms", more < 10),
                Row(f"latency beyond `elapsed_ms`{name}", f"{beyond:.1f} ms", "< 10 ms", beyond < 10),
            ]
    return rows


async def overloaded(
    served: Served, bodies: Sequence[bytes], rate: float, seconds: float
) -> tuple[list[Answer], list[float], float, float]:
    """Answers, memory (begin, middle, end), seconds until accepted again, and those of a lone request afterwards."""
    data = [entry.data for entry in asked(served, bodies)]
    load = asyncio.ensure_future(open_loop(served, data, rate, seconds))
    samples, until = list[float](), time.monotonic() + seconds
    while time.monotonic() < until:
        samples.append(await asyncio.to_thread(held, served))
        await asyncio.sleep(SAMPLE_SECONDS)
    fifth = -(-len(samples) // 5)
    middle = (len(samples) - fifth) // 2
    parts = (samples[:fifth], samples[middle : middle + fifth], samples[-fifth:])
    memory = [statistics.median(part) for part in parts]
    ended, probe = time.perf_counter(), Connection(served)
    again: float | None = None
    while again is None:
        started = time.perf_counter()
        if (await probe.ask(data[0])).status == 200:
            again = started - ended
        else:
            await asyncio.sleep(PROBE_SECONDS)
    answers = await load
    lone = (await probe.ask(data[0])).seconds
    probe.close()
    return answers, memory, again, lone


def held(served: Served) -> float:
    """Memory of the service in MB, less the kept verdicts."""
    return served.memory() - served.gauge(KEPT) / MEGABYTE


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def overload(options: argparse.Namespace) -> list[Row]:
    """The service at four times its capacity."""
    bodies = pictures(options.pictures)
    with serving() as served:
        pace = service_pace(served, bodies, WARMING)
        rate = TIMES_CAPACITY * (options.capacity or 1 / pace.wall)
        answers, memory, again, lone = asyncio.run(overloaded(served, bodies, rate, options.seconds))
    accepted = [answer.seconds for answer in answers if answer.status == 200]
    statuses = Counter(answer.status for answer in answers)
    failed = sum(count for status, count in statuses.items() if status >= 500 or status == NO_ANSWER)
    others = set(statuses) - {200, 429}
    middle, late = quantile(accepted, 0.5), quantile(accepted, 0.99)
    growth = max(memory) / memory[0] - 1
    trace = ", ".join(f"{value:.0f}" for value in memory)
    return [
        Row(f"{rate:.1f} requests/s for {options.seconds:g} s: accepted", str(len(accepted))),
        Row("refused with 429", f"{statuses[429] / len(answers):.0%}"),
        Row("accepted requests: p50", f"{middle:.1f} s"),
        Row("accepted requests: p99", f"{late:.1f} s", f"<= {2 * DEADLINE:g} s", late <= 2 * DEADLINE),
        Row("5xx, or no answer", str(failed), "0", failed == 0),
        Row("other answers than 200 and 429", f"{sorted(others) or 'none'}", "none", not others),
        Row("memory at begin, middle, end", f"{trace} MB", "+ 10 % at most", growth <= 0.1),
        Row("accepts again after", f"{again:.2f} s", "<= 2 s", again <= 2),
        Row("a lone request then takes", f"{lone:.2f} s"),
    ]  # fmt: skip


def mixed(options: argparse.Namespace) -> list[Row]:
    """Good, broken and hostile requests."""
    rng, statuses = random.Random(2), defaultdict[str, Counter[int]](Counter)

    def state() -> tuple[float, int]:
        """Memory and descriptors, when the service has noticed that all clients are gone."""
        memory, until, counts = held(served), time.monotonic() + SETTLE_SECONDS, [0]
        while counts[-1:] * 3 != counts[-3:] and time.monotonic() < until:
            counts.append(served.descriptors())
            time.sleep(1)
        return memory, counts[-1]

    with serving(*PATIENT, model=options.model) as served:
        kinds = mixed_requests(served, options.broken)
        order = [rng.choice(rng.choice(kinds)) for _ in range(options.requests)]

        def work(entries: Sequence[Request]) -> None:
            asyncio.run(
                closed_loop(
                    served, entries, BATCH, lambda entry, answer: statuses[entry.kind].update([answer.status])
                )
            )

        first = max(BATCH, len(order) // 10)
        work(order[:first])
        before = state()
        work(order[first:])
        after = state()
        replaced = served.gauge("pixelsleuth_decoders_replaced")
        alive = served.process.poll() is None
    failed = sum(count for counts in statuses.values() for status, count in counts.items() if status >= 500)
    growth = after[0] / before[0] - 1
    rows = [
        Row(f"{kind}: answers", ", ".join(f"{status or 'none'}: {count}" for status, count in sorted(counts.items())))
        for kind, counts in sorted(statuses.items())
    ]  # fmt: skip
    return [
        *rows,
        Row("5xx", str(failed), "0", failed == 0),
        Row("the service lives", "yes" if alive else "no", "yes", alive),
        Row("decoding processes replaced", f"{replaced:.0f}"),
        Row("memory", f"{before[0]:.0f} MB, then {after[0]:.0f} MB", "+ 10 % at most", growth <= 0.1),
        Row("descriptors", f"{before[1]}, then {after[1]}", "no more", after[1] <= before[1]),
    ]


PARTS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "throughput": throughput,
    "overhead": overhead,
    "overload": overload,
    "mixed": mixed,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--pictures", type=int, default=64, help="different pictures, more than 8 (64)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side of `throughput` (3)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload (60)")
    parser.add_argument("--requests", type=int, default=10_000, help="of the mixed load (10000)")
    parser.add_argument("--model", default="compact", help="detector of the mixed load (compact)")
    parser.add_argument("--broken", type=Path, help="folder of damaged pictures for the mixed load")
    options = parser.parse_args()
    options.capacity = None
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cores} cores, {platform.system()}, Python {platform.python_version()}, "
          f"load before {os.getloadavg()[0]:.1f}\n\n| what | measured | goal | met |\n|---|---|---|---|")  # fmt: skip
    missed = 0
    for name in options.parts or PARTS:
        for row in PARTS[name](options):
            met = {None: "", True: "yes", False: "**no**"}[row.met]
            missed += row.met is False
            print(f"| {row.name} | {row.measured} | {row.goal} | {met} |", flush=True)
    if missed:
        print("\nSome goals were not met.", file=sys.stderr)


if __name__ == "__main__":
    main()
