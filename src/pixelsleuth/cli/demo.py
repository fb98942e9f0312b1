"""`pixelsleuth demo`: the main job on real photographs, with nothing downloaded and the truth beside the
verdict.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from pixelsleuth.core.detector import Detector
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.forge.demo import DemoPicture
    from pixelsleuth.reporting.cards import Truth
    from pixelsleuth.reporting.html import HtmlReport


@click.command(short_help="Forge some photographs, check them all, write a report.")
@click.option(
    "--out",
    default="pixelsleuth-demo",
    show_default=True,
    metavar="DIR",
    help="Where pictures and report go.",
)
@click.option(
    "--model",
    default="compact",
    show_default=True,
    metavar="NAME",
    help="Detector, see 'pixelsleuth models'.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def demo(out: str, model: str, device: str) -> None:
    """Take photographs that come with scikit-image, forge some of them, and check originals and forgeries.

    Prints truth beside verdict, right or wrong, and writes DIR/report.html. Downloads nothing.
    """
    from pixelsleuth.forge.demo import demo_pictures
    from pixelsleuth.models.registry import load
    from pixelsleuth.reporting.html import HtmlReport
    from pixelsleuth.reporting.terminal import console_for

    console = console_for(sys.stdout)
    detector = load(model, device=device)
    folder = Path(out)
    _make(folder)
    console.print("Forging photographs that come with scikit-image", style="bold")
    pictures = []
    for picture in demo_pictures():
        _save(picture, folder)
        pictures.append(picture)
        if picture.mask is not None:
            console.print(f"  {picture.name:<26} {picture.note}")
    report = HtmlReport(
        folder / "report.html", total=len(pictures), title="Demonstration: truth beside verdict", truth=True
    )
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
    console.print(f"Report: {folder / 'report.html'}", soft_wrap=True, markup=False)


def _make(folder: Path) -> None:
    from pixelsleuth.errors import OutputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(
            f"The folder {folder} cannot be made ({reason}); choose another with --out."
        ) from error


def _save(picture: DemoPicture, folder: Path) -> None:
    import io

    from pixelsleuth.core.io import write_bytes

    encoded = io.BytesIO()
    picture.save(encoded)
    write_bytes(folder / picture.name, encoded.getvalue(), kind="picture")


def _check(
    detector: Detector, pictures: list[DemoPicture], folder: Path, report: HtmlReport, console: Console
) -> list[tuple[Verdict, Truth]]:
    """Judge the saved files, print a line each, fill the report; return verdicts with their truth."""
    from pixelsleuth.reporting.cards import Truth

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
        "Place: overlap of the place found with the altered one (intersection over union).", style="dim"
    )
    return results


def _line(picture: DemoPicture, verdict: Verdict, truth: Truth) -> str:
    from pixelsleuth.reporting import cards, words

    found = cards.overlap(verdict, truth)
    marks = {
        "right": "[green]right[/]",
        "wrong": "[red]wrong[/]",
        "undecided": "[yellow]undecided[/]",
        cards.WRONG_PLACE: f"[red]{cards.WRONG_PLACE}[/]",
    }
    result = cards.outcome(verdict, truth)
    sure = "" if words.leans_nowhere(verdict) else words.percent(verdict.confidence)
    where = words.percent(found) if found is not None else ""
    sure = "" if verdict.inconclusive else words.percent(verdict.confidence)
    return (
        f"{picture.name:<26} {words.NAMES[str(truth.label)].lower():<10} "
        f"{words.headline(verdict).lower():<34} {sure:>5}  {where:>6}  "
        f"{marks.get(result, result)}"
    )


def _count(results: list[tuple[Verdict, Truth]]) -> str:
    """The honest count, one sentence: right, wrong and undecided for originals and for forgeries."""
    from pixelsleuth.core.verdict import Label
    from pixelsleuth.reporting import cards

    parts = []
    for what, labels in (("originals", {Label.REAL}), ("forgeries", {Label.TAMPERED, Label.FULL_SYNTHETIC})):
        counts = Counter(cards.outcome(verdict, truth) for verdict, truth in results if truth.label in labels)
        others = ("wrong", cards.WRONG_PLACE, "undecided", "not judged")
        rest = [f"{counts[one]} {one}" for one in others if counts[one]]
        parts.append(
            f"{counts['right']} of {counts.total()} {what} right" + (f" ({', '.join(rest)})" if rest else "")
        )
    return "; ".join(parts) + "."
