"""The navigation: four parts; each shows the pages that its index.md links, in that order."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

from tools.pages import generated, links

PARTS = {"Start": "start", "How-to": "how-to", "Reference": "reference", "Background": "background"}
"""Title of a part -> its folder in docs/."""


def of_docs(docs: Path) -> list[Any]:
    """The `nav` of mkdocs.yml. Pages that no index links come last, so that a new page is never lost."""
    parts = [{title: of_folder(docs, folder)} for title, folder in PARTS.items()]
    return [{"Home": "index.md"}, *parts]


def of_folder(docs: Path, folder: str) -> list[Any]:
    """The pages of a folder: its index, the pages that this links, all others; a folder with an index is a group."""
    index = f"{folder}/index.md"
    own = [path.relative_to(docs).as_posix() for path in sorted((docs / folder).glob("*.md"))]
    groups = [path.parent.relative_to(docs).as_posix() for path in sorted((docs / folder).glob("*/index.md"))]
    linked = linked_from(docs, index)
    order = [page for page in linked if page in own or posixpath.dirname(page) in groups]
    entries: list[Any] = [index] if index in own else []
    for page in dict.fromkeys([*order, *own, *(f"{group}/index.md" for group in groups)]):
        if page == index:
            continue
        group = posixpath.dirname(page)
        if group == folder:
            entries.append(page)
        elif page.endswith("/index.md"):
            entries.append({_title(docs / page): of_folder(docs, group)})
    return entries


def linked_from(docs: Path, page: str) -> list[str]:
    """The pages of docs/ that a page links, in order, each once."""
    path = docs / page
    if not path.is_file():
        return []
    here = posixpath.dirname(page)
    found = (
        posixpath.normpath(posixpath.join(here, target))
        for target in links.targets(generated.fill(path.read_text(encoding="utf-8")))
    )
    return list(dict.fromkeys(target for target in found if target.endswith(".md")))


def _title(path: Path) -> str:
    """The first heading of a page."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return line[2:].strip().replace("`", "")
    return path.stem
