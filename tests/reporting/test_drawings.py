"""Findings with their pictures: regions and pairs drawn, illustrations embedded, all bounded and escaped."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.reporting import drawings, findings
from pixelsleuth.reporting.evidence_page import EvidencePage
from pixelsleuth.reporting.html import HtmlReport

EVIL = "</figcaption><script>alert(1)</script>"


@dataclass(frozen=True)
class Picture:
    caption: str
    image: bytes
    media_type: str = "image/jpeg"


@dataclass(frozen=True)
class Look:
    title: str = "Error level"
    what_to_look_for: str = "A brighter part."
    what_to_ignore: str = "Edges."

    @property
    def image(self) -> np.ndarray:
        return np.full((30, 900, 3), 40, np.uint8)


def jpeg(side: int = 8) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(encoded, "JPEG")
    return encoded.getvalue()


def entry(kind: str = "grid", **more: object) -> dict[str, object]:
    return {"kind": kind, "statement": "A finding.", "strength": "shows", "false_alarms": 0.01, **more}


def shown(verdict, *entries: dict[str, object], illustrations=None, **more) -> list[dict]:
    judged = verdict(evidence=list(entries))
    judged.illustrations = illustrations or {}
    values = findings.values(judged, **more)
    assert values is not None
    return values["findings"]


def test_a_region_is_a_box_over_one_copy_that_all_drawings_share(verdict):
    first, second = shown(verdict, entry(region=[8, 16, 40, 48]), entry(region=[0, 0, 9, 9]))
    assert first["drawing"]["boxes"] == [{"x": 8, "y": 16, "w": 32, "h": 32}]
    assert (first["drawing"]["width"], first["drawing"]["height"]) == (160, 120)
    assert first["drawing"]["href"].startswith("data:image/jpeg;base64,")
    assert second["drawing"]["href"] is None
    assert second["drawing"]["id"] == first["drawing"]["id"]


def test_a_copy_move_is_two_boxes_and_lines_between_their_points(verdict):
    detail = {"boxes": [[0, 0, 20, 20], [60, 60, 80, 80]], "lines": [[5, 5, 65, 65]] * 90}
    (copied,) = shown(verdict, entry("copy_move", region=[0, 0, 20, 20], detail=detail))
    assert len(copied["drawing"]["boxes"]) == 2
    assert copied["drawing"]["lines"] == [[5, 5, 65, 65]] * drawings.MOST_LINES
    assert "which is the copy cannot be told" in copied["drawing"]["caption"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"region": [1, 2, 3]},
        {"region": [9, 9, 2, 2]},
        {"region": ["a", 0, 4, 4]},
        {"region": [0, 0, float("nan"), 4]},
        {"detail": {"boxes": 4, "lines": "x"}},
        {"detail": {"boxes": [[1]], "lines": [[1, 2, 3, float("inf")], None]}},
    ],
)
def test_records_without_a_place_get_no_drawing(verdict, more):
    (value,) = shown(verdict, entry(**more))
    assert value["drawing"] is None


def test_without_pixels_nothing_is_drawn(verdict):
    judged = verdict(evidence=[entry(region=[0, 0, 9, 9])])
    judged.forget_picture()
    values = findings.values(judged)
    assert values is not None
    assert values["findings"][0]["drawing"] is None


def test_the_drawings_and_the_bytes_of_a_card_are_bounded(verdict):
    many = shown(verdict, *(entry(region=[0, 0, 9, 9]) for _ in range(9)))
    assert sum(value["drawing"] is not None for value in many) == drawings.MOST_DRAWN
    large = Picture("A map", b"\xff" * (drawings.BYTES_A_PIXEL * 100 - 10))
    small, odd = Picture("A part", jpeg()), Picture("A script", b"<svg>", "image/svg+xml")
    (value,) = shown(verdict, entry(), illustrations={0: (odd, large, small)}, side=100)
    assert [picture["caption"] for picture in value["pictures"]] == ["A map"]


def test_illustrations_follow_their_finding_and_never_the_record(verdict):
    claim = {"kind": "noise", "statement": "Its noise is finer.", "measured": True}
    judged = verdict(evidence=[claim, entry(strength="hints"), entry()])
    judged.illustrations = {2: (Picture("A part", jpeg()),)}
    values = findings.values(judged)
    assert values is not None
    assert [len(value["pictures"]) for value in values["findings"]] == [1, 0]
    assert "illustrations" not in judged.to_dict()
    judged.forget_picture()
    assert not judged.illustrations


def test_a_page_escapes_captions_and_names_of_ingredients(tmp_path, verdict):
    nodes = [
        {
            "title": EVIL,
            "relationship": "componentOf",
            "problems": [EVIL],
            "ingredients": [{"title": "a.jpg"}],
        }
    ]
    judged = verdict(evidence=[entry("c2pa", detail={"ingredients": nodes})])
    judged.illustrations = {0: (Picture(EVIL, jpeg()),)}
    report = HtmlReport(tmp_path / "report.html", total=1)
    assert report.wants_looks
    report.add(judged, looks=[Look(EVIL)])
    report.close()
    page = report.path.read_text("utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 4
    assert "What went into it" in page
    assert base64.b64encode(jpeg()).decode() in page
    assert "Look for: A brighter part." in page


def test_only_small_reports_hold_pictures_to_look_at(tmp_path):
    for total, wanted in ((12, True), (13, False), (None, False)):
        report = HtmlReport(tmp_path / f"{total}.html", total=total)
        assert report.wants_looks is wanted
        report.discard()


def test_the_evidence_page_stands_alone_and_says_where_it_stopped(tmp_path, verdict):
    page = EvidencePage(tmp_path / "page.html", total=3)
    record = verdict(source=f"folder/{EVIL[3:9]}.jpg", evidence=[entry(region=[0, 0, 9, 9])])
    page.add(record, kind="JPEG", looks=[Look()])
    page.close(interrupted=True)
    text = page.path.read_text("utf-8")
    assert "Content-Security-Policy" in text
    assert "<h4>What the file says</h4>" in text
    assert "Error level" in text
    assert "stopped after 1 of 3 files" in text
    assert text.count("SynthID and other closed watermarks cannot be checked here.") == 1
