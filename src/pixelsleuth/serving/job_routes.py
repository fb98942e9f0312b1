"""The routes of background jobs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from pixelsleuth.errors import BadRequest, NotAllowed
from pixelsleuth.serving import described
from pixelsleuth.serving.checks import Evidence, Explain, Model
from pixelsleuth.serving.forms import FormReader
from pixelsleuth.serving.intake import body_of, is_form
from pixelsleuth.serving.jobs import MOST_FILES, Draft, Job, JobFolder
from pixelsleuth.serving.service import Service
from pixelsleuth.serving.webhooks import allowed_webhook

Hook = Annotated[
    str | None,
    Query(description="Address that gets the job's state as JSON when it is done; only allowed hosts."),
]
From = Annotated[int, Query(alias="from", ge=0, description="Number of the first line, from 0.")]


def routes(service: Service) -> APIRouter:
    """The routes under `/v1/jobs`."""
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

    def jobs() -> JobFolder:
        if service.jobs is None:
            raise NotAllowed("Jobs are turned off; start the service with --jobs FOLDER.")
        return service.jobs

    @router.post("", status_code=202, **described.JOB)
    async def begin(
        request: Request,
        model: Model = None,
        explain: Explain = True,
        evidence: Evidence = True,
        webhook: Hook = None,
    ) -> Response:
        folder = jobs()
        service.lane(model)
        if webhook is not None:
            allowed_webhook(webhook, service.options.webhook_hosts)
        if not is_form(request):
            raise BadRequest("A job is a form with files; such as curl -F file=@a.jpg -F file=@b.jpg.")
        with service.reading.passing():
            draft = await asyncio.to_thread(folder.begin)
            try:
                await _receive(request, draft, service)
                name = model or service.options.models[0]
                settings = {"model": name, "explain": explain, "evidence": evidence, "webhook": webhook}
                job = await asyncio.to_thread(lambda: draft.commit(**settings))
            except BaseException:
                await asyncio.to_thread(draft.discard)
                raise
        if service.runner is not None:
            service.runner.wake()
        place = f"{service.options.root_path}/v1/jobs/{job.id}"
        return JSONResponse(_shown(service, job), 202, {"Location": place})

    @router.get("/{job}", **described.JOB_STATE)
    async def state(job: str) -> Any:
        return await asyncio.to_thread(lambda: _shown(service, jobs().get(job)))

    @router.get("/{job}/results", **described.JOB_RESULTS)
    async def results(job: str, start: From = 0) -> Response:
        folder = jobs()
        return StreamingResponse(folder.lines(folder.get(job), start), media_type=described.LINES)

    @router.delete("/{job}", status_code=204, **described.JOB_REMOVAL)
    async def remove(job: str) -> Response:
        await asyncio.to_thread(jobs().remove, job)
        return Response(status_code=204)

    return router


async def _receive(request: Request, draft: Draft, service: Service) -> None:
    """The files of a form, onto the disk. Raises BodyTooLarge, BadRequest, OSError."""
    options = service.options
    reader = FormReader(request.headers["content-type"], draft.open, most=MOST_FILES, limit=options.max_bytes)
    try:
        async for chunk in body_of(request, options.max_job_bytes):
            await asyncio.to_thread(reader.write, chunk)
        reader.finish()
    finally:
        reader.close()


def _shown(service: Service, job: Job) -> dict[str, Any]:
    """The state of a job, with the place of its results."""
    assert service.jobs is not None
    state = service.jobs.state(job)
    if state["state"] != "done" and service.runner is not None and service.runner.waiting_for_room:
        state["state"] = "waiting for room on the disk"
    return state | {"results": f"{service.options.root_path}/v1/jobs/{job.id}/results"}
