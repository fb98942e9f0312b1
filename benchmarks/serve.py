"""The service under load: throughput, overhead, overload, and hostile files. Loopback only.

    python benchmarks/serve.py throughput        # against check --batch-size 8 on the same pictures
    python benchmarks/serve.py overhead          # one client, against the detector in its own process
    python benchmarks/serve.py overload --seconds 60
    python benchmarks/serve.py mixed --requests 10000

Each starts a service of its own (the bundled detector, two cores) and measures it from another process: wall time,
processor time and memory of the service with its decoding processes. The pictures are JPEGs of 512 x 384, cut from
photographs inside scikit-image's wheel. The client is a few lines over asyncio, so that it costs little itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

WIDTH, HEIGHT, QUALITY = 512, 384, 88
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

CHECK = """
import json, os, sys, time
import pixelsleuth
from pixelsleuth.evidence.inspection import FileExaminer
detector = pixelsleuth.load("compact")
detector.examiner = FileExaminer()
paths = sys.argv[2:]
batch = int(sys.argv[1])
list(detector.check_many(paths[:4]))
times, start, used = [], time.perf_counter(), sum(os.times()[:4])
for _ in detector.check_many(paths, batch_size=batch):
    times.append(time.perf_counter())
print(json.dumps({"wall": times[-1] - start, "cpu": sum(os.times()[:4]) - used,
                  "each": [b - a for a, b in zip([start, *times], times)]}))
"""


def pictures(count: int) -> list[bytes]:
    """JPEGs of 512 x 384 cut from photographs."""
    from PIL import Image
    from skimage import data

    photographs = [
        Image.fromarray(getattr(data, name)()) for name in ("astronaut", "coffee", "chelsea", "rocket")
    ]
    rng, made = random.Random(0), []
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        scale = max(WIDTH / photograph.width, HEIGHT / photograph.height) * rng.uniform(1.0, 1.4)
        resized = photograph.resize(
            (round(photograph.width * scale) + 1, round(photograph.height * scale) + 1)
        )
        left, top = rng.randrange(resized.width - WIDTH + 1), rng.randrange(resized.height - HEIGHT + 1)
        encoded = io.BytesIO()
        resized.crop((left, top, left + WIDTH, top + HEIGHT)).save(encoded, "JPEG", quality=QUALITY)
        made.append(encoded.getvalue())
    return made


def hostile(good: Sequence[bytes]) -> list[bytes]:
    """Bodies of which none should hurt: cut, damaged, empty, text, a bomb, pictures of other formats."""
    from PIL import Image

    bomb = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "PNG")
    others = []
    for kind in ("PNG", "WEBP", "GIF", "BMP", "TIFF"):
        encoded = io.BytesIO()
        Image.open(io.BytesIO(good[0])).resize((128, 96)).save(encoded, kind)
        others.append(encoded.getvalue())
    rng, damaged = random.Random(1), []
    for data in good[:4]:
        broken = bytearray(data)
        for _ in range(40):
            broken[rng.randrange(200, len(broken))] = rng.randrange(256)
        damaged.append(bytes(broken))
    return [b"", b"text", b"\xff\xd8\xff" * 100, bomb.getvalue(), good[1][:3000], *damaged, *others]


@dataclass
class Served:
    """A running service."""

    process: subprocess.Popen[str]
    host: str
    port: int

    def tree(self) -> list[int]:
        """Process ids of the service and of what it has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        more = [
            int(pid)
            for task in Path(f"/proc/{self.process.pid}/task").iterdir()
            for pid in (task / "children").read_text().split()
        ]
        return [self.process.pid, *{*map(int, children), *more}]

    def cpu(self) -> float:
        """Processor seconds so far, of all of them."""
        total = 0.0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15])) / TICKS
        return total

    def memory(self) -> int:
        """Megabytes in memory, of all of them; pages that they share count once each."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total // 1024

    def descriptors(self) -> int:
        """Open descriptors of the service itself."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@contextlib.contextmanager
def serving(*options: str) -> Iterator[Served]:
    """A service with the bundled detector on a free port, ready."""
    command = [
        sys.executable,
        "-m",
        "pixelsleuth",
        "serve",
        "--model",
        "compact",
        "--port",
        "0",
        "--no-jobs",
        *options,
    ]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stderr=log, text=True)
        try:
            where: str | None = None
            while where is None:
                time.sleep(0.1)
                log.seek(0)
                lines = [json.loads(line) for line in log if line.startswith("{") and line.endswith("\n")]
                if process.poll() is not None:
                    raise SystemExit("the service did not start")
                if any(line["event"] == "ready" for line in lines):
                    where = next(line["url"] for line in lines if line["event"] == "listening")
            parts = urlsplit(where)
            assert parts.hostname is not None
            assert parts.port is not None
            yield Served(process, parts.hostname, parts.port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@dataclass
class Client:
    """One connection; `post` sends a picture and returns the status."""

    served: Served
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    retry_after: float = field(default=0.0)

    async def post(self, body: bytes) -> int:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.served.host, self.served.port)
        assert self.reader is not None
        head = (
            f"POST /v1/check HTTP/1.1\r\nHost: {self.served.host}:{self.served.port}\r\n"
            f"Content-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            self.writer.write(head.encode() + body)
            answer = await self.reader.readuntil(b"\r\n\r\n")
            lines = answer.decode("latin-1").lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
            await self.reader.readexactly(int(headers.get("content-length", 0)))
            if headers.get("connection") == "close":
                self.close()
            return int(lines[0].split()[1])
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0

    def close(self) -> None:
        """End the connection; the next `post` opens another."""
        if self.writer is not None:
            self.writer.close()
        self.writer = None


async def closed_loop(
    served: Served, bodies: Sequence[bytes], clients: int
) -> tuple[Counter[int], list[float]]:
    """Every body once, by so many clients at a time: statuses, seconds of each."""
    todo, statuses, times = iter(bodies), Counter[int](), list[float]()

    async def work() -> None:
        client = Client(served)
        for body in todo:
            start = time.perf_counter()
            statuses[await client.post(body)] += 1
            times.append(time.perf_counter() - start)
        client.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return statuses, times


async def open_loop(
    served: Served, bodies: Sequence[bytes], rate: float, seconds: float
) -> tuple[Counter[int], list[float], list[int]]:
    """Requests at a fixed rate, whatever the answers: statuses, seconds of those accepted, memory once a second."""
    statuses, accepted, memory = Counter[int](), list[float](), list[int]()
    idle: list[Client] = []
    tasks: set[asyncio.Task[None]] = set()

    async def one(body: bytes) -> None:
        client = idle.pop() if idle else Client(served)
        start = time.perf_counter()
        status = await client.post(body)
        statuses[status] += 1
        if status == 200:
            accepted.append(time.perf_counter() - start)
        idle.append(client)

    begin, sent = time.perf_counter(), 0
    while (now := time.perf_counter() - begin) < seconds:
        while sent < now * rate:
            tasks.add(task := asyncio.ensure_future(one(bodies[sent % len(bodies)])))
            task.add_done_callback(tasks.discard)
            sent += 1
        if int(now) >= len(memory):
            memory.append(served.memory())
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    for client in idle:
        client.close()
    return statuses, accepted, memory


def checked(bodies: Sequence[bytes], batch: int) -> dict[str, float | list[float]]:
    """The same pictures through the detector in a process of its own, as `check --batch-size` judges them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, body in enumerate(bodies):
            paths.append(str(Path(folder) / f"{number:05}.jpg"))
            Path(paths[-1]).write_bytes(body)
        done = subprocess.run(
            [sys.executable, "-c", CHECK, str(batch), *paths], capture_output=True, text=True, check=True
        )
    figures: dict[str, float | list[float]] = json.loads(done.stdout)
    return figures


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def throughput(options: argparse.Namespace) -> None:
    """Pictures a second of the service, and of `check` before and after it on the same machine."""
    bodies = pictures(32) * (options.requests // 32)
    before = checked(bodies, 8)
    with serving() as served:
        asyncio.run(closed_loop(served, bodies[:16], 8))
        used, start = served.cpu(), time.perf_counter()
        statuses, _ = asyncio.run(closed_loop(served, bodies, options.clients))
        wall, used = time.perf_counter() - start, served.cpu() - used
    after = checked(bodies, 8)
    for name, figures in (("check, before", before), ("check, after", after)):
        rate, cpu = len(bodies) / float(figures["wall"]), float(figures["cpu"]) / len(bodies) * 1000  # type: ignore[arg-type]
        print(f"{name}: {rate:.2f} pictures/s, {cpu:.1f} ms of processor time each")
    rate, each = len(bodies) / wall, used / len(bodies) * 1000
    print(f"service, {options.clients} clients: {rate:.2f} pictures/s, {each:.1f} ms of processor time each")
    print(f"statuses {dict(statuses)}")


def overhead(options: argparse.Namespace) -> None:
    """Milliseconds that a request takes beyond the detector's own time, one client."""
    bodies = pictures(32) * (options.requests // 32)
    own: list[float] = checked(bodies, 1)["each"]  # type: ignore[assignment]
    with serving() as served:
        asyncio.run(closed_loop(served, bodies[:8], 1))
        _, times = asyncio.run(closed_loop(served, bodies, 1))
    again: list[float] = checked(bodies, 1)["each"]  # type: ignore[assignment]
    for name, values in (("detector, before", own), ("service", times), ("detector, after", again)):
        print(
            f"{name}: median {statistics.median(values) * 1000:.1f} ms, p90 {quantile(values, 0.9) * 1000:.1f} ms"
        )


def overload(options: argparse.Namespace) -> None:
    """The service at four times its capacity: what is accepted, how long that takes, memory, recovery."""
    bodies = pictures(32)
    with serving() as served:
        start = time.perf_counter()
        asyncio.run(closed_loop(served, bodies * 2, 8))
        capacity = len(bodies) * 2 / (time.perf_counter() - start)
        statuses, accepted, memory = asyncio.run(open_loop(served, bodies, 4 * capacity, options.seconds))
        start = time.perf_counter()
        (status,) = asyncio.run(closed_loop(served, bodies[:1], 1))[0]
        recovery = time.perf_counter() - start
    print(f"capacity {capacity:.2f} pictures/s; offered {4 * capacity:.2f}/s for {options.seconds:g} s")
    print(f"statuses {dict(statuses)}; accepted {len(accepted) / options.seconds:.2f}/s")
    print(f"accepted: median {statistics.median(accepted):.2f} s, p99 {quantile(accepted, 0.99):.2f} s")
    print(
        f"memory: first second {memory[0]} MB, median {statistics.median(memory):.0f} MB, most {max(memory)} MB"
    )
    print(f"recovery: the next request was answered with {status} after {recovery:.2f} s")


def mixed(options: argparse.Namespace) -> None:
    """Good, broken and hostile bodies in turn: statuses, memory and descriptors before and after."""
    good = pictures(8)
    bodies = [*[body[:] for body in good[:1]], *hostile(good)]
    rng = random.Random(2)
    order = [rng.choice(bodies) for _ in range(options.requests)]
    with serving("--queue", "64") as served:
        asyncio.run(closed_loop(served, order[: max(200, options.requests // 10)], options.clients))
        before = (served.memory(), served.descriptors())
        statuses, _ = asyncio.run(closed_loop(served, order, options.clients))
        after = (served.memory(), served.descriptors())
        alive = served.process.poll() is None
    print(f"{options.requests} requests: statuses {dict(statuses)}; the service lives: {alive}")
    print(
        f"memory {before[0]} MB before, {after[0]} MB after; descriptors {before[1]} before, {after[1]} after"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["throughput", "overhead", "overload", "mixed"])
    parser.add_argument("--requests", type=int, default=256, help="pictures, or requests, in all")
    parser.add_argument("--clients", type=int, default=8, help="requests at a time")
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload")
    options = parser.parse_args()
    {"throughput": throughput, "overhead": overhead, "overload": overload, "mixed": mixed}[options.what](
        options
    )


if __name__ == "__main__":
    main()
