"""Reads the body of a request, within its bounds: a multipart form, or the bytes of one picture."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from fastapi import Request
from starlette.requests import ClientDisconnect

from pixelsleuth.errors import BadRequest, BodyTooLarge
from pixelsleuth.serving.forms import FormReader, clean_name

BODY_SECONDS = 30.0
"""Seconds that a body may take, whatever its size."""
LEAST_RATE = 50_000
"""Bytes a second that a client must send beyond that."""
MOST_FILES = 50
"""Files of one batch."""
BATCH_BODIES = 10
"""A batch has at most so many times the bytes that one picture may have."""
ENVELOPE = 64 << 10
"""Bytes of a form beside its files: boundaries and headers of parts."""


@dataclass(frozen=True)
class File:
    """A file of a request; `name` is None where the request gives none."""

    name: str | None
    data: bytes


class InMemory(io.BytesIO):
    """A file whose bytes stay in memory after `close`."""

    def __init__(self, name: str | None) -> None:
        super().__init__()
        self.name = name

    def close(self) -> None:
        """Nothing: the bytes are still wanted."""


Take = Callable[[int], None]
"""Counts bytes that stay in memory. Raises ServiceBusy."""


async def body_of(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The chunks of a body of at most `limit` bytes. Raises BodyTooLarge, BadRequest (too slow, or cut off)."""
    too_large = BodyTooLarge(
        f"The request has more than {limit / 1e6:g} MB; scale the picture down, or raise --max-bytes."
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    size, started = 0, time.monotonic()
    stream = request.stream()
    while True:
        left = started + BODY_SECONDS + size / LEAST_RATE - time.monotonic()
        try:
            async with asyncio.timeout(left):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise BadRequest(
                "The request arrives too slowly; send it again on a faster connection."
            ) from None
        except ClientDisconnect:
            raise BadRequest("The client left before the request was complete.") from None
        if chunk is None:
            return
        size += len(chunk)
        if size > limit:
            raise too_large
        yield chunk


def is_form(request: Request) -> bool:
    """True where the body says that it is a multipart form."""
    kind = request.headers.get("content-type", "").partition(";")[0]
    return kind.strip().lower() == "multipart/form-data"


async def files_of(
    request: Request, take: Take, *, most: int, limit: int, total: int | None = None, name: str | None = None
) -> list[File]:
    """The files of a request, 1 to `most`, each of at most `limit` bytes, together at most `total` (None: `limit`).

    A body that is no form is one file, called `name`. Raises BodyTooLarge, BadRequest, and what `take` raises.
    """
    if not is_form(request):
        whole = InMemory(clean_name(name))
        async for chunk in body_of(request, limit):
            take(len(chunk))
            whole.write(chunk)
        return [File(whole.name, whole.getvalue())]
    files: list[InMemory] = []

    def opened(name: str | None) -> InMemory:
        files.append(InMemory(name))
        return files[-1]

    reader = FormReader(request.headers["content-type"], opened, most=most, limit=limit)
    async for chunk in body_of(request, (total or limit) + ENVELOPE):
        take(len(chunk))
        reader.write(chunk)
    reader.finish()
    return [File(file.name, file.getvalue()) for file in files]
