"""Stages and their journal: cut off, on a full disk, with lines that fail, in two runs at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pixelsleuth.core import io as writing
from pixelsleuth.core.journal import Journal
from pixelsleuth.errors import OutputError, PixelSleuthError, Unavailable, Unfinished, UsageError
from pixelsleuth.forge.stages import Stage, fingerprint, locked, read_rows, run_stage

quiet = {"say": lambda _: None, "quiet": True}


def test_a_full_disk_costs_a_stage_the_line_in_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "masks.part.jsonl"
    journal = Journal(path, "mark")
    journal.add("a", [{"id": "a", "mask": 1}])
    before = path.read_bytes()
    write = os.write

    def full(handle: int, data: Any) -> int:
        if os.lseek(handle, 0, os.SEEK_CUR) > len(before):
            raise OSError(28, "No space left on device")
        return write(handle, memoryview(data)[:10])

    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "write", full)
        with pytest.raises(OutputError, match=r"journal .* cannot be written \(no space left on device\)"):
            journal.add("b", [{"id": "b", "mask": 2}])
    journal.close()
    assert path.read_bytes() == before
    again = Journal(path, "mark")
    assert list(again.places) == ["a"]
    again.add("b", [{"id": "b"}])
    again.close()
    assert [json.loads(line).get("id") for line in path.read_text().splitlines()] == [None, "a", "b"]


def double(row: dict, _: object) -> list[dict]:
    if row["id"] == "later" and not os.environ.get("FORGE_TEST_READY"):
        raise Unavailable("the service sleeps")
    if row["id"] == "bad":
        raise PixelSleuthError("this one cannot be done")
    return [{**row, "double": 2 * row["number"]}]


def lines(path: Path, *names: str) -> Path:
    path.write_text("".join(json.dumps({"id": name, "number": i}) + "\n" for i, name in enumerate(names)))
    return path


def test_a_torn_journal_goes_on_and_another_fingerprint_starts_anew(tmp_path: Path) -> None:
    source, stage = lines(tmp_path / "in.jsonl", "a", "b", "c"), Stage("twice", double)
    journal = Journal(tmp_path / "twice.part.jsonl", fingerprint(stage, source))
    journal.add("b", [{"id": "b", "double": "kept"}])
    journal.close()
    with (tmp_path / "twice.part.jsonl").open("ab") as stream:
        stream.write(b'{"id": "a", "rows": [{"id"')  # a kill in the middle of a line
    result = run_stage(stage, source, tmp_path, None, workers=1, **quiet)
    assert [row["double"] for row in read_rows(result)] == [0, "kept", 4]
    changed = Stage("twice", double, {"setting": 1})
    result = run_stage(changed, source, tmp_path, None, workers=1, **quiet)
    assert [row["double"] for row in read_rows(result)] == [0, 2, 4]


def test_one_bad_line_is_a_record_and_a_service_that_fails_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, stage = (
        lines(tmp_path / "in.jsonl", "a", "bad", "later", "d"),
        Stage("twice", double, kind="thread"),
    )
    with pytest.raises(Unfinished, match="1 of 4 could not be done"):
        run_stage(stage, source, tmp_path, None, workers=2, **quiet)
    monkeypatch.setenv("FORGE_TEST_READY", "1")
    rows = list(read_rows(run_stage(stage, source, tmp_path, None, workers=2, **quiet)))
    assert [row["id"] for row in rows] == ["a", "bad", "later", "d"]
    assert rows[1]["error"] == {"code": "error", "message": "this one cannot be done"}


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UsageError, match="Another run works in"), locked(tmp_path):
        pass
