"""The pages say what the code does: links lead somewhere, commands exist, every field and code is listed."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, without the indentation of the list that they stand in."""
    return [
        re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
        for indent, name, body in FENCE.findall(page.read_text(encoding="utf-8"))
        if name == language
    ]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name) if name else page
        if not other.exists() or (anchor and anchor not in anchors(other)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_are_python(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(code, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_that_is_shown_exists(page: Path) -> None:
    from pixelsleuth.cli.main import main

    context = click.Context(main)
    text = page.read_text(encoding="utf-8")
    for name, words in re.findall(r"\bpixelsleuth +([a-z]+)\b([^\n`|]*)", "\n".join(blocks(page, "console"))):
        command = main.get_command(context, name)
        assert command is not None, f"pixelsleuth {name}"
        commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
        known = {
            option
            for command in commands
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", words)) <= {*known, "--help"}, words
    for name in re.findall(r"`pixelsleuth ([a-z]+)[ `]", text):
        assert main.get_command(context, name) is not None, f"pixelsleuth {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_script_and_recipe_that_is_named_exists(page: Path) -> None:
    named = set(
        re.findall(
            r"\b(?:benchmarks|recipes)/[\w/-]+\.(?:py|yaml|sh|jinja)", page.read_text(encoding="utf-8")
        )
    )
    assert not {name for name in named if not (ROOT / name).exists()}


def test_every_page_that_the_code_sends_its_reader_to_exists() -> None:
    files = [path for folder in ("src", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
    sent = {
        (name, str(path.relative_to(ROOT)))
        for path in files
        for name in re.findall(r"\bdocs/[\w./-]+\.(?:md|json)", path.read_text(encoding="utf-8"))
    }
    assert not {(name, where) for name, where in sent if not (ROOT / name).exists()}


def test_the_figures_of_the_front_page_are_those_of_the_benchmarks() -> None:
    measured = (DOCS / "background" / "benchmarks.md").read_text(encoding="utf-8")
    first, _, left_out = measured.partition("### sources left out")

    def figure(part: str, source: str, column: int) -> str:
        row = next(line for line in part.splitlines() if line.startswith(f"| {source} |"))
        return f"{float(row.split('|')[column]):.2f}"

    synthetic, tampered = 4, 5  # columns of AUROC
    expected = [
        ("generated faces", [figure(part, "faces", synthetic) for part in (first, left_out)]),
        (
            "generated pictures, all generators",
            [figure(part, "overall", synthetic) for part in (first, left_out)],
        ),
        ("splices (Lalonde-Efros)", [figure(part, "lalonde-efros", tampered) for part in (first, left_out)]),
        ("splices and copy-moves (CASIA 1)", [figure(first, "casia1", tampered)]),
    ]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("| ") and len(cells) == 6:
            shown[cells[1]] = [cell for cell in cells[2:4] if cell]
    assert {name: shown[name] for name, _ in expected} == dict(expected)
    accused = re.search(r'"accused": \{"wrong": (\d+), "of": (\d+)', measured)
    assert accused is not None
    assert f"{accused[1]} of {int(accused[2]):,} accused" in shown["photographs"][1]
