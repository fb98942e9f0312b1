"""`check` says what the file says, beside the model and never in its scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelsleuth.core.detector import Detector
from pixelsleuth.evidence.inspection import entries_of
from pixelsleuth.models.registry import load

EVIL = "</p><script>alert(1)</script>"
LINES = f"a fox {EVIL}\x1b[31m\nSteps: 20, Sampler: Euler a, Seed: 1, Model: foxes"
TERM = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def declaring(path: Path, *, texts: dict[str, str] | None = None, term: str = "") -> Path:
    """Rewrite a PNG with text chunks, or with an IPTC digital source type in XMP."""
    info = PngInfo()
    for key, text in (texts or {}).items():
        info.add_text(key, text)
    if term:
        packet = (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            '<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
            f'Iptc4xmpExt:DigitalSourceType="{TERM}{term}"/></rdf:RDF></x:xmpmeta>'
        )
        info.add_itxt("XML:com.adobe.xmp", packet)
    Image.open(path).save(path, pnginfo=info)
    return path


@pytest.fixture
def generated(pictures: Path) -> Path:
    """A file that declares itself wholly generated; the stand-in calls it real."""
    return declaring(pictures / "real.png", texts={"parameters": LINES})


def record_of(cli, *arguments) -> dict:
    (line,) = cli("check", *arguments, "--format", "jsonl", "--quiet").stdout.splitlines()
    return json.loads(line)


def test_findings_join_the_claims_and_change_no_score(cli, pictures):
    path = declaring(pictures / "tampered.png", texts={"parameters": LINES})
    record, without = record_of(cli, path), record_of(cli, path, "--no-evidence")
    assert [entry["kind"] for entry in record["evidence"]] == ["mark", "metadata"]
    finding = record["evidence"][1]
    assert (finding["strength"], finding["false_alarms"], finding["measured"]) == ("declares", None, True)
    assert finding["detail"]["declares"] == "generated"
    assert [entry["kind"] for entry in without["evidence"]] == ["mark"]
    assert (record["examined"], without["examined"]) == (True, False)
    changed = {key for key in record if record[key] != without[key]}
    assert changed <= {"evidence", "examined", "elapsed_ms"}


def test_the_records_follow_the_published_schema(cli, generated):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads((Path(__file__).parents[2] / "docs" / "verdict.schema.json").read_text("utf-8"))
    check = jsonschema.Draft202012Validator(schema)
    record = record_of(cli, generated)
    check.validate(record)
    record["evidence"] = [{"kind": "x", "statement": "An old entry."}]
    check.validate(record)
    record["evidence"] = [{"kind": "x", "statement": "One of unknown worth.", "strength": "proves"}]
    with pytest.raises(jsonschema.ValidationError):
        check.validate(record)


def test_a_contradiction_is_the_first_sentence_in_text(cli, generated):
    lines = [line.strip() for line in cli("check", generated).stdout.splitlines()]
    assert lines[1].startswith("File and model contradict each other")
    text = " ".join(" ".join(lines).split())
    assert text.index("contradict") < text.index("Real")
    assert "File declares that it was wholly generated: Stable Diffusion web UI with the model foxes." in text
    assert "Metadata prove nothing alone" in text
    assert "\x1b" not in text


def test_many_pictures_get_a_line_for_each_declaration(cli, pictures, generated):
    for number in range(13):
        Image.open(pictures / "fake.png").save(pictures / f"more{number}.png")
    text = " ".join(cli("check", pictures).stdout.split())
    assert text.count("File and model contradict each other") == 1
    assert text.count("File: declares that it was wholly generated") == 1


@pytest.mark.parametrize(
    "name, term, contradicts",
    [
        ("fake.png", "digitalCapture", True),
        ("fake.png", "screenCapture", False),  # a screen can show a generated picture
        ("fake.png", "trainedAlgorithmicMedia", False),
        ("real.png", "trainedAlgorithmicMedia", True),
        ("real.png", "digitalCapture", False),
        ("thin.png", "trainedAlgorithmicMedia", False),  # inconclusive: the model says nothing to contradict
        ("tampered.png", "trainedAlgorithmicMedia", False),
    ],
)
def test_only_what_excludes_each_other_is_a_contradiction(cli, pictures, name, term, contradicts):
    text = cli("check", declaring(pictures / name, term=term)).stdout
    assert ("contradict each other" in text) == contradicts


def test_hints_stand_in_the_report_only(cli, pictures, tmp_path):
    path = declaring(pictures / "real.png", texts={"Software": "Adobe Photoshop 25.0"})
    result = cli("check", path, "--report", tmp_path / "r.html")
    assert "Photoshop" not in result.stdout
    assert "Adobe Photoshop 25.0" in (tmp_path / "r.html").read_text("utf-8")


def test_the_report_has_a_card_with_everything_escaped(cli, pictures, generated, tmp_path):
    cli("check", generated, pictures / "thin.png", "--report", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert page.count("<h4>What the file says</h4>") == 2
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("SynthID and other closed watermarks cannot be checked here.") == 2
    assert "That means nothing: most platforms remove metadata." in page
    assert page.index("File and model contradict each other</b> in 1 picture") < page.index("<article")
    cli("check", generated, "--report", tmp_path / "without.html", "--no-evidence")
    without = (tmp_path / "without.html").read_text("utf-8")
    assert "<h4>What the file says</h4>" not in without
    assert "contradict" not in without


def test_resumed_records_keep_their_evidence(cli, pictures, generated, tmp_path):
    out, report = tmp_path / "out.jsonl", tmp_path / "r.html"
    first = ["check", pictures, "--format", "jsonl", "--output", out]
    cli(*first)
    before = out.read_text("utf-8")
    result = cli(*first, "--resume", "--report", report)
    assert result.exit_code == 0
    assert out.read_text("utf-8") == before
    assert "File and model contradict each other" in report.read_text("utf-8")


def test_half_surrogates_of_a_prompt_can_be_written(cli, pictures, tmp_path):
    settings = '{"sui_image_params": {"prompt": "a \\ud800 fox", "model": "m"}}'
    path = declaring(pictures / "real.png", texts={"parameters": settings})
    cli("check", path, "--format", "json", "--output", tmp_path / "out.json", "--report", tmp_path / "r.html")
    (record,) = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert record["evidence"][0]["detail"]["prompt"] == "a ? fox"


# in Python


@pytest.fixture
def detector() -> Detector:
    return load("fake")


def test_python_examines_files_where_asked_and_arrays_never(detector, generated):
    assert not detector.check(generated).examined
    detector.examine = entries_of
    assert detector.check(generated).evidence[-1]["detail"]["declares"] == "generated"
    assert detector.check(generated.read_bytes()).examined
    with generated.open("rb") as file:
        assert detector.check(file).examined
    assert not detector.check(np.full((64, 64, 3), 90, np.uint8)).examined


def test_a_fault_of_an_examination_costs_no_verdict(detector, generated):
    def fail(data, header):
        raise RuntimeError("a fault")

    detector.examine = fail
    verdict = detector.check(generated)
    assert verdict.label == "real"
    assert verdict.warnings == ["What the file says by itself could not be read."]
    assert not verdict.examined


def test_the_bytes_may_be_kept_by_an_examination(detector, generated):
    kept = []

    def keep(data, header):
        kept.append(data[:8])
        return []

    detector.examine = keep
    assert detector.check(generated).label == "real"
    assert bytes(kept[0]).startswith(b"\x89PNG")
