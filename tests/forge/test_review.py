"""Review: what the page shows and keeps, how decisions meet the data set, and who may talk to the server."""

from __future__ import annotations

import base64
import dataclasses
import http.client
import io
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.errors import UsageError
from pixelsleuth.forge.configuration import ForgeConfig, OutputConfig
from pixelsleuth.forge.pipeline import run_forge
from pixelsleuth.forge.review.decisions import Decision, agreement, append_decision, read_decisions
from pixelsleuth.forge.review.server import Review, make_server
from pixelsleuth.forge.stages import read_rows

quiet = {"say": lambda _: None, "quiet": True}


@pytest.fixture(scope="module")
def made(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reviewed")
    run_forge(settings(folder, photos), **quiet)
    return folder


def settings(folder: Path, photos: Path, **output: Any) -> ForgeConfig:
    parts = OutputConfig(parquet=False, balance=False, **output)
    return ForgeConfig(out=str(folder), photographs=str(photos), workers=1, limit=5, output=parts)


@pytest.fixture
def config(made: Path, photos: Path, tmp_path: Path) -> ForgeConfig:
    shutil.copytree(made, tmp_path / "run")
    return settings(tmp_path / "run", photos)


@pytest.fixture
def talk(config: ForgeConfig) -> Iterator[Any]:
    server = make_server(config)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def ask(
        method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        data = json.dumps(body).encode() if body is not None else raw
        kind = {"Content-Type": "application/json"} if data is not None else {}
        connection.request(method, path, data, {**kind, **headers})
        answer = connection.getresponse()
        status, content, received = answer.status, answer.read(), answer.headers
        connection.close()
        return status, content, received

    yield ask
    server.shutdown()
    server.server_close()


def test_the_page_its_pictures_and_its_masks_are_served(talk: Any, config: ForgeConfig) -> None:
    status, page, headers = talk("GET", "/")
    assert status == 200
    assert b"<title>Review" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    pictures = json.loads(talk("GET", "/api/pictures?reviewer=Ann")[1])
    tampered = next(entry for entry in pictures if entry["label"] == "tampered")
    for kind in ("picture", "original", "mask", "changed"):
        status, data, _ = talk("GET", f"/file/{tampered['id']}/{kind}?reviewer=Ann")
        assert status == 200
        assert Image.open(io.BytesIO(data)).size[0] > 10
    for path in (
        "/file/../../etc/passwd/mask",
        "/file/x/picture",
        f"/file/{tampered['id']}/..%2f..",
        "/etc/passwd",
    ):
        assert talk("GET", path)[0] in (400, 404)


def test_only_requests_to_this_machine_by_name_are_answered(talk: Any) -> None:
    assert talk("GET", "/", Host="evil.example:80")[0] == 403
    assert talk("POST", "/api/decide", {"id": "x"}, Host="evil.example")[0] == 403
    assert talk("POST", "/api/decide", {"id": "x"}, **{"Content-Type": "text/plain"})[0] == 415
    assert talk("POST", "/api/decide", ["no object"])[0] == 400


def test_text_that_is_none_is_the_pages_fault_and_nothing_is_kept(talk: Any, config: ForgeConfig) -> None:
    row = next(read_rows(Path(config.out) / "descriptions.jsonl"))
    good = {"id": row["id"], "reviewer": "Ann", "decision": "accept"}
    for key, value in (
        ("note", "half a pair: \ud83d"), ("description", "\udcff"), ("reviewer", "\ud800"), ("note", "a\x00b"),
        ("note", "\x1b[31m"), ("note", 7), ("description", ["x"]), ("id", "\udfff"), ("mask", "\ud800"), ("mask", {}),
        ("mask", [1]), ("decision", "\u0000"),
    ):  # fmt: skip
        if key == "mask" and not value:
            continue  # nothing is no mask
        status, answer, _ = talk("POST", "/api/decide", {**good, key: value})
        assert status == 400, (key, value, answer)
        assert json.loads(answer)["error"]
    assert not read_decisions(Path(config.out))
    for body in (b"\xff\xfe", b"{", b'{"id": ' + b"9" * 5000 + b"}", b"[" * 100_000):
        assert talk("POST", "/api/decide", raw=body)[0] == 400
    for length in ("\xb2", "-1", "9" * 5000, "1e3"):
        assert talk("POST", "/api/decide", {}, **{"Content-Length": length})[0] == 413
    assert talk("POST", "/api/decide", {**good, "note": "Zeile\nzwei, é 😀"})[0] == 200


def test_no_other_page_may_frame_this_one(talk: Any) -> None:
    for path in ("/", "/api/pictures", "/nothing"):
        headers = talk("GET", path)[2]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"


def test_accepted_corrected_and_rejected_pictures_in_the_data_set(talk: Any, config: ForgeConfig) -> None:
    rows = list(read_rows(Path(config.out) / "descriptions.jsonl"))
    tampered = [row for row in rows if row["label"] == "tampered"]
    good, bad = tampered[0], tampered[1]
    size = Image.open(Path(config.out) / good["masks"]["given"]).size
    mask = np.zeros(size[::-1], np.uint8)
    mask[5:20, 5:30] = 255
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    url = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    answer = {
        "id": good["id"],
        "reviewer": "Ann",
        "decision": "accept",
        "description": "By hand.",
        "mask": url,
    }
    assert talk("POST", "/api/decide", answer)[0] == 200
    assert talk("POST", "/api/decide", {"id": bad["id"], "reviewer": "Ann", "decision": "reject"})[0] == 200
    exported = json.loads(talk("POST", "/api/export", {})[1])
    assert exported["accepted"] == 1
    run_forge(config, **quiet)
    records = {row["id"]: row for row in read_rows(Path(config.out) / "dataset" / "records.jsonl")}
    assert bad["id"] not in records
    assert records[good["id"]]["description"] == "By hand."
    kept = np.asarray(Image.open(Path(config.out) / "dataset" / records[good["id"]]["mask_path"]))
    assert np.array_equal(kept, mask)
    assert not (Path(config.out) / "dataset" / f"{bad['split']}/tampered/{bad['id']}.jpg").exists()
    only = dataclasses.replace(config, output=OutputConfig(parquet=False, balance=False, reviewed_only=True))
    run_forge(only, **quiet)
    rows = list(read_rows(Path(config.out) / "dataset" / "records.jsonl"))
    assert [row["id"] for row in rows] == [good["id"]]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"id": "nobody"}, "no such picture"),
        ({"reviewer": "<b>"}, "Give your name"),
        ({"decision": "maybe"}, "accept or reject"),
        ({"mask": "AAAA"}, "no PNG"),
        ({"description": 5}, "made of texts"),
    ],
)  # fmt: skip
def test_wrong_decisions_are_refused_with_a_sentence(
    config: ForgeConfig, wrong: dict[str, Any], message: str
) -> None:
    review = Review(config)
    name = next(name for name, row in review.rows.items() if row["label"] == "tampered")
    with pytest.raises(UsageError, match=message):
        review.decide({"id": name, "reviewer": "Ann", "decision": "accept", **wrong})
    assert not read_decisions(Path(config.out))


def test_a_mask_of_another_size_is_refused(config: ForgeConfig) -> None:
    review, stream = Review(config), io.BytesIO()
    Image.new("L", (9, 9)).save(stream, "PNG")
    name = next(name for name, row in review.rows.items() if row["label"] == "tampered")
    with pytest.raises(UsageError, match="The mask must have"):
        review.decide(
            {
                "id": name,
                "reviewer": "A",
                "decision": "accept",
                "mask": base64.b64encode(stream.getvalue()).decode(),
            }
        )


def test_others_decisions_are_shown_only_after_ones_own(config: ForgeConfig) -> None:
    review = Review(config)
    name = next(iter(review.rows))
    review.decide({"id": name, "reviewer": "Ann", "decision": "accept"})
    before = next(entry for entry in review.pictures("Ben") if entry["id"] == name)
    assert (before["outcome"], before["reviewers"]) == ("", 0)
    review.decide({"id": name, "reviewer": "Ben", "decision": "reject"})
    after = next(entry for entry in review.pictures("Ben") if entry["id"] == name)
    assert (after["outcome"], after["reviewers"]) == ("disputed", 2)


def test_agreement_is_that_of_scikit_learn_and_the_last_word_counts(tmp_path: Path) -> None:
    from sklearn.metrics import cohen_kappa_score

    random = np.random.default_rng(3)
    words = np.array(["accept", "reject"])[random.integers(0, 2, (2, 30))]
    for index in range(30):
        append_decision(tmp_path, Decision(f"p{index}", "Ann", "reject"))
        append_decision(tmp_path, Decision(f"p{index}", "Ann", str(words[0, index])))
        append_decision(tmp_path, Decision(f"p{index}", "Ben", str(words[1, index])))
    with (tmp_path / "review.jsonl").open("a") as stream:
        stream.write('{"id": "p1", "revie')  # cut off
    (pair,) = agreement(tmp_path)["pairs"]
    assert pair["pictures"] == 30
    assert pair["kappa"] == pytest.approx(cohen_kappa_score(words[0], words[1]), abs=1e-4)
    assert pair["same"] == pytest.approx((words[0] == words[1]).mean(), abs=1e-4)


def test_the_page_shows_a_picture_in_a_real_browser(config: ForgeConfig, tmp_path: Path) -> None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    server = make_server(config)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
               "--virtual-time-budget=8000", "--dump-dom", f"http://127.0.0.1:{server.server_port}/"]  # fmt: skip
    try:
        page = subprocess.run(command, capture_output=True, text=True, timeout=90).stdout
    finally:
        server.shutdown()
        server.server_close()
    first = next(iter(Review(config).rows.values()))
    assert f'<h1 id="title">{first["id"]}</h1>' in page
    assert f"0 of {len(Review(config).rows)} judged by you" in page
    width = re.search(r'<canvas id="canvas" width="(\d+)"', page)
    assert width is not None
    assert int(width[1]) == first["width"]


def test_nothing_to_review_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run the same command without --review first"):
        Review(ForgeConfig(out=str(tmp_path), photographs="x"))
