"""What `benchmarks/serve.py` measures with: a running service, connections to it, pictures and hostile requests."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

CLI = [sys.executable, "-m", "pixelsleuth"]
WIDTH, HEIGHT, QUALITY = 512, 384, 88
MEGABYTE = 1e6
START_SECONDS = 300.0
"""How long a service may take to be ready on a busy machine."""
LARGEST_BODY = 1_000_000
"""`--max-bytes` of the services that are measured: what is above it is cheap to send."""
NO_ANSWER = 0
"""The status of a request that got no answer."""


@dataclass
class Served:
    """A running service with its decoding processes."""

    process: psutil.Popen
    host: str = ""
    port: int = 0

    def tree(self) -> list[psutil.Process]:
        """The service and what it has started."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        """Processor seconds of all of them; those of decoding processes that were replaced are not counted."""
        return sum(_of(process, lambda p: sum(p.cpu_times()[:2])) for process in self.tree())

    def memory(self) -> float:
        """Resident memory of all of them in MB; a page that several share counts once (PSS)."""
        return sum(_of(process, lambda p: p.memory_full_info().pss / MEGABYTE) for process in self.tree())

    def descriptors(self) -> int:
        """Open descriptors of the service itself."""
        return int(self.process.num_fds())

    def gauge(self, name: str) -> float:
        """One value of `/metrics`."""

        async def ask() -> str:
            connection = Connection(self)
            answer = await connection.ask(request(self, "/metrics", method="GET"))
            connection.close()
            return answer.body.decode()

        lines = asyncio.run(ask()).splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name + " "))


def _of(process: psutil.Process, value: Callable[[psutil.Process], float]) -> float:
    """A value of a process, 0 where it has ended meanwhile."""
    try:
        return value(process)
    except psutil.NoSuchProcess:
        return 0.0


@contextlib.contextmanager
def serving(*options: str, model: str = "compact") -> Iterator[Served]:
    """`pixelsleuth serve` with a detector on a free port, ready."""
    command = [*CLI, "serve", "--model", model, "--port", "0", "--no-jobs", *options]
    with tempfile.TemporaryFile("w+") as log:
        served = Served(psutil.Popen([*command, "--max-bytes", str(LARGEST_BODY)], stderr=log))
        until = time.monotonic() + START_SECONDS
        try:
            events: dict[str, dict[str, str]] = {}
            while "ready" not in events:
                if served.process.poll() is not None or time.monotonic() > until:
                    raise SystemExit("the service did not start")
                time.sleep(0.1)
                log.seek(0)
                lines = [json.loads(line) for line in log if line.startswith("{") and line.endswith("\n")]
                events = {line["event"]: line for line in lines}
            parts = urlsplit(events["listening"]["url"])
            served.host, served.port = parts.hostname or "", parts.port or 0
            yield served
        finally:
            served.process.send_signal(signal.SIGTERM)
            served.process.wait(60)


@dataclass(frozen=True)
class Answer:
    """The status of an answer (`NO_ANSWER` where there was none), its seconds and its body."""

    status: int
    seconds: float
    body: bytes = field(default=b"", repr=False)


@dataclass
class Connection:
    """One connection, kept open between requests where the service keeps it open."""

    served: Served
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def ask(self, data: bytes, *, leave: bool = False) -> Answer:
        """Send the bytes of a request and read the answer; with `leave`, close the connection in place of reading."""
        started = time.perf_counter()
        status, body = NO_ANSWER, b""
        try:
            if self.writer is None or self.reader is None:
                self.reader, self.writer = await asyncio.open_connection(self.served.host, self.served.port)
            self.writer.write(data)
            if leave:
                await asyncio.sleep(0.01)
                self.close()
            else:
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
                headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
                body = await self.reader.readexactly(int(headers.get("content-length", 0)))
                status = int(head[0].split()[1])
                if headers.get("connection") == "close":
                    self.close()
        except (OSError, asyncio.IncompleteReadError):
            self.close()
        return Answer(status, time.perf_counter() - started, body)

    def close(self) -> None:
        """End the connection; the next request opens another."""
        if self.writer is not None:
            self.writer.close()
        self.writer = self.reader = None


def request(
    served: Served,
    path: str,
    body: bytes = b"",
    *,
    content_type: str = "image/jpeg",
    method: str = "POST",
    length: int | None = None,
    extra: str = "",
) -> bytes:
    """The bytes of a request; `length` is the length that it declares, else that of the body."""
    size = len(body) if length is None else length
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {served.host}:{served.port}\r\n{extra}"
        f"Content-Type: {content_type}\r\nContent-Length: {size}\r\n\r\n"
    )
    return head.encode() + body


async def closed_loop(
    served: Served, requests: Iterable[Request], clients: int, watch: Callable[[Request, Answer], None]
) -> None:
    """Every request once, by so many clients at a time; `watch` is called with each answer as it comes."""
    todo = iter(requests)

    async def client() -> None:
        connection = Connection(served)
        for entry in todo:
            watch(entry, await connection.ask(entry.data, leave=entry.leave))
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))


async def open_loop(served: Served, requests: Sequence[bytes], rate: float, seconds: float) -> list[Answer]:
    """Requests at a fixed rate (a second), whatever the answers; all answers, after the last has come."""
    idle: list[Connection] = []
    answers: list[Answer] = []

    async def once(data: bytes) -> None:
        connection = idle.pop() if idle else Connection(served)
        answers.append(await connection.ask(data))
        idle.append(connection)

    started, tasks = time.perf_counter(), list[asyncio.Task[None]]()
    while (now := time.perf_counter() - started) < seconds:
        while len(tasks) < now * rate:
            tasks.append(asyncio.ensure_future(once(requests[len(tasks) % len(requests)])))
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return answers


def pictures(count: int) -> list[bytes]:
    """JPEGs of 512 x 384, each another part of a photograph inside scikit-image's wheel."""
    from PIL import Image
    from skimage import data

    photographs = [
        Image.fromarray(getattr(data, name)()) for name in ("astronaut", "coffee", "chelsea", "rocket")
    ]
    rng, made = random.Random(0), []
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        scale = max(WIDTH / photograph.width, HEIGHT / photograph.height) * rng.uniform(1.05, 1.4)
        left = rng.uniform(0, photograph.width - WIDTH / scale)
        top = rng.uniform(0, photograph.height - HEIGHT / scale)
        box = (left, top, left + WIDTH / scale, top + HEIGHT / scale)
        made.append(encoded(photograph.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, box), "JPEG"))
    return made


def encoded(image: object, kind: str) -> bytes:
    """A Pillow image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, quality=QUALITY)  # type: ignore[attr-defined]
    return stream.getvalue()


@dataclass(frozen=True)
class Request:
    """The bytes of a request; with `leave` the client does not wait for the answer."""

    kind: str
    data: bytes = field(repr=False)
    leave: bool = False


def mixed_requests(served: Served, broken: Path | None) -> list[list[Request]]:
    """Good, broken and hostile requests, those of one kind in a list; `broken` is a folder of damaged pictures."""
    from PIL import Image

    rng, good = random.Random(1), pictures(8)
    form = {"content_type": "multipart/form-data; boundary=b"}
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    bombs = [encoded(Image.new("1", (30_000, 30_000)), kind) for kind in ("PNG", "TIFF")]
    bombs = [bomb for bomb in bombs if len(bomb) <= LARGEST_BODY]
    damaged = []
    for data in good:
        changed = bytearray(data)
        for _ in range(40):
            changed[rng.randrange(200, len(changed))] = rng.randrange(256)
        damaged.append(bytes(changed))
    samples = [path.read_bytes() for path in sorted(broken.iterdir())] if broken is not None else []
    small = Image.open(io.BytesIO(good[0])).resize((96, 80))

    def sent(kind: str, bodies: Sequence[bytes], **how: object) -> list[Request]:
        return [Request(kind, request(served, "/v1/check", body, **how)) for body in bodies]  # type: ignore[arg-type]

    left = request(served, "/v1/check", good[0][:4000], length=len(good[0]))
    kinds = [
        sent("good", good),
        sent("good", [encoded(small, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]),
        sent("good", [part + good[1] + b"\r\n--b--\r\n"], **form),
        sent("wrong type", good[:2], content_type="text/plain")
        + sent("wrong type", good[:1], content_type="application/json"),
        sent("truncated", [data[: rng.randrange(20, len(data))] for data in good]),
        sent("damaged", damaged),
        sent("sample", samples),
        sent("bomb", bombs),
        sent("no picture", [b"", b"text", b"<html>", b"\xff\xd8\xff" * 100, rng.randbytes(5000)]),
        sent("bad form", [b"", part + b"cut off", b"--b--\r\n", rng.randbytes(500)], **form),
        sent("too large", [b"\xff" * (LARGEST_BODY + 1)]) + sent("too large", [b""], length=1 << 40),
        [Request("bad head", b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n")],
        [Request("bad head", b"\x16\x03\x01 no HTTP\r\n\r\n")],
        [Request("left", left, leave=True), Request("left", sent("", good[:1])[0].data, leave=True)],
    ]
    return [entries for entries in kinds if entries]
