"""The fenced blocks of a page, the commands in them, and the comment that says how a block is run.

A comment in the line before a block, invisible on the page, changes what the runner does with it:

    <!-- not run: REASON -->     the block is read and never run
    <!-- thorough: REASON -->    it is run by `make parity` alone
    <!-- exit N: REASON -->      its last command ends with status N
    <!-- file: NAME -->          it is written to a file of that name
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?:^ *<!-- (?P<how>not run|thorough|exit \d+|file): (?P<what>[^\n]+?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
COMMENT = re.compile(r"^ *<!-- *(not run|thorough|exit|file)\b", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A line behind a prompt, with the output that the page shows under it."""

    line: str
    output: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """A fenced block: `how` and `what` are those of the comment before it, or empty."""

    language: str
    body: str
    line: int
    how: str = ""
    what: str = ""

    @property
    def status(self) -> int:
        """The exit status of the last command."""
        return int(self.how.removeprefix("exit ")) if self.how.startswith("exit") else 0

    @property
    def commands(self) -> list[Command]:
        """The commands of a console block: lines that begin with `$ `, continued by a backslash."""
        found: list[Command] = []
        lines = iter(self.body.splitlines())
        for line in lines:
            if line.startswith("$ "):
                whole = line[2:]
                while whole.endswith("\\"):
                    whole = whole[:-1] + next(lines).strip()
                found.append(Command(whole))
            elif found:
                found[-1] = Command(found[-1].line, (*found[-1].output, line))
        return found


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page, without the indentation of the list that it stands in."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            match["language"],
            re.sub(f"^{match['indent']}", "", match["body"], flags=re.MULTILINE),
            text.count("\n", 0, match.start("language")) + 1,
            match["how"] or "",
            match["what"] or "",
        )
        for match in BLOCK.finditer(text)
    ]
