"""`check --watch`: what arrives in a folder is judged once, when it is whole, however it arrives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

pytest.importorskip("watchfiles", reason="watchfiles is not installed: run `make setup`")

from pixelsleuth.checking import watching
from pixelsleuth.checking.watching import Arrivals
from pixelsleuth.errors import UsageError

Script = Callable[[Path], Iterator[None]]


def picture(path: Path, seed: int = 0) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(90, 200, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path.read_bytes()


@pytest.fixture
def arriving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The names that arrive in a folder while `script` acts on it, a step each tick; it ends when nothing is left."""
    monkeypatch.setattr(watching, "SETTLED_SECONDS", 0.4)
    monkeypatch.setattr(watching, "TICK_MILLISECONDS", 50)

    def run(script: Script, *, judged: tuple[str, ...] = (), ours: tuple[str, ...] = ()) -> list[str]:
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        steps, rest = script(folder), [1.0]

        def act() -> None:
            if next(steps, "end") != "end":
                return
            if not arrivals._waiting:
                rest[0] = min(rest[0], time.monotonic() + 0.5)
                if time.monotonic() > rest[0]:
                    raise KeyboardInterrupt

        rest[0] = float("inf")
        arrivals = Arrivals([str(folder)], ours=[str(folder / own) for own in ours], idle=act)
        listed = arrivals.listed()
        todo = [path for path in listed if os.path.basename(path) not in judged]
        return [os.path.relpath(path, folder) for path in arrivals.after(listed, todo)]

    return run


def wait(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def test_paths_are_those_of_the_folder_as_it_was_named(
    arriving: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "named").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watching, "SETTLED_SECONDS", 0.1)
    came: list[str] = []

    def act() -> None:
        if not (tmp_path / "real" / "a.png").exists():
            picture(tmp_path / "real" / "a.png")
        elif came:
            raise KeyboardInterrupt

    for folder in ("named", "real", "./real/"):
        came.clear()
        (tmp_path / "real" / "a.png").unlink(missing_ok=True)
        arrivals = Arrivals([folder], idle=act)
        for path in arrivals.after(arrivals.listed(), []):
            came.append(path)
        assert came == [os.path.join(folder, "a.png")]


def test_what_is_there_comes_first_and_what_was_judged_before_does_not_come_again(
    arriving: Callable[..., list[str]], tmp_path: Path
) -> None:
    for number, name in enumerate(["b.png", "a.png", "sub/c.png"]):
        picture(tmp_path / "in" / name, number)

    def script(folder: Path) -> Iterator[None]:
        yield
        picture(folder / "sub" / "d.png", 9)

    assert arriving(script, judged=("a.png",)) == ["b.png", "sub/c.png", "sub/d.png"]


def test_a_file_that_is_still_being_written_waits_until_it_is_whole(
    arriving: Callable[..., list[str]], tmp_path: Path
) -> None:
    data = picture(tmp_path / "other.png")

    def script(folder: Path) -> Iterator[None]:
        with (folder / "slow.png").open("wb", buffering=0) as file:
            for start in range(0, len(data), 200):
                file.write(data[start : start + 200])
                yield from wait(0.15)
        assert len(data) > 3 * 200  # it took longer than a file takes to settle

    assert arriving(script) == ["slow.png"]


def test_a_burst_of_files_comes_whole_and_once_each(
    arriving: Callable[..., list[str]], tmp_path: Path
) -> None:
    data = picture(tmp_path / "other.png")

    def script(folder: Path) -> Iterator[None]:
        for number in range(1000):
            (folder / f"{number:04}.png").write_bytes(data)
        yield

    assert sorted(arriving(script)) == [f"{number:04}.png" for number in range(1000)]


def test_names_that_change_and_files_that_go_are_taken_as_they_are_in_the_end(
    arriving: Callable[..., list[str]], tmp_path: Path
) -> None:
    def script(folder: Path) -> Iterator[None]:
        data = picture(folder / "gone.png")
        yield
        (folder / "gone.png").unlink()
        (folder / ".upload.png.part").write_bytes(data)
        yield
        (folder / ".upload.png.part").rename(folder / "uploaded.png")
        (folder / "page.txt").write_text("no picture")
        (folder / "no-suffix").write_bytes(data)
        picture(tmp_path / "made" / "deep" / "moved.png")
        (tmp_path / "made").rename(folder / "made")
        yield

    assert sorted(arriving(script)) == ["made/deep/moved.png", "no-suffix", "uploaded.png"]


def test_a_file_that_is_touched_does_not_come_again_one_that_changes_does(
    arriving: Callable[..., list[str]], tmp_path: Path
) -> None:
    def script(folder: Path) -> Iterator[None]:
        picture(folder / "a.png")
        yield from wait(1.2)
        os.utime(folder / "a.png")
        yield from wait(1.2)
        picture(folder / "a.png", 1)
        yield from wait(0.2)

    assert arriving(script) == ["a.png", "a.png"]


def test_links_out_of_the_folder_and_the_files_of_the_run_itself_do_not_come(
    arriving: Callable[..., list[str]], tmp_path: Path
) -> None:
    picture(tmp_path / "outside" / "secret.png")

    def script(folder: Path) -> Iterator[None]:
        (folder / "link.png").symlink_to(tmp_path / "outside" / "secret.png")
        (folder / "linked").symlink_to(tmp_path / "outside")
        (folder / "round").symlink_to(folder)
        picture(folder / "masks" / "a.mask.png")
        picture(folder / ".hidden" / "b.png")
        yield
        (folder / "inner.png").symlink_to(picture(folder / "a.png") and folder / "a.png")

    assert sorted(arriving(script, ours=("masks",))) == ["a.png", "inner.png"]


def test_a_lost_notice_costs_time_and_no_picture(
    arriving: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(self: Arrivals) -> Iterator[set[object]]:
        while True:
            time.sleep(0.05)
            yield set()

    monkeypatch.setattr(Arrivals, "_watch", deaf)
    monkeypatch.setattr(watching, "RELIST_SECONDS", 0.2)

    def script(folder: Path) -> Iterator[None]:
        picture(folder / "a.png")
        yield from wait(0.6)

    assert arriving(script) == ["a.png"]


def test_a_folder_that_disappears_ends_the_watch_with_a_sentence(
    arriving: Callable[..., list[str]], tmp_path: Path
) -> None:
    def script(folder: Path) -> Iterator[None]:
        folder.rmdir()
        yield from wait(0.5)

    with pytest.raises(UsageError, match="is no folder"):
        arriving(script)


@pytest.mark.parametrize("options, sentence", [
    (("--format", "text"), "--format jsonl --output FILE --watch"),
    (("--batch-size", "2"), "leave out --batch-size"),
])  # fmt: skip
def test_options_that_make_no_sense_with_a_watch_are_refused(
    cli: Callable[..., Result], pictures: Path, tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    output = ("--format", "jsonl", "--output", tmp_path / "v.jsonl")
    result = cli("check", pictures, "--watch", *output, *options)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "is no folder" in cli("check", pictures / "real.png", "--watch", *output).output


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_watch_ends_cleanly_and_goes_on_where_it_ended(
    shell: Callable[..., subprocess.Popen[bytes]], pictures: Path, tmp_path: Path
) -> None:
    output, report = tmp_path / "v.jsonl", tmp_path / "r.html"
    arguments = (
        *("check", "--watch", "pictures", "--model", "fake_detector:load", "--format", "jsonl", "--output", output),
        *("--report", report, "--fail-on", "tampered"),
    )  # fmt: skip

    def lines() -> list[dict]:
        return [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []

    def run(expected: int) -> str:
        process = shell(*arguments)
        end = time.monotonic() + 60
        while len(lines()) < expected and time.monotonic() < end:
            time.sleep(0.05)
        while expected and not report.exists() and time.monotonic() < end:
            time.sleep(0.05)
        if expected == 4:
            picture(pictures / "late.png", 5)
            while len(lines()) < 5 and time.monotonic() < end:
                time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 3, errors  # the folder holds a tampered picture
        return errors.decode()

    told = run(4)
    assert "Tampered: pictures/tampered.png" in told
    assert "5 pictures: 1 tampered, 1 wholly generated, 2 real, 1 inconclusive." in told
    assert "The watch has ended" in told
    picture(pictures / "while-away.png", 6)
    told = run(6)
    assert "5 pictures had been judged before." in told
    records = lines()
    assert sorted(Path(record["source"]).name for record in records) == [
        "fake.png", "late.png", "real.png", "tampered.png", "thin.png", "while-away.png",
    ]  # fmt: skip
    page = report.read_text()
    assert "6 pictures checked" in page
    assert "This report is incomplete" not in page
