"""Text and JSON of verdicts."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from pixelsleuth.checking.results import JsonRecords
from pixelsleuth.reporting import words
from pixelsleuth.reporting.terminal import TerminalText, console_for


def text_of(*verdicts, total=1, width=100) -> str:
    stream = io.StringIO()
    printer = TerminalText(Console(file=stream, width=width, highlight=False), total=total)
    for judged in verdicts:
        printer.add(judged)
    return stream.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_text_fits_the_terminal(verdict, failure, width):
    long = "a sentence of many words that has to be wrapped somewhere " * 4
    text = text_of(verdict("tampered", explanation=long, warnings=[long]), failure, width=width)
    assert max(map(len, text.splitlines())) <= width


def test_a_failure_is_its_sentence(failure):
    text = text_of(failure)
    assert "Not judged" in text
    assert "broken.jpg is cut off; ask for the whole file." in text


def test_a_statement_that_the_explanation_holds_is_not_repeated(verdict):
    judged = verdict(explanation="Its noise is finer. So it was pasted.")
    assert text_of(judged).count("Its noise is finer.") == 1
    assert words.statements(judged) == []


def test_colour_only_on_a_terminal_and_never_against_no_color(monkeypatch, verdict):
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    def printed(stream: io.StringIO) -> str:
        TerminalText(console_for(stream), total=1).add(verdict("tampered"))
        return stream.getvalue()

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;31m" in printed(Terminal())
    assert "\x1b" not in printed(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in printed(Terminal())


def test_records_survive_what_json_cannot_hold(verdict):
    evidence = [{"kind": "x", "value": np.float32(0.5), "list": np.arange(2), "nan": float("nan")}]
    stream = io.StringIO()
    records = JsonRecords(stream, lines=True)
    records.add(verdict(evidence=evidence).to_dict())
    evidence = json.loads(stream.getvalue())["evidence"][0]
    assert evidence == {"kind": "x", "value": 0.5, "list": [0, 1], "nan": None}


def test_an_array_that_is_cut_short_can_still_be_closed(verdict):
    for count in range(3):
        stream = io.StringIO()
        records = JsonRecords(stream, lines=False)
        for _ in range(count):
            records.add(verdict().to_dict())
        records.close()
        assert len(json.loads(stream.getvalue())) == count


@pytest.mark.parametrize("share, text", [(0.0, "0%"), (0.004, "<1%"), (0.5, "50%"), (0.996, ">99%")])
def test_percentages_never_claim_certainty(share, text):
    assert words.percent(share) == text


def test_inconclusive_is_never_counted_under_its_label(verdict):
    assert words.state_of(verdict("real", inconclusive=True)) == "inconclusive"


DECISION = {
    "conclusive": True,
    "bounds": {"accused": 0.03, "right": 0.9},
    "stable": True,
    "wrong": {"all": {"wrong": 4, "of": 112, "sources": 18}},
    "accused": {"wrong": 3, "of": 400, "sources": 20},
    "sentence": "Such verdicts were wrong for 4 of 112 test pictures from 18 sources left out of training.",
}


def test_the_error_record_and_both_bounds_stand_with_a_verdict(verdict):
    text = " ".join(text_of(verdict("tampered", decision=DECISION)).split())
    assert DECISION["sentence"] in text
    assert "at least 90% of conclusive verdicts right, at most 3% of authentic pictures accused" in text
    assert "(3 of 400 were, from 20 sources)" in text


def test_a_model_without_measured_errors_says_so_and_keeps_its_mask(verdict):
    judged = verdict("tampered")
    assert "No error rate was measured for this model." in text_of(judged)
    assert judged.located


def test_an_inconclusive_verdict_of_a_measured_model_leans_nowhere(verdict):
    decision = DECISION | {
        "conclusive": False,
        "wrong": {},
        "sentence": "Inconclusive: its score is too low.",
    }
    judged = verdict("tampered", inconclusive=True, decision=decision, mask=None, regions=[])
    for total in (1, 100):
        text = text_of(judged, total=total)
        assert "leans" not in text
        assert "its score is too low." in text
        assert "90%" not in text.replace("at least 90%", "") or "Raw scores of the model" in text
    assert words.headline(judged) == "Inconclusive"
    assert not judged.located
