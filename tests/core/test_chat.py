"""The chat client sends no more than the question and its key, to nobody else, and reads no more than it must."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pixelsleuth.core.chat import ChatClient
from pixelsleuth.errors import EndpointError, EndpointRefused, UsageError

pytest.importorskip("openai", reason="needs the extra api")
QUESTION: dict = {"model": "m", "messages": []}
ANSWER = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}


class Server:
    def __init__(self) -> None:
        self.status, self.data = 200, json.dumps(ANSWER).encode()
        self.answer_headers: dict[str, str] = {}
        self.headers: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(server.status)
                for name, value in server.answer_headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(server.data)))
                self.end_headers()
                self.wfile.write(server.data)

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_only_the_one_key_of_the_environment_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, f"secret-{name}")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Custom: secret-custom\nAuthorization: Bearer secret-other")
    monkeypatch.setenv("MY_KEY", "mine")
    assert ChatClient(server.url, key_from="MY_KEY").complete(QUESTION).text == "yes"
    assert server.headers[0]["authorization"] == "Bearer mine"
    monkeypatch.delenv("MY_KEY")
    ChatClient(server.url, key_from="MY_KEY").complete(QUESTION)
    assert "authorization" not in server.headers[1]
    assert not [text for headers in server.headers for text in headers.values() if "secret" in text]
    assert not [name for headers in server.headers for name in headers if name.startswith("x-")]


def test_a_redirect_is_refused_and_not_followed(server: Server) -> None:
    server.status, server.answer_headers = 307, {"Location": f"{server.url}/elsewhere"}
    with pytest.raises(EndpointRefused, match="status 307"):
        ChatClient(server.url).complete(QUESTION)
    assert len(server.headers) == 1


def test_a_key_that_cannot_be_sent_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\nInjected: yes")
    with pytest.raises(UsageError, match="OPENAI_API_KEY holds no API key") as caught:
        ChatClient("http://localhost:1/v1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://host/v1", "http://", "http://host:port/v1", "http://[::1", "x"])
def test_what_is_no_address_is_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError, match="no address of an API"):
        ChatClient(url)


class Drip:
    """A server that never falls silent and never ends: a byte at a time, of the headers or of the body."""

    def __init__(self, start: bytes) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.start, self.ended = start, threading.Event()
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 20)
            connection.sendall(self.start)
            while not self.ended.wait(0.05):
                connection.sendall(b"x")

    def close(self) -> None:
        self.ended.set()
        self.socket.close()


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"]
)
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(start: bytes) -> None:
    drip = Drip(start)
    try:
        began = time.monotonic()
        with pytest.raises(EndpointError, match=r"did not finish its answer within 0\.6 seconds"):
            ChatClient(drip.url, total=0.6, timeout=5.0).complete(QUESTION)
        assert time.monotonic() - began < 4
    finally:
        drip.close()
