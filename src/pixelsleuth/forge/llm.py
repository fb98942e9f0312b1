"""A client for OpenAI-compatible chat APIs: strict JSON, retries, a rate limit, token counts, an estimate of the cost.

Any server that speaks `POST {base_url}/chat/completions` will do (a hosted model, vLLM, llama.cpp). What fails for a
while (no connection, time-out, 408, 409, 429, 5xx, an answer that is cut off) is tried again with growing pauses, and a
`Retry-After` is heeded; an answer that is no JSON of the asked form is asked for again; what is wrong for good (401,
404) ends the run. The key comes from the environment variable that the settings name, and is never written anywhere.
"""

# ruff: noqa: N818  (the names are what went wrong)
from __future__ import annotations

import base64
import functools
import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

from pixelsleuth.core.deadline import in_time
from pixelsleuth.errors import Unavailable, UsageError
from pixelsleuth.forge.config import LlmConfig

T = TypeVar("T")
AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
LONGEST_PAUSE = 60.0
MAX_ANSWER = 8 << 20
TOTAL = 3
"""Times the time-out: what one answer may take where it comes byte by byte, which no time-out of a socket ends."""


class Malformed(ValueError):
    """The model's answer is not what was asked for."""


class _Retry(Exception):
    """Try again after `pause` seconds (None: the usual pause)."""

    def __init__(self, why: str, pause: float | None = None) -> None:
        super().__init__(why)
        self.pause = pause


class ChatClient:
    """One API. Threads may share it; `used` counts requests and tokens."""

    def __init__(self, config: LlmConfig, *, sleep: Callable[[float], None] = time.sleep) -> None:
        if not config.base_url.startswith(("http://", "https://")):
            raise UsageError(
                f"base_url={config.base_url}: give the address of an API, such as http://127.0.0.1:8000/v1."
            )
        if not config.model:
            raise UsageError("The settings of the language model name no model; add llm.model.")
        self.config, self._sleep = config, sleep
        self._lock = threading.Lock()
        self._next = 0.0
        self.used = {"requests": 0, "input_tokens": 0, "output_tokens": 0}

    def ask(
        self,
        system: str,
        prompt: str,
        *,
        check: Callable[[Any], T],
        schema: dict[str, Any] | None = None,
        image: bytes | None = None,
    ) -> T:
        """Ask for JSON until `check` accepts it; returns what `check` does.

        Raises Malformed where the model keeps answering otherwise, Unavailable where the server cannot be reached,
        UsageError where it refuses for good.
        """
        body = self._body(system, prompt, schema, image)
        why: Exception = Malformed("no answer")
        for trial in range(self.config.retries + 1):
            try:
                return check(_json_of(self._post(body)))
            except Malformed as error:
                why, pause = error, 0.0
            except _Retry as error:
                why, pause = error, error.pause if error.pause is not None else _pause(trial)
            if trial < self.config.retries and pause:
                self._sleep(min(pause, LONGEST_PAUSE))
        if isinstance(why, Malformed):
            raise why
        raise Unavailable(f"{self.config.base_url} did not answer ({why}); run the same command again later.")

    def _body(
        self, system: str, prompt: str, schema: dict[str, Any] | None, image: bytes | None
    ) -> dict[str, Any]:
        content: Any = prompt
        if image is not None:
            kind = "png" if image[:4] == b"\x89PNG" else "jpeg"
            url = f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
            content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]
        body: dict[str, Any] = {
            "model": self.config.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": content}],
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
        }
        if schema is not None and self.config.strict_json:
            shape = {"name": "answer", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        elif schema is not None:
            body["response_format"] = {"type": "json_object"}
        return body

    def _post(self, body: dict[str, Any]) -> str:
        """The text of one answer. Raises _Retry, Malformed or UsageError."""
        self._wait_for_turn()
        request = urllib.request.Request(
            f"{self.config.base_url.rstrip('/')}/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **_key(self.config.api_key_env)},
        )
        try:
            data = in_time(lambda: self._read(request), TOTAL * self.config.timeout)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", None) or error) or type(error).__name__
            raise _Retry(" ".join(reason.split())[:200]) from None
        try:
            content = json.loads(data)
            text = content["choices"][0]["message"]["content"]
            used = content.get("usage") or {}
        except (ValueError, KeyError, IndexError, TypeError, RecursionError, AttributeError):
            raise _Retry("an answer that is no chat completion") from None
        with self._lock:
            self.used["requests"] += 1
            self.used["input_tokens"] += int(used.get("prompt_tokens") or 0)
            self.used["output_tokens"] += int(used.get("completion_tokens") or 0)
        if not isinstance(text, str):
            raise Malformed("an empty answer")
        return text

    def _read(self, request: urllib.request.Request) -> bytes:
        with urllib.request.urlopen(request, timeout=self.config.timeout) as answer:
            data: bytes = answer.read(MAX_ANSWER)
            return data

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        text = error.read(300).decode("utf-8", "replace")
        if error.code in AGAIN:
            after = error.headers.get("Retry-After") or ""
            return _Retry(
                f"status {error.code}", float(after) if after.replace(".", "", 1).isdigit() else None
            )
        if error.code in (401, 403):
            name = self.config.api_key_env
            return UsageError(
                f"{self.config.base_url} refuses the key (status {error.code}); set {name} to a valid one."
            )
        return UsageError(
            f"{self.config.base_url} refuses the request (status {error.code}): {' '.join(text.split())}"
        )

    def _wait_for_turn(self) -> None:
        """Keep to the rate limit: turns are handed out evenly, to all threads together."""
        if self.config.requests_per_minute <= 0:
            return
        gap = 60 / self.config.requests_per_minute
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + gap
        if turn > now:
            self._sleep(turn - now)


def _key(name: str) -> dict[str, str]:
    value = os.environ.get(name, "")
    return {"Authorization": f"Bearer {value}"} if value else {}


def _pause(trial: int) -> float:
    # The jitter keeps many threads from coming back at once; results do not depend on it.
    return float(min(LONGEST_PAUSE, 2.0**trial) * (0.5 + random.random() / 2))


def _json_of(text: str) -> Any:
    """The JSON in an answer; a fence around it is taken off. Raises Malformed.

    >>> _json_of('```json\\n{"object": "dog"}\\n```')
    {'object': 'dog'}
    """
    text = text.strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed(f"no JSON: {' '.join(text.split())[:60]!r}") from None


@functools.lru_cache(maxsize=16)
def client_for(config: LlmConfig) -> ChatClient:
    """The client of these settings, one for all threads, so that the rate limit holds for them together."""
    return ChatClient(config)


def estimate(config: LlmConfig, requests: int, characters: int, *, images: bool) -> str:
    """What `requests` will take, in words, from the characters of one prompt. Raises UsageError beyond `max_cost`.

    Four characters count as a token; an answer counts with half of `max_tokens`.
    """
    each = characters / 4 + (config.image_tokens if images else 0)
    incoming, outgoing = requests * each, requests * config.max_tokens / 2
    text = f"{requests} requests to {config.model}, {incoming / 1e3:.0f} k tokens in and {outgoing / 1e3:.0f} k out"
    if config.input_price is None or config.output_price is None:
        if config.max_cost is not None:
            raise UsageError("llm.max_cost needs llm.input_price and llm.output_price (per million tokens).")
        return f"{text}; no prices are set"
    cost = incoming / 1e6 * config.input_price + outgoing / 1e6 * config.output_price
    if config.max_cost is not None and cost > config.max_cost:
        raise UsageError(
            f"{text}, about {cost:.2f}: more than llm.max_cost={config.max_cost:g}; raise it or set limit=."
        )
    return f"{text}, about {cost:.2f} at the prices given"
