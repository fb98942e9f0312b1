"""One run of `inspect`: every file in turn, its findings as text or as records."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pixelsleuth.checking.delivery import Notices
from pixelsleuth.checking.enhanced_folder import EnhancedFolder
from pixelsleuth.checking.results import JsonRecords
from pixelsleuth.checking.runner import NAMED, WRONG_USAGE
from pixelsleuth.core.examining import attach
from pixelsleuth.core.progress import progress
from pixelsleuth.core.streams import undisturbed
from pixelsleuth.core.verdict import Verdict
from pixelsleuth.errors import OutputError, UsageError
from pixelsleuth.evidence.enhancers import enhanced
from pixelsleuth.evidence.inspection import Inspection, inspect_file
from pixelsleuth.evidence.trust_lists import read_trust_lists
from pixelsleuth.pictures.files import find_pictures
from pixelsleuth.reporting.findings import CLOSED
from pixelsleuth.reporting.words import count, printable

if TYPE_CHECKING:
    from pixelsleuth.reporting.evidence_page import EvidencePage

MARKS = {"declares": "!", "shows": "!", "hints": "-"}


def run_inspect(
    paths: list[str],
    style: str,
    trust_list: str | None = None,
    *,
    enhance: str | None = None,
    report: str | None = None,
    fast: bool = False,
    fail_on: tuple[str, ...] = (),
) -> int:
    """Inspect `paths` and return the exit status; `trust_list` is a folder that replaces the shipped trust lists.

    `enhance` is a folder for the pictures to look at, `report` a page of findings and pictures. `fast` leaves out what
    only the decoded pixels show. The status is NAMED where a file declares what `fail_on` names, hints left out.
    Raises NoPictures where folders hold none, UsageError where `trust_list` holds no list or where `enhance` and `fast`
    contradict each other, OutputError where folder or page cannot be written.
    """
    if enhance is not None and fast:
        raise UsageError("--enhance needs the decoded pixels, which --fast leaves out; give one of them.")
    trust = read_trust_lists(trust_list) if trust_list is not None else None
    sources = find_pictures(paths)
    notices = Notices()
    failed = named = False
    with _Outputs(notices, enhance, report, len(sources)) as outputs:
        records = JsonRecords(sys.stdout, lines=style == "jsonl") if style != "text" else None
        with progress("Inspecting", len(sources), quiet=len(sources) < 2) as notices.bar:
            for path in sources:
                inspection = inspect_file(path, trust, fast=fast)
                failed = failed or inspection.error is not None
                named = named or not inspection.declared.isdisjoint(fail_on)
                outputs.add(inspection)
                with notices.bar.paused() if notices.bar.live and sys.stdout.isatty() else nullcontext():
                    if records is not None:
                        records.add(inspection.to_dict())
                    else:
                        _print(inspection)
                notices.bar()
        if records is not None:
            records.close()
        else:
            _print_line(CLOSED)
    for line in outputs.places:
        notices.say(line)
    if notices.refused:
        return WRONG_USAGE
    return NAMED if named else int(failed)


class _Outputs:
    """The folder of pictures to look at and the page of one run; one that cannot be written is left out, with a notice.

    Raises OutputError where one cannot be opened. A run that is stopped leaves a page that says so.
    """

    def __init__(self, notices: Notices, enhance: str | None, report: str | None, total: int) -> None:
        self.notices, self.places = notices, list[str]()
        self.folder = EnhancedFolder(enhance) if enhance is not None else None
        self.page: EvidencePage | None = None
        if report is not None:
            from pixelsleuth.reporting.evidence_page import EvidencePage

            self.page = EvidencePage(report, total=total)

    def __enter__(self) -> _Outputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        page, folder = self.page, self.folder
        if page is not None:
            with undisturbed(last=True):
                self._try(lambda: page.close(interrupted=kind is not None), "page")
        if self.page is not None:
            self.places.append(f"Page: {printable(self.page.path)}")
        if folder is not None and self.folder is not None:
            pictures = count(folder.pictures, "file")
            self.places.append(
                f"Pictures to look at of {pictures}: {printable(folder.folder)}. They are no findings."
            )

    def add(self, inspection: Inspection) -> None:
        """Write what one file adds to both."""
        picture, page, folder = inspection.picture, self.page, self.folder
        looks = enhanced(picture.pixels) if picture is not None and (folder or page) else []
        if folder is not None and picture is not None:
            self._try(lambda: folder.save(picture.source, picture.sha256, looks), "folder")
        if page is not None:
            self._try(lambda: page.add(_as_record(inspection), kind=inspection.format, looks=looks), "page")

    def _try(self, write: Callable[[], None], name: str) -> None:
        try:
            write()
        except OutputError as error:
            if self.page is not None and name == "page":
                self.page.discard()
            setattr(self, name, None)
            self.notices.refuse(error)


def _as_record(inspection: Inspection) -> Verdict:
    """The inspection as a record without a verdict, which pages show."""
    record = Verdict(
        inspection.source,
        inspection.sha256,
        inspection.width,
        inspection.height,
        error=inspection.error.to_dict() if inspection.error is not None else None,
        picture=inspection.picture,
    )
    if inspection.format is not None:
        attach(record, inspection.findings)
    return record


def _print_line(text: str) -> None:
    from rich.text import Text

    from pixelsleuth.reporting.terminal import console_for

    console_for(sys.stdout).print(Text(text, "dim"))


def _print(inspection: Inspection) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from pixelsleuth.reporting.ingredients import ingredient_tree
    from pixelsleuth.reporting.terminal import console_for

    console = console_for(sys.stdout)
    title = Text(printable(inspection.source), "bold")
    if inspection.width and inspection.height:
        title.append(f"  {inspection.width} x {inspection.height} {inspection.format}", "not bold dim")
    console.print(title, soft_wrap=True)
    lines: list[Text | Padding] = []
    for finding in inspection.findings:
        style = "dim" if finding.strength == "hints" else ""
        lines.append(Text(f"{MARKS[finding.strength]} {printable(finding.statement)}", style))
        prompt = finding.detail.get("prompt")
        lines += [Text(f"  Prompt: {printable(prompt)}", "dim")] if prompt else []
        tree = ingredient_tree(finding.detail)
        lines += [Padding(tree, (0, 0, 0, 2), expand=False)] if tree is not None else []
    if inspection.error is not None:
        lines += [Text(f"x {printable(inspection.error)}", "dim")]
    elif not lines:
        lines = [Text("Nothing is declared. That means nothing: metadata are easily lost.", "dim")]
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 2), expand=False))
    console.print()
