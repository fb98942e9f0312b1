"""A server that speaks the hub's protocol, with the faults that a network has, and two detectors to fetch from it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pixelsleuth.models import catalogue, registry
from pixelsleuth.models.facts import Origin, Remote
from pixelsleuth.models.fetching import transfer, web

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "owner/detector"
SMALL = 200_000
"""Files of fewer bytes are listed with git's id and come from the hub itself; larger ones have a SHA-256 and come from
another host. The weights of these tests are larger."""
WEIGHTS = np.random.default_rng(0).bytes(3_000_000)


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Hub(ThreadingHTTPServer):
    """Serves `files` of REPOSITORY at COMMIT; the other attributes are faults, none at first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"weights.bin": WEIGHTS, "config.json": b'{"a": 1}', "README.md": b"words"}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.cuts: list[int] = []
        """After how many bytes each of the next answers breaks off."""
        self.refuse: dict[str, list[int]] = {}
        """Status codes of the next answers, by the beginning of the path."""
        self.listed: list[dict[str, Any]] | None = None
        self.sent: dict[str, bytes] = {}
        """Other bytes than those that are announced."""
        self.redirect: str | None = None
        self.silent = 0.0
        self.ranges, self.lengths, self.speaks, self.etag = True, True, True, '"v1"'

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def requests_to(self, begin: str) -> list[dict[str, str]]:
        """Headers of the requests for paths that begin so."""
        return [headers for path, headers in self.requests if path.startswith(begin)]


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        hub.requests.append((path, {name.lower(): value for name, value in self.headers.items()}))
        time.sleep(hub.silent)
        codes = next((codes for begin, codes in hub.refuse.items() if path.startswith(begin) and codes), None)
        resolve = f"/{REPOSITORY}/resolve/{COMMIT}/"
        if codes:
            self._answer(codes.pop(0), b"no")
        elif hub.speaks and path.startswith(f"/api/models/{REPOSITORY}/revision/"):
            self._answer(200, json.dumps({"sha": COMMIT, "siblings": self._rows()}).encode())
        elif hub.speaks and path.startswith(resolve) and path.removeprefix(resolve) in hub.files:
            self._resolve(path.removeprefix(resolve))
        elif path.startswith("/cdn/"):
            name = path.removeprefix("/cdn/")
            self._send(hub.sent.get(name, hub.files[name]), {"ETag": hub.etag})
        elif not hub.speaks and path.removeprefix("/") in hub.files:
            self._send(hub.files[path.removeprefix("/")], {})
        else:
            self._answer(404, b"no")

    def _rows(self) -> list[dict[str, Any]]:
        if self.server.listed is not None:
            return self.server.listed
        rows: list[dict[str, Any]] = []
        for name, content in self.server.files.items():
            row: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git_id(content)}
            if len(content) > SMALL:
                row["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            rows.append(row)
        return rows

    def _resolve(self, name: str) -> None:
        content = self.server.files[name]
        if len(content) <= SMALL:
            headers = {"ETag": f'"{git_id(content)}"', "X-Repo-Commit": COMMIT}
            self._send(self.server.sent.get(name, content), headers)
            return
        self.send_response(302)
        self.send_header("Location", self.server.redirect or f"{self.server.url}/cdn/{name}")
        self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, headers: dict[str, str]) -> None:
        """A whole file, or what the request's Range asks for."""
        hub, begin = self.server, 0
        span, version = self.headers.get("Range"), self.headers.get("If-Range")
        if hub.ranges and span and version in (None, hub.etag):
            begin = int(span.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(content):
                self._answer(416, b"")
                return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        for name, value in headers.items():
            self.send_header(name, value)
        cut = hub.cuts.pop(0) if hub.cuts else None
        if hub.lengths:
            self.send_header("Content-Length", str(len(content) - begin))
        self.close_connection = not hub.lengths or cut is not None
        self.end_headers()
        remainder = content[begin:]
        self.wfile.write(remainder if cut is None else remainder[:cut])

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The server, named as the hub; nothing waits between attempts."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    monkeypatch.setattr(web, "TIMEOUT", 5.0)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIXELSLEUTH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


PINNED = Remote("weights.bin", hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS))


@pytest.fixture(autouse=True)
def origins(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Origin, ...]]:
    """`commfor` (MIT) has a pinned hash here, `pscc_net` (MIT) has none, `lisa` is a whole checkpoint."""
    own = {
        "commfor": (Origin(REPOSITORY, COMMIT, (PINNED,)),),
        "pscc_net": (Origin(REPOSITORY, files=(Remote("weights.bin"),)),),
        "lisa": (Origin(REPOSITORY),),
    }
    for name, origin in own.items():
        publish(monkeypatch, name, *origin)
    return own


def publish(monkeypatch: pytest.MonkeyPatch, name: str, *origins: Origin) -> None:
    """Let a detector's weights come from these origins."""
    spec = catalogue.spec_of(name)
    assert spec is not None
    monkeypatch.setitem(registry._SPECS, name, replace(spec, origins=origins))


@pytest.fixture
def get() -> Callable[..., Result]:
    """Run `pixelsleuth models get ARGUMENTS` in this process."""
    from pixelsleuth.cli.main import main

    return lambda *words: CliRunner().invoke(main, ["models", "get", *map(str, words)])
