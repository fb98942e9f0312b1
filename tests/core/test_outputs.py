"""Files that grow, appear whole, or fill a folder: on a full disk, beside a second run, after a kill."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from pixelsleuth.core import io as writing
from pixelsleuth.core import outputs
from pixelsleuth.errors import OutputError, OutputInUse

ANYTHING = re.compile(b"")
needs_locks = pytest.mark.skipif(os.name == "nt", reason="no advisory locks there")


def record_file(path: Path, *, keep: bool = False) -> outputs.RecordFile:
    return outputs.RecordFile(path, ours=ANYTHING, kind="output file", keep=keep)


@pytest.fixture
def full_after(monkeypatch: pytest.MonkeyPatch):
    """Let every file grow to so many bytes and no further; a write that reaches the end is cut, as disks do it."""

    def limit(size: int) -> None:
        write = os.write

        def limited(handle: int, data: bytes) -> int:
            room = size - os.lseek(handle, 0, os.SEEK_CUR)
            if room <= 0:
                raise OSError(28, "No space left on device")
            return write(handle, memoryview(data)[:room])

        monkeypatch.setattr(writing.os, "write", limited)

    return limit


def test_a_full_disk_costs_the_last_record_and_no_more(tmp_path, full_after):
    full_after(10)
    file = record_file(tmp_path / "out")
    file.write("12345\n")
    file.commit()
    file.write("67890\n")
    with pytest.raises(OutputError, match="no space left on device"):
        file.commit()
    file.close()
    assert (tmp_path / "out").read_text() == "12345\n"


def test_an_array_is_closed_after_every_record_also_when_the_disk_is_full(tmp_path, full_after):
    full_after(12)
    file = record_file(tmp_path / "out")
    file.write("[\n1")
    file.commit("\n]\n")
    assert (tmp_path / "out").read_text() == "[\n1\n]\n"
    file.write(",\n2")
    file.commit("\n]\n")
    assert (tmp_path / "out").read_text() == "[\n1,\n2\n]\n"
    file.write(",\n345678")
    with pytest.raises(OutputError):
        file.commit("\n]\n")
    assert (tmp_path / "out").read_text() == "[\n1,\n2\n]\n"


def test_a_record_that_is_interrupted_is_taken_back(tmp_path, monkeypatch):
    file = record_file(tmp_path / "out")
    file.write("whole\n")
    file.commit()
    write = os.write

    def interrupted(handle: int, data: bytes) -> int:
        write(handle, memoryview(data)[:2])
        monkeypatch.setattr(writing.os, "write", write)
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.os, "write", interrupted)
    file.write("half\n")
    with pytest.raises(KeyboardInterrupt):
        file.commit()
    file.close()
    assert (tmp_path / "out").read_text() == "whole\n"


@needs_locks
def test_the_second_writer_of_a_file_is_refused_and_the_first_goes_on(tmp_path):
    first = record_file(tmp_path / "out")
    first.write("first\n")
    first.commit()
    with pytest.raises(OutputInUse, match=r"Another run is writing the output file .*out; wait for it"):
        record_file(tmp_path / "out", keep=True)
    first.write("more\n")
    first.commit()
    first.close()
    assert (tmp_path / "out").read_text() == "first\nmore\n"
    record_file(tmp_path / "out").discard()


@needs_locks
def test_the_second_writer_of_a_report_and_of_a_folder_is_refused(tmp_path):
    report = outputs.AtomicFile(tmp_path / "r.html", ours=ANYTHING, kind="report")
    with pytest.raises(OutputInUse):
        outputs.AtomicFile(tmp_path / "r.html", ours=ANYTHING, kind="report")
    report.discard()
    with (
        outputs.whole_folder(tmp_path / "model", kind="model", ours="a"),
        pytest.raises(OutputInUse),
        outputs.whole_folder(tmp_path / "model", kind="model", ours="a"),
    ):
        pass
    assert not [entry for entry in tmp_path.iterdir() if entry.name.endswith(".part")]


def test_a_run_that_fails_before_its_first_record_leaves_what_was_there(tmp_path):
    (tmp_path / "old").write_text("old\n")
    for name in ("old", "new"):
        record_file(tmp_path / name).discard()
    assert [entry.name for entry in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "old\n"


def test_kept_lines_stay_and_a_torn_one_goes(tmp_path):
    (tmp_path / "out").write_text('{"a": 1}\n{"b": 2}\n{"c"')
    file = record_file(tmp_path / "out", keep=True)
    assert [line for _, line in file.lines()] == [b'{"a": 1}', b'{"b": 2}']
    places = [place for place, _ in file.lines()]
    file.keep_only({places[1]})
    file.write('{"d": 4}\n')
    file.commit()
    file.close()
    assert (tmp_path / "out").read_text() == '{"b": 2}\n{"d": 4}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_what_killed_runs_left_is_swept_and_what_others_own_is_not(tmp_path):
    for name in (
        ".r.html.part",
        ".r.html.x1_y2z3a.part",
        ".r.html.77-1.part",
        ".other.html.part",
        "r.html.part",
    ):
        (tmp_path / name).write_text("left")
    report = outputs.AtomicFile(tmp_path / "r.html", ours=ANYTHING, kind="report")
    report.write("whole")
    report.commit()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".other.html.part", "r.html", "r.html.part"]


def test_a_file_is_whole_or_as_it_was(tmp_path, full_after):
    writing.write_text(tmp_path / "a.json", "old")
    full_after(4)
    with pytest.raises(OutputError, match=r"The mask .*a\.json cannot be written"):
        writing.write_bytes(tmp_path / "a.json", b"much too long", kind="mask")
    assert (tmp_path / "a.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_threads_that_write_one_file_leave_one_of_their_versions(tmp_path):
    versions = [bytes([65 + i]) * 20_000 for i in range(8)]
    threads = [threading.Thread(target=writing.write_bytes, args=(tmp_path / "a", data)) for data in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_bytes() in versions
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_of_any_length_can_be_written(tmp_path):
    for name in ("x" * 255, "ü" * 127):
        writing.write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"


def test_a_planted_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("precious")
    try:
        (tmp_path / ".a.part").symlink_to(tmp_path / "precious")
    except OSError:
        pytest.skip("no links on this system")
    writing.write_text(tmp_path / "a", "text")
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_folder_is_filled_whole_or_not_at_all(tmp_path):
    with outputs.whole_folder(tmp_path / "out" / "model", kind="model", ours="config.json") as folder:
        (folder / "clip").mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "clip" / "weights").write_text("w")
        assert not (tmp_path / "out" / "model").exists()
    assert (tmp_path / "out" / "model" / "clip" / "weights").read_text() == "w"
    with (
        pytest.raises(OutputError, match="no space left"),
        outputs.whole_folder(tmp_path / "out" / "model", kind="model", ours="config.json") as folder,
    ):
        _fill_the_disk(folder)
    assert (tmp_path / "out" / "model" / "config.json").read_text() == "{}"
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["model"]


def _fill_the_disk(folder: Path) -> None:
    (folder / "config.json").write_text("half")
    raise OSError(28, "No space left on device")


def test_a_folder_of_other_things_is_not_filled(tmp_path):
    (tmp_path / "holiday.jpg").write_text("a photograph")
    for arguments in ({"ours": "config.json"}, {"ours": "holiday.jpg", "never": tmp_path}):
        with (
            pytest.raises(OutputError, match="choose a"),
            outputs.whole_folder(tmp_path, kind="model", **arguments),
        ):
            pass
