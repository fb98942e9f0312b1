"""The site builds without a warning, asks nothing of other hosts, and is read and searched in a browser."""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import pytest

pytest.importorskip("material")

ROOT = Path(__file__).resolve().parents[2]
LOADING = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?\b(?:src|srcset|data)\s*=\s*[\"']?\s*(?:https?:)?//"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preconnect|preload|icon|modulepreload|dns-prefetch))[^>]*\bhref=[\"']?(?:https?:)?//",
    re.IGNORECASE,
)
"""What a browser fetches without being asked, from another host."""
STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", re.IGNORECASE)

needs_browser = pytest.mark.skipif(chromium.PROGRAM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            del arguments

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    browser = chromium.Browser(tmp_path_factory.mktemp("browser"))
    browser.call("Network.enable")
    yield browser
    browser.close()


def asked(browser: Any) -> set[str]:
    """Addresses that the browser asked since the page was opened."""
    browser.run("0")
    sent = (event["params"] for event in browser.events if event["method"] == "Network.requestWillBeSent")
    return {params["request"]["url"] for params in sent}


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = [(path, LOADING) for path in site.rglob("*.html")]
    pages += [(path, STYLES) for path in site.rglob("*.css")]
    assert len(pages) > 60
    wrong = {
        str(path.relative_to(site)): match[0][:120]
        for path, pattern in pages
        if (match := pattern.search(path.read_text(encoding="utf-8")))
    }
    assert not wrong


def test_every_page_of_docs_is_on_the_site(site: Path) -> None:
    docs = ROOT / "docs"
    pages = [path.relative_to(docs).with_suffix(".html") for path in docs.rglob("*.md")]
    assert not [page for page in pages if not (site / page).is_file()]


def test_generated_parts_and_docstrings_are_on_the_site(site: Path) -> None:
    text = (site / "reference" / "commands" / "check.html").read_text(encoding="utf-8")
    assert "<code>--accuse-at-most SHARE</code>" in text
    assert "generated:" not in text
    assert 'id="pixelsleuth.core.detector.Detector.check"' in (site / "reference" / "api.html").read_text(
        "utf-8"
    )


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", ["index.html", "reference/commands/serve.html"])
def test_a_page_fits_its_width_and_asks_only_its_own_host(
    browser: Any, address: str, page: str, width: int
) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
    )
    browser.open(f"{address}/{page}")
    browser.until("!!document.querySelector('h1')")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert not browser.run("[...document.images].filter((i) => i.complete && !i.naturalWidth).length")
    assert not {url for url in asked(browser) if not url.startswith((address, "data:", "blob:"))}
    assert not browser.log


@needs_browser
@pytest.mark.parametrize("place", ["server", "disk"])
def test_search_finds_an_option_without_a_network(browser: Any, address: str, site: Path, place: str) -> None:
    start = address if place == "server" else site.as_uri()
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False
    )
    browser.open(f"{start}/index.html")
    browser.until("!!document.querySelector('.md-search__input')")
    browser.run("document.querySelector('[data-md-toggle=search]').click()")
    browser.run("document.querySelector('.md-search__input').focus()")
    browser.call("Input.insertText", text="webhook host")
    wanted = f"{start}/reference/commands/serve.html"
    browser.until(
        f"[...document.querySelectorAll('.md-search-result__link')].some((a) => a.href.startsWith({wanted!r}))"
    )
    assert not {url for url in asked(browser) if not url.startswith((start, "data:", "blob:"))}
    assert not browser.log
