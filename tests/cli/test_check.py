"""What a user of `pixelsleuth check` may rely on."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from fake_detector import FakeDetector
from PIL import Image


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_text_says_what_how_sure_where_and_why(cli, pictures):
    result = cli("check", pictures / "tampered.png")
    assert result.exit_code == 0
    assert "Tampered" in result.stdout
    assert "93%" in result.stdout
    assert "lower left" in result.stdout
    assert "x 10 to 30, y 30 to 50" in result.stdout
    assert "marks of tampered" in result.stdout
    assert "Magenta paint was found." in result.stdout


def test_text_is_plain_when_not_on_a_terminal(cli, pictures):
    assert "\x1b" not in cli("check", pictures).stdout


def test_text_of_thin_evidence_says_inconclusive_first(cli, pictures):
    assert "Inconclusive, leans real" in cli("check", pictures / "thin.png").stdout


def test_many_pictures_are_told_in_a_line_or_two_each(cli, pictures):
    for number in range(13):
        Image.open(pictures / "real.png").save(pictures / f"more{number}.png")
    result = cli("check", pictures)
    assert len(result.stdout.splitlines()) < 2 * 17 + 1
    assert "17 pictures: 1 tampered, 1 wholly generated, 14 real, 1 inconclusive." in result.stderr


def test_json_is_one_array(cli, pictures):
    result = cli("check", pictures, "--format", "json")
    labels = {Path(record["source"]).stem: record["label"] for record in json.loads(result.stdout)}
    assert labels == {"fake": "full_synthetic", "real": "real", "tampered": "tampered", "thin": "real"}


def test_jsonl_is_one_record_a_line_in_the_order_given(cli, pictures):
    names = ["thin.png", "real.png", "tampered.png"]
    result = cli("check", *(pictures / name for name in names), "--format", "jsonl")
    assert [Path(record["source"]).name for record in records(result.stdout)] == names
    assert all(record["schema"] == "pixelsleuth.verdict/1" for record in records(result.stdout))


def test_paths_are_read_from_standard_input(cli, pictures):
    listed = f"{pictures / 'real.png'}\n\n{pictures / 'thin.png'}\r\n"
    assert len(records(cli("check", "-", "--format", "jsonl", stdin=listed).stdout)) == 2
    ended_by_nul = listed.replace("\r", "").replace("\n\n", "\0").replace("\n", "\0")
    assert len(records(cli("check", "-", "--format", "jsonl", stdin=ended_by_nul).stdout)) == 2


def test_empty_standard_input_is_wrong_usage(cli):
    result = cli("check", "-", stdin="")
    assert result.exit_code == 2
    assert "one path a line" in result.stderr


def test_every_file_of_a_folder_of_broken_pictures_is_answered_for(cli, shared):
    folder = shared / "samples" / "broken"
    result = cli("check", folder, "--format", "jsonl", "--quiet")
    by_name = {Path(record["source"]).name: record for record in records(result.stdout)}
    assert set(by_name) == {path.name for path in folder.iterdir()}
    assert all((record["label"] is None) == (record["error"] is not None) for record in by_name.values())
    assert by_name["hopper_bad.p7"]["error"]["code"] == "unsupported_format"


def test_no_explain_leaves_the_reasons_out(cli, pictures):
    result = cli("check", pictures / "real.png", "--no-explain", "--format", "jsonl")
    assert records(result.stdout)[0]["explanation"] is None


def test_output_goes_to_a_file_when_asked(cli, pictures, tmp_path):
    result = cli("check", pictures / "real.png", "--format", "jsonl", "--output", tmp_path / "out.jsonl")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert records((tmp_path / "out.jsonl").read_text())[0]["label"] == "real"


def test_too_large_a_picture_is_refused_before_decoding(cli, pictures):
    result = cli("check", pictures / "real.png", "--max-megapixels", "0.001", "--format", "jsonl")
    assert result.exit_code == 1
    assert records(result.stdout)[0]["error"]["code"] == "picture_too_large"


@pytest.mark.parametrize("given, most", [([], 2), (["--batch-size", "1"], 1), (["--batch-size", "3"], 3)])
def test_a_model_gets_as_many_pictures_as_it_works_at_beside_each_other(
    cli, pictures, monkeypatch, given, most
):
    seen, judge = [], FakeDetector.judge

    def watched(self, batch, *, explain):
        seen.append(len(batch))
        return judge(self, batch, explain=explain)

    monkeypatch.setattr(FakeDetector, "judge", watched)
    monkeypatch.setattr(FakeDetector, "beside", 2)
    assert cli("check", pictures, *given).exit_code == 0
    assert max(seen) == most


@pytest.mark.parametrize("batch", [1, 3, 10])
def test_batches_change_no_answer(cli, pictures, batch):
    result = cli("check", pictures, "--format", "jsonl", "--batch-size", str(batch))
    assert [record["label"] for record in records(result.stdout)] == [
        "full_synthetic",
        "real",
        "tampered",
        "real",
    ]


# bad input


def test_bad_pictures_are_records_and_the_others_are_judged(cli, pictures, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    missing = tmp_path / "missing.jpg"
    result = cli("check", missing, pictures / "real.png", text, "--format", "jsonl")
    assert result.exit_code == 1
    judged = records(result.stdout)
    assert [(record["error"] or {}).get("code") for record in judged] == [
        "picture_not_found",
        None,
        "not_a_picture",
    ]
    assert "Traceback" not in result.output
    assert "There is no file" in result.stderr


def test_an_empty_folder_alone_is_wrong_usage(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    result = cli("check", tmp_path / "empty")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "holds no picture" in result.stderr


def test_an_empty_folder_beside_others_does_not_stop_them(cli, pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    result = cli("check", tmp_path / "empty", pictures / "real.png", "--format", "jsonl")
    assert result.exit_code == 1
    assert [record["label"] for record in records(result.stdout)] == [None, "real"]


def test_an_unknown_model_is_one_sentence_with_a_suggestion(cli, pictures, tmp_path):
    report = tmp_path / "r.html"
    result = cli("check", pictures, "--model", "compct", "--report", report)
    assert result.exit_code == 2
    assert "did you mean 'compact'?" in result.stderr
    assert list(tmp_path.iterdir()) == [pictures]


@pytest.mark.parametrize("report", ["nowhere/report.html", "pictures", "pictures/real.png"])
def test_an_unwritable_report_is_told_and_the_pictures_are_judged(cli, pictures, tmp_path, report):
    before = (pictures / "real.png").read_bytes()
    result = cli("check", pictures, "--format", "jsonl", "--report", tmp_path / report)
    assert result.exit_code == 2
    assert len(records(result.stdout)) == 4
    assert result.stderr.startswith("Error: ")
    assert (pictures / "real.png").read_bytes() == before


def test_an_unwritable_output_falls_back_to_standard_output(cli, pictures, tmp_path):
    result = cli("check", pictures / "real.png", "--format", "jsonl", "--output", tmp_path / "no" / "out")
    assert result.exit_code == 2
    assert records(result.stdout)[0]["label"] == "real"


def test_output_never_overwrites_a_picture(cli, pictures):
    before = (pictures / "fake.png").read_bytes()
    result = cli("check", pictures / "real.png", "--output", pictures / "fake.png")
    assert result.exit_code == 2
    assert (pictures / "fake.png").read_bytes() == before


def test_report_and_output_under_one_name_keep_the_records(cli, pictures, tmp_path):
    same = tmp_path / "same"
    result = cli("check", pictures / "real.png", "--format", "jsonl", "--report", same, "--output", same)
    assert result.exit_code == 2
    assert "name the same file" in result.stderr
    assert records(same.read_text())[0]["label"] == "real"


def test_no_path_at_all_is_wrong_usage(cli):
    result = cli("check")
    assert result.exit_code == 2
    assert "No picture was given" in result.stderr


def test_a_fault_of_the_detector_is_the_record_of_that_picture(cli, pictures):
    pixels = np.array(Image.open(pictures / "real.png"))
    pixels[0, 0] = (1, 2, 3)
    Image.fromarray(pixels).save(pictures / "poison.png")
    result = cli("check", pictures, "--format", "jsonl", "--batch-size", "8")
    assert result.exit_code == 1
    failed = [record for record in records(result.stdout) if record["error"]]
    assert [record["error"]["code"] for record in failed] == ["internal_error"]
    assert len(records(result.stdout)) == 5


def test_a_name_with_escape_codes_cannot_paint_the_terminal(cli, pictures):
    evil = pictures / "\x1b[31mred\x07.png"
    (pictures / "real.png").rename(evil)
    result = cli("check", evil)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout + result.stderr


@pytest.mark.skipif(os.name == "nt", reason="file names are text on Windows")
def test_a_name_that_is_no_utf8_is_read_and_reported(cli, pictures, tmp_path):
    odd = os.fsencode(pictures) + b"/caf\xe9.png"
    os.rename(pictures / "real.png", odd)
    result = cli("check", "-", "--format", "jsonl", "--report", tmp_path / "r.html", stdin=odd + b"\n")
    assert result.exit_code == 0
    assert records(result.stdout)[0]["label"] == "real"
    assert (tmp_path / "r.html").read_text("utf-8")


# masks and reports


def test_masks_are_png_of_the_size_of_the_picture(cli, pictures, tmp_path):
    folder = tmp_path / "masks"
    result = cli("check", pictures, "--format", "jsonl", "--save-masks", folder)
    named = [record["mask"]["file"] for record in records(result.stdout) if record["mask"]]
    assert [Path(name).parent for name in named] == [folder]
    mask = np.asarray(Image.open(named[0]))
    assert mask.shape == (60, 80)
    assert set(np.unique(mask)) == {0, 255}
    assert (mask == 255).sum() == 400
    assert [path.name for path in folder.iterdir()] == [Path(named[0]).name]


def test_masks_of_two_pictures_of_one_name_do_not_collide(cli, pictures, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    pixels = np.array(Image.open(pictures / "tampered.png"))
    pixels[:5, :5] = (255, 0, 255)
    Image.fromarray(pixels).save(other / "tampered.png")
    cli("check", pictures / "tampered.png", other / "tampered.png", "--save-masks", tmp_path / "masks")
    assert len(list((tmp_path / "masks").iterdir())) == 2


def test_a_mask_folder_that_is_a_file_is_told_and_the_pictures_are_judged(cli, pictures):
    result = cli("check", pictures, "--format", "jsonl", "--save-masks", pictures / "real.png")
    assert result.exit_code == 2
    assert "is a file; --save-masks needs a folder" in result.stderr
    assert len(records(result.stdout)) == 4


def test_the_report_is_written_beside_the_text(cli, pictures, tmp_path):
    result = cli("check", pictures, "--report", tmp_path / "report.html")
    assert result.exit_code == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert page.count("<article") == 4
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["pictures", "report.html"]


def test_a_report_replaces_an_earlier_report(cli, pictures, tmp_path):
    for _ in range(2):
        assert cli("check", pictures / "real.png", "--report", tmp_path / "report.html").exit_code == 0


def test_quiet_leaves_standard_error_empty(cli, pictures):
    assert cli("check", pictures, "--quiet", "--format", "jsonl").stderr == ""


# as a process


@pytest.mark.skipif(os.name == "nt", reason="signals of a terminal")
def test_an_interrupted_run_keeps_what_it_has_and_exits_130(shell, pictures, tmp_path):
    process = shell(
        *("check", pictures, "--model", "fake_detector:load_slow"),
        *("--format", "json", "--report", "r.html", "--output", "o.json"),
    )
    deadline = time.monotonic() + 60
    out = tmp_path / "o.json"
    while time.monotonic() < deadline and not (out.exists() and '"label"' in out.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert b"Traceback" not in stderr
    assert 1 <= len(json.loads(out.read_text())) < 4
    assert "This report is incomplete" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.skipif(os.name == "nt", reason="pipes close differently")
def test_a_closed_pipe_is_no_traceback(shell, pictures):
    process = shell("check", pictures, "--model", "fake_detector:load", "--format", "jsonl")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=60)
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()


def test_output_survives_a_terminal_that_knows_no_unicode(shell, pictures):
    (pictures / "real.png").rename(pictures / "Übergröße.png")
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for style in ("text", "json"):
        process = shell("check", pictures, "--model", "fake_detector:load", "--format", style, **environment)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        stdout.decode("ascii")


@pytest.mark.parametrize("limit", ["nan", "inf", "-inf", "0", "1e999"])
def test_a_limit_that_limits_nothing_is_refused(cli, limit):
    result = cli("check", "photo.jpg", "--max-megapixels", limit)
    assert result.exit_code == 2
    assert "--max-megapixels" in result.stderr
