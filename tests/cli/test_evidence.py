"""`check` says what the file says, beside the model and never in its scores."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelsleuth.core import examining
from pixelsleuth.core.detector import Detector
from pixelsleuth.evidence.inspection import FileExaminer
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
    assert changed <= {"evidence", "examined", "elapsed_ms", "explanation"}
    cited = "Beside the model: the file declares that it was wholly generated (finding 1)."
    assert record["explanation"] == f"{without['explanation']} {cited}"


def test_the_records_follow_the_published_schema(cli, generated):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads(
        (Path(__file__).parents[2] / "docs" / "reference" / "verdict.schema.json").read_text("utf-8")
    )
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
        ("real.png", "compositeWithTrainedAlgorithmicMedia", True),
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
    detector.examiner = FileExaminer()
    assert detector.check(generated).evidence[-1]["detail"]["declares"] == "generated"
    assert detector.check(generated.read_bytes()).examined
    with generated.open("rb") as file:
        assert detector.check(file).examined
    assert not detector.check(np.full((64, 64, 3), 90, np.uint8)).examined


class Failing(FileExaminer):
    """An examiner with a fault, in its reading of bytes or of pixels."""

    def __init__(self, where: str) -> None:
        super().__init__()
        object.__setattr__(self, "where", where)

    def of_file(self, data, header):
        return self._fail("file") or super().of_file(data, header)

    def of_pixels(self, picture):
        return self._fail("pixels") or super().of_pixels(picture)

    def _fail(self, where: str) -> None:
        if self.where == where:
            raise RuntimeError("a fault")


@pytest.mark.parametrize(
    "where, warning, left",
    [
        ("file", "What the file says by itself could not be read.", []),
        ("pixels", "What the pixels show by themselves could not be examined.", ["metadata"]),
    ],
)
def test_a_fault_of_an_examination_costs_no_verdict(detector, generated, where, warning, left):
    detector.examiner = Failing(where)
    verdict = detector.check(generated)
    assert verdict.label == "real"
    assert verdict.warnings == [warning]
    assert [entry["kind"] for entry in verdict.evidence if "strength" in entry] == left
    assert verdict.examined is bool(left)


def test_the_bytes_may_be_kept_by_an_examination(detector, generated):
    kept = []

    class Keeping(FileExaminer):
        def of_file(self, data, header):
            kept.append(data[:8])
            return []

    detector.examiner = Keeping()
    assert detector.check(generated).label == "real"
    assert bytes(kept[0]).startswith(b"\x89PNG")


# pixels, and files without pixels


@pytest.fixture
def pasted(pictures: Path) -> Path:
    """A PNG with a part that was saved as JPEG on another grid."""
    rng = np.random.default_rng(3)

    def jpeg(side: int) -> np.ndarray:
        noise = Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)).resize((2 * side,) * 2)
        encoded = io.BytesIO()
        noise.save(encoded, "JPEG", quality=70)
        return np.asarray(Image.open(encoded))

    pixels = jpeg(160).copy()
    pixels[83:211, 101:229] = jpeg(64)
    Image.fromarray(pixels).save(pictures / "real.png")
    return pictures / "real.png"


def test_what_the_pixels_show_stands_beside_the_verdict(cli, pasted, tmp_path):
    record = record_of(cli, pasted)
    (grid,) = [entry for entry in record["evidence"] if entry["kind"] == "grid"]
    assert grid["strength"] == "shows"
    assert np.abs(np.subtract(grid["region"], [101, 83, 229, 211])).max() <= 8
    assert record["explanation"].endswith(
        "Beside the model: the JPEG grid of the marked region differs from the rest (finding 1)."
    )
    without = record_of(cli, pasted, "--no-evidence")
    assert not [entry for entry in without["evidence"] if "strength" in entry]
    for key in ("label", "probabilities", "confidence", "inconclusive", "mask", "regions"):
        assert record[key] == without[key]


def test_the_bundled_detector_scores_alike_with_and_without_evidence(pasted):
    bundled = load("compact")
    without = bundled.check(pasted)
    bundled.examiner = FileExaminer()
    verdict = bundled.check(pasted)
    assert verdict.examined
    assert (verdict.label, verdict.inconclusive) == (without.label, without.inconclusive)
    assert verdict.probabilities == without.probabilities
    assert verdict.explanation.startswith(without.explanation)
    # No operation is asserted: nothing but the grid was seen, and that is cited.
    assert "was pasted" not in verdict.explanation
    assert "the JPEG grid of a region differs from the rest (finding 1)" in verdict.explanation


def test_each_picture_is_examined_once_even_where_its_batch_fails(detector, pictures, monkeypatch):
    examined = []

    class Counting(FileExaminer):
        def of_pixels(self, picture):
            examined.append(picture.source)
            return super().of_pixels(picture)

    judge = type(detector).judge

    def alone(self, batch, *, explain):
        if len(batch) > 1:
            raise RuntimeError("no batches")
        return judge(self, batch, explain=explain)

    monkeypatch.setattr(type(detector), "judge", alone)
    detector.examiner = Counting()
    names = [str(pictures / name) for name in ("real.png", "fake.png", "thin.png")]
    assert all(verdict.ok and verdict.examined for verdict in detector.check_many(names, batch_size=3))
    assert sorted(examined) == sorted(names)


def test_a_large_picture_is_examined_after_the_model_which_takes_memory_in_turn(
    detector, pictures, monkeypatch
):
    steps = []

    class Noting(FileExaminer):
        def of_pixels(self, picture):
            steps.append("examined")
            return super().of_pixels(picture)

    judge = type(detector).judge

    def noting(self, batch, *, explain):
        verdicts = judge(self, batch, explain=explain)
        steps.append("judged")
        return verdicts

    monkeypatch.setattr(type(detector), "judge", noting)
    monkeypatch.setattr(examining, "MOST_BESIDE", 1_000)
    detector.examiner = Noting()
    assert detector.check(pictures / "real.png").examined
    assert steps == ["judged", "examined"]


@pytest.mark.parametrize("harm", ["cut", "small", "large"])
def test_what_the_bytes_say_stands_in_the_record_of_a_file_that_cannot_be_judged(cli, pictures, harm):
    path = pictures / "real.png"
    if harm == "small":
        Image.new("RGB", (12, 200)).save(path)
    declaring(path, texts={"parameters": LINES})
    if harm == "cut":
        data = path.read_bytes()
        path.write_bytes(data[: data.index(b"IDAT") + 12])
    limit = ["--max-megapixels", "0.001"] if harm == "large" else []
    record = record_of(cli, path, *limit)
    assert record["error"] is not None
    assert record["label"] is None
    assert record["examined"]
    assert [entry["detail"]["declares"] for entry in record["evidence"]] == ["generated"]
    assert record["explanation"] is None
