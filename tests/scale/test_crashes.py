"""A picture that ends the detector's process becomes an error row, and the scan goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scale_tools import rows_of, start, write_pictures

from pixelsleuth.errors import OutputError
from pixelsleuth.scale.journal import Journal
from pixelsleuth.scale.parts import part_path

Scan = Callable[..., int]
DEADLY = ("--model", "scale_stub:deadly")


def finished(source: Path, out: Path, *options: str) -> tuple[int, str]:
    """The exit status and standard error of `pixelsleuth scan`."""
    process = start(source, out, *options)
    _, errors = process.communicate(timeout=240)
    return process.returncode, errors.decode()


def failures(out: Path) -> dict[str, str]:
    """Name of the picture -> code of its error."""
    return {Path(row["source"]).name: row["error"]["code"] for row in rows_of(out) if row["error"]}


def deadly(picture: Path, times: int, way: str) -> str:
    """Make the detector end at a picture; its name."""
    picture.with_name(picture.name + ".kills").write_text(f"{times} {way}")
    return picture.name


def test_pictures_that_end_the_judge_become_errors_after_two_tries(tmp_path: Path, scan: Scan) -> None:
    pictures = write_pictures(tmp_path / "pictures", 24)
    assert scan(tmp_path / "pictures", tmp_path / "undisturbed") == 0
    ended = {
        deadly(pictures[3], 1000, "kill"): "judge_ended",
        deadly(pictures[10], 1000, "exit"): "judge_ended",
    }
    deadly(pictures[11], 1, "fault")  # only once: the second try succeeds
    status, errors = finished(tmp_path / "pictures", tmp_path / "out", *DEADLY)
    assert status == 1, errors
    assert failures(tmp_path / "out") == ended
    assert errors.count("(SIGKILL); another one goes on") == 2
    assert errors.count("(exit status 0); another one goes on") == 2
    assert errors.count("(SIGSEGV); another one goes on") == 1
    others = [row for row in rows_of(tmp_path / "out") if not row["error"]]
    expected = [row for row in rows_of(tmp_path / "undisturbed") if Path(row["source"]).name not in ended]
    assert others == expected
    assert len(others) == 22
    assert not list((tmp_path / "out").rglob(".*.judging"))
    # An error row stands like others.
    assert finished(tmp_path / "pictures", tmp_path / "out", "--resume", *DEADLY)[0] == 0
    assert failures(tmp_path / "out") == ended


def test_a_picture_that_is_never_judged_becomes_an_error(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 6)
    name = deadly(pictures[2], 1000, "hang")
    options = ("--judge-seconds", "1", "--batch-size", "3")
    status, errors = finished(tmp_path / "pictures", tmp_path / "out", *options, *DEADLY)
    assert (status, failures(tmp_path / "out")) == (1, {name: "judge_ended"}), errors
    assert errors.count("a picture took too long") == 2
    assert len(rows_of(tmp_path / "out")) == 6


def test_a_detector_that_always_ends_its_process_ends_the_run(tmp_path: Path) -> None:
    for picture in write_pictures(tmp_path / "pictures", 8):
        deadly(picture, 1000, "kill")
    status, errors = finished(tmp_path / "pictures", tmp_path / "out", *DEADLY)
    assert status == 2
    assert "ended 6 times in a row (SIGKILL) before it had judged a picture" in errors
    assert "Traceback" not in errors


def test_the_judge_ends_with_its_supervisor(tmp_path: Path, scan: Scan) -> None:
    write_pictures(tmp_path / "pictures", 40)
    process = start(tmp_path / "pictures", tmp_path / "out", seconds=0.2)
    while not list((tmp_path / "out").rglob("part-*")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)  # the judge holds the pipe of standard error as long as it lives
    assert 0 < len(rows_of(tmp_path / "out")) < 40
    assert scan(tmp_path / "pictures", tmp_path / "out", resume=True) == 0  # nobody holds the lock
    assert len(rows_of(tmp_path / "out")) == 40


def journal(out: Path, run: str) -> Journal:
    made = Journal(out, 4, run, None)
    made.begin(2)
    return made


def die_at(kept: Journal, *numbers: int) -> None:
    """What a judge leaves in its journal that dies at these inputs."""
    for shard in {number // 4 for number in numbers}:
        kept._write(shard, [number for number in numbers if number // 4 == shard])


def test_a_judge_that_dies_twice_at_an_input_in_one_run_condemns_it(tmp_path: Path) -> None:
    die_at(journal(tmp_path, "a"), 8, 9)
    second = journal(tmp_path, "a")
    assert [second.suspect(number) for number in range(8, 12)] == [True, True, False, False]
    assert not second.condemned(8)
    with second.judging([8]):
        pass
    die_at(second, 9)
    third = journal(tmp_path, "a")
    assert [third.condemned(number) for number in range(8, 12)] == [False, True, False, False]
    third.settle(2)
    assert not list(tmp_path.rglob(".*.judging"))


def test_runs_that_are_killed_as_a_whole_condemn_an_input_much_later(tmp_path: Path) -> None:
    for run in "abcdef":
        kept = journal(tmp_path, run)
        assert not kept.condemned(8)
        die_at(kept, 8)
    assert journal(tmp_path, "g").condemned(8)
    assert not journal(tmp_path, "g").condemned(9)


@pytest.mark.parametrize(
    "left", [b"", b"{", b"[]\n", b'{"inputs": 3}\n', b"\xff\n", b'{"run": "a", "inputs": [8']
)
def test_a_damaged_journal_counts_as_none(tmp_path: Path, left: bytes) -> None:
    die_at(journal(tmp_path, "a"), 8)
    (path,) = tmp_path.rglob(".*.judging")
    assert path.parent == part_path(tmp_path, 2).parent
    path.write_bytes(left)
    assert not journal(tmp_path, "a").suspect(8)


def test_a_journal_that_cannot_be_written_is_an_error_of_the_output(tmp_path: Path) -> None:
    kept = journal(tmp_path, "a")
    (tmp_path / "parts").write_text("a file where a folder belongs")
    with pytest.raises(OutputError, match="part-000000002"), kept.judging([8]):
        pass


def test_an_interrupted_batch_leaves_no_suspect(tmp_path: Path) -> None:
    kept = journal(tmp_path, "a")

    def stop(**_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), kept.judging([8]):
        stop()
    assert not journal(tmp_path, "a").suspect(8)
    kept.close()
    assert not list(tmp_path.rglob(".*.judging"))
