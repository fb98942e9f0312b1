"""What is accepted is likely to be judged in time, and a full disk refuses a job in one sentence."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import httpx2
import pytest
from fastapi import FastAPI

from pixelsleuth.errors import ServiceBusy
from pixelsleuth.serving import job_routes, problems
from pixelsleuth.serving.jobs import Draft, JobFolder
from pixelsleuth.serving.lanes import Lane
from pixelsleuth.serving.service import Gate
from pixelsleuth.serving.settings import ServeOptions


def test_a_picture_that_would_miss_its_deadline_is_refused_at_once() -> None:
    lane = Lane(SimpleNamespace(name="slow", batches=False), batch_size=8)
    lane.pace = 10.0
    try:
        lane.ensure_time(5)  # nothing is ahead: however slow the model is, it gets a picture
        with lane.counting(background=False), lane.counting(background=False):
            assert lane.expected_wait == 20
            lane.ensure_time(30)
            with pytest.raises(ServiceBusy, match="2 pictures are ahead, for about 20 seconds"):
                lane.ensure_time(25)
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
