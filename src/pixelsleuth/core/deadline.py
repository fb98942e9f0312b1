"""A bound on how long a call may take, for calls that have none themselves (servers that answer byte by byte)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_time(call: Callable[[], T], seconds: float) -> T:
    """Return what `call` returns, or raise what it raises. Raises TimeoutError after `seconds`.

    The call runs in a thread of its own, which is left to itself after that: it must not hold what others wait for.

    >>> in_time(lambda: 3, 1.0)
    3
    """
    outcome: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

    def attempt() -> None:
        try:
            outcome.put((call(), None))
        except BaseException as error:
            outcome.put((None, error))

    threading.Thread(target=attempt, daemon=True).start()
    try:
        result, error = outcome.get(timeout=max(0.0, seconds))
    except queue.Empty:
        raise TimeoutError(f"it took longer than {seconds:g} seconds") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
