"""Background jobs: their results outlive the process, a full disk and a picture that ends the service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from pixelsleuth.core.outputs import RecordFile
from pixelsleuth.core.verdict import Verdict
from pixelsleuth.errors import NotAllowed, NotKept, OutputError, ServiceBusy
from pixelsleuth.serving import job_runner, jobs, webhooks
from pixelsleuth.serving.job_runner import JobRunner
from pixelsleuth.serving.jobs import Job, JobFolder

if TYPE_CHECKING:
    from conftest import Served


def form(*pictures: bytes) -> list[Any]:
    return [("file", (f"{number}.jpg", data)) for number, data in enumerate(pictures)]


def wait_for(client: httpx2.Client, place: str, state: str = "done", seconds: float = 60) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job = client.get(place).json()
        if job["state"] == state:
            return job
        time.sleep(0.05)
    raise AssertionError(f"not {state}: {job}")


def records(client: httpx2.Client, place: str, start: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.get(f"{place}/results?from={start}").text.splitlines()]


@pytest.fixture(scope="module")
def client(server: Served) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        yield client


def test_a_job_gives_the_records_of_check_in_order(client: httpx2.Client, picture: bytes) -> None:
    answer = client.post("/v1/jobs?explain=false", files=form(picture, b"no picture", picture))
    assert answer.status_code == 202
    place = answer.headers["location"]
    job = wait_for(client, place)
    assert (job["total"], job["done"], job["failed"]) == (3, 3, 1)
    lines = records(client, place)
    check = client.post("/v1/check?explain=false", files={"file": ("2.jpg", picture)}).json()
    assert lines[2] | {"elapsed_ms": 0} == check | {"elapsed_ms": 0}
    assert lines[1]["error"]["code"] == "not_a_picture"
    assert records(client, place, 2) == lines[2:]
    assert client.delete(place).status_code == 204
    assert client.get(place).json()["code"] == "not_kept"


@pytest.mark.parametrize(
    "path, body, code",
    [
        ("/v1/jobs", {"content": b"no form"}, "bad_request"),
        ("/v1/jobs", {"data": {"a": "b"}, "files": {}}, "bad_request"),
        ("/v1/jobs?model=nope", {"files": form(b"x")}, "unknown_model"),
        ("/v1/jobs?webhook=http://127.0.0.1/", {"files": form(b"x")}, "not_allowed"),
    ],
)
def test_what_is_no_job_is_refused(client: httpx2.Client, path: str, body: Any, code: str) -> None:
    assert client.post(path, **body).json()["code"] == code


@pytest.mark.parametrize("name", ["../../etc", "a" * 22, ".."])
def test_an_unknown_job_is_not_kept(client: httpx2.Client, name: str) -> None:
    assert client.get(f"/v1/jobs/{name}").status_code == 404


def test_a_job_goes_on_after_kill_9_without_a_double_or_missing_record(
    start: Callable[..., Served], picture: bytes, tmp_path: Path
) -> None:
    options = ("--model", "compact", "--jobs", str(tmp_path / "jobs"))
    first = start(*options, folder=tmp_path)
    with httpx2.Client(base_url=first.url, timeout=60) as client:
        answer = client.post("/v1/jobs?evidence=false", files=form(*[picture] * 24))
        place = answer.headers["location"]
        wait_for(client, place, "running")
    first.stop(signal.SIGKILL)
    (results,) = (tmp_path / "jobs").glob("*/results.jsonl")
    before = results.read_bytes().count(b"\n")
    assert 0 < before < 24
    with results.open("ab") as stream:
        stream.write(
            b'{"schema": "pixelsleuth.verdict/1", "sou'
        )  # what a kill in the middle of a line leaves
    second = start(*options, folder=tmp_path)
    with httpx2.Client(base_url=second.url, timeout=60) as client:
        wait_for(client, place)
        assert [record["source"] for record in records(client, place)] == [f"{i}.jpg" for i in range(24)]
    assert any(line["event"] == "job resumed" and line["done"] == before for line in second.log)
    assert not list((tmp_path / "jobs").glob("*/files/*"))
    assert second.stop() == 0


class Fake:
    """A service whose pictures are judged at once."""

    ready, draining = True, False

    def __init__(self) -> None:
        detector = SimpleNamespace(model={"name": "fake", "version": "1"})
        self.lanes = {"fake": SimpleNamespace(detector=detector)}
        self.checked: list[str | None] = []

    def turns(self, lane: Any) -> int:
        return 2

    async def check(self, upload: Any, lane: Any, **options: Any) -> Verdict:
        self.checked.append(upload.name)
        return Verdict(upload.name, model=lane.detector.model)


def draft(folder: JobFolder, count: int, **settings: Any) -> Job:
    begun = folder.begin()
    for number in range(count):
        begun.open(f"{number}.jpg").close()
    return begun.commit(model="fake", **settings)


def run(folder: JobFolder, job: Job, service: Any, tell: Any = None) -> list[str]:
    """The sources of the records when the job is done."""

    async def until_done() -> None:
        runner = JobRunner(service, folder, tell)
        async with asyncio.timeout(20):
            while not runner._settled(job):
                await asyncio.sleep(0.01)
        await runner.close()

    asyncio.run(until_done())
    return [json.loads(line)["source"] for line in folder.lines(job)]


def test_a_full_disk_makes_a_job_wait_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, failures = JobFolder(tmp_path, 60), [1, 1]
    commit = RecordFile.commit

    def full(self: RecordFile, tail: str = "") -> None:
        if failures:
            failures.pop()
            self._pending.clear()
            raise OutputError("no space left")
        commit(self, tail)

    monkeypatch.setattr(RecordFile, "commit", full)
    monkeypatch.setattr(job_runner, "ROOM_SECONDS", 0.01)
    assert run(folder, draft(folder, 3), Fake()) == ["0.jpg", "1.jpg", "2.jpg"]
    assert not failures


def test_a_picture_that_ends_the_service_again_and_again_gets_an_error(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, 60)
    job = draft(folder, 2)
    for _ in range(job_runner.MOST_STARTS):
        jobs.stuck(folder.place(job), 0)
    service = Fake()
    assert run(folder, job, service) == ["0.jpg", "1.jpg"]
    assert service.checked == ["1.jpg"]
    assert folder.state(job)["failed"] == 1


def test_a_webhook_is_called_once(tmp_path: Path) -> None:
    folder, told = JobFolder(tmp_path, 60), []

    async def tell(job: Job) -> bool:
        told.append(folder.state(job)["done"])
        return True

    job = draft(folder, 1, webhook="http://hooks.example/")
    run(folder, job, Fake(), tell)
    run(folder, job, Fake(), tell)
    assert told == [1]


def test_only_allowed_hosts_are_called() -> None:
    hosts = ["hooks.example.org", "other.example:8443"]
    webhooks.allowed_webhook("https://HOOKS.example.org/done", hosts)
    webhooks.allowed_webhook("https://other.example:8443/x", hosts)
    for address in (
        *("https://evil.example/", "https://hooks.example.org.evil.example/", "file:///etc/passwd"),
        *(
            "https://hooks.example.org@evil.example/",
            "https://user@hooks.example.org/",
            "gopher://hooks.example.org",
        ),
        *("https://hooks.example.org:22/", "https://other.example/", "//hooks.example.org/", "https://[::1/"),
    ):
        with pytest.raises(NotAllowed):
            webhooks.allowed_webhook(address, hosts)


def test_finished_jobs_and_broken_uploads_are_removed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = JobFolder(tmp_path, 0)
    job, waiting = draft(folder, 1), draft(folder, 1)
    folder.begin().open("half.jpg").close()
    folder.place(job, jobs.RESULTS).write_text('{"schema": "pixelsleuth.verdict/1"}\n')
    time.sleep(0.01)
    folder.sweep()
    assert [left.id for left in folder] == [waiting.id]
    assert len(list(tmp_path.glob(".*.part"))) == 1
    monkeypatch.setattr(jobs, "ABANDONED_SECONDS", -1)
    folder.sweep()
    assert not list(tmp_path.glob(".*"))
    folder.remove(waiting.id)
    with pytest.raises(NotKept):
        folder.get(waiting.id)


def test_no_more_jobs_than_the_service_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MOST_UNFINISHED", 1)
    folder = JobFolder(tmp_path, 60)
    draft(folder, 1)
    with pytest.raises(ServiceBusy):
        folder.begin()


def test_a_damaged_job_is_left_alone(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, 60)
    (tmp_path / ("a" * 22)).mkdir()
    with contextlib.suppress(OSError):
        (tmp_path / ("a" * 22) / "job.json").write_text('{"schema": "pixelsleuth.job/1", "id": 7}')
    assert list(folder) == []
