"""What all HTML pages share: the template environment, one style sheet, scripts, data, and hashes for the CSP."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

REPORTING = "pixelsleuth.reporting"
"""The package whose templates and style sheet every page can use."""
OUR_PAGE = re.compile(rb'\s*<!doctype html.*<meta name="generator" content="PixelSleuth', re.I | re.S)
"""How every HTML page of this project begins."""


@functools.cache
def environment(package: str = REPORTING) -> Environment:
    """Jinja templates of `package`/templates, then those of the report; all is escaped, an unknown name is an error."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, REPORTING))]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def style(*more: tuple[str, str]) -> dict[str, str]:
    """`style`, the style sheet as markup, and `style_hash`, the only style that the page's policy allows.

    `more`: (package, file in its templates) of further rules.
    """
    from markupsafe import Markup

    sheets = ((REPORTING, "report.css"), *more)
    text = "".join(files(package).joinpath("templates", name).read_text("utf-8") for package, name in sheets)
    without_comments = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    sheet = re.sub(r"\s*\n\s*", "\n", without_comments).strip()
    return {"style": Markup(sheet), "style_hash": _hash(sheet)}


@functools.cache
def script(package: str, name: str) -> dict[str, str]:
    """`script`, the file `name` in the templates of `package` as markup, and `script_hash` for the page's policy."""
    from markupsafe import Markup

    text = files(package).joinpath("templates", name).read_text("utf-8")
    return {"script": Markup(text), "script_hash": _hash(text)}


def embedded(values: Any) -> Markup:
    """JSON of `values` for a `<script type="application/json">`: no text in it can end the element."""
    from markupsafe import Markup

    text = json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
