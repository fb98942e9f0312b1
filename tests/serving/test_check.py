"""The API judges as the command line does, and answers errors with problem documents."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

if TYPE_CHECKING:
    from conftest import Served


@pytest.fixture(scope="module")
def client(server: Served):
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        yield client


def test_it_says_that_it_lives_and_that_it_is_ready(client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_the_models_are_listed_with_what_they_can_do(client) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert model["name"] == "compact"
    assert model["default"]
    assert model["capabilities"] == ["detect", "explain", "localize"]


def timeless(text: str) -> str:
    record = json.loads(text)
    return text.replace(f'"elapsed_ms": {record["elapsed_ms"]}', "")


def test_records_are_those_of_the_command_line(client, picture: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(picture[: len(picture) // 2])
    (tmp_path / "café.jpg").write_bytes(picture)
    (tmp_path / "notes.jpg").write_bytes(b"no picture")
    names = ["café.jpg", "broken.jpg", "notes.jpg"]
    done = subprocess.run(
        [sys.executable, "-m", "pixelsleuth", "check", "--model", "compact", "--format", "jsonl", *names],
        cwd=tmp_path, capture_output=True, encoding="utf-8", env=None,
    )  # fmt: skip
    lines = done.stdout.splitlines(keepends=True)
    assert len(lines) == 3
    for name, line in zip(names, lines, strict=True):
        answer = client.post("/v1/check", files={"file": (name, (tmp_path / name).read_bytes())})
        if answer.status_code == 200:
            assert timeless(answer.text) == timeless(line)
        else:
            assert answer.status_code == 422
            record = answer.json()["verdict"]
            expected = json.loads(line)
            assert record | {"elapsed_ms": 0} == expected | {"elapsed_ms": 0}
            assert answer.json()["detail"] == expected["error"]["message"]


def test_an_address_that_the_service_does_not_have_is_a_sentence_that_leads_to_its_routes(client) -> None:
    for answer in (client.get("/v1/chek"), client.post("/v1/chek"), client.get("/v1/check")):
        problem = answer.json()
        assert (answer.status_code, problem["code"]) in {(404, "not_found"), (405, "method_not_allowed")}
        assert problem["detail"].endswith("at this address; /docs lists its routes.")


def test_a_problem_document_names_code_request_and_status(client) -> None:
    answer = client.post("/v1/check", content=b"hello", headers={"X-Request-Id": "abc-1"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "abc-1"
    problem = answer.json()
    assert problem["code"] == "not_a_picture"
    assert problem["status"] == 422
    assert problem["instance"] == "urn:pixelsleuth:request:abc-1"


def test_nothing_of_a_page_comes_from_elsewhere(client) -> None:
    answer = client.get("/")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_body_above_the_limit_is_refused(client) -> None:
    answer = client.post("/v1/check", content=b"0" * 26_000_000)
    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"
