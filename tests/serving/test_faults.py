"""Clients that are many, slow, gone or hostile, and a service that is told to stop."""

from __future__ import annotations

import io
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from conftest import Served


@pytest.fixture(scope="module")
def narrow(start: Callable[..., Served]) -> Served:
    """A service that holds one request at a time."""
    patient = ("--grace", "100", "--deadline", "100")  # a busy machine takes its time
    return start("--model", "compact", "--queue", "1", "--max-bytes", "3000000", "--no-jobs", *patient)


@pytest.fixture
def client(narrow: Served) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=narrow.url, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def large() -> bytes:
    """A picture that takes a while to judge."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (80, 120, 3), np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).resize((1440, 960), Image.Resampling.BICUBIC).save(encoded, "JPEG")
    return encoded.getvalue()


def connect(served: Served) -> socket.socket:
    parts = urlsplit(served.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def head(length: int, path: str = "/v1/check") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def accepted(client: httpx2.Client) -> int:
    (value,) = re.findall(r"^pixelsleuth_accepted (\d+)", client.get("/metrics").text, re.MULTILINE)
    return int(value)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def begin(
    served: Served, client: httpx2.Client, body: bytes
) -> tuple[threading.Thread, list[httpx2.Response]]:
    """A request in a thread of its own, which the service has accepted."""
    answers: list[httpx2.Response] = []

    def post() -> None:
        answers.append(httpx2.post(f"{served.url}/v1/check", content=body, timeout=120))

    thread = threading.Thread(target=post)
    thread.start()
    until(lambda: accepted(client) == 1)
    return thread, answers


def test_a_full_service_refuses_before_it_has_read_the_body(
    narrow: Served, client: httpx2.Client, large: bytes
) -> None:
    thread, answers = begin(narrow, client, large)
    with connect(narrow) as link:
        link.sendall(head(2_000_000) + b"0" * 1000)
        answer = link.recv(65536)
    thread.join()
    assert answer.startswith(b"HTTP/1.1 429")
    assert b"retry-after: 1" in answer.lower()
    assert answers[0].status_code == 200
    until(lambda: 'pixelsleuth_rejected_total{code="busy"}' in client.get("/metrics").text)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit_is_refused_declared_or_counted(client: httpx2.Client, chunked: bool) -> None:
    body = b"0" * 3_100_000
    content = iter([body[:2_000_000], body[2_000_000:]]) if chunked else body
    assert client.post("/v1/check", content=content).json()["code"] == "body_too_large"


def test_a_slow_client_takes_no_place_in_the_queue(
    narrow: Served, client: httpx2.Client, picture: bytes
) -> None:
    with connect(narrow) as link:
        link.sendall(head(len(picture)) + picture[:100])
        assert client.post("/v1/check", content=picture).status_code == 200
        link.sendall(picture[100:])
        assert link.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_a_client_that_leaves_frees_its_place(
    narrow: Served, client: httpx2.Client, large: bytes, picture: bytes, how: int
) -> None:
    with connect(narrow) as link:
        link.sendall(head(len(large)) + large)
        until(lambda: accepted(client) == 1)
        link.shutdown(how)
        until(lambda: accepted(client) == 0)
    assert client.post("/v1/check", content=picture).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"a" * 70_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP\r\n\r\n",
        b"POST /v1/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/check HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(narrow: Served, client: httpx2.Client, sent: bytes) -> None:
    with connect(narrow) as link:
        link.sendall(sent)
        assert link.recv(100).startswith(b"HTTP/1.1 4")
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "kind, body",
    [
        ("multipart/form-data", b"--a\r\n"),
        ("multipart/form-data; boundary=a", b"--b\r\n\r\n"),
        (
            "multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nhalf',
        ),
        (
            "multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--a--\r\n',
        ),
        ("multipart/form-data; boundary=" + "a" * 300, b"--a\r\n"),
        ("multipart/form-data; boundary=a", b"--a\r\nX: " + b"y" * 100_000),
    ],
)
def test_a_broken_form_is_refused(client: httpx2.Client, kind: str, body: bytes) -> None:
    answer = client.post("/v1/check", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_too_many_pixels_are_refused_from_the_header(client: httpx2.Client) -> None:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    answer = client.post("/v1/check", content=bomb.getvalue())
    assert (answer.status_code, answer.json()["code"]) == (422, "picture_too_large")


def test_the_log_names_no_picture_and_every_line_is_json(
    narrow: Served, client: httpx2.Client, picture: bytes
) -> None:
    client.post("/v1/check", files={"file": ("secret-name.jpg", picture)}, headers={"X-Request-Id": "named"})
    client.post("/v1/check", files={"file": ("secret-name.jpg", b"text")})
    until(lambda: any(line.get("id") == "named" for line in narrow.log))
    assert "secret-name" not in str(narrow.log)
    assert [line for line in narrow.log if "time" not in line] == []


def test_a_service_that_is_stopped_answers_what_it_has_accepted(
    narrow: Served, client: httpx2.Client, large: bytes
) -> None:
    """The last test of this file: it ends its service."""
    thread, answers = begin(narrow, client, large)
    narrow.process.send_signal(signal.SIGTERM)
    until(lambda: any(line["event"] == "draining" for line in narrow.log))
    ready, refused = client.get("/readyz"), client.post("/v1/check", content=b"x")
    assert ready.json() == {"status": "draining"}
    assert (ready.status_code, refused.status_code) == (503, 503)
    thread.join()
    assert answers[0].status_code == 200
    assert narrow.process.wait(60) == 0
