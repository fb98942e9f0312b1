"""Content Credentials that a stranger wrote to do harm: one bounded finding, no crash, nothing online."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixelsleuth.evidence.c2pa_report import is_valid
from pixelsleuth.evidence.credentials import credentials_finding
from pixelsleuth.evidence.ingredients import MOST_INGREDIENTS
from pixelsleuth.evidence.inspection import inspect_file
from pixelsleuth.evidence.manifests import history_of

from .signing import Authority, action, plain_picture
from .stores import HOSTILE, png_with

pytest.importorskip("c2pa", reason="the extra provenance is not installed")

LONGEST_RECORD = 100_000
"""Characters of JSON that one finding may take."""
GENERATED = [action("c2pa.created", "trainedAlgorithmicMedia")]


@pytest.fixture(scope="module")
def signed() -> bytes:
    authority = Authority()
    before = authority.sign(GENERATED, plain_picture(9))
    return authority.sign([action("c2pa.opened", of="parentOf")], plain_picture(), parentOf=before)


@pytest.mark.parametrize("wrong", HOSTILE)
def test_a_hostile_store_is_unreadable_and_no_sign_of_a_forgery(wrong: str) -> None:
    finding = credentials_finding(memoryview(png_with(HOSTILE[wrong]())))
    assert finding is not None
    assert (finding.detail["state"], finding.strength) == ("unreadable", "hints")
    assert "no sign of a forgery" in finding.statement
    assert len(json.dumps(finding.to_dict())) < 2_000


def test_a_hostile_store_gives_one_finding_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hostile.png"
    path.write_bytes(png_with(HOSTILE["boxes 100,000 deep"]()))
    inspection = inspect_file(str(path))
    assert inspection.error is None
    assert [finding.kind for finding in inspection.findings] == ["c2pa"]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    cuts=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=40)), min_size=1, max_size=4
    ),
    end=st.none() | st.floats(0, 1),
)
def test_any_change_of_a_signed_file_ends_in_a_state_that_trusts_nobody(
    signed: bytes, cuts: list[tuple[float, int, bytes]], end: float | None
) -> None:
    data = bytearray(signed)
    for place, removed, added in cuts:
        start = int(place * len(data))
        data[start : start + removed] = added
    data = data[: int(end * len(data))] if end is not None else data
    finding = credentials_finding(memoryview(data))
    if finding is not None:
        assert finding.detail["state"] in ("unreadable", "invalid", "not_recognised")
        assert len(json.dumps(finding.to_dict())) < LONGEST_RECORD


keys = st.sampled_from(
    ["a", "b", "active_manifest", "manifests", "ingredients", "assertions", "data", "actions", "action", "label",
     "title", "relationship", "validation_results", "activeManifest", "failure", "code", "thumbnail", "identifier"]
)  # fmt: skip
scalars = (
    st.none()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["a", "b", "parentOf", "c2pa.actions", "x" * 9999])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)
parts = st.fixed_dictionaries(
    {"active_manifest": st.sampled_from("abc") | anything},
    optional={"title": anything, "relationship": st.sampled_from(["parentOf", "componentOf"]) | anything,
              "label": anything, "thumbnail": anything, "validation_results": anything},
)  # fmt: skip
manifests = st.fixed_dictionaries(
    {}, optional={"ingredients": st.lists(parts, max_size=8) | anything, "assertions": anything}
)
reports = st.fixed_dictionaries(
    {"active_manifest": st.sampled_from("abc") | anything},
    optional={
        "manifests": st.dictionaries(st.sampled_from("abc"), manifests) | anything,
        "validation_results": anything,
    },
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(reports)
def test_any_report_gives_a_bounded_tree(report: dict[str, Any]) -> None:
    history = history_of(report)
    text = json.dumps(history.ingredients)
    assert text.count('"state"') <= MOST_INGREDIENTS
    assert len(text) < LONGEST_RECORD
    assert is_valid(report) in (True, False)


def test_titles_of_a_signer_are_cut_and_without_control_characters() -> None:
    title = "\x1b[31m<script>alert(1)</script>\u202e" + "A" * 200_000
    data = Authority().sign(GENERATED, plain_picture(), titled=title, componentOf=plain_picture(7))
    finding = credentials_finding(memoryview(data))
    assert finding is not None
    record = json.dumps(finding.to_dict(), ensure_ascii=False)
    assert len(record) < 2_000
    assert "\x1b" not in record
    assert "\u202e" not in record
    assert finding.detail["ingredients"][0]["title"].startswith("[31m<script>")


OFFLINE = """
import sys
from pixelsleuth.evidence.inspection import inspect_file

def refuse(event, arguments):
    if event.startswith("socket."):
        raise SystemExit(f"{event} {arguments}")

sys.addaudithook(refuse)
for path in sys.argv[1:]:
    inspect_file(path, fast=True)
"""


@pytest.mark.parametrize("watcher", ["the interpreter", "strace"])
def test_no_sample_makes_anything_go_online(shared: Path, tmp_path: Path, watcher: str) -> None:
    samples = sorted(
        str(path) for path in (shared / "samples" / "provenance").iterdir() if path.suffix != ".json"
    )
    trace, watch = tmp_path / "trace", list[str]()
    if watcher == "strace":  # sees the library, too, which is not written in Python, and its process
        if shutil.which("strace") is None:
            pytest.skip("strace watches the system calls of the library")
        watch = [
            "strace",
            "-f",
            "-qq",
            "-e",
            "trace=socket,connect,clone,?clone3,fork,vfork",
            "-o",
            str(trace),
        ]
    done = subprocess.run(
        [*watch, sys.executable, "-c", OFFLINE, *samples], capture_output=True, text=True, timeout=200
    )
    if watch and ("ptrace" in done.stderr or not trace.exists()):
        pytest.skip("strace may not watch here")
    assert done.returncode == 0, done.stderr
    if watch:
        assert re.search(r"fork\(|clone3?\(", trace.read_text())  # since 3.13 subprocess starts by clone3
        assert "socket(" not in trace.read_text()
