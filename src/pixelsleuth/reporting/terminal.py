"""Verdicts as text for a terminal or a plain file: what, how sure, where, why."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from pixelsleuth.reporting import findings, words
from pixelsleuth.reporting.words import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.text import Text

    from pixelsleuth.core.verdict import Verdict

# A sign and a colour each, so that neither colour nor shape is needed to tell them apart.
SIGNS = {"real": "✓", "full_synthetic": "◆", "tampered": "▲", "inconclusive": "?", "failed": "✗"}
PLAIN_SIGNS = {"real": "+", "full_synthetic": "*", "tampered": "!", "inconclusive": "?", "failed": "x"}
STYLES = {
    "real": "green",
    "full_synthetic": "magenta",
    "tampered": "red",
    "inconclusive": "yellow",
    "failed": "dim",
}

FULL_UP_TO = 12
"""With more pictures than this, each gets a line or two instead of a paragraph."""

BAR = 24
LEFT = 7


def console_for(stream: IO[str] | None = None, *, stderr: bool = False) -> Console:
    """A rich console: plain when not on a terminal, obeys NO_COLOR."""
    from rich.console import Console

    if stream is not None:
        return Console(file=stream, highlight=False, emoji=False, width=_width(stream), soft_wrap=False)
    return Console(stderr=stderr, highlight=False, emoji=False)


def _width(stream: IO[str]) -> int | None:
    return None if stream.isatty() else 100


class TerminalText:
    """Prints verdicts to a rich console; `total` decides between paragraphs and lines."""

    def __init__(self, console: Console, *, total: int) -> None:
        self.console, self.brief = console, total > FULL_UP_TO
        encoding = (console.encoding or "ascii").lower().replace("-", "")
        self.unicode = encoding.startswith("utf")

    def add(self, verdict: Verdict, mask_file: str | None = None) -> None:
        """Print one verdict; `mask_file` is where its mask was saved."""
        if self.brief:
            self._line(verdict)
        else:
            self._paragraph(verdict, mask_file)

    def _line(self, verdict: Verdict) -> None:
        from rich.text import Text

        state = words.state_of(verdict)
        sure = state != "failed" and not words.leans_nowhere(verdict)
        line = Text(no_wrap=True, overflow="fold")
        line.append(f"{self._sign(state)} {words.NAMES[state]:<16} ", STYLES[state])
        line.append(f"{words.percent(verdict.confidence) if sure else '':>4}  ")
        line.append(printable(verdict.source))
        self.console.print(line, soft_wrap=True)
        if state == "failed":
            self._wrapped("", [Text(words.meaning(verdict), "dim")])
        elif state == "inconclusive":
            lean = f"leans {words.NAMES[str(verdict.label)].lower()}"
            reason = verdict.decision["sentence"].removeprefix("Inconclusive: ") if verdict.decision else lean
            self._wrapped("", [Text(printable(reason), "dim")])
        elif verdict.regions:
            self._wrapped("", [Text(self._where(verdict), "dim")])
        self._contradiction(verdict)
        self._wrapped("", [Text(f"File: {line}", "dim") for line in findings.lines(verdict)])

    def _contradiction(self, verdict: Verdict) -> None:
        from rich.text import Text

        if sentence := findings.contradiction(verdict):
            self._wrapped("", [Text(sentence, "bold yellow")])

    def _paragraph(self, verdict: Verdict, mask_file: str | None) -> None:
        from rich.text import Text

        state = words.state_of(verdict)
        title = Text(printable(verdict.source), "bold")
        if verdict.width and verdict.height:
            kind = verdict.metadata.get("format") or (verdict.picture.format if verdict.picture else None)
            facts = " ".join(filter(None, (f"{verdict.width} x {verdict.height}", kind)))
            title.append(f"  {printable(facts)}", "not bold dim")
        self.console.print(title, soft_wrap=True)
        self._contradiction(verdict)
        verdict_line = Text("  ")
        verdict_line.append(f"{self._sign(state)} {words.headline(verdict)}", f"bold {STYLES[state]}")
        if state not in ("failed", "inconclusive"):
            verdict_line.append(f"  {words.percent(verdict.confidence)}", "bold")
        self.console.print(verdict_line, soft_wrap=True)
        self._wrapped("", [Text(words.meaning(verdict), "" if state == "failed" else "dim")])
        if state == "failed":
            self._file(verdict)
        else:
            self._details(verdict, mask_file)
        if verdict.warnings:
            self._wrapped("Note", [Text(printable(warning), "yellow") for warning in verdict.warnings])
        self.console.print()

    def _details(self, verdict: Verdict, mask_file: str | None) -> None:
        from rich.text import Text

        for label, probability in (verdict.probabilities or {}).items():
            style = "dim" if words.leans_nowhere(verdict) else STYLES[str(label)]
            self.console.print(self._bar(str(label), probability, style), soft_wrap=True)
        if words.leans_nowhere(verdict):
            self._wrapped("", [Text(words.RAW_SCORES, "dim")])
        self._file(verdict)
        if verdict.panel:
            self._wrapped("Panel", [Text(line, "dim") for line in words.panel_lines(verdict)])
        if verdict.regions:
            lines = [Text(self._where(verdict))]
            if len(verdict.regions) > 1 or verdict.width:
                lines += [Text(line, "dim") for line in self._boxes(verdict)]
            self._wrapped("Where", lines)
        elif str(verdict.label) == "tampered" and not verdict.inconclusive:
            self._wrapped("Where", [Text("No region could be outlined.")])
        reasons = [Text(printable(verdict.explanation))] if verdict.explanation else []
        reasons += [
            Text(f"{'·' if self.unicode else '-'} {printable(statement)}")
            for statement in words.statements(verdict)
        ]
        if reasons:
            self._wrapped("Why", reasons)
        self._wrapped("Trust", [Text(printable(line), "dim") for line in words.trust(verdict)])
        if mask_file:
            self._wrapped("Mask", [Text(printable(mask_file), "dim")])

    def _file(self, verdict: Verdict) -> None:
        from rich.text import Text

        lines = [Text(line) for line in findings.lines(verdict)]
        if caveat := findings.caveat(verdict):
            lines.append(Text(caveat, "dim"))
        self._wrapped("File", lines)

    def _where(self, verdict: Verdict) -> str:
        width, height = verdict.width or 1, verdict.height or 1
        places = dict.fromkeys(words.place(region.box, width, height) for region in words.ranked(verdict))
        named = ", ".join(list(places)[:4]) + (" and elsewhere" if len(places) > 4 else "")
        share = words.altered_share(verdict)
        covered = f" ({words.percent(share)} of the picture)" if share is not None else ""
        return f"{words.count(len(verdict.regions), 'region')}: {named}{covered}"

    def _boxes(self, verdict: Verdict) -> Iterable[str]:
        for region in words.ranked(verdict)[:5]:
            x0, y0, x1, y1 = region.box
            yield f"x {x0} to {x1}, y {y0} to {y1}, score {words.percent(region.score)}"
        if len(verdict.regions) > 5:
            yield f"and {words.count(len(verdict.regions) - 5, 'smaller region')}"

    def _bar(self, label: str, probability: float, style: str) -> Text:
        from rich.text import Text

        width = max(6, min(BAR, self.console.width - 28))
        filled = round(width * probability)
        full, empty = ("█", "░") if self.unicode else ("#", ".")
        bar = Text(f"    {words.NAMES[label].lower():<17}")
        bar.append(full * filled, style)
        bar.append(empty * (width - filled), "dim")
        bar.append(f" {words.percent(probability):>4}")
        return bar

    def _wrapped(self, heading: str, lines: list[Text]) -> None:
        """Print `lines` beside a short heading, wrapped under each other."""
        from rich.text import Text

        indent = 4 + (LEFT if heading else 0)
        for index, line in enumerate(lines):
            for part, piece in enumerate(line.wrap(self.console, max(20, self.console.width - indent))):
                piece.rstrip()
                first = Text(" " * 4) + Text(
                    f"{heading:<{indent - 4}}" if index == part == 0 else " " * (indent - 4), "bold"
                )
                self.console.print(first + piece, soft_wrap=True)

    def _sign(self, state: str) -> str:
        return (SIGNS if self.unicode else PLAIN_SIGNS)[state]
