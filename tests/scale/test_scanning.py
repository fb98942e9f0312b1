"""A scan judges every input once, as `check` does, and refuses what would mix two scans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scale_tools import FAKES, STUB, rows_of, start, write_pictures

from pixelsleuth.errors import OutputError, OutputInUse, PlanMismatch, UsageError
from pixelsleuth.models.registry import load
from pixelsleuth.scale import parts, pipeline
from pixelsleuth.scale.plan import Plan
from pixelsleuth.scale.rows import record_of
from pixelsleuth.scale.scanning import ScanOptions, run_scan
from pixelsleuth.scale.shards import judge_shard

Scan = Callable[..., int]


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "elapsed_ms"}


def records(out: Path) -> dict[str, dict[str, Any]]:
    """Source -> record, of the parts as they are."""
    import pyarrow.parquet as pq

    rows = [row for part in (out / "parts").rglob("*.parquet") for row in pq.read_table(part).to_pylist()]
    found = [record for row in rows if (record := record_of(row)) is not None]
    return {record["source"]: timeless(record) for record in found}


def test_a_row_is_the_record_of_check(tmp_path: Path) -> None:
    from pixelsleuth.evidence.inspection import FileExaminer

    pictures = write_pictures(tmp_path / "pictures", 28)
    broken = tmp_path / "pictures" / "broken.png"
    broken.write_bytes(pictures[1].read_bytes()[:90])
    text = tmp_path / "pictures" / "text.jpg"
    text.write_text("no picture")
    out = tmp_path / "out"
    options = ScanOptions(str(out), model="compact", workers=2, shard_size=7, stable=False, quiet=True)
    assert run_scan(str(tmp_path / "pictures"), options) == 1
    detector = load("compact")
    detector.decide_as(None, None, False)
    detector.examiner = FileExaminer()
    expected = detector.check_many(map(str, [*pictures, broken, text]))
    assert records(out) == {verdict.source: timeless(verdict.to_dict()) for verdict in expected}


def test_the_parts_say_which_schema_and_which_model(tmp_path: Path, scan: Scan) -> None:
    import pyarrow.parquet as pq

    write_pictures(tmp_path / "pictures", 9)
    assert scan(tmp_path / "pictures", tmp_path / "out") == 0
    plan = Plan.open(tmp_path / "out")
    assert (plan.rows, plan.shards) == (9, 3)
    for shard in range(plan.shards):
        path = parts.part_path(tmp_path / "out", shard)
        assert [row["id"] for row in pq.read_table(path).to_pylist()] == [e.id for e in plan.entries(shard)]
        meta = pq.read_metadata(path).metadata
        assert meta[b"pixelsleuth.schema"] == b"pixelsleuth.verdict/1"
        assert json.loads(meta[b"pixelsleuth.model"]) == {"name": "stub", "version": "1"}


def test_a_rerun_judges_only_the_missing_and_the_cut_parts(tmp_path: Path, scan: Scan) -> None:
    write_pictures(tmp_path / "pictures", 20)
    out = tmp_path / "out"
    scan(tmp_path / "pictures", out)
    before = rows_of(out)
    plan = Plan.open(out)
    gone, cut, empty = (parts.part_path(out, shard) for shard in (0, 2, 4))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-20])
    empty.write_bytes(b"")
    kept = parts.part_path(out, 1).stat().st_mtime_ns
    assert list(parts.missing(plan, out)) == [0, 2, 4]
    scan(tmp_path / "pictures", out, resume=True)
    assert not parts.missing(plan, out)
    assert rows_of(out) == before
    assert parts.part_path(out, 1).stat().st_mtime_ns == kept


def test_files_that_vanish_or_change_after_planning_become_errors(tmp_path: Path, scan: Scan) -> None:
    pictures = write_pictures(tmp_path / "pictures", 8)
    out = tmp_path / "out"
    scan(tmp_path / "pictures", out)
    for part in (out / "parts").rglob("*.parquet"):
        part.unlink()
    pictures[0].unlink()
    pictures[2].write_bytes(pictures[2].read_bytes() + b"more")
    assert scan(tmp_path / "pictures", out, resume=True) == 1
    failed = {row["source"]: row["error"]["code"] for row in rows_of(out) if row["state"] == "error"}
    assert failed == {str(pictures[0]): "picture_not_found", str(pictures[2]): "picture_changed"}
    assert len(rows_of(out)) == 8


def test_a_folder_of_another_scan_is_refused(tmp_path: Path, scan: Scan) -> None:
    write_pictures(tmp_path / "pictures", 5)
    write_pictures(tmp_path / "others", 5)
    out = tmp_path / "out"
    scan(tmp_path / "pictures", out)
    with pytest.raises(OutputError, match="--resume"):
        scan(tmp_path / "pictures", out)
    with pytest.raises(PlanMismatch, match="SOURCE"):
        scan(tmp_path / "others", out, resume=True)
    with pytest.raises(PlanMismatch, match="--sample"):
        scan(tmp_path / "pictures", out, resume=True, sample=3)
    with pytest.raises(OutputError, match="other files"):
        scan(tmp_path / "pictures", tmp_path / "others")


def test_another_model_version_is_refused_or_judges_all_again(tmp_path: Path, scan: Scan) -> None:
    write_pictures(tmp_path / "pictures", 6)
    out = tmp_path / "out"
    scan(tmp_path / "pictures", out)
    with pytest.raises(PlanMismatch, match="model"):
        scan(tmp_path / "pictures", out, resume=True, model="scale_stub:other")
    assert {row["model"]["version"] for row in rows_of(out)} == {"1"}
    assert scan(tmp_path / "pictures", out, rejudge=True, model="scale_stub:other") == 0
    assert [row["model"]["version"] for row in rows_of(out)] == ["2"] * 6
    with pytest.raises(PlanMismatch, match="explain"):
        scan(tmp_path / "pictures", out, resume=True, model="scale_stub:other", explain=False)


def test_a_second_scan_on_one_folder_is_refused(tmp_path: Path, scan: Scan) -> None:
    from pixelsleuth.scale.scanning import _locked

    write_pictures(tmp_path / "pictures", 3)
    out = tmp_path / "out"
    with _locked(out), pytest.raises(OutputInUse):
        scan(tmp_path / "pictures", out)
    assert scan(tmp_path / "pictures", out) == 0


def test_a_full_disk_ends_the_run_and_keeps_what_stands(
    tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from pixelsleuth.core import io

    write_pictures(tmp_path / "pictures", 12)
    whole = io.write_at

    def full(handle: int, data: bytes, place: int) -> None:
        if len(list((tmp_path / "out" / "parts").rglob("part-*"))) >= 2:
            whole(handle, data[:10], place)
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(handle, data, place)

    monkeypatch.setattr(io, "write_at", full)
    with pytest.raises(OutputError, match="no space left"):
        scan(tmp_path / "pictures", tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(FAKES))
    assert len(parts.missing(Plan.open(tmp_path / "out"), tmp_path / "out")) == 1
    assert scan(tmp_path / "pictures", tmp_path / "out", resume=True) == 0
    assert len(rows_of(tmp_path / "out")) == 12


def test_an_engine_of_four_calls_ends_with_the_same_rows(tmp_path: Path, scan: Scan) -> None:
    """What another engine does: open the plan, ask what is missing, judge a shard, write its part."""
    write_pictures(tmp_path / "pictures", 10)
    out = tmp_path / "out"
    scan(tmp_path / "pictures", out)
    before = rows_of(out)
    for shard in (0, 1):
        parts.part_path(out, shard).unlink()
    plan = Plan.open(out)
    detector = load(STUB)
    with pipeline.Pipeline(detector, pipeline.JudgeSettings(evidence=False)) as judge:
        for shard in parts.missing(plan, out):
            parts.write_part(out, shard, judge_shard(plan.entries(shard), judge), detector.model)
    assert not parts.missing(plan, out)
    assert rows_of(out) == before


POISONED = """
import os, sys
from pixelsleuth.decoding import decoder
usual = decoder.open_picture
def open_picture(data, *, name, **options):
    if name and "poison" in name:
        os._exit(9)
    return usual(data, name=name, **options)
decoder.open_picture = open_picture
decoder.main(int(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.fixture
def poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding processes that end at a picture called poison."""
    import sys

    from pixelsleuth.decoding import pool

    script = tmp_path / "decoder.py"
    script.write_text(POISONED)
    monkeypatch.setattr(pool, "COMMAND", [sys.executable, str(script)])


def test_a_picture_that_kills_its_worker_becomes_an_error_after_two_tries(
    tmp_path: Path, scan: Scan, poison: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del poison
    tries: list[str] = []
    usual = pipeline.Pipeline._decode

    def decode(self: pipeline.Pipeline, underway: pipeline._Underway) -> None:
        tries.append(Path(underway.entry.location).name)
        usual(self, underway)

    monkeypatch.setattr(pipeline.Pipeline, "_decode", decode)
    pictures = write_pictures(tmp_path / "pictures", 7)
    pictures[3].rename(pictures[3].with_name("poison.png"))
    assert scan(tmp_path / "pictures", tmp_path / "out") == 1
    rows = rows_of(tmp_path / "out")
    assert [row["error"]["code"] for row in rows if row["state"] == "error"] == ["decoder_failed"]
    assert len(rows) == 7
    assert tries.count("poison.png") == 2
    assert len(tries) == 8


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 3)
    for source, status, text in (("pictures", 0, b"3 pictures: 3 real"), ("nothing", 2, b"There is no")):
        process = start(tmp_path / source, tmp_path / f"out-{source}")
        _, errors = process.communicate(timeout=120)
        assert process.returncode == status, errors
        assert errors.count(text) == 1


def test_a_source_without_pictures_is_refused(tmp_path: Path, scan: Scan) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="names no picture"):
        scan(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out" / "plan.parquet").exists()


def test_errors_that_may_pass_are_tried_again_where_that_is_asked_for(tmp_path: Path, scan: Scan) -> None:
    pictures = write_pictures(tmp_path / "pictures", 12)
    kept = pictures[9].read_bytes()
    pictures[9].unlink()
    pictures[1].write_text("no picture")
    (tmp_path / "list.txt").write_text("\n".join(map(str, pictures)))
    assert scan(tmp_path / "list.txt", tmp_path / "out") == 1
    pictures[9].write_bytes(kept)
    before = [parts.part_path(tmp_path / "out", shard).stat().st_mtime_ns for shard in range(3)]
    scan(tmp_path / "list.txt", tmp_path / "out", resume=True)
    assert [row["id"] for row in rows_of(tmp_path / "out") if row["state"] == "error"] == [1, 9]
    process = start(
        tmp_path / "list.txt", tmp_path / "out", "--retry-errors"
    )  # alone: it imports what it needs
    assert process.communicate(timeout=120)
    assert process.returncode == 0
    assert [row["id"] for row in rows_of(tmp_path / "out") if row["state"] == "error"] == [1]
    after = [parts.part_path(tmp_path / "out", shard).stat().st_mtime_ns for shard in range(3)]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False]
