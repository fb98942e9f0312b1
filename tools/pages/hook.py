"""MkDocs hook (mkdocs.yml): fills generated parts, orders the navigation, and takes linked sources into the site."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # MkDocs takes it away again when this file is loaded

from tools.pages import generated, links, navigation  # noqa: E402

logger = logging.getLogger("mkdocs.hooks.pages")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Import from this tree, and set the navigation: the parts, each with the pages that its index links."""
    if str(ROOT / "src") not in sys.path:  # the tree that is documented, whatever is installed
        sys.path.insert(0, str(ROOT / "src"))
    config.nav = navigation.of_docs(Path(config.docs_dir))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside docs/ that a page links to, and for what these link to."""
    for name, text in links.pages_of_sources(Path(config.docs_dir)).items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill what is generated, and lead links out of docs/ to the pages of these sources."""
    del files
    place = page.file.src_uri
    try:
        filled = generated.fill(markdown)
    except KeyError as error:
        logger.warning("%s asks for a generated part that there is not: %s", place, error)
        return markdown
    return links.into_site(generated.bars_in_code(filled), place, Path(config.docs_dir))


def on_page_context(context: dict[str, Any], *, page: Page, config: MkDocsConfig, nav: Any) -> dict[str, Any]:
    """Offer no edit link for pages that are made here."""
    del config, nav
    if page.file.generated_by is not None:
        page.edit_url = None
    return context
