"""BMP. Source: Microsoft, "Bitmap Storage"."""

from __future__ import annotations

from pixelsleuth.errors import PictureTooLarge
from pixelsleuth.pictures.formats.base import Header, corrupt, pillow, truncated

# Pillow decodes run-length BMP in Python, byte by byte.
MAX_RLE_PIXELS = 12_000_000
MAX_RLE_BYTES = 12_000_000


def read(data: memoryview, name: str) -> Header:
    """Read the header; refuses (PictureTooLarge) run-length pictures of more than 12 megapixels."""
    if len(data) < 30:
        raise truncated(name)
    if int.from_bytes(data[14:18], "little") == 12:
        width, height, bits = (int.from_bytes(data[at : at + 2], "little") for at in (18, 20, 24))
        compression = 0
    else:
        if len(data) < 54:
            raise truncated(name)
        width = int.from_bytes(data[18:22], "little", signed=True)
        height = abs(int.from_bytes(data[22:26], "little", signed=True))  # negative: stored from the top down
        bits = int.from_bytes(data[28:30], "little")
        compression = int.from_bytes(data[30:34], "little")
    if width <= 0 or height <= 0:
        raise corrupt(name, "its header says that it has no pixels")
    header = Header("BMP", width, height, pillow("Bmp"), metadata={"bit_depth": str(bits)})
    if compression in (1, 2):
        if width * height > MAX_RLE_PIXELS or len(data) > MAX_RLE_BYTES:
            raise PictureTooLarge(f"{name} is a run-length BMP too large to decode; save it as PNG.")
        header.working = 2 * width * height
    return header
