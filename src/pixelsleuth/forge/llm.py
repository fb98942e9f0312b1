"""Answers of a chat model as JSON that is checked, and an estimate of the cost before anything is asked.

What fails on the way is repeated by `core.chat`; an answer that is not the JSON that was asked for is asked for again.
A wrong key or model (401, 404) ends the run. The key comes from the environment variable that the settings name.
"""

# ruff: noqa: N818  (the names are what went wrong)
from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from pixelsleuth.core.chat import ChatClient
from pixelsleuth.core.completion import image_part
from pixelsleuth.errors import EndpointError, EndpointRefused, Unavailable, UsageError
from pixelsleuth.forge.configuration import LlmConfig

T = TypeVar("T")
PATIENCE = 3
"""Times the time-out: what each try of a question may take, byte by byte."""
_LOCK = threading.Lock()


class Malformed(ValueError):
    """The model's answer is not what was asked for."""


class JsonChat:
    """A chat model that answers in JSON. Threads may share it; `used` counts answers and tokens."""

    def __init__(self, config: LlmConfig) -> None:
        if not config.model:
            raise UsageError("The settings of the language model name no model; add llm.model.")
        self.config = config
        self.chat = ChatClient(
            config.base_url,
            key_from=config.api_key_env,
            retries=config.retries,
            timeout=config.timeout,
            total=PATIENCE * config.timeout * (config.retries + 1),
            per_minute=config.requests_per_minute,
        )
        self.used = self.chat.used

    def ask(
        self,
        system: str,
        prompt: str,
        *,
        check: Callable[[Any], T],
        schema: dict[str, Any] | None = None,
        image: bytes | None = None,
    ) -> T:
        """Ask for JSON until `check` accepts it, in `retries` + 1 requests at most; returns what `check` does.

        Raises Malformed where the model keeps answering otherwise, Unavailable where the server cannot be reached,
        UsageError where it refuses for good.
        """
        body, left = self._body(system, prompt, schema, image), self.config.retries + 1
        while True:
            try:
                completion = self.chat.complete(body, retries=left - 1)
            except EndpointRefused as error:
                raise UsageError(str(error)) from None
            except EndpointError as error:
                raise Unavailable(f"{error} Then run the same command again.") from None
            left -= completion.tries
            try:
                return check(_json_of(completion.text))
            except Malformed:
                if left <= 0:
                    raise

    def _body(
        self, system: str, prompt: str, schema: dict[str, Any] | None, image: bytes | None
    ) -> dict[str, Any]:
        content: Any = prompt
        if image is not None:
            content = [{"type": "text", "text": prompt}, image_part(image)]
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


def _json_of(text: str | None) -> Any:
    """The JSON in an answer, without a fence around it. Raises Malformed.

    >>> _json_of('```json\\n{"object": "dog"}\\n```')
    {'object': 'dog'}
    """
    if text is None:
        raise Malformed("an empty answer")
    text = text.strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed(f"no JSON: {' '.join(text.split())[:60]!r}") from None


def client_for(config: LlmConfig) -> JsonChat:
    """The client of these settings, one for all threads, so that the rate limit holds for them together."""
    with _LOCK:
        return _client(config)


@functools.lru_cache(maxsize=16)
def _client(config: LlmConfig) -> JsonChat:
    return JsonChat(config)


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
