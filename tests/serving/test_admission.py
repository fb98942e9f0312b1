"""What is refused, and how: in time, in one sentence, and so that the connection is of use, or is known to end."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.responses import Response

from pixelsleuth.errors import ServiceBusy
from pixelsleuth.serving import job_routes, problems
from pixelsleuth.serving.jobs import Draft, JobFolder
from pixelsleuth.serving.lanes import Lane
from pixelsleuth.serving.metrics import Metrics
from pixelsleuth.serving.running import listening
from pixelsleuth.serving.service import Gate
from pixelsleuth.serving.settings import ServeOptions
from pixelsleuth.serving.shell import Shell


def test_a_picture_that_would_miss_its_deadline_is_refused_at_once() -> None:
    lane = Lane(SimpleNamespace(name="slow", batches=False, beside=1), batch_size=8)
    lane.pace = 10.0
    try:
        lane.ensure_time(5)  # nothing is ahead: however slow the model is, it gets a picture
        with lane.counting(background=False), lane.counting(background=False):
            assert lane.expected_wait == 20
            lane.ensure_time(45)
            with pytest.raises(ServiceBusy, match="2 pictures are ahead, for about 20 seconds"):
                lane.ensure_time(35)
        with lane.counting(background=True):  # requests go before jobs
            assert lane.expected_wait == 0
        assert lane.expected_wait == 0
    finally:
        lane.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_job_that_does_not_fit_on_the_disk_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Draft, name: str | None) -> BinaryIO:
        self.names.append(name)
        return open("/dev/full", "wb", buffering=0)

    monkeypatch.setattr(Draft, "open", full)
    service: Any = SimpleNamespace(
        jobs=JobFolder(tmp_path, 60),
        reading=Gate(1),
        runner=None,
        options=ServeOptions(),
        lane=lambda name: None,
    )
    app = FastAPI()
    problems.install(app)
    app.include_router(job_routes.routes(service))

    async def post() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/v1/jobs", files={"file": ("a.jpg", b"0" * 5000)})

    answer = asyncio.run(post())
    assert (answer.status_code, answer.json()["code"]) == (507, "output_error")
    assert not list(tmp_path.iterdir())
    assert service.reading.inside == 0


@pytest.mark.parametrize(
    "headers, ends",
    [
        ([(b"content-length", b"150000")], False),
        ([(b"content-length", b"1000000000000")], True),
        ([(b"transfer-encoding", b"chunked")], True),
        ([(b"content-length", b"150000"), (b"expect", b"100-continue")], True),
        ([], False),
    ],
)
def test_a_refusal_says_that_the_connection_ends_where_the_body_is_not_read(
    headers: list[tuple[bytes, bytes]], ends: bool
) -> None:
    sent: list[Any] = []
    read = 0

    async def receive() -> Any:
        nonlocal read
        read += 50_000
        return {"type": "http.request", "body": b"0" * 50_000, "more_body": read != 150_000}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    asyncio.run(Shell(Response("full", 429), Metrics())(scope, receive, send))
    assert ((b"connection", b"close") in sent[0]["headers"]) is ends
    assert not sent[-1].get("more_body")
    assert read <= 150_000 or ends


def test_answers_are_sent_without_delay() -> None:
    async def delayed() -> bool:
        seen: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            link = writer.get_extra_info("socket")
            seen.set_result(not link.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listening("127.0.0.1", 0)
        async with await asyncio.start_server(connected, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            result = await seen
            writer.close()
            return result

    assert asyncio.run(delayed()) is False
