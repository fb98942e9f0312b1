"""Work of a stage for the tests of engines: it doubles numbers, refuses one, and ends its process when told to."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelsleuth.errors import Rejected


@dataclass(frozen=True)
class Folder:
    """As much of the context of a forge as an engine needs."""

    root: Path


def die_once() -> None:
    """End this process while the file that PIXELSLEUTH_TEST_KILLS names holds more than 0; each kill takes one."""
    counter = os.environ.get("PIXELSLEUTH_TEST_KILLS")
    left = int(Path(counter).read_text() or 0) if counter else 0
    if counter and left:
        Path(counter).write_text(str(left - 1))
        os.kill(os.getpid(), signal.SIGKILL)


def deadly(row: dict[str, Any], context: object) -> list[dict[str, Any]]:
    """The row with `double`. Raises Rejected for the number 2."""
    del context
    die_once()
    if row["number"] == 2:
        raise Rejected("not this one")
    return [{**row, "double": 2 * row["number"]}]
