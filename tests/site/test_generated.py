"""What pages say of commands, settings, fields, codes and names is made of the code, and all of it."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

pytest.importorskip("griffe")
pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "pixelsleuth"
sys.path.insert(0, str(ROOT))

from tools.pages import commands, generated, links, navigation, records, settings  # noqa: E402

MARKS = {
    (match[1], match[2] or ""): path.relative_to(DOCS).as_posix()
    for path in sorted(DOCS.rglob("*.md"))
    for match in generated.MARK.finditer(path.read_text(encoding="utf-8"))
}
"""(generator, argument) -> the page that asks for it."""


def arguments(name: str) -> list[str]:
    return [argument for generator, argument in MARKS if generator == name]


def rows(markdown: str) -> list[list[str]]:
    """The cells of every row of the tables, heads left out."""
    plain = re.sub(r"`[^`\n]*`", lambda code: code[0].replace("|", "/"), markdown)
    lines = [line for line in plain.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize("name, argument", MARKS, ids=lambda value: value or "all")
def test_every_generated_part_holds_a_table(name: str, argument: str) -> None:
    made = generated.generators()[name](argument)
    if (name, argument) == ("command", "models") or name != "command":
        assert len(rows(made)) > 1
    assert not [row for row in rows(made) if len(row) != len(rows(made)[0])] or name in (
        "settings",
        "command",
    )
    assert "None" not in {cell for row in rows(made) for cell in row}


def test_every_generator_is_used_by_a_page() -> None:
    assert {name for name, _ in MARKS} == set(generated.generators())


def test_every_command_has_its_page() -> None:
    assert sorted(arguments("command")) == sorted(commands.names())
    assert {MARKS["command", name] for name in commands.names()} == {
        f"reference/commands/{name}.md" for name in commands.names()
    }


def _options(command: click.Command) -> Iterator[tuple[click.Command, click.Option]]:
    yield from ((command, one) for one in command.params if isinstance(one, click.Option))
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _options(inner)


@pytest.mark.parametrize("name", commands.names())
def test_the_page_of_a_command_lists_every_option_with_its_help(name: str) -> None:
    from pixelsleuth.cli.main import main

    command = main.get_command(click.Context(main), name)
    assert command is not None
    listed = {row[0]: row[2] for row in rows(commands.command(name))}
    for _, option in _options(command):
        if not option.hidden and "--help" not in option.opts:
            cell = next(cell for cell in listed if f"`{option.opts[0]}" in cell)
            assert listed[cell], f"{name} {cell} has no help"


def test_no_page_lists_options_or_codes_by_hand() -> None:
    pages = [*DOCS.rglob("*.md"), ROOT / "README.md"]
    assert not [
        f"{page.relative_to(ROOT)}: {line[:60]}"
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| `-", line)
    ]


def test_every_recipe_is_on_the_page_of_settings() -> None:
    assert sorted(arguments("settings")) == sorted(settings.RECIPES)
    kinds = {name for name in settings.RECIPES if name not in ("run", "vlm", "forge", "table")}
    from pixelsleuth.training.recipe import KINDS

    assert kinds == set(KINDS)


def _groups(kind: Any) -> Iterator[Any]:
    yield kind
    for _, hint in settings.own_keys(kind):
        inner = settings.group_of(hint)
        if inner is not None:
            yield from _groups(inner)


def test_a_recipes_table_holds_every_key_of_its_dataclass() -> None:
    for recipe in settings.RECIPES:
        kind = settings.dataclass_of(recipe)
        own = {entry.name for entry, _ in settings.own_keys(kind)}
        bases = [settings.dataclass_of(name) for name in ("run", "vlm")]
        inherited = {f.name for base in bases if base in kind.__mro__[1:] for f in dataclasses.fields(base)}
        assert own | inherited >= {entry.name for entry in dataclasses.fields(kind) if entry.init}
        made = settings.settings(recipe)
        assert all(f"`{name}`" in made or f"`{name}[]`" in made for name in own)


def test_every_error_code_is_on_the_page_of_bad_input() -> None:
    from pixelsleuth import errors

    for module in sorted(PACKAGE.rglob("*.py")):  # classes that are defined elsewhere
        if "Error)" in module.read_text(encoding="utf-8") and "torch" not in module.read_text(
            encoding="utf-8"
        ):
            name = ".".join(("pixelsleuth", *module.relative_to(PACKAGE).with_suffix("").parts))
            if not name.endswith(("__init__", "__main__")):
                import_module(name)
    listed = {row[0].strip("`") for argument in arguments("errors") for row in rows(records.errors(argument))}
    codes = {
        kind.code for kind in records.family(errors.PixelSleuthError) if kind not in records.abstract()
    } - {kind.code for kind in records.abstract()}
    assert codes <= listed


def test_every_field_of_the_verdict_is_described() -> None:
    silent = {row[0] for row in rows(records.verdict_fields("")) if not row[2]}
    obvious = re.compile(r"[.](real|full_synthetic|tampered|name|version)`$")
    assert not {field for field in silent if not obvious.search(field)}


def test_every_kind_of_finding_is_listed() -> None:
    from pixelsleuth.evidence.finding import KINDS

    made = {
        node.args[0].value
        for path in sorted((PACKAGE / "evidence").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Finding"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert made <= set(KINDS)
    assert len(made) >= 8


def test_every_page_is_linked_from_the_index_of_its_part() -> None:
    lost = []
    for index in sorted(DOCS.rglob("index.md")):
        place = index.relative_to(DOCS).as_posix()
        linked = navigation.linked_from(DOCS, place)
        for page in sorted(index.parent.glob("*.md")):
            name = page.relative_to(DOCS).as_posix()
            if name != place and name not in linked:
                lost.append(f"{place} does not link {name}")
    assert not lost


def test_the_navigation_follows_the_links_of_an_index(tmp_path: Path) -> None:
    part = tmp_path / "docs" / "start"
    part.mkdir(parents=True)
    (part / "index.md").write_text("# Start\n\n[b](b.md) [a](a.md#x)\n")
    for name in "abc":
        (part / f"{name}.md").write_text(f"# {name}\n")
    (part / "deep").mkdir()
    (part / "deep" / "index.md").write_text("# `Deep` pages\n")
    assert navigation.of_folder(tmp_path / "docs", "start") == [
        *("start/index.md", "start/b.md", "start/a.md", "start/c.md"),
        {"Deep pages": ["start/deep/index.md"]},
    ]


def test_links_out_of_docs_lead_to_pages_of_these_sources(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "how-to").mkdir(parents=True)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "a.yaml").write_text("kind: sida  # ``` here\n")
    (tmp_path / "CARD.md").write_text("# Card\n\n[back](docs/how-to/page.md) [code](recipes/a.yaml)\n")
    text = "[recipe](../../recipes/a.yaml) [card](../../CARD.md#card) [x](https://example.org)\n```\n[a](../../b)\n```\n"
    (docs / "how-to" / "page.md").write_text(text)
    pages = links.pages_of_sources(docs)
    assert set(pages) == {"source/recipes/a.yaml.md", "source/CARD.md"}
    assert pages["source/recipes/a.yaml.md"].count("````") == 2
    turned = links.into_site(text, "how-to/page.md", docs)
    assert turned == (
        "[recipe](../source/recipes/a.yaml.md) [card](../source/CARD.md#card) [x](https://example.org)\n"
        "```\n[a](../../b)\n```\n"
    )
    assert links.into_site(pages["source/CARD.md"], "source/CARD.md", docs) == (
        "# Card\n\n[back](../how-to/page.md) [code](recipes/a.yaml.md)\n"
    )
