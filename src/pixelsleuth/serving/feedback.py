"""What people say of wrong verdicts: a local file of JSON lines that only grows.

A line has the picture's hash, the verdict and the note: no picture, no name, no address, no time.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pixelsleuth.core.io import append_at, failed, lock, whole_lines
from pixelsleuth.errors import BadRequest, NotAllowed, OutputError
from pixelsleuth.serving.described import FEEDBACK
from pixelsleuth.serving.intake import body_of
from pixelsleuth.serving.service import Service

if TYPE_CHECKING:
    from pixelsleuth.core.verdict import Verdict

KIND = "file of feedback"
LARGEST_BODY = 32 << 10
"""Bytes of the JSON document: a note of the longest kind, and its escapes."""
LONGEST_NOTE = 2000
"""Characters of a note; the page's field takes as many."""
LARGEST_FILE = 64 << 20
"""Bytes of the file: who may send notes must not be able to fill the disk."""


def routes(service: Service) -> APIRouter:
    """The route `/v1/verdicts/{verdict}/feedback`. Raises OutputError where the file cannot be written."""
    router = APIRouter(prefix="/v1/verdicts/{verdict}", tags=["kept verdicts"])
    path = None if service.options.feedback is None else Path(service.options.feedback)
    if path is not None:
        append(path, b"")  # refused here, not when somebody has written a note

    @router.post("/feedback", **FEEDBACK)
    async def feedback(request: Request, verdict: str) -> Response:
        if path is None:
            raise NotAllowed("This service takes no feedback; start it with --feedback FILE.")
        judged = service.shelf.get(verdict).verdict
        note = note_in(b"".join([chunk async for chunk in body_of(request, LARGEST_BODY)]))
        line = json.dumps(entry(judged, note)).encode() + b"\n"
        await asyncio.to_thread(append, path, line)
        return Response(status_code=204)

    return router


def note_in(document: bytes) -> str:
    """The note of a request's document, at most LONGEST_NOTE characters. Raises BadRequest."""
    try:
        value = json.loads(document)
    except (ValueError, RecursionError):
        value = None
    note = value.get("note") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(note, str) or len(note) > LONGEST_NOTE:
        raise BadRequest(f'The body is not {{"note": "..."}} with at most {LONGEST_NOTE} characters.')
    return note


def entry(verdict: Verdict, note: str) -> dict[str, Any]:
    """What is saved of a verdict that somebody calls wrong."""
    record = verdict.to_dict()
    kept = ("sha256", "label", "inconclusive", "probabilities", "model")
    return {key: record[key] for key in kept} | {"note": note}


def append(path: Path, line: bytes) -> None:
    """Add a line, whole or, on a full disk, not at all. Raises OutputError, also where the file is too large."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        try:
            lock(handle, wait=True)  # of requests at the same time, and of other services
            end = whole_lines(handle)  # what a killed service has begun is written over
            if end + len(line) > LARGEST_FILE:
                raise OutputError(f"The {KIND} has {LARGEST_FILE >> 20} MB; move it away.")
            if line:
                os.ftruncate(handle, append_at(handle, line, end))
        finally:
            os.close(handle)
    except OSError as error:
        raise failed(path, KIND, error) from error
