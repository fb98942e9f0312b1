"""Parts of pages that are made of the code: `<!-- generated: NAME ARGUMENT -->` on a page is replaced by one.

A forge shows the page without them; each such page therefore also names the command or the file that says the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
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
        "first-screen": first_screen,
        "models": listings.models,
        "origins": listings.origins,
        "perturbations": listings.perturbations,
        "protocols": listings.protocols,
        "reader-settings": listings.reader_settings,
        "routes": records.routes,
        "settings": settings.settings,
        "tables": listings.tables,
        "verdict": records.verdict_fields,
    }


def first_screen(argument: str) -> str:
    """The first screen of README.md, for docs/index.md: picture, figures, commands."""
    del argument
    text = README.read_text(encoding="utf-8")
    part = text.partition("<!-- first screen: begin -->")[2].partition("<!-- first screen: end -->")[0]
    return re.sub(r"(\]\(|src=\")docs/", r"\1", part).strip()


def as_prose(text: str) -> str:
    """A docstring as one paragraph of Markdown; what looks like HTML is shown as written."""
    return " ".join(text.split()).replace("<", "&lt;")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, in a frame that lets phones stack its cells (docs/assets/site.css).

    Bars and line breaks inside cells are kept from breaking it; inside code a bar is safe, and is shown as it stands.

    >>> print(table(("a", "b"), [("1|2", "`x|y`")]))
    <div class="stack" markdown>
    <BLANKLINE>
    | a | b |
    |---|---|
    | 1\\|2 | `x|y` |
    <BLANKLINE>
    </div>
    """
    lines = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in (head, *rows)]
    return "\n".join(
        ['<div class="stack" markdown>\n', lines[0], f"|{'---|' * len(head)}", *lines[1:], "\n</div>"]
    )


def _cell(text: str) -> str:
    parts = " ".join(text.split()).replace("\\|", "|").split("`")
    return "`".join(part if index % 2 else part.replace("|", "\\|") for index, part in enumerate(parts))


def bars_in_code(markdown: str) -> str:
    """The page with `\\|` inside code in tables as a plain bar: forges need the backslash, Python-Markdown shows it.

    >>> print(bars_in_code("| `a\\\\|b` | x\\\\|y |"))
    | `a|b` | x\\|y |
    """
    return re.sub(
        r"^\|.*$",
        lambda row: re.sub(r"`[^`\n]*`", lambda code: code[0].replace("\\|", "|"), row[0]),
        markdown,
        flags=re.MULTILINE,
    )
