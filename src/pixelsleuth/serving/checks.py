"""The routes that judge pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from pixelsleuth.checking.results import record_text
from pixelsleuth.core.verdict import Verdict
from pixelsleuth.decoding.pool import Upload
from pixelsleuth.errors import UsageError, error_of
from pixelsleuth.serving import described
from pixelsleuth.serving.connected import while_connected
from pixelsleuth.serving.intake import BATCH_BODIES, MOST_FILES, File, files_of
from pixelsleuth.serving.lanes import Lane
from pixelsleuth.serving.named import upload_of
from pixelsleuth.serving.problems import refusal
from pixelsleuth.serving.service import Service

Model = Annotated[str | None, Query(description="One of /v1/models; the default one where it is left out.")]
Explain = Annotated[bool, Query(description="Say why, or only what and where (faster).")]
Evidence = Annotated[bool, Query(description="Say what the file shows by itself; it never changes a score.")]
Mask = Literal["rle", "png", "none"]
MaskForm = Annotated[Mask, Query(description="Run lengths in the record, the place of a PNG, or no mask.")]
Name = Annotated[str | None, Query(description="Name of a picture that is the body itself, for its record.")]
Result = TypeVar("Result")
VERDICT_HEADER = "X-Verdict-Id"


def routes(service: Service) -> APIRouter:
    """The routes `/v1/check`, `/v1/check:batch` and `/v1/models`."""
    router = APIRouter(prefix="/v1", tags=["checking"])
    _add_check(router, service)
    _add_batch(router, service)

    @router.get("/models", **described.MODELS)
    async def models() -> dict[str, Any]:
        return models_record(service)

    return router


def _add_check(router: APIRouter, service: Service) -> None:
    @router.post("/check", **described.CHECK)
    async def check(
        request: Request,
        model: Model = None,
        explain: Explain = True,
        evidence: Evidence = True,
        mask: MaskForm = "rle",
        name: Name = None,
    ) -> Response:
        ensure_kept(service, mask)

        async def judged(upload: Upload, lane: Lane) -> tuple[Upload, Verdict]:
            return upload, await service.check(upload, lane, explain=explain)

        upload, verdict = await accepted(request, service, model, name, judged, evidence=evidence)
        request.scope["facts"] = facts_of(service, verdict)
        if verdict.error is not None:
            return refusal(error_of(verdict.error), request, verdict=verdict.to_dict())
        kept, text = await asyncio.to_thread(answered, service, verdict, upload, mask)
        headers = {VERDICT_HEADER: kept} if kept is not None else {}
        return Response(text + "\n", media_type="application/json", headers=headers)


async def accepted(
    request: Request,
    service: Service,
    model: str | None,
    name: str | None,
    work: Callable[[Upload, Lane], Coroutine[Any, Any, Result]],
    *,
    evidence: bool,
) -> Result:
    """What `work` makes of the picture of a request, which holds a place of the queue meanwhile.

    Raises ServiceBusy, ServiceUnavailable and UnknownModel, before the body is read where that is possible, and what
    `upload_of` and `work` do.
    """
    lane = service.lane(model)
    service.ensure_room(lane)  # before the body is read
    with service.bodies.holding() as take:
        with service.reading.passing():
            upload = await upload_of(request, take, service.options, name, evidence=evidence)
        with service.accepted(lane):
            return await while_connected(request, work(upload, lane))


def _add_batch(router: APIRouter, service: Service) -> None:
    @router.post("/check:batch", **described.BATCH)
    async def check_batch(
        request: Request,
        model: Model = None,
        explain: Explain = True,
        evidence: Evidence = True,
        mask: MaskForm = "rle",
    ) -> Response:
        lane = service.lane(model)
        ensure_kept(service, mask)
        service.ensure_room(lane)
        limit, turns = service.options.max_bytes, asyncio.Semaphore(service.turns(lane))

        async def one(file: File) -> tuple[str | None, str]:
            async with turns:
                upload = Upload(file.data, file.name, evidence)
                verdict = await service.check(upload, lane, explain=explain)
                return await asyncio.to_thread(answered, service, verdict, upload, mask)

        with service.bodies.holding() as take:
            with service.reading.passing():
                total = limit * BATCH_BODIES
                files = await files_of(request, take, most=MOST_FILES, limit=limit, total=total)
            with service.accepted(lane):
                answers = await while_connected(request, gathered([one(file) for file in files]))
        names = record_text({"ids": [name for name, _ in answers]})
        text = ", ".join(line for _, line in answers)
        return Response(f'{{"verdicts": [{text}], {names[1:]}\n', media_type="application/json")


async def gathered(work: list[Any]) -> list[Any]:
    """The results of several coroutines; where one fails the others are cancelled."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in work]
    return [task.result() for task in tasks]


def ensure_kept(service: Service, mask: Mask) -> None:
    """Raise UsageError where a mask is asked for as a file, and no verdict is kept."""
    if mask == "png" and service.options.keep <= 0:
        raise UsageError("mask=png needs kept verdicts, and this service keeps none; ask for mask=rle.")


def answered(service: Service, verdict: Verdict, upload: Upload, mask: Mask) -> tuple[str | None, str]:
    """The id under which a verdict is kept, and its record as `check --format jsonl` writes it, without a line end."""
    record = verdict.to_dict()
    rle = None if record["mask"] is None else record["mask"]["rle"]
    name = service.shelf.put(verdict, upload, rle)
    if record["mask"] is not None and mask == "png" and name is not None:
        place = f"{service.options.root_path}/v1/verdicts/{name}/mask.png"
        record["mask"] = {"file": place, "area": record["mask"]["area"]}
    elif mask == "none":
        record["mask"] = None
    return name, record_text(record)


def facts_of(service: Service, verdict: Verdict) -> dict[str, Any]:
    """What the log says of a verdict; the name of the picture only where that was asked for."""
    facts: dict[str, Any] = {"label": str(verdict.label) if verdict.label else None}
    if verdict.inconclusive:
        facts["inconclusive"] = True
    if verdict.error is not None:
        facts["code"] = verdict.error["code"]
    if service.options.log_names:
        facts["source"] = verdict.source
    return facts


def models_record(service: Service) -> dict[str, Any]:
    """The models, and whether a picture may be named by its address."""
    models = [model_record(name, service) for name in service.lanes]
    return {"models": models, "fetch": service.options.allow_fetch}


def model_record(name: str, service: Service) -> dict[str, Any]:
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
