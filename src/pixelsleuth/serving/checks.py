"""The routes that judge a picture."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pixelsleuth.checking.results import record_text
from pixelsleuth.core.verdict import Verdict
from pixelsleuth.errors import BadRequest, error_of
from pixelsleuth.serving.decoding import Upload
from pixelsleuth.serving.intake import files_of
from pixelsleuth.serving.problems import refusal
from pixelsleuth.serving.service import Service

Result = TypeVar("Result")
Mask = Literal["rle", "png", "none"]
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def routes(service: Service) -> APIRouter:
    """The routes `/v1/check` and `/v1/models`."""
    router = APIRouter(prefix="/v1")

    @router.post("/check", openapi_extra=FORM)
    async def check(
        request: Request,
        model: str | None = None,
        explain: bool = True,
        evidence: bool = True,
        mask: Mask = "rle",
    ) -> Response:
        lane = service.lane(model)
        service.gate.ensure_room()  # before the body is read
        (file,) = await files_of(request, most=1, limit=service.options.max_bytes)
        with service.gate.passing():
            upload = Upload(file.data, file.name, evidence)
            verdict = await while_connected(request, service.check(upload, lane, explain=explain))
        if verdict.error is not None:
            return refusal(error_of(verdict.error), request, verdict=verdict.to_dict())
        text = await asyncio.to_thread(line_of, verdict, mask)
        return Response(text, media_type="application/json")

    @router.get("/models")
    async def models() -> dict[str, Any]:
        return {"models": [described(name, service) for name in service.lanes]}

    return router


def line_of(verdict: Verdict, mask: Mask) -> str:
    """The record of a verdict, as `check --format jsonl` writes it."""
    record = verdict.to_dict()
    if mask == "none":
        record["mask"] = None
    return record_text(record) + "\n"


def described(name: str, service: Service) -> dict[str, Any]:
    """A model as `/v1/models` lists it."""
    detector = service.lanes[name].detector
    return {
        "name": name,
        "default": name == service.options.models[0],
        "model": detector.model,
        "capabilities": sorted(map(str, detector.capabilities)),
        "notices": list(detector.notices),
        "ready": service.ready,
    }


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, which is cancelled where the client leaves first. Raises BadRequest then."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise BadRequest("The client left before the answer.")
        return task.result()
    finally:
        for pending in (task, gone):
            pending.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
