"""What `demo` does: forge photographs, check originals and forgeries, print the truth beside each verdict."""

from __future__ import annotations

import io
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.core.io import write_bytes
from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import OutputError
from pixelsleuth.reporting import cards, words
from pixelsleuth.reporting.cards import Truth

if TYPE_CHECKING:
    from rich.console import Console

    from pixelsleuth.core.detector import Detector
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.forge.demo_pictures import DemoPicture
    from pixelsleuth.reporting.html import HtmlReport


def run_demo(detector: Detector, folder: Path) -> None:
    """Write pictures and report.html to `folder`. Raises MissingExtra without scikit-image, and OutputError."""
    from pixelsleuth.evidence.inspection import FileExaminer
    from pixelsleuth.forge.demo_pictures import demo_pictures
    from pixelsleuth.reporting.html import HtmlReport
    from pixelsleuth.reporting.terminal import console_for

    detector.examiner = FileExaminer()
    console = console_for(sys.stdout)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(
            f"The folder {folder} cannot be made ({reason}); choose another with --out."
        ) from error
    pictures: list[DemoPicture] = []
    for picture in demo_pictures():
        if not pictures:
            console.print("Forging photographs that come with scikit-image", style="bold")
        encoded = io.BytesIO()
        picture.save(encoded)
        write_bytes(folder / picture.name, encoded.getvalue(), kind="picture")
        pictures.append(picture)
        if picture.mask is not None:
            console.print(f"  {picture.name:<26} {picture.note}")
    path = folder / "report.html"
    report = HtmlReport(path, total=len(pictures), title="Demonstration: truth beside verdict", truth=True)
    console.print()
    try:
        results = _check(detector, pictures, folder, report, console)
        report.note = summary = _count(results)
        report.close()
    except BaseException:
        report.discard()
        raise
    console.print()
    console.print(summary, style="bold")
    console.print(f"Report: {path}", soft_wrap=True, markup=False)


def _check(
    detector: Detector, pictures: list[DemoPicture], folder: Path, report: HtmlReport, console: Console
) -> list[tuple[Verdict, Truth]]:
    """Judge the saved files, print a line each, fill the report; return verdicts with their truth."""
    head = f"{'Picture':<26} {'In truth':<10} {'Verdict':<34} {'Sure':>5}  {'Place':>6}"
    console.print(head, style="bold", soft_wrap=True)
    results = []
    verdicts = detector.check_many(str(folder / picture.name) for picture in pictures)
    for picture, verdict in zip(pictures, verdicts, strict=True):
        truth = Truth(picture.label, picture.note, picture.mask)
        report.add(verdict, truth=truth)
        verdict.forget_picture()
        console.print(_line(picture, verdict, truth), soft_wrap=True)
        results.append((verdict, truth))
    console.print(
        "Place: overlap of the marked place with the altered one (intersection over union).", style="dim"
    )
    return results


def _line(picture: DemoPicture, verdict: Verdict, truth: Truth) -> str:
    share = cards.overlap(verdict, truth)
    marks = {
        "right": "[green]right[/]",
        "wrong": "[red]wrong[/]",
        "undecided": "[yellow]undecided[/]",
        cards.WRONG_PLACE: f"[red]{cards.WRONG_PLACE}[/]",
    }
    result = cards.outcome(verdict, truth)
    where = words.percent(share) if share is not None else ""
    sure = "" if verdict.inconclusive else words.percent(verdict.confidence)
    return (
        f"{picture.name:<26} {words.NAMES[str(truth.label)].lower():<10} "
        f"{words.headline(verdict).lower():<34} {sure:>5}  {where:>6}  "
        f"{marks.get(result, result)}"
    )


def _count(results: list[tuple[Verdict, Truth]]) -> str:
    """One sentence: how many verdicts were right, wrong and undecided, for originals and for forgeries."""
    parts = []
    for kind, labels in (("originals", {Label.REAL}), ("forgeries", {Label.TAMPERED, Label.FULL_SYNTHETIC})):
        counts = Counter(cards.outcome(verdict, truth) for verdict, truth in results if truth.label in labels)
        others = ("wrong", cards.WRONG_PLACE, "undecided", "not judged")
        counted = ", ".join(f"{counts[result]} {result}" for result in others if counts[result])
        parts.append(
            f"{counts['right']} of {counts.total()} {kind} right" + (f" ({counted})" if counted else "")
        )
    return "; ".join(parts) + "."
