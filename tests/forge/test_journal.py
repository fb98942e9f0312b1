"""The journal of a stage on a full disk: whole lines, one sentence, and a rerun that goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pixelsleuth.core import io as writing
from pixelsleuth.errors import OutputError
from pixelsleuth.forge.stages import Journal


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
