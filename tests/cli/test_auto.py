"""The notices of `check --model auto`, and who sees them."""

from __future__ import annotations

import io

import pytest

from pixelsleuth.checking.runner import CheckOptions, Run
from pixelsleuth.core.detector import Detector


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Bundled(Detector):
    name = "compact"

    def judge(self, pictures, *, explain):
        raise AssertionError("nothing is judged here")


def notices(
    monkeypatch: pytest.MonkeyPatch, detector: Detector, stream: io.StringIO, **options: object
) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    Run(CheckOptions(**options)).announce(detector)  # type: ignore[arg-type]
    return stream.getvalue()


def test_a_person_sees_once_that_a_stronger_set_can_be_fetched(monkeypatch):
    assert notices(monkeypatch, Bundled(), Terminal()).count("pixelsleuth models get auto") == 1


@pytest.mark.parametrize(
    "stream, options",
    [(io.StringIO(), {}), (Terminal(), {"quiet": True}), (Terminal(), {"model": "compact"})],
    ids=["no terminal", "quiet", "named"],
)
def test_programs_and_people_who_named_a_model_see_no_hint(monkeypatch, stream, options):
    assert notices(monkeypatch, Bundled(), stream, **options) == ""


def test_what_a_panel_left_out_is_printed_also_without_a_terminal(monkeypatch):
    detector = Bundled()
    detector.notices = ("commfor is left out: its weights are damaged.",)
    assert notices(monkeypatch, detector, io.StringIO()) == "commfor is left out: its weights are damaged.\n"
    assert notices(monkeypatch, detector, io.StringIO(), quiet=True) == ""
