"""The web application: routes, problem documents, the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.middleware.cors import CORSMiddleware

from pixelsleuth._version import __version__
from pixelsleuth.serving import (
    carded,
    checks,
    described,
    feedback,
    job_routes,
    keeping,
    manual,
    problems,
    webpage,
)
from pixelsleuth.serving.guard import Guard
from pixelsleuth.serving.service import Service
from pixelsleuth.serving.shell import Shell


def make_app(service: Service) -> FastAPI:
    """The application of one service; the service ends with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.run_jobs()
        yield
        if service.runner is not None:
            await service.runner.close()
        service.close()

    app = FastAPI(
        title="PixelSleuth",
        version=__version__,
        description="Is this picture real, wholly generated, or tampered with? Where? Why?",
        root_path=service.options.root_path,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    problems.install(app)

    # What is not valid is answered by `problems`, not by FastAPI's own form.
    app.router.responses = {422: described.problems(422)[422]}

    @app.get("/healthz", summary="Whether the process lives", tags=["operation"])
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["operation"], response_class=JSONResponse, **described.READY)
    async def readyz() -> Any:
        state = "draining" if service.draining else "ready" if service.ready else "starting"
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    @app.get(
        "/metrics", summary="Counters for Prometheus", tags=["operation"], response_class=PlainTextResponse
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(service), media_type="text/plain; version=0.0.4; charset=utf-8")

    for part in (checks, carded, keeping, feedback, job_routes):
        app.include_router(part.routes(service))
    manual.install(app)
    webpage.install(app, service)
    app.add_middleware(Guard, options=service.options)
    if service.options.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(service.options.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-Id"],
            expose_headers=["Retry-After", "X-Request-Id", checks.VERDICT_HEADER],
        )
    app.add_middleware(Shell, metrics=service.metrics)
    return app
