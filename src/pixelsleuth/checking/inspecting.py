"""One run of `inspect`: every file in turn, its findings as text or as records."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pixelsleuth.checking.delivery import Notices
from pixelsleuth.checking.enhanced_folder import EnhancedFolder
from pixelsleuth.checking.results import JsonRecords
from pixelsleuth.checking.runner import WRONG_USAGE
from pixelsleuth.core.progress import progress
from pixelsleuth.errors import OutputError, UsageError
from pixelsleuth.evidence.inspection import Inspection, inspect_file
from pixelsleuth.evidence.trust_lists import read_trust_lists
from pixelsleuth.pictures.files import find_pictures
from pixelsleuth.reporting.words import count, printable

if TYPE_CHECKING:
    from pixelsleuth.pictures.images import Picture

MARKS = {"declares": "!", "shows": "!", "hints": "-"}


def run_inspect(
    paths: list[str],
    style: str,
    trust_list: str | None = None,
    *,
    enhance: str | None = None,
    fast: bool = False,
) -> int:
    """Inspect `paths` and return the exit status; `trust_list` is a folder that replaces the shipped trust lists.

    `enhance` is a folder for the pictures to look at. `fast` leaves out what only the decoded pixels show.
    Raises NoPictures where folders hold none, UsageError where `trust_list` holds no list or where `enhance` and `fast`
    contradict each other, OutputError where the folder cannot be written.
    """
    if enhance is not None and fast:
        raise UsageError("--enhance needs the decoded pixels, which --fast leaves out; give one of them.")
    trust = read_trust_lists(trust_list) if trust_list is not None else None
    sources = find_pictures(paths)
    notices = Notices()
    drawn = _Drawn(EnhancedFolder(enhance), notices) if enhance is not None else None
    failed = False
    records = JsonRecords(sys.stdout, lines=style == "jsonl") if style != "text" else None
    with progress("Inspecting", len(sources), quiet=len(sources) < 2) as notices.bar:
        for path in sources:
            inspection = inspect_file(path, trust, fast=fast)
            failed = failed or inspection.error is not None
            if drawn is not None and inspection.picture is not None:
                drawn.add(inspection.picture)
            with notices.bar.paused() if notices.bar.live and sys.stdout.isatty() else nullcontext():
                if records is not None:
                    records.add(inspection.to_dict())
                else:
                    _print(inspection)
            notices.bar()
    if records is not None:
        records.close()
    if drawn is not None:
        notices.say(drawn.summary)
    return WRONG_USAGE if notices.refused else int(failed)


class _Drawn:
    """Hands pixels to the folder of pictures to look at, until that cannot be written; the findings go on."""

    def __init__(self, folder: EnhancedFolder, notices: Notices) -> None:
        self.folder, self.notices = folder, notices

    def add(self, picture: Picture) -> None:
        """Write the pictures to look at of one file."""
        if self.notices.refused:
            return
        try:
            self.folder.save(picture.source, picture.sha256, picture.pixels)
        except OutputError as error:
            self.notices.refuse(error)

    @property
    def summary(self) -> str:
        """One line: of how many pictures, where, and that they prove nothing."""
        inspected = count(self.folder.pictures, "file")
        return f"Pictures to look at of {inspected}: {printable(self.folder.folder)}. They are no findings."


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
