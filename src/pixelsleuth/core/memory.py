"""How this process gives memory back to the system. Only the standard library is needed."""

from __future__ import annotations

import contextlib
import sys

LARGEST_REUSED = 32 << 20
"""Bytes up to which a freed block is used again; glibc allows no more."""
MOST_HELD = 128 << 20
"""Free bytes at the end of the heap that are kept."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def reuse_freed_memory() -> bool:
    """Let this process use freed blocks again in place of returning each to the system; True where that is possible.

    By default glibc returns a large block at once, and the system fills the next one with zeros, page by page. A
    detector allocates hundreds of such blocks a picture. For commands, whose process is their own: not for a program
    that imports this package. Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
    """
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):  # another C library
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_M_MMAP_THRESHOLD, LARGEST_REUSED) and mallopt(_M_TRIM_THRESHOLD, MOST_HELD))
    return False
