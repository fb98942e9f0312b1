"""Kept verdicts: the report and the pictures are those of the command line and of Python."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from pixelsleuth.core.verdict import Verdict
from pixelsleuth.decoding.pool import Upload
from pixelsleuth.errors import NotKept
from pixelsleuth.serving import drawn
from pixelsleuth.serving.shelf import Shelf

if TYPE_CHECKING:
    from conftest import Served

UPLOAD = Upload(b"12345", "a.jpg", evidence=True)


@pytest.fixture(scope="module")
def kept(server: Served, picture: bytes) -> Any:
    """A client and the place of a kept verdict."""
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        answer = client.post("/v1/check", files={"file": ("a.jpg", picture)})
        yield client, f"/v1/verdicts/{answer.headers['x-verdict-id']}", answer


def test_the_record_can_be_asked_for_again(kept: Any) -> None:
    client, place, answer = kept
    assert client.get(place).json() == answer.json()


def test_the_report_is_that_of_the_command_line(kept: Any, picture: bytes, tmp_path: Path) -> None:
    client, place, _ = kept
    (tmp_path / "a.jpg").write_bytes(picture)
    subprocess.run(
        [sys.executable, "-m", "pixelsleuth", "check", "a.jpg", "--model", "compact", "--report", "r.html", "-q"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    changing = re.compile(r"\d+ \w+ \d{4}, \d\d:\d\d \w+|[\d.]+ s\b")
    answer = client.get(f"{place}/report.html")
    expected = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert changing.sub("", answer.text) == changing.sub("", expected)
    assert "style-src 'sha256-" in answer.headers["content-security-policy"]


def test_the_card_for_a_page_is_that_of_the_report(kept: Any, picture: bytes) -> None:
    client, _, answer = kept
    carded = client.post("/v1/check:card?name=a.jpg", content=picture).json()
    assert json.loads(carded["record"]) | {"elapsed_ms": 0} == answer.json() | {"elapsed_ms": 0}
    assert carded["card"].startswith("<article")
    assert carded["card"].strip() in client.get(f"/v1/verdicts/{carded['id']}/report.html").text
    seventh = client.post("/v1/check:card?number=7", files={"file": ("a.jpg", picture)}).json()
    assert 'id="p7"' in seventh["card"]


def test_a_file_that_cannot_be_judged_has_a_card_too(kept: Any, picture: bytes) -> None:
    client, _, _ = kept
    answer = client.post("/v1/check:card?name=<b>cut.jpg", content=picture[: len(picture) // 2])
    assert answer.status_code == 422
    card = answer.json()["card"]
    assert "&lt;b&gt;cut.jpg" in card
    assert "What the file says" in card
    assert "<b>cut" not in card


def test_the_pictures_have_the_size_of_the_upload_or_the_side_that_is_asked_for(kept: Any) -> None:
    client, place, answer = kept
    size = (answer.json()["width"], answer.json()["height"])
    assert Image.open(io.BytesIO(client.get(f"{place}/overlay.png").content)).size == size
    assert Image.open(io.BytesIO(client.get(f"{place}/picture.jpg").content)).size == size
    small = Image.open(io.BytesIO(client.get(f"{place}/overlay.png?side=64").content))
    assert max(small.size) == 64
    layer = Image.open(io.BytesIO(client.get(f"{place}/heatmap.png").content))
    assert layer.mode == "P"
    assert "transparency" in layer.info


def test_a_verdict_without_a_mask_has_none_to_show(kept: Any) -> None:
    client, place, answer = kept
    assert answer.json()["mask"] is None
    refused = client.get(f"{place}/mask.png")
    assert refused.status_code == 404
    assert refused.json()["code"] == "not_kept"


def test_an_unknown_verdict_is_not_kept(kept: Any) -> None:
    client, _, _ = kept
    assert client.get("/v1/verdicts/abc/report.html").json()["code"] == "not_kept"


def test_a_batch_has_a_record_for_each_file_in_order(kept: Any, picture: bytes) -> None:
    client, _, answer = kept
    files = [("file", ("a.jpg", picture)), ("file", ("b.txt", b"text")), ("file", ("c.jpg", picture))]
    batch = client.post("/v1/check:batch", files=files).json()
    assert [record["source"] for record in batch["verdicts"]] == ["a.jpg", "b.txt", "c.jpg"]
    assert batch["verdicts"][0] | {"elapsed_ms": 0} == answer.json() | {"elapsed_ms": 0}
    assert batch["verdicts"][1]["error"]["code"] == "not_a_picture"
    assert [name is None for name in batch["ids"]] == [False, True, False]


def test_a_batch_of_more_than_fifty_files_is_refused(kept: Any) -> None:
    client, _, _ = kept
    answer = client.post("/v1/check:batch", files=[("file", (f"{i}.txt", b"text")) for i in range(51)])
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_parameters_choose_what_is_said(kept: Any, picture: bytes) -> None:
    client, _, _ = kept
    short = client.post("/v1/check?explain=false&evidence=false&name=x", content=picture).json()
    assert (short["source"], short["explanation"], short["examined"]) == ("x", None, False)
    assert client.post("/v1/check?mask=jpg", content=picture).json()["code"] == "usage_error"
    assert client.post("/v1/check?model=nope", content=picture).json()["code"] == "unknown_model"


def tampered() -> Verdict:
    mask = np.zeros((48, 64), bool)
    mask[8:24, 16:40] = True
    return Verdict("a.jpg", mask=mask, heatmap=mask[::4, ::4].astype("float32"), width=64, height=48)


def test_a_kept_mask_comes_back_as_it_was() -> None:
    from pixelsleuth.core.rle import encode

    shelf, verdict = Shelf(60), tampered()
    name = shelf.put(verdict, UPLOAD, encode(verdict.mask))
    assert name is not None
    whole = shelf.get(name).whole()
    assert (whole.mask == verdict.mask).all()
    drawn_mask = np.asarray(Image.open(io.BytesIO(drawn.mask(whole))))
    assert (drawn_mask == verdict.mask * np.uint8(255)).all()


def test_the_shelf_drops_the_oldest_and_what_is_too_old() -> None:
    shelf = Shelf(60, most=2)
    names = [shelf.put(tampered(), UPLOAD, None) for _ in range(3)]
    assert len(shelf) == 2
    with pytest.raises(NotKept):
        shelf.get(str(names[0]))
    brief = Shelf(0.01)
    name = brief.put(tampered(), UPLOAD, None)
    time.sleep(0.02)
    with pytest.raises(NotKept):
        brief.get(str(name))
    assert brief.held == 0
    assert Shelf(0).put(tampered(), UPLOAD, None) is None
    assert Shelf(60, most_bytes=100).put(tampered(), UPLOAD, None) is None


def test_the_api_document_is_the_pinned_one(kept: Any) -> None:
    """Where a change is meant: `curl .../openapi.json > tests/serving/openapi.json`."""
    client, _, _ = kept
    pinned = json.loads((Path(__file__).parent / "openapi.json").read_text(encoding="utf-8"))
    assert client.get("/openapi.json").json() == pinned


def test_the_manual_names_every_route_and_loads_nothing(kept: Any) -> None:
    client, _, _ = kept
    page = client.get("/docs")
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page.text
    assert not re.search(r"<script|(?:src|href)=\"(?:https?:)?//", page.text)
