"""Files that a command writes: whole or not at all, inside their folder, never over someone's evidence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelsleuth.checking.mask_folder import MaskFolder, mask_name
from pixelsleuth.checking.results import OUR_RECORDS
from pixelsleuth.core.outputs import AtomicFile, RecordFile
from pixelsleuth.errors import OutputError
from pixelsleuth.reporting.page import OUR_PAGE

PAGE = re.compile(rb"<!doctype", re.IGNORECASE)


def atomic(path: Path) -> AtomicFile:
    return AtomicFile(path, ours=PAGE, kind="report")


def test_a_file_appears_only_when_committed(tmp_path):
    file = atomic(tmp_path / "r.html")
    file.write("<!doctype html>")
    assert not (tmp_path / "r.html").exists()
    file.commit()
    assert (tmp_path / "r.html").read_text() == "<!doctype html>"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("no/r.html", "the folder .*no does not exist; create it first"),
        (".", "is a folder; give the report a file name in it"),
        ("photo.jpg", "exists and is no report of PixelSleuth's, so it was not overwritten"),
        ("photo.jpg/r.html", "is no folder; choose another place"),
    ],
)
def test_what_cannot_be_written_is_told_at_once(tmp_path, name, sentence):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0evidence")
    with pytest.raises(OutputError, match=sentence):
        atomic(tmp_path / name)
    assert (tmp_path / "photo.jpg").read_bytes() == b"\xff\xd8\xff\xe0evidence"


def test_devices_are_left_alone():
    if not Path("/dev/null").is_char_device():
        pytest.skip("no /dev/null on this system")
    with pytest.raises(OutputError, match="not a regular file"):
        atomic(Path("/dev/null"))


def test_a_link_is_followed_and_stays_a_link(tmp_path):
    (tmp_path / "target.html").write_text("<!doctype html>old")
    try:
        (tmp_path / "link.html").symlink_to(tmp_path / "target.html")
    except OSError:
        pytest.skip("no links on this system")
    file = atomic(tmp_path / "link.html")
    file.write("<!doctype html>new")
    file.commit()
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "target.html").read_text() == "<!doctype html>new"


RECORD = '{"schema": "pixelsleuth.verdict/1", "source": "a.png"}'


@pytest.mark.parametrize(
    "text",
    ["", "\n", RECORD + "\n", f"[\n{RECORD}\n]\n", "[]\n", "[", RECORD[:9], "PixelSleuth 0.1.0, 1 May\n"],
)
def test_verdicts_replace_verdicts_of_any_format_also_torn_ones(tmp_path, text):
    (tmp_path / "out").write_text(text)
    file = RecordFile(tmp_path / "out", ours=OUR_RECORDS, kind="output file")
    file.write("new\n")
    file.commit()
    file.close()
    assert (tmp_path / "out").read_text() == "new\n"


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\x00\x00", b"Dear editor,\n", b'{"schema": 1}\n', b'[{"id": 3}]', b"path,label\n", b"{x",
     b"PixelSleuth is a program.\n"],
)  # fmt: skip
def test_verdicts_replace_nothing_else(tmp_path, content):
    (tmp_path / "out").write_bytes(content)
    with pytest.raises(OutputError, match="was not overwritten"):
        RecordFile(tmp_path / "out", ours=OUR_RECORDS, kind="output file")
    assert (tmp_path / "out").read_bytes() == content


def test_a_report_does_not_replace_somebody_elses_page(tmp_path):
    (tmp_path / "page.html").write_text("<!doctype html><html><title>My thesis</title>")
    with pytest.raises(OutputError, match="was not overwritten"):
        AtomicFile(tmp_path / "page.html", ours=OUR_PAGE, kind="HTML report")


@given(source=st.text(), sha=st.text("0123456789abcdef", max_size=64))
def test_the_name_of_a_mask_never_leaves_its_folder(source, sha):
    name = mask_name(source, sha)
    assert Path(name).name == name
    assert name.endswith(".mask.png")
    assert not name.startswith(".")
    assert len(name) <= 100


def test_a_mask_never_follows_a_link_out_of_its_folder(tmp_path, verdict):
    judged = verdict("tampered", source="photo.jpg")
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"precious")
    folder = MaskFolder(tmp_path / "masks")
    try:
        (tmp_path / "masks" / mask_name(judged.source, judged.sha256)).symlink_to(outside)
    except OSError:
        pytest.skip("no links on this system")
    folder.save(judged)
    assert outside.read_bytes() == b"precious"


def test_only_tampered_pictures_leave_a_mask(tmp_path, verdict):
    folder = MaskFolder(tmp_path / "masks")
    assert folder.save(verdict("real")) is None
    assert folder.save(verdict("tampered")) is not None
    assert folder.written == 1
