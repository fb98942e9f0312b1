"""`pixelsleuth.Client` and `check --model http://HOST` give what the detector gives, through the real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("httpx2", reason="sends the pictures")
pytest.importorskip("fastapi", reason="the extra serve is not installed")

import pixelsleuth as ps
from pixelsleuth import errors
from pixelsleuth.cli.main import main
from pixelsleuth.core.verdict import Verdict

if TYPE_CHECKING:
    from conftest import Served


@pytest.fixture
def folder(picture: bytes, tmp_path: Path) -> Path:
    """A photograph, the first half of one, and a text."""
    (tmp_path / "photo.jpg").write_bytes(picture)
    (tmp_path / "cut.jpg").write_bytes(picture[: len(picture) // 2])
    (tmp_path / "notes.jpg").write_bytes(b"a private text")
    return tmp_path


def records(*arguments: object) -> list[dict]:
    done = CliRunner().invoke(main, list(map(str, ["check", "--format", "jsonl", *arguments])))
    assert done.exit_code == 1, done.output
    return [json.loads(line) | {"elapsed_ms": 0} for line in done.stdout.splitlines()]


def test_check_through_a_service_writes_the_records_that_check_itself_writes(
    server: Served, folder: Path
) -> None:
    here = records(folder, "--model", "compact")
    assert records(folder, "--model", server.url, "--batch-size", "2") == here
    assert [entry["error"] is None for entry in here] == [False, False, True]


def test_a_client_judges_arrays_as_the_detector_does(server: Served) -> None:
    array = np.random.default_rng(1).integers(0, 256, (64, 80, 3), np.uint8)
    with ps.Client(server.url, model="compact") as client:
        verdicts = client.check([array, array[::-1]])
    expected = ps.load("compact").check([array, array[::-1]])

    def record(verdict: Verdict) -> dict:
        return verdict.to_dict() | {"elapsed_ms": 0}

    assert [record(verdict) for verdict in verdicts] == [record(verdict) for verdict in expected]


@pytest.fixture(scope="module")
def narrow(start: Callable[..., Served], picture: bytes) -> Served:
    """A service that holds two requests, of pictures hardly larger than `picture`."""
    return start("--model", "compact", "--queue", "2", "--max-bytes", str(len(picture) + 100))


def test_more_clients_than_the_service_holds_are_all_served(narrow: Served, picture: bytes) -> None:
    wrong: list[object] = []

    def judge() -> None:
        with ps.Client(narrow.url) as client:
            wrong.extend(verdict.error for verdict in client.check([picture] * 4) if verdict.error)

    threads = [threading.Thread(target=judge) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    with ps.Client(narrow.url, patience=0) as client:
        refused = {verdict.error["code"] for verdict in client.check([picture] * 16) if verdict.error}
    assert refused == {"busy"}


def test_a_picture_above_the_services_limit_is_the_error_of_that_picture(
    narrow: Served, picture: bytes
) -> None:
    large = picture + bytes(1000)
    with ps.Client(narrow.url) as client:
        verdict, after = client.check([large, picture])
        assert after.ok
        assert verdict.error is not None
        assert verdict.error["code"] == "body_too_large"
        with pytest.raises(errors.BodyTooLarge):
            client.check(large)
