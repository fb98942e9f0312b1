"""Reads the body of a request, within its bounds: a multipart form, or the bytes of one picture."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Request
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from pixelsleuth.errors import BadRequest, BodyTooLarge

BODY_SECONDS = 60.0
"""Seconds for which a client may send one body."""
MOST_FILES = 50
"""Files of one batch."""
BATCH_BODIES = 10
"""A batch has at most so many times the bytes that one picture may have."""
MOST_FIELDS = 16
"""Fields of a form beside its files."""
FIELD_BYTES = 4096
NAME_LETTERS = 1024
"""Longest name of a file that a record takes over."""
ENVELOPE = 64 << 10
"""Bytes of a form beside its file: boundaries and headers of parts."""


@dataclass(frozen=True)
class File:
    """A file of a request; `name` is None where the request gives none."""

    name: str | None
    data: bytes


class InMemory(MultiPartParser):
    """A form whose files stay in memory: the bound on the body is the bound on memory."""

    spool_max_size = 1 << 40


async def body_of(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The chunks of a body of at most `limit` bytes. Raises BodyTooLarge, BadRequest (too slow, or cut off)."""
    too_large = BodyTooLarge(
        f"The request has more than {limit / 1e6:g} MB; scale the picture down, or raise --max-bytes."
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    size, until = 0, time.monotonic() + BODY_SECONDS
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(until - time.monotonic()):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise BadRequest(
                f"The request did not arrive within {BODY_SECONDS:g} seconds; send it faster."
            ) from None
        except ClientDisconnect:
            raise BadRequest("The client left before the request was complete.") from None
        if chunk is None:
            return
        size += len(chunk)
        if size > limit:
            raise too_large
        yield chunk


async def files_of(
    request: Request, *, most: int, limit: int, total: int | None = None, name: str | None = None
) -> list[File]:
    """The files of a request, 1 to `most`, each of at most `limit` bytes, together at most `total` (None: `limit`).

    A body that is no form is one file, called `name`.
    Raises BodyTooLarge, BadRequest.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        data = b"".join([chunk async for chunk in body_of(request, limit)])
        return [File(clean_name(name), data)]
    stream = body_of(request, (total or limit) + ENVELOPE)
    parser = InMemory(
        request.headers, stream, max_files=most, max_fields=MOST_FIELDS, max_part_size=FIELD_BYTES
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"The form cannot be read: {error.message}") from None
    parts = [part for _, part in form.multi_items() if not isinstance(part, str)]
    if not parts:
        raise BadRequest("The form has no file; send the picture as a file, such as curl -F file=@photo.jpg.")
    for part in parts:
        if (part.size or 0) > limit:
            raise BodyTooLarge(f"A file has more than {limit / 1e6:g} MB; scale the picture down.")
    files = [File(clean_name(part.filename), await part.read()) for part in parts]
    await form.close()
    return files


def clean_name(name: str | None) -> str | None:
    """The name that a record carries: as it came, within bounds, without what does not print.

    >>> clean_name("holiday\\n.jpg"), clean_name("")
    ('holiday .jpg', None)
    """
    text = "".join(letter if letter.isprintable() else " " for letter in (name or "")[:NAME_LETTERS]).strip()
    return text or None
