"""Thumbnails out of a manifest: a stranger's pictures, opened as any other and drawn anew, never trusted."""

from __future__ import annotations

import io
from collections.abc import Callable

from pixelsleuth.errors import PictureError
from pixelsleuth.evidence.finding import Illustration
from pixelsleuth.pictures.images import open_picture

LONGEST_SIDE = 320
"""Pixels of the longest side of a thumbnail as it is shown."""
MEGAPIXELS = 4.0
"""Size above which a thumbnail is not opened."""
QUALITY = 80


def thumbnails_of(
    addresses: list[tuple[str, str]], resource: Callable[[str], bytes | None]
) -> tuple[Illustration, ...]:
    """Return a JPEG for every (caption, address) behind which `resource` has a picture that can be opened.

    The same picture, which a manifest may hold several times, is returned once.
    """
    made, known = [], set[bytes]()
    for caption, address in addresses:
        content = resource(address)
        if not content or content in known:
            continue
        known.add(content)
        image = _redrawn(content)
        if image is not None:
            made.append(Illustration(f"thumbnail in the manifest: {caption}", image, "image/jpeg"))
    return tuple(made)


def _redrawn(content: bytes) -> bytes | None:
    from PIL import Image

    try:
        pixels = open_picture(content, max_megapixels=MEGAPIXELS).pixels
    except PictureError:
        return None
    picture = Image.fromarray(pixels)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
