"""The picture of a request, sent with it or named by its address: `{"url": "https://example.org/photo.jpg"}`."""

from __future__ import annotations

import json

from fastapi import Request

from pixelsleuth.decoding.pool import Upload
from pixelsleuth.errors import BadRequest, NotAllowed
from pixelsleuth.serving.addresses import Target
from pixelsleuth.serving.connected import while_connected
from pixelsleuth.serving.fetching import fetch
from pixelsleuth.serving.intake import File, Take, body_of, files_of
from pixelsleuth.serving.settings import ServeOptions

LARGEST_BODY = 16 << 10
"""Bytes of the JSON document: an address of the longest kind, and its escapes."""


async def upload_of(
    request: Request, take: Take, options: ServeOptions, name: str | None, *, evidence: bool
) -> Upload:
    """The one picture of a request: a file of its form, its body (called `name`), or what its JSON body names.

    `take` counts its bytes. Raises BodyTooLarge, BadRequest, and what `take` and `file_at` do.
    """
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind.strip().lower() == "application/json":
        file = await file_at(request, options)
        take(len(file.data))
    else:
        (file,) = await files_of(request, take, most=1, limit=options.max_bytes, name=name)
    return Upload(file.data, file.name, evidence)


async def file_at(request: Request, options: ServeOptions) -> File:
    """The picture that a request names, called by its address in plain ASCII.

    Raises NotAllowed where the service does not fetch, BadRequest for another document, and what `fetch` does.
    """
    if not options.allow_fetch:
        raise NotAllowed(
            "This service fetches no addresses; send the picture, or start it with --allow-fetch."
        )
    data = b"".join([chunk async for chunk in body_of(request, LARGEST_BODY)])
    try:
        document = json.loads(data)
        url = document["url"]
    except (ValueError, RecursionError, KeyError, TypeError):
        url = None
    if not isinstance(url, str) or len(document) != 1:
        raise BadRequest(
            'The body is not {"url": "https://..."}; send the picture itself, or such a document.'
        )
    name = str(Target.parse(url).url)
    return File(name, await while_connected(request, fetch(name, max_bytes=options.max_bytes)))
