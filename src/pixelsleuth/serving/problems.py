"""Errors as problem documents (RFC 9457), with the codes of `pixelsleuth.errors`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from pixelsleuth import errors
from pixelsleuth.core.io import NO_ROOM

MEDIA_TYPE = "application/problem+json"
STATUSES: dict[type[errors.PixelSleuthError], int] = {
    errors.BodyTooLarge: 413,
    errors.ServiceBusy: 429,
    errors.ServiceUnavailable: 503,
    errors.Unavailable: 503,
    errors.BadRequest: 400,
    errors.NotAllowed: 403,
    errors.NotKept: 404,
    errors.PictureError: 422,
    errors.OutputError: 507,
    errors.UsageError: 422,
    errors.InternalError: 500,
}
"""The status of an error: that of its first class in this order."""
NO_ROUTE = {404: "not_found", 405: "method_not_allowed"}
"""What the framework answers by itself where no route fits, and our code of it."""
RETRY_SECONDS = {429: 1.0, 503: 2.0}
"""After how long a request that came at a bad moment may come again."""


def status_of(error: errors.PixelSleuthError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)


def problem(
    status: int, code: str, detail: str, request: Request, *, more: Mapping[str, Any] | None = None
) -> Response:
    """A problem document; `more` are further members of it."""
    document = {
        "type": f"urn:pixelsleuth:problem:{code}",
        "title": title_of(code),
        "status": status,
        "detail": detail,
        "instance": f"urn:pixelsleuth:request:{request.scope.get('request_id', '')}",
        "code": code,
        **(more or {}),
    }
    headers = {"Retry-After": str(math.ceil(RETRY_SECONDS[status]))} if status in RETRY_SECONDS else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(document, ensure_ascii=False), status, headers, MEDIA_TYPE)


def title_of(code: str) -> str:
    """The short title of a kind of problem, the same for every occurrence.

    >>> title_of("picture_too_large")
    'Picture too large'
    """
    return code.replace("_", " ").capitalize()


def refusal(error: errors.PixelSleuthError, request: Request, **more: Any) -> Response:
    """The problem document of one of our errors."""
    return problem(status_of(error), error.code, str(error), request, more=more)


def install(app: FastAPI) -> None:
    """Answer every foreseen error with a problem document."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, errors.PixelSleuthError)
        return refusal(error, request)

    async def system(request: Request, error: Exception) -> Response:
        if getattr(error, "errno", None) not in NO_ROOM:
            raise error
        full = errors.OutputError("The disk of the service takes no more; try again later.")
        return refusal(full, request)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = str(error.detail)
        if error.status_code in NO_ROUTE:
            detail = f"The service answers no {request.method} at this address; /docs lists its routes."
        answer = problem(error.status_code, _code(error.status_code), detail, request)
        answer.headers.update(error.headers or {})
        return answer

    async def parameters(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return problem(422, "usage_error", f"The parameter {place!r} is not valid: {first['msg']}.", request)

    app.add_exception_handler(errors.PixelSleuthError, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(OSError, system)


def unforeseen(request: Request) -> Response:
    """The problem document of an error that nobody foresaw; it says nothing of the inside."""
    sentence = "The service failed on this request; its log has the reason under this request's id."
    return problem(500, "internal_error", sentence, request)


def _code(status: int) -> str:
    return NO_ROUTE.get(status, "bad_request")
