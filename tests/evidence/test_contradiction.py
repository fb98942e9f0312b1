"""A signature beside a model that says otherwise: the contradiction comes first, an unknown signer is no tampering."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.evidence.inspection import FileExaminer
from pixelsleuth.evidence.trust_lists import SIGNERS, read_trust_lists
from pixelsleuth.reporting.html import HtmlReport
from pixelsleuth.reporting.terminal import TerminalText, console_for

from .signing import Authority, action, plain_picture

pytest.importorskip("c2pa", reason="the extra provenance is not installed")

CAPTURED = [action("c2pa.created", "digitalCapture")]


class Generated(Detector):
    """Calls every picture wholly generated, at 90 %."""

    name = "generated"

    def judge(self, pictures, *, explain):
        chances = {Label.REAL: 0.05, Label.FULL_SYNTHETIC: 0.9, Label.TAMPERED: 0.05}
        return [
            Verdict.of(picture, chances, model=self.model, explanation="It looks made.")
            for picture in pictures
        ]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def text_of(verdict: Verdict) -> list[str]:
    """What the terminal prints: its lines without their indent."""
    stream = io.StringIO()
    TerminalText(console_for(stream), total=1).add(verdict)
    return [line.strip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("state", ["trusted", "not_recognised"])
def test_a_signed_capture_beside_a_generated_verdict_is_the_first_line(authority, tmp_path: Path, state):
    path = tmp_path / "camera.jpg"
    path.write_bytes(authority.sign(CAPTURED, plain_picture()))
    lists = read_trust_lists(authority.list_in(tmp_path / "lists", SIGNERS))
    detector = Generated()
    detector.examiner = FileExaminer(lists if state == "trusted" else None)
    verdict = detector.check(path)
    assert [entry["detail"]["state"] for entry in verdict.evidence if entry["kind"] == "c2pa"] == [state]
    assert (verdict.label, verdict.confidence) == ("full_synthetic", 0.9)

    unknown = "" if state == "trusted" else " of an unknown signer"
    first = f"File and model contradict each other: a signature{unknown} in the file declares that it was captured"
    text = text_of(verdict)
    assert " ".join(text[1:3]).startswith(first)
    known = "by Test Camera Maker, known to the C2PA trust list"
    nobody = "in the name of Test Camera Maker, whom no trust list here knows"
    said = f"Content Credentials: signed {known if state == 'trusted' else nobody}; declares: "
    assert said in " ".join(text)
    assert verdict.explanation == (
        f"It looks made. Beside the model: a signature{unknown} in the file declares that it was captured (finding 1)."
    )

    report = HtmlReport(tmp_path / "report.html", total=1)
    report.add(verdict)
    report.close()
    page = report.path.read_text("utf-8")
    assert page.index("File and model contradict each other</b> in 1 picture") < page.index("<article")
    card = page[page.index("<article") :]
    assert card.index(first) < card.index("Wholly generated")
    assert ("That is no sign of a forgery." in page) is (state == "not_recognised")


def test_a_broken_signature_declares_nothing_and_contradicts_nothing(authority, tmp_path: Path):
    data = bytearray(authority.sign(CAPTURED, plain_picture()))
    data[-20] ^= 1
    (tmp_path / "broken.jpg").write_bytes(data)
    detector = Generated()
    detector.examiner = FileExaminer(read_trust_lists(authority.list_in(tmp_path / "lists", SIGNERS)))
    verdict = detector.check(tmp_path / "broken.jpg")
    text = " ".join(text_of(verdict))
    assert "contradict" not in text
    assert "do not hold: the content of the file is not the one that was signed." in text
    assert "the Content Credentials in the file do not hold (finding 1)" in verdict.explanation
