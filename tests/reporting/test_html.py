"""What a reader of the HTML report may rely on, and what an attacker may not."""

from __future__ import annotations

import base64
import errno
import gc
import hashlib
import io
import re
import weakref
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import OutputError
from pixelsleuth.reporting.cards import Truth, outcome
from pixelsleuth.reporting.html import HtmlReport


class Page(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def write(tmp_path, verdicts, *, interrupted=False, truths=None, **options) -> str:
    report = HtmlReport(tmp_path / "report.html", **({"total": len(verdicts)} | options))
    for index, judged in enumerate(verdicts):
        report.add(judged, truth=truths[index] if truths else None)
    report.close(interrupted=interrupted)
    return (tmp_path / "report.html").read_text("utf-8")


@pytest.fixture
def every_kind(verdict, failure):
    return [
        verdict("tampered", source="a/one.jpg"),
        verdict("full_synthetic", source="a/two.jpg"),
        verdict("real", source="b/three.jpg"),
        verdict("real", source="b/four.jpg", inconclusive=True),
        failure,
    ]


def test_nothing_is_loaded_from_elsewhere(tmp_path, every_kind):
    page = Page(write(tmp_path, every_kind))
    for tag, attributes in page.tags:
        for key in ("src", "href", "srcset", "action", "data", "poster"):
            if key in attributes:
                assert attributes[key].startswith(("data:", "#")), (tag, key)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "form", "base"}
    assert "url(" not in write(tmp_path, every_kind).split("</style>")[0]


def test_the_policy_allows_the_one_style_sheet_and_nothing_else(tmp_path, verdict):
    text = write(tmp_path, [verdict()])
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(meta["content"] for meta in Page(text).all("meta") if "http-equiv" in meta)
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not [attributes for _, attributes in Page(text).tags if "style" in attributes]


def test_what_a_picture_carries_is_shown_and_never_run(tmp_path, verdict):
    evil = "</style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    judged = verdict(
        "tampered", source=evil, explanation=evil, evidence=[{"statement": evil + "2"}], warnings=[evil]
    )
    judged.metadata = {evil: evil}
    judged.model = {"name": evil, "version": evil}
    truths = [Truth(Label.REAL, note=evil)]
    text = write(tmp_path, [judged, judged], title=evil, truths=truths * 2, truth=True)
    page = Page(text)
    assert "<script" not in text
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))


def test_control_characters_and_bad_bytes_become_visible_marks(tmp_path, verdict):
    text = write(tmp_path, [verdict(source="a\x1b[31m\udce9\u202egpj.exe")])
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "a\ufffd[31m\ufffd\ufffdgpj.exe" in text


def test_every_kind_of_verdict_is_counted_once(tmp_path, every_kind):
    text = write(tmp_path, every_kind)
    assert text.count("<article") == 4
    for number, words in [
        (1, "tampered"),
        (1, "wholly generated"),
        (1, "real"),
        (1, "inconclusive"),
        (1, "not judged"),
    ]:
        assert f'<b class="num">{number}</b> {words}' in text
    assert "Inconclusive, leans real" in text
    assert "broken.jpg is cut off; ask for the whole file." in text


def test_page_is_well_wired(tmp_path, every_kind):
    page = Page(write(tmp_path, every_kind))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(label["for"] in ids for label in page.all("label") if "for" in label)
    assert all(link["href"][1:] in ids for link in page.all("a"))
    assert all("alt" in image for image in page.all("img"))
    assert page.all("html")[0]["lang"] == "en"
    described = [image["alt"] for image in page.all("img") if image["alt"]]
    assert described[0] == "one.jpg: tampered; marked: lower left"


def test_tampered_pictures_open_with_the_heat_map_and_others_with_the_picture(tmp_path, every_kind):
    chosen = [entry["id"] for entry in Page(write(tmp_path, every_kind)).all("input") if "checked" in entry]
    assert chosen == ["show-all", "v1-heat", "v2-plain", "v3-plain", "v4-plain"]


def pictures_of(text: str, kind: str) -> list[Image.Image]:
    return [
        Image.open(io.BytesIO(base64.b64decode(data)))
        for data in re.findall(rf"data:image/{kind};base64,([A-Za-z0-9+/=]+)", text)
    ]


def test_large_pictures_are_embedded_as_bounded_thumbnails(tmp_path, verdict):
    text = write(tmp_path, [verdict(size=(3000, 2000), heatmap=None)])
    assert [picture.size for picture in pictures_of(text, "jpeg")] == [(1024, 683)]
    assert "at 1024 pixels at most" in text


def test_many_pictures_get_smaller_thumbnails_and_the_report_says_so(tmp_path, verdict):
    text = write(tmp_path, [verdict(size=(3000, 2000), heatmap=None)], total=100)
    assert [picture.size for picture in pictures_of(text, "jpeg")] == [(640, 427)]
    assert "at 640 pixels at most" in text


def test_the_heat_layer_is_clear_where_nothing_was_found(tmp_path, verdict):
    layer = np.asarray(pictures_of(write(tmp_path, [verdict("tampered")]), "png")[0].convert("RGBA"))
    height, width = layer.shape[:2]
    assert layer[: height // 2 - 1, :, 3].max() == 0
    assert layer[height // 2 + 1 :, : width // 4 - 1, 3].min() > 100


def test_a_mask_stands_in_for_a_missing_heat_map(tmp_path, verdict):
    assert len(pictures_of(write(tmp_path, [verdict("tampered", heatmap=None)]), "png")) == 1


def test_a_verdict_whose_pixels_are_gone_still_gets_its_card(tmp_path, verdict):
    judged = verdict("tampered")
    judged.forget_picture()
    text = write(tmp_path, [judged])
    assert "pixels of this picture were not kept" in text
    assert "A part was pasted." in text


def test_a_tampered_verdict_without_a_mask_says_so(tmp_path, verdict):
    text = write(tmp_path, [verdict("tampered", mask=None, heatmap=None, regions=[])])
    assert "No region could be outlined." in text


def test_truth_stands_beside_the_verdict_with_overlap_and_outcome(tmp_path, verdict):
    judged = verdict("tampered")
    truths = [Truth(Label.TAMPERED, "A cup was pasted.", judged.mask), Truth(Label.TAMPERED)]
    text = write(tmp_path, [judged, verdict("real")], truths=truths, truth=True)
    assert "(IoU): 100%" in text
    assert "A cup was pasted." in text
    assert "✓ right" in text
    assert "✗ wrong" in text


def test_an_interrupted_report_says_that_it_is_incomplete(tmp_path, verdict):
    text = write(tmp_path, [verdict(), verdict()], total=9, interrupted=True)
    assert "The run was stopped after 2 of 9 pictures." in text


def test_a_report_of_nothing_is_still_a_page(tmp_path):
    assert "0 pictures checked" in write(tmp_path, [], total=3, interrupted=True)


def test_the_date_is_that_of_the_run(tmp_path, verdict):
    assert "3 May 2026, 09:07 UTC" in write(tmp_path, [verdict()], now=datetime(2026, 5, 3, 9, 7, tzinfo=UTC))


def test_pictures_are_let_go_one_by_one(tmp_path, verdict):
    report = HtmlReport(tmp_path / "report.html", total=2)
    judged = verdict("tampered")
    pixels = weakref.ref(judged.picture)
    report.add(judged)
    del judged
    gc.collect()
    assert pixels() is None
    report.discard()


def test_nothing_is_left_behind_when_a_report_is_given_up(tmp_path, verdict):
    report = HtmlReport(tmp_path / "report.html")
    report.add(verdict())
    report.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_the_old_report(tmp_path, verdict, monkeypatch):
    old = write(tmp_path, [verdict()])
    report = HtmlReport(tmp_path / "report.html")
    report.add(verdict())

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(report._file, "stream", Full())
    with pytest.raises(OutputError, match="no space left on device"):
        report.close()
    assert (tmp_path / "report.html").read_text("utf-8") == old
    assert len(list(tmp_path.iterdir())) == 1


def test_the_report_has_the_permissions_of_any_new_file(tmp_path, verdict):
    write(tmp_path, [verdict()])
    (tmp_path / "other").write_text("")
    assert (tmp_path / "report.html").stat().st_mode == (tmp_path / "other").stat().st_mode


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_the_contrast_that_wcag_asks_for(tmp_path, verdict, theme):
    text = write(tmp_path, [verdict()])
    block = re.findall(r":root \{(.*?)\}", text, re.DOTALL)[theme if theme < 2 else -1]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block))
    colours = {name: c if len(c) == 7 else "#" + "".join(2 * x for x in c[1:]) for name, c in colours.items()}
    for front in ("ink", "soft", "tampered", "full_synthetic", "real", "inconclusive", "failed"):
        for back in ("paper", "card", "well"):
            darker, lighter = sorted((luminance(colours[front]), luminance(colours[back])))
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (front, back)


def test_a_map_that_is_no_finding_is_weaker_and_called_where_to_look(tmp_path, verdict):
    heat = np.full((30, 40), 0.95, np.float32)
    decision = {
        "conclusive": False,
        "bounds": None,
        "stable": None,
        "wrong": {},
        "sentence": "Inconclusive: x.",
    }
    judged = verdict("tampered", inconclusive=True, mask=None, regions=[], heatmap=heat, decision=decision)
    text = write(tmp_path, [judged])
    assert "Where to look" in text
    assert "probability of tampering" not in text
    assert 'id="v1-plain" checked' in text
    weak = np.asarray(pictures_of(text, "png")[0].convert("RGBA"))
    strong = np.asarray(
        pictures_of(write(tmp_path, [verdict("tampered", heatmap=heat)]), "png")[0].convert("RGBA")
    )
    assert weak[..., 3].max() < 0.6 * strong[..., 3].max()
    assert weak[0, 0, 2] > weak[0, 0, 0]  # blue
    assert strong[0, 0, 0] > strong[0, 0, 2]


def test_a_forgery_named_at_the_wrong_place_is_not_right(tmp_path, verdict):
    judged = verdict("tampered")
    elsewhere = np.zeros_like(judged.mask)
    elsewhere[:20, -30:] = True
    assert outcome(judged, Truth(Label.TAMPERED, mask=judged.mask)) == "right"
    assert outcome(judged, Truth(Label.TAMPERED, mask=elsewhere)) == "wrong place"
    assert (
        outcome(verdict("tampered", mask=None, regions=[]), Truth(Label.TAMPERED, mask=elsewhere))
        == "wrong place"
    )
    assert "✗ wrong place" in write(
        tmp_path, [judged], truths=[Truth(Label.TAMPERED, mask=elsewhere)], truth=True
    )
