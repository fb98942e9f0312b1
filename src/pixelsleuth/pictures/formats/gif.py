"""GIF: the first frame. Source: GIF89a specification."""

from __future__ import annotations

from pixelsleuth.pictures.formats.base import Header, corrupt, pillow, truncated

MAX_BLOCKS = 1_000_000  # sub-blocks of up to 255 bytes


def read(data: memoryview, name: str) -> Header:
    """Read the header up to the first frame; comments and application data are left out."""
    if len(data) < 13:
        raise truncated(name)
    width, height = (int.from_bytes(data[at : at + 2], "little") for at in (6, 8))
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    parts = [(0, min(at, len(data)))]
    start, control = _next_frame(data, at)
    if start is None:
        raise truncated(name) if len(data) < 64 or data[-1] != 0x3B else corrupt(name, "it holds no frame")
    at = start
    if control is not None:
        parts.append(control)
    if at + 10 > len(data):
        raise truncated(name)
    left, top, w, h = (int.from_bytes(data[at + i : at + i + 2], "little") for i in (1, 3, 5, 7))
    # Decoders enlarge the screen to hold the frame, so the frame counts for the size limit.
    width, height = max(width, left + w), max(height, top + h)
    if not width or not height or not w or not h:
        raise corrupt(name, "its header says that it has no pixels")
    local = 3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0
    end = _skip_blocks(data, at + 11 + local)
    header = Header("GIF", width, height, pillow("Gif"), parts=[*parts, (at, end or len(data))])
    header.metadata["bit_depth"] = "8"
    if (left, top, left + w, top + h) != (0, 0, width, height):
        header.covered = (left, top, left + w, top + h)
    if end is not None and _next_frame(data, end)[0] is not None:
        header.warnings.append("An animation: only its first picture was judged.")
    return header


def _next_frame(data: memoryview, at: int) -> tuple[int | None, tuple[int, int] | None]:
    """Return where the next frame begins (None: nowhere) and the range of its graphic control."""
    control = None
    for _ in range(MAX_BLOCKS):
        if at >= len(data) or data[at] == 0x3B:
            return None, None
        if data[at] == 0x2C:
            return at, control
        if data[at] != 0x21:
            at += 1  # stray bytes between blocks are skipped, as decoders do
            continue
        stop = _skip_blocks(data, at + 2)
        if stop is None:
            return None, None
        if data[at + 1] == 0xF9 and stop - at <= 16:
            control = (at, stop)
        at = stop
    return None, None


def _skip_blocks(data: memoryview, at: int) -> int | None:
    """Return the position after the chain of sub-blocks at `at`; None where it does not end."""
    for _ in range(MAX_BLOCKS):
        if at >= len(data):
            return None
        size = data[at]
        at += 1 + size
        if size == 0:
            return at
    return None
