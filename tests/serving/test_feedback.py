"""Notes on wrong verdicts: what is saved, what is refused; the page offers only what the service takes."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from pixelsleuth.core.verdict import Verdict
from pixelsleuth.decoding.pool import Upload
from pixelsleuth.errors import BadRequest, OutputError
from pixelsleuth.serving import feedback, problems, webpage
from pixelsleuth.serving.settings import ServeOptions
from pixelsleuth.serving.shelf import Shelf


def post(path: Path | None, body: bytes, *, known: bool = True) -> tuple[int, str]:
    """Status and code of a note on a kept verdict."""
    service = SimpleNamespace(
        options=ServeOptions(feedback=None if path is None else str(path)), shelf=Shelf(60)
    )
    name = service.shelf.put(Verdict("secret.jpg", sha256="ab" * 32), Upload(b"", None, evidence=False), None)
    app = FastAPI()
    app.include_router(feedback.routes(service))  # type: ignore[arg-type]
    problems.install(app)

    async def once() -> Any:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post(f"/v1/verdicts/{name if known else 'other'}/feedback", content=body)

    answer = asyncio.run(once())
    return answer.status_code, answer.json()["code"] if answer.content else ""


def test_a_note_becomes_one_line_without_the_name(tmp_path: Path) -> None:
    path = tmp_path / "wrong.jsonl"
    assert post(path, b'{"note": "a\\nb"}') == (204, "")
    assert post(path, b'{"note": "c"}') == (204, "")
    assert [json.loads(line)["note"] for line in path.read_text().splitlines()] == ["a\nb", "c"]
    assert "secret" not in path.read_text()


LONG = b'{"note": "' + b"a" * 2001 + b'"}'


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"note": 1}', b'{"note": "a", "more": 1}', LONG, b"[" * 30_000]
)
def test_another_document_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="note"):
        feedback.note_in(body)


def test_nothing_is_taken_where_it_is_off_too_large_or_of_an_unknown_verdict(tmp_path: Path) -> None:
    note = b'{"note": "a"}'
    assert post(None, note) == (403, "not_allowed")
    assert post(tmp_path / "f", note, known=False) == (404, "not_kept")
    assert post(tmp_path / "f", b'{"note": "' + b"a" * 40_000 + b'"}') == (413, "body_too_large")
    assert (tmp_path / "f").read_bytes() == b""


def test_a_line_that_was_cut_off_is_written_over_and_a_full_file_takes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b'{"note": "whole"}\n{"note": "cut off by a')
    feedback.append(path, b"{}\n")
    assert path.read_bytes() == b'{"note": "whole"}\n{}\n'
    monkeypatch.setattr(feedback, "LARGEST_FILE", 20)
    with pytest.raises(OutputError, match="move it away"):
        feedback.append(path, b"{}\n")
    with pytest.raises(OutputError, match="does not exist"):
        feedback.append(tmp_path / "no" / "f", b"")


def test_the_page_offers_what_the_service_takes() -> None:
    bare = webpage.document(SimpleNamespace(options=ServeOptions()))  # type: ignore[arg-type]
    full = ServeOptions(feedback="f", allow_fetch=True, max_bytes=5_000_000, keep=0)
    offers = webpage.document(SimpleNamespace(options=full))  # type: ignore[arg-type]
    for text in ("This looks wrong", 'id="url"', "Up to 5 MB each"):
        assert text not in bare
        assert text in offers
    assert "it holds them for 15 minutes" in bare
    assert "it holds them" not in offers
    assert "A verdict is evidence, not proof" in bare
    assert not re.search(r'(?:href|src)="/', offers)  # all places are relative: a proxy may add a prefix
    assert " style=" not in offers
    assert "<style" not in offers
