"""The page of `summarise --report`: figures, plots as inline SVG, and a contact sheet; one self-contained file."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from os import PathLike
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.outputs import AtomicFile
from pixelsleuth.reporting.page import OUR_PAGE, environment, style
from pixelsleuth.reporting.words import percent, printable
from pixelsleuth.scale.plots import plots, shares, sources

if TYPE_CHECKING:
    from pixelsleuth.scale.results import Results
    from pixelsleuth.scale.summary import Summary

PACKAGE = "pixelsleuth.scale"
KIND = "HTML page"
SUSPECTED = ("tampered", "full_synthetic")
MOST_ERRORS = 20
"""Error codes in the table of the page."""


def write_page(
    path: str | PathLike[str], results: Results, summary: Summary, lead: str, tiles: Iterable[dict[str, Any]]
) -> None:
    """Write the page; `tiles` are taken one at a time (`sheet.tiles`), `lead` is a sentence on what was counted.

    Raises OutputError where it cannot be written.
    """
    file = AtomicFile(path, ours=OUR_PAGE, kind=KIND)
    macros: Any = environment(PACKAGE).get_template("summary.html.j2").module
    try:
        values = _values(results, summary, lead)
        file.write(macros.head(values))
        for tile in tiles:
            file.write(macros.tile(tile))
        file.write(macros.tail(values))
    except BaseException:
        file.discard()
        raise
    file.commit()


def _values(results: Results, summary: Summary, lead: str) -> dict[str, Any]:
    from pixelsleuth import __version__

    now = datetime.now().astimezone()
    return {
        **style((PACKAGE, "summary.css")),
        "version": __version__,
        "title": f"{summary.rows:,} pictures {'scanned' if results.timed else 'checked'}",
        "date": f"{now.day} {now:%B %Y, %H:%M %Z}".strip(),
        "model": printable(" ".join(filter(None, map(results.model.get, ("name", "version"))))),
        "lead": lead,
        "shares": [entry | {"percent": percent(entry["share"])} for entry in shares(summary.kinds)],
        "problems": problem_lines(results),
        "plots": plots(summary),
        "sources": [entry | {"suspected": percent(_suspected(entry))} for entry in sources(summary)],
        "errors": [(printable(code), number) for code, number in summary.errors.most_common(MOST_ERRORS)],
        "tiles": bool(summary.suspects),
    }


def problem_lines(results: Results) -> list[str]:
    """A sentence for each part that was left out, and one for those beyond the limit."""
    more = results.left_out - len(results.problems)
    return [*results.problems, *([f"And {more} more."] if more else [])]


def _suspected(source: dict[str, Any]) -> float:
    return float(sum(entry["share"] for entry in source["shares"] if entry["kind"] in SUSPECTED))
