"""A client of a service judges as the detector there does; a stand-in for the service shows the faults."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from click.testing import CliRunner
from fake_detector import FakeDetector
from PIL import Image

pytest.importorskip("httpx2", reason="httpx2 sends the pictures: run `make setup`")

import pixelsleuth as ps
from pixelsleuth import errors
from pixelsleuth.cli.main import main
from pixelsleuth.core.verdict import Verdict
from pixelsleuth.evidence.inspection import FileExaminer
from pixelsleuth.models.remote import client as remote
from pixelsleuth.models.remote import exchange

MODELS = {
    "models": [
        {"name": "other", "default": False, "model": {"name": "other", "version": "2"}},
        {
            "name": "fake",
            "default": True,
            "model": {"name": "fake", "version": "1"},
            "capabilities": ["detect", "localize", "of the future"],
            "notices": ["A stand-in."],
        },
    ]
}


class Service:
    """Answers as the service does, by the stand-in detector; `faults` come first, one a request, in order."""

    def __init__(self) -> None:
        self.detector, self.lock = FakeDetector(), threading.Lock()
        self.faults: list[str] = []
        self.always = ""
        self.requests: list[tuple[str, dict[str, str], dict[str, str], bytes]] = []
        self.running = self.most = 0
        self.models: object = MODELS
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    @property
    def checks(self) -> list[tuple[str, dict[str, str], dict[str, str], bytes]]:
        return [request for request in self.requests if request[0] == "/v1/check"]

    def handler(service) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def log_message(self, *_: object) -> None: ...

            def send(self, status: int, document: object, **headers: str) -> None:
                data = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                self.answer(b"")

            def do_POST(self) -> None:
                self.answer(self.rfile.read(int(self.headers["Content-Length"])))

            def answer(self, body: bytes) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                with service.lock:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    service.requests.append((parts.path, query, headers, body))
                    fault = service.faults.pop(0) if service.faults else service.always
                    service.running += parts.path == "/v1/check"
                    service.most = max(service.most, service.running)
                try:
                    if fault:
                        self.fail(fault)
                    elif parts.path == "/readyz":
                        self.send(200, {"status": "ready"})
                    elif parts.path == "/v1/models":
                        self.send(200, service.models)
                    else:
                        self.check(body, query)
                finally:
                    with service.lock:
                        service.running -= parts.path == "/v1/check"

            def check(self, body: bytes, query: dict[str, str]) -> None:
                service.detector.examiner = FileExaminer() if query["evidence"] == "true" else None
                verdict = service.detector.check(body, explain=query["explain"] == "true", on_error="record")
                if verdict.error is None:
                    self.send(200, verdict.to_dict())
                    return
                error = verdict.error
                problem = {"code": error["code"], "detail": error["message"], "verdict": verdict.to_dict()}
                self.send(422, problem)

            def fail(self, fault: str) -> None:
                if fault.isdigit():
                    codes = {
                        "429": "busy",
                        "403": "not_allowed",
                        "503": "service_unavailable",
                        "413": "body_too_large",
                    }
                    problem = {"code": codes.get(fault, "internal_error"), "detail": "Not\nnow."}
                    self.send(int(fault), problem, Retry_After="0")
                elif fault == "later":
                    self.send(429, {"code": "busy", "detail": "Later."}, Retry_After="7")
                elif fault == "starting":
                    self.send(503, {"status": "starting"}, Retry_After="0")
                elif fault == "proxy":
                    self.send(502, b"<html>bad gateway</html>", Retry_After="0")
                elif fault == "cut":
                    self.close_connection = True
                elif fault == "slow":
                    time.sleep(0.4)
                    self.close_connection = True
                elif fault == "drip":
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    for _ in range(20):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                        time.sleep(0.03)
                    self.close_connection = True
                elif fault == "huge":
                    self.send(200, b" " * (exchange.LARGEST_ANSWER + 1))
                else:
                    self.send(200, fault.encode())

        return Handler


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(exchange, "FIRST_PAUSE", 0.01)
    monkeypatch.delenv(remote.KEY_FROM, raising=False)
    running = Service()
    yield running
    running.http.shutdown()
    running.http.server_close()


@pytest.fixture
def client(service: Service) -> Iterator[ps.Client]:
    with ps.Client(service.url) as client:
        yield client


def pixels(mark: bool = True, value: int = 0) -> np.ndarray:
    image = np.random.default_rng(value).integers(60, 200, (40, 60, 3)).astype(np.uint8)
    if mark:
        image[5:15, 10:30] = (255, 0, 255)
    return image


def png(array: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(array).save(encoded, "PNG")
    return encoded.getvalue()


def record(verdict: Verdict) -> dict:
    return verdict.to_dict() | {"elapsed_ms": 0}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Tampered, real, broken, a text, one that fails in the detector, and one that is not there."""
    failing = pixels(False)
    failing[0, 0] = (1, 2, 3)
    contents = {
        "a.png": png(pixels()),
        "café.png": png(pixels(False)),
        "cut.png": png(pixels())[:500],
        "notes.png": b"a private text",
        "fails.png": png(failing),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return [str(tmp_path / name) for name in (*contents, "missing.png")]


def test_a_client_is_the_detector_of_the_service(service: Service, client: ps.Client) -> None:
    assert isinstance(client, ps.Detector)
    assert client.model == {"name": "fake", "version": "1"}
    assert client.capabilities == {ps.Capability.DETECT, ps.Capability.LOCALIZE}
    assert client.notices == (f"The pictures are sent to {service.url}.", "A stand-in.")
    assert ps.load(f"{service.url}/#other").model == {"name": "other", "version": "2"}


@pytest.mark.parametrize("explain", [True, False])
def test_every_source_gives_the_record_that_the_detector_itself_gives(
    client: ps.Client, files: list[str], explain: bool
) -> None:
    array = pixels()
    opened = ps.open_picture(array, name="mine")
    sources = [
        *(lambda: files[0], lambda: Path(files[1]), lambda: Path(files[0]).read_bytes()),
        *(lambda: bytearray(png(array)), lambda: io.BytesIO(png(array)), lambda: array),
        *(lambda: array[..., 0].astype(np.float64) / 255, lambda: Image.fromarray(array), lambda: opened),
    ]
    for source in sources:
        verdict, expected = (
            client.check(source(), explain=explain),
            FakeDetector().check(source(), explain=explain),
        )
        assert record(verdict) == record(expected)
        assert np.array_equal(np.asarray(verdict.overlay().size), np.asarray(expected.overlay().size))


def test_a_list_gives_a_list_in_order_with_failures_as_records(client: ps.Client, files: list[str]) -> None:
    verdicts, expected = client.check(files * 3), FakeDetector().check(files * 3)
    assert [record(verdict) for verdict in verdicts] == [record(verdict) for verdict in expected]
    assert [verdict.ok for verdict in verdicts[:6]] == [True, True, False, False, False, False]
    streamed = list(client.check_many(iter(files), batch_size=3))
    assert [record(verdict) for verdict in streamed] == [record(verdict) for verdict in expected[:6]]
    assert [record(verdict) for verdict in client.check_many(files[0])] == [record(expected[0])]


def test_evidence_is_what_the_service_finds_in_the_file_and_none_is_made_up_for_pixels(
    service: Service, client: ps.Client, files: list[str]
) -> None:
    detector = FakeDetector()
    detector.examiner = client.examiner = FileExaminer()
    for source in (files[0], files[2], pixels()):
        verdict, expected = (judge.check(source, on_error="record") for judge in (client, detector))
        assert record(verdict) == record(expected)
    assert [query["evidence"] for _, query, _, _ in service.checks] == ["true", "true", "false"]


@pytest.mark.parametrize(
    "name, error", [("cut", "CorruptPicture"), ("notes", "NotAPicture"), ("missing", "PictureNotFound")]
)
def test_a_single_picture_raises_the_same_error(
    client: ps.Client, files: list[str], name: str, error: str
) -> None:
    (path,) = [path for path in files if Path(path).stem == name]
    with pytest.raises(getattr(errors, error)) as here:
        FakeDetector().check(path)
    with pytest.raises(getattr(errors, error)) as there:
        client.check(path)
    assert str(there.value) == str(here.value)
    with pytest.raises(errors.PictureError):
        client.check(files, on_error="raise")


def test_what_is_no_picture_or_too_large_is_not_sent(
    service: Service, client: ps.Client, files: list[str]
) -> None:
    client.max_megapixels = 0.001
    for source in (files[0], files[3], files[5], pixels(), b"text", 3):
        with pytest.raises(errors.PictureError):
            client.check(source)
    assert service.checks == []


def test_names_of_files_stay_here(service: Service, client: ps.Client, files: list[str]) -> None:
    client.check(files)
    assert not [body for _, _, _, body in service.checks if b"private" in body]
    assert not [
        text for request in service.checks for text in ("a.png", "caf", "cut.png") if text in str(request[:3])
    ]


def test_pictures_are_under_way_together_but_no_more_than_asked_for(
    service: Service, client: ps.Client
) -> None:
    together = threading.Barrier(remote.AT_ONCE)
    judge = service.detector.judge

    def judge_together(*given: object, **named: object) -> list[Verdict]:
        together.wait(10)
        return judge(*given, **named)  # type: ignore[arg-type]

    service.detector.judge = judge_together  # type: ignore[method-assign,assignment]
    assert len(client.check([png(pixels(value=n)) for n in range(remote.AT_ONCE)])) == remote.AT_ONCE
    assert service.most == remote.AT_ONCE
    service.detector.judge, service.most = judge, 0  # type: ignore[method-assign]
    taken: list[int] = []

    def sources() -> Iterator[bytes]:
        for number in range(6):
            taken.append(number)
            yield png(pixels(value=number))

    stream = client.check_many(sources(), batch_size=2)
    next(stream)
    assert len(taken) <= 3
    assert len(list(stream)) == 5
    assert service.most <= 2


@pytest.mark.parametrize("fault", ["429", "503", "starting", "proxy", "cut"])
def test_a_busy_service_is_asked_again(service: Service, client: ps.Client, fault: str) -> None:
    service.faults = [fault] * 3
    assert client.check(pixels()).label == "tampered"
    assert len(service.checks) == 4


def test_a_service_that_is_starting_is_waited_for(service: Service) -> None:
    service.faults = ["starting"] * 3
    with ps.Client(service.url) as client:
        assert client.name == "fake"


def test_the_service_says_when_to_come_again_and_patience_bounds_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(exchange.time, "sleep", pauses.append)
    with ps.Client(service.url, patience=20) as client:
        service.faults = ["later"]
        client.check(pixels())
        assert 7 <= pauses[0] <= 7 * (1 + exchange.JITTER)
        client._exchange.patience = 5
        service.always = "later"
        with pytest.raises(errors.ServiceBusy, match="Later"):
            client.check(pixels())
        assert len(pauses) == 1
        (verdict,) = client.check([pixels()])
        assert verdict.error is not None
        assert verdict.error["code"] == "busy"


@pytest.mark.parametrize(
    "fault, error, words",
    [
        ("413", "body_too_large", "Not now"),
        ("500", "internal_error", "Not now"),
        ("401", "not_allowed", "PIXELSLEUTH_API_KEY"),
        ("403", "not_allowed", "Not now"),
        ("slow", "endpoint_error", "did not answer within"),
        ("drip", "endpoint_error", "did not answer within"),
        ("huge", "endpoint_error", "sent more than"),
        ("<html>", "endpoint_error", "does not answer as a PixelSleuth service does"),
        ("[]", "endpoint_error", "does not answer as"),
        ("{}", "endpoint_error", "no verdict"),
        ('{"schema": "other"}', "endpoint_error", "no verdict"),
        ('{"schema": "pixelsleuth.verdict/1", "mask": {"file": "/etc/passwd"}}', "endpoint_error", "no verdict"),
        ('{"mask": {"rle": {"size": [99999999, 99999999], "counts": "0"}}, "height": 99999999, "width": 99999999}',
         "endpoint_error", "no verdict"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_verdict_is_the_error_of_its_picture(
    service: Service, monkeypatch: pytest.MonkeyPatch, fault: str, error: str, words: str
) -> None:
    monkeypatch.setattr(exchange, "LARGEST_ANSWER", 100_000)
    with ps.Client(service.url, timeout=0.2) as client:
        service.faults = [fault]
        (verdict,) = client.check([pixels()])
        after = client.check(pixels())
    assert verdict.error is not None
    assert verdict.error["code"] == error
    assert words in verdict.error["message"]
    assert after.label == "tampered"


def test_a_dead_service_is_waited_for_once_and_not_for_every_picture(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(exchange.time, "sleep", pauses.append)
    with ps.Client(service.url, patience=0.1) as client:
        service.always = "cut"  # connections that are open already
        service.http.shutdown()
        service.http.server_close()
        first, *others = client.check_many([pixels()] * 4)
        assert pauses
        before = len(pauses)
        assert first.error == others[-1].error
        assert first.error is not None
        assert "cannot be reached" in first.error["message"]
        assert not client.check([pixels()])[0].ok
        assert len(pauses) == before
    with pytest.raises(errors.EndpointError, match="cannot be reached"):
        ps.Client(service.url)


def test_a_key_is_sent_as_a_bearer_token(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    ps.Client(service.url).close()
    assert "authorization" not in service.requests[-1][2]
    monkeypatch.setenv(remote.KEY_FROM, "from the environment")
    ps.Client(service.url).close()
    assert service.requests[-1][2]["authorization"] == "Bearer from the environment"
    ps.Client(service.url, api_key="given").close()
    assert service.requests[-1][2]["authorization"] == "Bearer given"
    with pytest.raises(errors.UsageError, match="no key"):
        ps.Client(service.url, api_key="a\nb")


def test_what_is_no_service_or_no_model_is_one_sentence(service: Service) -> None:
    for wrong in ("http://", "http://h:0", "ftp://h", "http://me@127.0.0.1", "http://127.0.0.1/?key=1"):
        with pytest.raises(errors.UsageError):
            ps.Client(wrong)
    with pytest.raises(errors.UnknownModel, match="did you mean other"):
        ps.load(f"{service.url}#othr")
    for switch in ({"device": "cuda"}, {"precision": "int8"}, {"weights": "w.pt"}):
        with pytest.raises(errors.UsageError):
            ps.load(service.url, **switch)  # type: ignore[arg-type]
    with pytest.raises(errors.UsageError, match="its own bounds"):
        ps.load(service.url).decide_by()
    for models in ([], {}, {"models": []}, {"models": [3]}, {"models": [{"name": "x"}]}):
        service.models = models
        with pytest.raises(errors.EndpointError):
            ps.Client(service.url)


def test_without_httpx_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx2", None)
    with pytest.raises(errors.MissingExtra, match=r"\[client\]"):
        ps.Client("http://127.0.0.1:1")


def test_check_through_a_service_writes_records_masks_and_a_report(
    service: Service, files: list[str], tmp_path: Path
) -> None:
    masks, report, out = tmp_path / "masks", tmp_path / "report.html", tmp_path / "out.jsonl"
    options = ["--model", service.url, "--format", "jsonl", "--save-masks", masks, "--report", report]
    arguments = ["check", *files, *options, "--output", out, "--batch-size", "4"]
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 1, done.output
    assert f"The pictures are sent to {service.url}." in done.stderr
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [line["source"] for line in lines] == files
    assert [line["label"] for line in lines[:2]] == ["tampered", "real"]
    (mask,) = masks.iterdir()
    assert np.asarray(Image.open(mask)).sum() == 255 * 10 * 20
    assert report.read_text("utf-8").count("data:image/jpeg") >= 2
    again = CliRunner().invoke(main, [*list(map(str, arguments)), "--resume"])
    assert "2 pictures had been judged before" in again.stderr


def test_a_detector_of_a_service_judges_decoded_pictures(client: ps.Client) -> None:
    pictures = [ps.open_picture(pixels(mark), name=f"{mark}") for mark in (True, False)]
    verdicts = client.judge(pictures, explain=True)
    assert [record(verdict) for verdict in verdicts] == [
        record(verdict) for verdict in FakeDetector().judge(pictures, explain=True)
    ]


def test_the_end_of_the_program_does_not_wait_for_a_silent_service() -> None:
    before, silent = set(threading.enumerate()), threading.Event()
    first = Verdict("first")
    stream = remote._in_order(lambda entry: entry or silent.wait(30), [first, None, None], 2)
    assert next(stream) is first
    stream.close()
    waiting = set(threading.enumerate()) - before
    assert waiting
    assert all(thread.daemon for thread in waiting)
    silent.set()
