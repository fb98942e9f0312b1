"""The pictures and the report of a kept verdict, as bytes."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.errors import NotKept

if TYPE_CHECKING:
    from PIL import Image

    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.evidence.enhancers import Enhancer

QUALITY = 88
"""JPEG quality of the upright copy."""


def report(verdict: Verdict) -> bytes:
    """The self-contained HTML report of one verdict, as `check --report` writes it."""
    from pixelsleuth.reporting.html import HtmlReport

    looks = _looks(verdict)
    with tempfile.TemporaryDirectory(prefix="pixelsleuth-") as folder:
        page = HtmlReport(Path(folder) / "report.html", total=1)
        page.add(verdict, looks=looks)
        page.close()
        return page.path.read_bytes()


def card(verdict: Verdict, number: int) -> str:
    """The card of the report alone, as a piece of a page; `number` is in its ids."""
    from pixelsleuth.reporting.html import card_html

    return card_html(verdict, number=number, looks=_looks(verdict))


def overlay(verdict: Verdict, side: int) -> bytes:
    """The picture under its heat map and boxes, longer side at most `side`: PNG, RGB."""
    return _png(verdict.overlay(max_side=side))


def mask(verdict: Verdict) -> bytes:
    """The mask at the size of the upright picture: PNG, 8-bit grey, 0 untouched and 255 tampered. Raises NotKept."""
    from PIL import Image

    if verdict.mask is None:
        raise NotKept("This verdict has no mask: one is drawn where a picture is conclusively tampered.")
    return _png(Image.fromarray(verdict.mask.astype("uint8") * 255))


def heatmap(verdict: Verdict) -> bytes:
    """The heat map as a layer to lay over the picture, stretched to its size: PNG with transparency. Raises NotKept."""
    from pixelsleuth.reporting.thumbnails import heat_layer

    heat = verdict.heatmap
    if heat is None:
        raise NotKept("This verdict has no heat map: its model draws none.")
    layer = heat_layer(heat, max_side=max(heat.shape), finding=verdict.located)
    encoded = io.BytesIO()
    layer.save(encoded, "PNG", optimize=True, transparency=layer.info["transparency"])
    return encoded.getvalue()


def upright(verdict: Verdict, side: int) -> bytes:
    """The upright picture, longer side at most `side`: JPEG, for browsers that do not read the upload's format."""
    from pixelsleuth.reporting.thumbnails import thumbnail

    assert verdict.picture is not None
    encoded = io.BytesIO()
    thumbnail(verdict.picture.pixels, side).save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()


def _looks(verdict: Verdict) -> list[Enhancer]:
    """The pictures to look at beside a verdict, as `check` makes them."""
    from pixelsleuth.evidence.enhancers import enhanced

    return enhanced(verdict.picture.pixels) if verdict.examined and verdict.picture is not None else []


def _png(image: Image.Image) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, "PNG", compress_level=4)
    return encoded.getvalue()
