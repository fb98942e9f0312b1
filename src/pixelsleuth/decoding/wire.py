"""Messages between a caller and its decoding processes: a length, a JSON head, then bytes.

JSON and not pickle: a decoder that a hostile file has taken over must not run code in its caller.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

LENGTH = struct.Struct("!I")
LARGEST_HEAD = 16 << 20
"""Bytes of a JSON head; evidence quotes at most a few kilobytes of a file."""


def send(link: socket.socket, head: dict[str, Any], body: bytes | memoryview = b"") -> None:
    """Send one message. Raises OSError where the other side is gone or too slow."""
    text = json.dumps(head).encode()
    link.sendall(LENGTH.pack(len(text)) + text)
    if len(body):
        link.sendall(body)


def receive_head(link: socket.socket) -> dict[str, Any]:
    """The head of the next message. Raises EOFError where the other side is gone, ValueError for what is no message."""
    (size,) = LENGTH.unpack(receive(link, LENGTH.size))
    if size > LARGEST_HEAD:
        raise ValueError(f"a head of {size} bytes")
    head = json.loads(bytes(receive(link, size)))
    if not isinstance(head, dict):
        raise ValueError("a head that is no object")
    return head


def receive(link: socket.socket, size: int) -> bytearray:
    """Exactly `size` bytes. Raises EOFError, OSError."""
    data = bytearray(size)
    receive_into(link, memoryview(data))
    return data


def receive_pixels(link: socket.socket, height: int, width: int) -> NDArray[np.uint8]:
    """Pixels (height, width, 3) uint8. Raises EOFError, OSError."""
    pixels = np.empty((height, width, 3), np.uint8)
    receive_into(link, pixels.data.cast("B"))
    return pixels


def receive_into(link: socket.socket, view: memoryview) -> None:
    """Fill `view`. Raises EOFError where the other side is gone, OSError where it is too slow."""
    place = 0
    while place < len(view):
        step = link.recv_into(view[place:])
        if not step:
            raise EOFError("the other side is gone")
        place += step
