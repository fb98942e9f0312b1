"""The page `/docs`: the OpenAPI document as a plain page, made here and with nothing from elsewhere."""

from __future__ import annotations

import copy
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from pixelsleuth.reporting.page import environment, style

PACKAGE = "pixelsleuth.serving"


def install(app: FastAPI) -> None:
    """Add `/docs`."""

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        sheet = style((PACKAGE, "docs.css"))
        page = environment(PACKAGE).get_template("docs.html.j2")
        text = page.render(api=lenient(app.openapi()), base=str(request.base_url).rstrip("/"), **sheet)
        policy = (
            f"default-src 'none'; img-src data:; style-src '{sheet['style_hash']}'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        return Response(text, media_type="text/html", headers={"Content-Security-Policy": policy})


def lenient(document: dict[str, Any]) -> dict[str, Any]:
    """A copy with an empty text for what a route may leave out: the templates refuse unknown names."""
    document = copy.deepcopy(document)
    for methods in document["paths"].values():
        for route in methods.values():
            for name in ("description", "parameters", "requestBody"):
                route.setdefault(name, "")
            for parameter in route["parameters"] or ():
                parameter.setdefault("description", "")
    return document
