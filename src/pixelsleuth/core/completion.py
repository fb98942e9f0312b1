"""What a chat endpoint answers, read from JSON with the standard library alone, and the picture in a question.

Source: the OpenAI API reference, "Chat completions".
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

MOST_SHOWN = 200
"""Characters of a server's own words in a message."""


@dataclass(frozen=True)
class Completion:
    """One answer. `text` is None where the model gave none; `cut`: it ran into the limit of tokens; `logprobs` as sent.

    `tries`: requests that it took. `tokens`: (of the question, of the answer) by the server's count.
    """

    text: str | None
    cut: bool = False
    logprobs: Any = None
    tries: int = 1
    tokens: tuple[int, int] = (0, 0)


def image_part(data: bytes) -> dict[str, Any]:
    """The bytes of a PNG or JPEG file as a part of a message."""
    kind = "png" if data[:4] == b"\x89PNG" else "jpeg"
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}}


def _json_object(data: bytes) -> dict[str, Any]:
    """The JSON object in an answer. Raises ValueError."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ValueError("something that is no JSON object")
    return answer


def model_names(data: bytes) -> list[str]:
    entries = _json_object(data).get("data")
    known = entries if isinstance(entries, list) else []
    return [str(entry["id"]) for entry in known if isinstance(entry, dict) and "id" in entry]


def completion(data: bytes) -> Completion:
    """The first choice of a chat completion. Raises ValueError where the answer is none."""
    answer = _json_object(data)
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        used = answer.get("usage") or {}
        tokens = int(used.get("prompt_tokens") or 0), int(used.get("completion_tokens") or 0)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError):
        raise ValueError("something that is no chat completion") from None
    return Completion(
        text if isinstance(text, str) else None,
        cut=choice.get("finish_reason") == "length",
        logprobs=choice.get("logprobs"),
        tokens=tokens,
    )


def reason(data: bytes) -> str:
    """What a server says of a refusal, shortened and in brackets; empty where it says nothing readable.

    >>> reason(b'{"error": {"message": "no such model"}}')
    ' (no such model)'
    """
    try:
        answer = json.loads(data)
        error = answer.get("error", answer)
        text = error.get("message") if isinstance(error, dict) else error
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f" ({shortened(str(text))})" if text else ""


def shortened(text: str) -> str:
    """A server's words in one line of at most MOST_SHOWN printable characters.

    >>> shortened("a\\n  b"), len(shortened("x" * 1000))
    ('a b', 200)
    """
    start = text[: 10 * MOST_SHOWN]
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in start).split())
    return line if len(line) <= MOST_SHOWN else f"{line[: MOST_SHOWN - 3]}..."
