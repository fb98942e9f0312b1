"""What becomes of the outputs of a command when something goes wrong outside it: a full disk, a reader that leaves,
a signal, a second run, a kill.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from pixelsleuth.checking.results import OUR_RECORDS
from pixelsleuth.core.outputs import RecordFile

FAKE = ("--model", "fake_detector:load")
SLOW = ("--model", "fake_detector:load_slow")
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals, devices and pipes")

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def records(text: str | bytes) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command line of a shell in `tmp_path`, in which `pixelsleuth` is ours."""
    here = Path(__file__)
    paths = [str(here.parents[2] / "src"), str(here.parents[1] / "fakes"), os.environ.get("PYTHONPATH", "")]

    def call(line: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", f'set -o pipefail; pixelsleuth() {{ "{sys.executable}" -m pixelsleuth "$@"; }}; {line}'],
            capture_output=True, cwd=tmp_path, timeout=120, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip

    return call


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 4,096 bytes."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            yield folder
            subprocess.run(["umount", "-l", str(folder)], check=True)
            return
    pytest.skip("no file system can be mounted here")


def more(pictures: Path, count: int) -> None:
    for number in range(count):
        Image.open(pictures / "tampered.png").save(pictures / f"x{number}.png")


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name.endswith((".part", ".partial", ".tmp"))]


# standard output


@posix
@pytest.mark.parametrize("style", ["text", "json", "jsonl"])
@pytest.mark.parametrize("where, why", [(">/dev/full", "no space left"), (">&-", "is closed")])
def test_standard_output_that_takes_nothing_is_one_sentence_and_the_report_is_written(
    run, pictures, tmp_path, style, where, why
):
    if "/dev/full" in where and not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    done = run(f"pixelsleuth check pictures -q {' '.join(FAKE)} --format {style} --report r.html {where}")
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert why in done.stderr.decode()
    page = (tmp_path / "r.html").read_text("utf-8")
    assert page.count("<article") == 4
    assert "incomplete" not in page
    assert not left_over(tmp_path)


@posix
@pytest.mark.parametrize("style", ["text", "jsonl"])
def test_a_reader_that_leaves_costs_neither_report_nor_masks(run, pictures, tmp_path, style):
    more(pictures, 30)
    done = run(
        f"pixelsleuth check pictures -q {' '.join(FAKE)} --format {style} --report r.html --save-masks m"
        " | head -1 > first"
    )
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"closed by the program that read it" in done.stderr
    assert (tmp_path / "r.html").read_text("utf-8").count("<article") == 34
    assert len(list((tmp_path / "m").iterdir())) == 31
    assert (tmp_path / "first").read_bytes().count(b"\n") == 1


@posix
@pytest.mark.parametrize("line", ["models --format json", "--help", "datasets"])
def test_every_command_says_in_one_sentence_that_its_words_went_nowhere(run, line):
    done = run(f"pixelsleuth {line} >&-")
    assert done.returncode == 2
    assert done.stderr.startswith(b"Error: Standard output is closed")
    assert done.stderr.count(b"\n") == 1


@posix
def test_a_standard_error_that_takes_nothing_stops_nothing(run, pictures):
    for where in ("2>&-", "2>/dev/full"):
        done = run(f"pixelsleuth check pictures nowhere.png {' '.join(FAKE)} --format jsonl {where}")
        assert done.returncode == 1
        assert len(records(done.stdout)) == 5


@posix
def test_a_full_disk_behind_standard_output_leaves_whole_lines(run, pictures, tiny_disk):
    more(pictures, 10)
    done = run(f"pixelsleuth check pictures {' '.join(FAKE)} --format jsonl > tiny/out.jsonl")
    assert done.returncode == 2
    assert b"no space left on device" in done.stderr
    assert 1 <= len(records((tiny_disk / "out.jsonl").read_text())) < 14


# files


@posix
@pytest.mark.parametrize("style", ["text", "json", "jsonl"])
def test_a_full_disk_keeps_whole_verdicts_and_the_rest_goes_on(run, pictures, tmp_path, tiny_disk, style):
    more(pictures, 8)
    done = run(
        f"pixelsleuth check pictures -q {' '.join(FAKE)} --format {style} --output tiny/out --report r.html"
        " --save-masks masks"
    )
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"The output file tiny/out cannot be written (no space left on device)" in done.stderr
    text = (tiny_disk / "out").read_text()
    if style == "text":
        assert text.startswith("PixelSleuth ")
        assert text.endswith("\n")
        for name in ("fake", "real", "tampered", "thin", *(f"x{i}" for i in range(8))):
            assert (f"{name}.png" in text) + (f"{name}.png" in done.stdout.decode()) == 1
    else:
        read = json.loads if style == "json" else records
        assert len(read(text)) + len(read(done.stdout)) == 12
        assert len(read(text)) >= 1
    assert (tmp_path / "r.html").read_text("utf-8").count("<article") == 12
    assert len(list((tmp_path / "masks").iterdir())) == 9
    assert not left_over(tmp_path)


@posix
def test_a_report_and_masks_that_find_no_room_cost_only_themselves(run, pictures, tmp_path, tiny_disk):
    (tiny_disk / "filler").write_bytes(b"x" * 4096)
    done = run(
        f"pixelsleuth check pictures -q {' '.join(FAKE)} --format jsonl --report tiny/r.html --save-masks tiny/m"
    )
    assert done.returncode == 2
    assert len(records(done.stdout)) == 4
    assert sorted(line.split()[2] for line in done.stderr.decode().splitlines()) == ["HTML", "mask"]
    assert sorted(path.name for path in tiny_disk.rglob("*") if path.is_file()) == ["filler"]


@pytest.mark.parametrize("name", ["notes.txt", "data.jsonl", "other.json"])
def test_output_replaces_only_what_check_wrote(cli, pictures, tmp_path, name):
    content = {"notes.txt": "Dear editor\n", "data.jsonl": '{"id": 1}\n', "other.json": "[1, 2]\n"}[name]
    (tmp_path / name).write_text(content)
    result = cli("check", pictures, "--format", "jsonl", "--output", tmp_path / name)
    assert result.exit_code == 2
    assert "was not overwritten" in result.stderr
    assert len(records(result.stdout)) == 4
    assert (tmp_path / name).read_text() == content


def test_output_of_one_format_may_take_the_place_of_another(cli, pictures, tmp_path):
    for style in ("text", "json", "jsonl", "text"):
        result = cli("check", pictures, "--format", style, "--output", tmp_path / "out")
        assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out").read_text().startswith("PixelSleuth ")


def test_a_run_that_cannot_begin_leaves_the_last_output_as_it_was(cli, pictures, tmp_path):
    cli("check", pictures, "--format", "jsonl", "--output", tmp_path / "out")
    before = (tmp_path / "out").read_text()
    assert cli("check", pictures, "--model", "compct", "--output", tmp_path / "out").exit_code == 2
    assert (tmp_path / "out").read_text() == before


def test_an_array_without_pictures_that_could_be_read_is_still_an_array(cli, tmp_path):
    result = cli("check", tmp_path / "no.png", "--format", "json", "--output", tmp_path / "out.json")
    assert result.exit_code == 1
    assert json.loads((tmp_path / "out.json").read_text())[0]["error"]["code"] == "picture_not_found"


def test_what_killed_runs_left_is_swept(cli, pictures, tmp_path):
    (tmp_path / "masks").mkdir()
    for name in (".r.html.part", ".r.html.ab12_x9z.part", "masks/.a-0123456789ab.mask.png.part"):
        (tmp_path / name).write_text("half")
    cli("check", pictures, "--report", tmp_path / "r.html", "--save-masks", tmp_path / "masks")
    assert not left_over(tmp_path)


# signals, second runs, kills


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not condition():
        time.sleep(0.05)
    assert condition()


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_run_that_is_told_to_end_closes_its_outputs(shell, pictures, tmp_path, name):
    more(pictures, 30)
    process = shell(
        *("check", pictures, *SLOW, "--format", "json", "--report", "r.html", "--output", "o.json")
    )
    wait_for(lambda: (tmp_path / "o.json").exists() and '"label"' in (tmp_path / "o.json").read_text())
    process.send_signal(getattr(signal, name))
    process.send_signal(signal.SIGTERM)  # an impatient supervisor
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert b"Traceback" not in stderr
    assert b"Stopped after" in stderr
    assert 1 <= len(json.loads((tmp_path / "o.json").read_text())) < 34
    assert "This report is incomplete" in (tmp_path / "r.html").read_text("utf-8")
    assert not left_over(tmp_path)


@posix
def test_nohup_is_obeyed(run, pictures):
    done = run(f"trap '' HUP; pixelsleuth check pictures {' '.join(FAKE)} --format jsonl & sleep 0.2; "
               "kill -HUP $!; wait $!")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(records(done.stdout)) == 4


@posix
def test_the_second_run_on_one_output_is_refused(shell, cli, pictures, tmp_path):
    out = tmp_path / "o.jsonl"
    more(pictures, 30)
    process = shell("check", pictures, *SLOW, "--format", "jsonl", "--output", out, "--report", "r.html")
    wait_for(lambda: out.exists() and out.stat().st_size > 0)
    for arguments in (("--output", out), ("--output", out, "--resume"), ("--report", tmp_path / "r.html")):
        result = cli("check", pictures, "--format", "jsonl", *arguments)
        assert result.exit_code == 2
        assert "Another run is writing" in result.stderr
        assert result.stdout == ""
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert records(out.read_text())
    assert cli("check", pictures, "--format", "jsonl", "--output", out, "--resume").exit_code == 0
    assert len(records(out.read_text())) == 34


@posix
def test_a_killed_run_is_resumed_where_it_was(shell, cli, pictures, tmp_path):
    out = tmp_path / "o.jsonl"
    more(pictures, 30)
    process = shell("check", pictures, *SLOW, "--format", "jsonl", "--output", out)
    wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") >= 2)
    process.kill()
    process.communicate(timeout=60)
    done = out.read_bytes()
    with out.open("ab") as stream:
        stream.write(done[:40])  # the line at which it was killed
    result = cli("check", pictures, "--format", "jsonl", "--output", out, "--resume")
    assert result.exit_code == 0, result.stderr
    assert out.read_bytes().startswith(done)
    names = [Path(record["source"]).name for record in records(out.read_text())]
    assert sorted(names) == sorted(path.name for path in pictures.iterdir())


# --resume


def test_resume_judges_only_what_is_new_changed_or_failed(cli, pictures, tmp_path):
    out, report = tmp_path / "o.jsonl", tmp_path / "r.html"
    gone = tmp_path / "late.png"
    arguments = ("check", pictures, gone, "--format", "jsonl", "--output", out)
    assert cli(*arguments).exit_code == 1
    before = {Path(record["source"]).name: record for record in records(out.read_text())}
    Image.open(pictures / "real.png").save(gone)  # was not there
    Image.open(pictures / "fake.png").save(pictures / "real.png")  # changed
    Image.open(pictures / "thin.png").save(pictures / "new.png")  # new
    result = cli(*arguments, "--resume", "--report", report)
    assert result.exit_code == 0, result.stderr
    assert "3 pictures had been judged before." in result.stderr
    after = {Path(record["source"]).name: record for record in records(out.read_text())}
    assert len(records(out.read_text())) == len(after) == 6
    assert {name: record["label"] for name, record in after.items()} == {
        "fake.png": "full_synthetic", "real.png": "full_synthetic", "tampered.png": "tampered", "thin.png": "real",
        "new.png": "real", "late.png": "real",
    }  # fmt: skip
    assert all(after[name] == before[name] for name in ("fake.png", "tampered.png", "thin.png"))
    page = report.read_text("utf-8")
    assert page.count("<article") == 6
    assert page.count('class="base"') >= 6  # pictures of earlier verdicts are shown as well
    again = out.read_bytes()
    assert cli(*arguments, "--resume").exit_code == 0
    assert out.read_bytes() == again


def test_resume_keeps_records_of_pictures_that_are_not_asked_for(cli, pictures, tmp_path):
    out = tmp_path / "o.jsonl"
    cli("check", pictures / "real.png", "--format", "jsonl", "--output", out)
    cli("check", pictures / "fake.png", "--format", "jsonl", "--output", out, "--resume")
    assert [Path(record["source"]).name for record in records(out.read_text())] == ["real.png", "fake.png"]


def test_resume_begins_where_there_is_nothing_yet(cli, pictures, tmp_path):
    out = tmp_path / "o.jsonl"
    assert cli("check", pictures, "--format", "jsonl", "--output", out, "--resume").exit_code == 0
    assert len(records(out.read_text())) == 4


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("--format", "json", "--output", "o"), "--format jsonl --output FILE --resume"),
        (("--format", "jsonl"), "--format jsonl --output FILE --resume"),
    ],
)
def test_resume_says_what_it_needs(cli, pictures, arguments, sentence):
    result = cli("check", pictures, *arguments, "--resume")
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_resume_refuses_the_verdicts_of_another_model_and_damaged_lines(cli, pictures, tmp_path):
    out = tmp_path / "o.jsonl"
    cli("check", pictures, "--format", "jsonl", "--output", out)
    whole = out.read_text()
    for text, sentence in (
        (whole.replace('"name": "fake"', '"name": "other"'), "holds verdicts of other 1"),
        (whole + "not json\n", "line 5 is not a verdict record"),
    ):
        out.write_text(text)
        result = cli("check", pictures, "--format", "jsonl", "--output", out, "--resume")
        assert result.exit_code == 2
        assert sentence in result.stderr
        assert out.read_text() == text


# other commands


@posix
def test_two_evaluations_in_one_folder_are_not_mixed(tmp_path, cli, pictures):
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label\npictures/real.png,real\npictures/fake.png,full_synthetic\n")
    out = tmp_path / "out"
    out.mkdir()
    other = RecordFile(out / "predictions.jsonl", ours=OUR_RECORDS, kind="log of predictions")
    result = cli("evaluate", "--model", "fake", "--data", manifest, "--out", out, "--no-audit", "-q")
    assert result.exit_code == 2
    assert "Another run is writing" in result.stderr
    other.discard()


@posix
def test_an_evaluation_on_a_full_disk_is_one_sentence_and_goes_on_later(run, tmp_path, pictures, tiny_disk):
    more(pictures, 10)
    rows = "".join(f"pictures/{path.name},tampered\n" for path in sorted(pictures.iterdir()))
    (tmp_path / "m.csv").write_text("path,label\n" + rows)
    line = f"pixelsleuth evaluate {' '.join(FAKE)} --data m.csv --out tiny --no-audit -q --batch-size 1 --raw"
    done = run(line)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1, done.stderr
    assert b"no space left on device" in done.stderr
    assert len(records((tiny_disk / "predictions.jsonl").read_text())) >= 2
    assert not left_over(tiny_disk)
