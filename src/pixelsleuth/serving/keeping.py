"""The routes of kept verdicts: the record again, the report, and its pictures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from pixelsleuth.checking.results import record_text
from pixelsleuth.core.verdict import Verdict
from pixelsleuth.decoding.pool import Upload
from pixelsleuth.errors import NotKept
from pixelsleuth.serving import drawn
from pixelsleuth.serving.described import kept
from pixelsleuth.serving.service import Service

SIDE = 2048
"""Longer side in pixels of pictures for people, unless another is asked for."""
Side = Annotated[int, Query(ge=64, le=20_000, description="Longer side of the picture in pixels, at most.")]


def routes(service: Service) -> APIRouter:
    """The routes under `/v1/verdicts`."""
    router = APIRouter(prefix="/v1/verdicts/{verdict}", tags=["kept verdicts"])

    @router.get(
        "",
        summary="The record of a kept verdict, as check gave it",
        **kept("application/json", "The record."),
    )
    async def record(verdict: str) -> Response:
        whole = service.shelf.get(verdict).whole()
        return Response(await asyncio.to_thread(record_text, whole.to_dict()), media_type="application/json")

    @router.get("/report.html", summary="The self-contained HTML report", **kept("text/html", "The page."))
    async def report(verdict: str) -> Response:
        from pixelsleuth.reporting.page import style

        page = await _made(service, verdict, drawn.report)
        policy = (
            f"default-src 'none'; img-src data:; style-src '{style()['style_hash']}'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": policy})

    @router.get(
        "/overlay.png",
        summary="The picture under its heat map and boxes",
        **kept("image/png", "The picture."),
    )
    async def overlay(verdict: str, side: Side = SIDE) -> Response:
        data = await _made(service, verdict, lambda whole: drawn.overlay(whole, side))
        return Response(data, media_type="image/png")

    @router.get(
        "/picture.jpg", summary="The upright picture, for browsers that do not read the upload's format"
    )
    async def picture(verdict: str, side: Side = SIDE) -> Response:
        data = await _made(service, verdict, lambda whole: drawn.upright(whole, side))
        return Response(data, media_type="image/jpeg")

    @router.get(
        "/mask.png", summary="The mask: 0 untouched, 255 tampered", **kept("image/png", "The picture.")
    )
    async def mask(verdict: str) -> Response:
        whole = service.shelf.get(verdict).whole()
        return Response(await asyncio.to_thread(drawn.mask, whole), media_type="image/png")

    @router.get(
        "/heatmap.png", summary="The heat map as a transparent layer", **kept("image/png", "The picture.")
    )
    async def heatmap(verdict: str) -> Response:
        whole = service.shelf.get(verdict).whole()
        return Response(await asyncio.to_thread(drawn.heatmap, whole), media_type="image/png")

    return router


async def _made(service: Service, name: str, make: Callable[[Verdict], bytes]) -> bytes:
    """What `make` makes of a kept verdict with its picture, which is decoded again. Raises NotKept, ServiceBusy."""
    entry = service.shelf.get(name)
    with service.drawing.passing():
        upload = Upload(entry.upload.data, entry.upload.name, evidence=False)
        until = time.monotonic() + service.options.deadline
        async with service.opened(upload, until) as opened:
            if opened.picture is None:
                raise NotKept(f"The picture can no longer be decoded: {opened.error}")
            whole = entry.whole()
            whole.picture = opened.picture
            return await asyncio.to_thread(make, whole)
