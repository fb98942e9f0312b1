"""The route that judges one picture and draws its card at once: what the page asks for.

One answer has all that the page shows, so that it needs no kept verdict: the next request may reach another process.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from pixelsleuth.core.verdict import Verdict
from pixelsleuth.decoding.pool import Upload
from pixelsleuth.errors import error_of
from pixelsleuth.serving import described, drawn
from pixelsleuth.serving.checks import Model, Name, accepted, answered, facts_of
from pixelsleuth.serving.lanes import Lane
from pixelsleuth.serving.problems import refusal
from pixelsleuth.serving.service import Service

Number = Annotated[int, Query(ge=1, le=1_000_000, description="Number of the card in its page, for its ids.")]


def routes(service: Service) -> APIRouter:
    """The route `/v1/check:card`."""
    router = APIRouter(prefix="/v1", tags=["checking"])

    @router.post("/check:card", **described.CARD)
    async def check_card(
        request: Request, model: Model = None, name: Name = None, number: Number = 1
    ) -> Response:
        async def drawn_card(upload: Upload, lane: Lane) -> tuple[Upload, Verdict, str]:
            verdict = await service.check(upload, lane, explain=True)
            return upload, verdict, await asyncio.to_thread(drawn.card, verdict, number)

        upload, verdict, card = await accepted(request, service, model, name, drawn_card, evidence=True)
        request.scope["facts"] = facts_of(service, verdict)
        if verdict.error is not None:
            return refusal(error_of(verdict.error), request, verdict=verdict.to_dict(), card=card)
        kept, record = await asyncio.to_thread(answered, service, verdict, upload, "rle")
        text = json.dumps({"id": kept, "record": f"{record}\n", "card": card})
        return Response(text, media_type="application/json")

    return router
