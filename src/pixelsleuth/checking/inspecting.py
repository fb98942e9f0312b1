"""One run of `inspect`: every file in turn, its findings as text or as records."""

from __future__ import annotations

import sys

from pixelsleuth.checking.results import JsonRecords
from pixelsleuth.evidence.inspection import Inspection, inspect_file
from pixelsleuth.evidence.trust_lists import read_trust_lists
from pixelsleuth.pictures.files import find_pictures
from pixelsleuth.reporting.words import printable

MARKS = {"declares": "!", "shows": "!", "hints": "-"}


def run_inspect(paths: list[str], style: str, trust_list: str | None = None, *, fast: bool = False) -> int:
    """Inspect `paths` and return the exit status; `trust_list` is a folder that replaces the shipped trust lists.

    `fast` leaves out what only the decoded pixels show.
    Raises NoPictures where folders hold none, UsageError where `trust_list` holds no list.
    """
    trust = read_trust_lists(trust_list) if trust_list is not None else None
    failed = False
    records = JsonRecords(sys.stdout, lines=style == "jsonl") if style != "text" else None
    for path in find_pictures(paths):
        inspection = inspect_file(path, trust, fast=fast)
        failed = failed or inspection.error is not None
        if records is not None:
            records.add(inspection.to_dict())
        else:
            _print(inspection)
    if records is not None:
        records.close()
    return int(failed)


def _print(inspection: Inspection) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from pixelsleuth.reporting.terminal import console_for

    console = console_for(sys.stdout)
    title = Text(printable(inspection.source), "bold")
    if inspection.width and inspection.height:
        title.append(f"  {inspection.width} x {inspection.height} {inspection.format}", "not bold dim")
    console.print(title, soft_wrap=True)
    lines: list[Text] = []
    for finding in inspection.findings:
        style = "dim" if finding.strength == "hints" else ""
        lines.append(Text(f"{MARKS[finding.strength]} {printable(finding.statement)}", style))
        prompt = finding.detail.get("prompt")
        lines += [Text(f"  Prompt: {printable(prompt)}", "dim")] if prompt else []
    if inspection.error is not None:
        lines += [Text(f"x {printable(inspection.error)}", "dim")]
    elif not lines:
        lines = [Text("Nothing is declared. That means nothing: metadata are easily lost.", "dim")]
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 2), expand=False))
    console.print()
