"""Logs as JSON lines on standard error. Names of pictures appear only where `--log-names` asks for them."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

LEVELS = {"": logging.WARNING, "pixelsleuth": logging.INFO, "python_multipart": logging.ERROR}
"""From which level on packages are heard. python-multipart warns of every broken form, with bytes of it."""
log = logging.getLogger("pixelsleuth.serve")


class JsonLines(logging.Formatter):
    """One JSON object a record: `time`, `level`, `event`, and what `extra={"facts": {...}}` adds.

    Without `names` a message keeps its placeholders and an error only its kind and place: both may quote a name.
    """

    def __init__(self, *, names: bool = False) -> None:
        super().__init__()
        self.names = names

    def format(self, record: logging.LogRecord) -> str:
        private = record.name.startswith("pixelsleuth") and not self.names
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": str(record.msg) if private else record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
            if not private:
                line["message"] = str(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True, default=str)


def set_up(*, names: bool = False) -> None:
    """Send the logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(names=names))
    logging.getLogger().handlers = [handler]
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)


def event(text: str, **facts: Any) -> None:
    """Log one event."""
    log.info(text, extra={"facts": facts})


def failed(text: str, error: BaseException, **facts: Any) -> None:
    """Log an error that nobody foresaw, with its place."""
    log.error(text, exc_info=error, extra={"facts": facts})
