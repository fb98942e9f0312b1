"""Print the records of a folder as a table in Markdown, for the summary of a job: `python summary.py FOLDER`.

File names come from strangers: they stand in code spans, with everything that could end one or begin markup replaced.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pixelsleuth.core.verdict import Verdict
from pixelsleuth.reporting import findings, words

MOST = 500
"""Rows of the table; a summary may have one megabyte. The artefact has all records."""
LONGEST = 300
INCONCLUSIVE = (
    "Inconclusive is no verdict: the evidence was too thin. No verdict is proof: the report has error rates."
)


def summary(folder: Path) -> Iterator[str]:
    """The lines of the summary of `records.jsonl`; without that file no picture was changed."""
    path = folder / "records.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    yield "### PixelSleuth"
    yield ""
    if not lines:
        yield "No picture was added or changed."
        return
    yield "| picture | verdict | what the file says |"
    yield "|---|---|---|"
    for line in lines[:MOST]:
        yield _row(json.loads(line))
    yield ""
    if len(lines) > MOST:
        yield f"and {words.count(len(lines) - MOST, 'picture')} more, in the artefact."
        yield ""
    yield INCONCLUSIVE


def _row(record: Mapping[str, Any]) -> str:
    verdict = _verdict(record)
    name = verdict.source.removeprefix("./")
    judged = record["schema"].startswith("pixelsleuth.verdict")
    state = words.NAMES[words.state_of(verdict)] if judged else "not asked for"
    if verdict.error is not None:
        state = f"{words.NAMES['failed']}: {cell(verdict.error['message'])}"
    says = "; ".join(findings.lines(verdict)) or "nothing"
    return f"| {code(name)} | {state} | {cell(says)} |"


def _verdict(record: Mapping[str, Any]) -> Verdict:
    if record["schema"].startswith("pixelsleuth.verdict"):
        return Verdict.from_dict({**record, "mask": None})
    return Verdict(record["source"], evidence=list(record["evidence"]), error=record["error"])


def code(text: str) -> str:
    """`text` as a code span in a cell of a table."""
    return f"`{_shown(text).replace('`', chr(39)).replace('|', '¦')}`"


def cell(text: str) -> str:
    """`text` as plain words in a cell: no markup, no link, no mention."""
    return "".join(
        f"&#{ord(letter)};" if letter in "\\`*_{}[]()<>#!|@&~:" else letter for letter in _shown(text)
    )


def _shown(text: str) -> str:
    return words.printable(text)[:LONGEST]


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    print("\n".join(summary(Path(sys.argv[1]))))
