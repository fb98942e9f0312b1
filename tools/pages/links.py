"""Links that lead out of docs/: on a forge they show the file, on the site a page that holds it.

A page of the site is self-contained, so a linked source becomes a page under `source/`: Markdown as it is, everything
else as a code block. In the repository the same link works as it stands.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
LANGUAGES = {
    ".json": "json",
    ".py": "python",
    ".sh": "bash",
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
}
LARGEST = 200_000
"""Bytes of a source that becomes a page."""
FOLDER = "source"


def page_of(source: str) -> str:
    """The page of the site for a file of the repository.

    >>> page_of("recipes/compact/sources.yaml"), page_of("CONTRIBUTING.md")
    ('source/recipes/compact/sources.yaml.md', 'source/CONTRIBUTING.md')
    """
    return f"{FOLDER}/{source}" if source.endswith(".md") else f"{FOLDER}/{source}.md"


def source_of(page: str) -> str:
    """The file of the repository that a page of the site stands for, relative to its root."""
    return page.removeprefix(f"{FOLDER}/") if page.startswith(f"{FOLDER}/") else f"docs/{page}"


def targets(text: str) -> Iterator[str]:
    """The relative places that a page links to, outside code blocks."""
    for match in LINK.finditer(FENCE.sub("", text)):
        if not re.match(r"[a-z]+:", match[2]):
            yield match[2]


def pages_of_sources(docs: Path) -> dict[str, str]:
    """Page -> Markdown, for every file outside `docs` that a page links to, directly or over another one."""
    root, pages = docs.parent, dict[str, str]()
    waiting = [
        (path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in docs.rglob("*.md")
    ]
    while waiting:
        place, text = waiting.pop()
        for target in targets(text):
            source = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
            path, page = root / source, page_of(source)
            outside = not source.startswith(("docs/", "../")) and source != "docs"
            if outside and page not in pages and path.exists():
                pages[page] = _page(path, source)
                if source.endswith(".md"):
                    waiting.append((source, pages[page]))
    return pages


def _page(path: Path, source: str) -> str:
    """The Markdown of a source's page."""
    if path.is_dir():
        names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
        listed = "\n".join(f"* `{name}`" for name in names if not name.startswith(("_", ".")))
        return f"# `{source}/`\n\nA folder of the repository:\n\n{listed}\n"
    if path.stat().st_size > LARGEST:
        return f"# `{source}`\n\nA file of the repository, too long for a page.\n"
    text = path.read_text(encoding="utf-8")
    if source.endswith(".md"):
        return text
    # Code is there to be read behind a link; in a search it would stand before the pages.
    unsearched = "---\nsearch:\n  exclude: true\n---\n\n"
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    language = LANGUAGES.get(path.suffix, "text")
    return f"{unsearched}# `{source}`\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def into_site(markdown: str, page: str, docs: Path) -> str:
    """The page's Markdown with links that lead out of docs/ turned to the pages of `pages_of_sources`."""
    here = posixpath.dirname(source_of(page))
    root = docs.parent

    def turn(match: re.Match[str]) -> str:
        target = match[2]
        if re.match(r"[a-z]+:", target):
            return match[0]
        source = posixpath.normpath(posixpath.join(here, target))
        if source.startswith("docs/"):
            aim = source.removeprefix("docs/")
        elif source.startswith("../") or not (root / source).exists():
            return match[0]  # the strict build names it
        else:
            aim = page_of(source)
        return f"{match[1]}{posixpath.relpath(aim, posixpath.dirname(page) or '.')}{match[3] or ''}{match[4]}"

    parts = re.split(r"(^ *```.*?^ *```)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.lstrip().startswith("```") else LINK.sub(turn, part) for part in parts)
