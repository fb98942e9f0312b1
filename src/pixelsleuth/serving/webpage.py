"""The web page: its document with the report's own words, the report's style sheet, and the files in `page/`."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.staticfiles import StaticFiles

from pixelsleuth._version import __version__
from pixelsleuth.reporting import words
from pixelsleuth.reporting.html import thumbnail_side
from pixelsleuth.reporting.page import environment, style
from pixelsleuth.serving.feedback import LONGEST_NOTE
from pixelsleuth.serving.service import Service

PACKAGE = "pixelsleuth.serving"
MOST_PICTURES = 200
"""Pictures that one page holds: the browser has a card of each in memory, about 0.5 MB."""
READS = ["GET", "HEAD"]


def install(app: FastAPI, service: Service) -> None:
    """Add `/`, `/report.css` and the files of the page; comes last, since the files take every path that is left."""
    page = document(service)

    @app.api_route("/", methods=READS, include_in_schema=False)
    async def front() -> Response:
        return Response(page, media_type="text/html")

    @app.api_route("/report.css", methods=READS, include_in_schema=False)
    async def sheet() -> Response:
        return Response(style()["style"], media_type="text/css")

    app.mount("/", StaticFiles(directory=str(files(PACKAGE) / "page")), name="page")


def document(service: Service) -> str:
    """The page's HTML. What the service allows stands in it; no sentence on verdicts is written a second time."""
    options = service.options
    empty = {"number": 0, "folder": "", "file": "", "meaning": "", "code": "", "says": None}
    return (
        environment(PACKAGE)
        .get_template("index.html.j2")
        .render(
            version=__version__,
            failed=empty | {"headline": words.NAMES["failed"]},
            fetch=options.allow_fetch,
            feedback=options.feedback is not None,
            longest_note=LONGEST_NOTE,
            largest=options.max_bytes,
            keep=options.keep,
            most=MOST_PICTURES,
            thumb=thumbnail_side(1),
        )
    )
