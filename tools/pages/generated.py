"""Parts of pages that are made of the code: `<!-- generated: NAME ARGUMENT -->` on a page is replaced by one.

A forge shows the page without them; each such page therefore also names the command or the file that says the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

MARK = re.compile(r"^<!-- generated: ([a-z-]+)(?: +([^\n]*?))? -->$", re.MULTILINE)


def fill(markdown: str) -> str:
    """The page with every mark replaced. Raises KeyError for a mark that no generator answers."""
    makers = generators()
    return MARK.sub(lambda match: makers[match[1]](match[2] or ""), markdown)


def generators() -> dict[str, Callable[[str], str]]:
    """Name -> the function that makes the part from the mark's argument."""
    from tools.pages import commands, listings, records, settings

    return {
        "baselines": listings.baselines,
        "command": commands.command,
        "commands": commands.overview,
        "data-sets": listings.data_sets,
        "errors": records.errors,
        "findings": records.findings,
        "models": listings.models,
        "origins": listings.origins,
        "perturbations": listings.perturbations,
        "protocols": listings.protocols,
        "reader-settings": listings.reader_settings,
        "settings": settings.settings,
        "tables": listings.tables,
        "verdict": records.verdict_fields,
    }


def as_prose(text: str) -> str:
    """A docstring as one paragraph of Markdown; what looks like HTML is shown as written."""
    return " ".join(text.split()).replace("<", "&lt;")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table. Bars and line breaks inside cells are kept from breaking it.

    >>> print(table(("a", "b"), [("1|2", "x")]))
    | a | b |
    |---|---|
    | 1\\\\|2 | x |
    """
    lines = [head, tuple("---" for _ in head), *rows]
    cells = (
        [" ".join(cell.split()).replace("\\|", "|").replace("|", "\\|") for cell in row] for row in lines
    )
    joined = [f"| {' | '.join(row)} |" for row in cells]
    joined[1] = f"|{'---|' * len(head)}"
    return "\n".join(joined)
