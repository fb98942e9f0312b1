"""The process that reads manifests: its limits cost one file, and the next is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from pixelsleuth.evidence import credentials, manifest_reader
from pixelsleuth.evidence.credentials import credentials_finding
from pixelsleuth.evidence.manifest_reader import opened

from .signing import Authority, action, plain_picture

pytest.importorskip("c2pa", reason="the extra provenance is not installed")


@pytest.fixture(scope="module")
def signed() -> bytes:
    return Authority().sign([action("c2pa.created", "digitalCapture")], plain_picture())


@pytest.fixture
def new_process() -> Iterator[None]:
    """Ends the process before and after a test that starts another one."""
    manifest_reader._process.end()
    yield
    manifest_reader._process.end()


def state_of(data: bytes) -> str:
    finding = credentials_finding(memoryview(data))
    assert finding is not None
    return f"{finding.detail['state']}: {finding.statement}"


@pytest.mark.parametrize(
    "program, seconds, reason",
    [
        ("import time; time.sleep(600)", 0.2, "takes longer than 0.2 s"),
        ("import os; os.abort()", 60, "the process that reads them ended"),
        ("print('no answer')", 60, "the process that reads them ended"),
    ],
)
@pytest.mark.usefixtures("new_process")
def test_a_library_that_hangs_or_dies_costs_one_file(
    signed: bytes, monkeypatch: pytest.MonkeyPatch, program: str, seconds: float, reason: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(manifest_reader, "COMMAND", [sys.executable, "-c", program])
        patch.setattr(manifest_reader, "SECONDS", seconds)
        assert reason in state_of(signed)
    assert state_of(signed).startswith("not_recognised")


@pytest.mark.usefixtures("new_process")
def test_a_process_that_cannot_be_started_is_said(signed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_reader, "COMMAND", ["/no/such/program"])
    assert "could not be started" in state_of(signed)


def test_a_report_beyond_the_limit_is_not_taken(signed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_reader, "LONGEST_REPORT", 100)
    assert state_of(signed).startswith("unreadable")


def test_more_manifests_than_the_limit_are_not_taken(signed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "MOST_MANIFESTS", 0)
    assert "more than 0 manifests" in state_of(signed)


def test_an_address_that_leads_nowhere_gives_nothing(signed: bytes) -> None:
    with opened(signed, credentials._settings(credentials.shipped_lists())) as store:
        for address in (
            "",
            "a\0b",
            "self#jumbf=/c2pa/none",
            "../../etc/passwd",
            "http://example.org/a",
            "\ud800",
        ):
            assert store.resource(address) is None
    assert state_of(signed).startswith("not_recognised")
