"""A client of chat endpoints that speak the OpenAI API: hosted models, vLLM, SGLang, llama.cpp.

The `openai` package sends the question and repeats it where another try may succeed (no connection, time-out, 408, 409,
429, 5xx), after growing pauses or what `Retry-After` asks for. The transport below it keeps what the package does not
promise: an answer of bounded size and time, a rate limit over all threads, no redirects, and no header that carries
more of the environment than the one API key.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from pixelsleuth.core.completion import Completion, completion, model_names, reason, shortened
from pixelsleuth.errors import EndpointError, EndpointRefused, MissingExtra, UsageError

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")
LARGEST_ANSWER = 4 << 20
"""Bytes of an answer, unpacked."""
MOST_AT_ONCE = 64
TRANSIENT = frozenset({408, 409, 425, 429})
"""Statuses besides 5xx that say "not now" rather than "no"."""
SENT_HEADERS = frozenset({"accept", "content-length", "content-type", "host", "user-agent"})
"""All other headers of the `openai` package name the machine or come from environment variables."""


class ChatClient:
    """A client of one endpoint; threads may share it. `used` counts answers and tokens.

    Args:
        url: of the API, such as `http://localhost:8000/v1`.
        key_from: the environment variable that holds the API key; unset or empty: no key is sent.
        retries: further tries where another one may succeed.
        timeout: seconds without a byte of an answer.
        total: seconds for one question with all tries and pauses; a server that sends a byte now and then never times
            out otherwise.
        per_minute: requests of all threads together, evenly spaced; 0: no limit.
        most_silent: after so many tries in a row without any answer, questions get one try each; 0: never.

    Raises:
        UsageError: no address, or a key that cannot be sent. MissingExtra: no `openai` package.
    """

    def __init__(
        self,
        url: str,
        *,
        key_from: str = "OPENAI_API_KEY",
        retries: int = 3,
        timeout: float = 120.0,
        total: float = 300.0,
        per_minute: float = 0.0,
        most_silent: int = 0,
    ) -> None:
        check_address(url)
        key = os.environ.get(key_from, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"{key_from} holds no API key: it has characters that no key has.")
        try:
            import httpx2
            import openai
        except ImportError as error:
            raise MissingExtra("openai", "api") from error
        self.url, self.key_from, self.retries, self.total = url.rstrip("/"), key_from, retries, total
        self.most_silent = most_silent
        self.used = {"requests": 0, "input_tokens": 0, "output_tokens": 0}
        self._lock = threading.Lock()
        self._transport = _Transport(self, key, per_minute)
        self._client = openai.OpenAI(
            base_url=self.url,
            api_key=key or "none",
            timeout=httpx2.Timeout(timeout, connect=min(10.0, timeout)),
            http_client=httpx2.Client(transport=cast(Any, self._transport)),
        )

    def models(self) -> list[str]:
        """The names of the models that the endpoint lists. Raises EndpointError."""
        names: list[str] = self._send("GET", "models", None, _Question(model_names), self.retries)
        return names

    def complete(self, body: dict[str, Any], retries: int | None = None) -> Completion:
        """The answer to a chat completion request, whose `body` is as the API defines it.

        Raises EndpointRefused where the endpoint refuses for good, EndpointError where no try brought an answer.
        """
        question = _Question(completion)
        retries = self.retries if retries is None else retries
        answer: Completion = self._send("POST", "chat/completions", body, question, retries)
        with self._lock:
            self.used["requests"] += 1
            self.used["input_tokens"] += answer.tokens[0]
            self.used["output_tokens"] += answer.tokens[1]
        return replace(answer, tries=question.tries)

    def _send(self, method: str, path: str, body: Any, question: _Question, retries: int) -> Any:
        import httpx2
        import openai

        if self.most_silent and self._transport.silent >= self.most_silent:
            retries = 0
        question.end = time.monotonic() + self.total

        def send() -> None:
            self._transport.current.question = question
            options: Any = {"max_retries": retries}
            if method == "GET":
                self._client.get(path, cast_to=httpx2.Response, options=options)
            else:
                self._client.post(path, cast_to=httpx2.Response, body=body, options=options)

        try:
            _in_time(send, self.total)
        except TimeoutError:
            raise self.too_slow() from None
        except (openai.APIError, OSError) as error:
            raise self._failure(error, question.tries) from None
        return question.answer

    def too_slow(self) -> EndpointError:
        """What to raise for a question that took longer than `total`."""
        self._transport.silent += 1
        return EndpointError(
            f"{self.url} did not finish its answer within {self.total:g} seconds: check that the server is not "
            "overloaded."
        )

    def _failure(self, error: Exception, tries: int) -> EndpointError:
        """What to raise when the last try failed."""
        import httpx2
        import openai

        cause = error.__cause__ or error
        if isinstance(error, openai.APIStatusError):
            status, what = error.status_code, f"answered with status {error.status_code}"
            if status in (401, 403):
                return EndpointRefused(
                    f"{self.url} refuses the key (status {status}): set {self.key_from} to a valid one.",
                    status,
                )
            if status < 500 and status not in TRANSIENT:
                why = reason(error.response.content)
                return EndpointRefused(f"{self.url} refused the request with status {status}{why}.", status)
        elif isinstance(error, openai.APITimeoutError):
            what = "did not answer in time"
        elif isinstance(cause, httpx2.DecodingError):
            what = f"answered with {shortened(str(cause))}"
        else:
            what = f"cannot be reached ({shortened(str(cause)) or type(cause).__name__})"
        again = f" ({tries} tries)" if tries > 1 else ""
        return EndpointError(f"{self.url} {what}{again}: check that the server runs and is not overloaded.")


@dataclass
class _Question:
    """What holds for all tries of a question: how its answer is read, and when they end; then the answer."""

    parse: Callable[[bytes], Any]
    end: float = 0.0
    tries: int = 0
    answer: Any = None


class _Transport:
    """Carries out each single try for the `openai` package, in the thread of the question.

    `silent` counts the tries in a row that no answer came to. Not a subclass of httpx2.BaseTransport: this file must
    load without httpx2.
    """

    def __init__(self, client: ChatClient, key: str, per_minute: float) -> None:
        import httpx2

        self.client, self.key, self.silent = client, key, 0
        limits = httpx2.Limits(max_connections=MOST_AT_ONCE)
        self.connections = httpx2.Client(limits=limits, follow_redirects=False)
        self.current = threading.local()
        self.gap = 60 / per_minute if per_minute > 0 else 0.0
        self.next_turn = 0.0
        self._lock = threading.Lock()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """One try, its answer read whole. Raises httpx2's errors, which lead to another try, or EndpointError."""
        import httpx2

        question: _Question = self.current.question
        self._wait_for_turn()
        if time.monotonic() > question.end:
            raise self.client.too_slow()
        question.tries += 1
        for name in set(request.headers) - SENT_HEADERS:
            del request.headers[name]
        if self.key:
            request.headers["Authorization"] = f"Bearer {self.key}"
        try:
            response = self._read(request, question.end)
        except (httpx2.RequestError, OSError):
            self.silent += 1
            raise
        self.silent = 0
        if response.status_code < 300:
            try:
                question.answer = question.parse(response.content)
            except ValueError as error:
                raise httpx2.DecodingError(str(error), request=request) from None
        return response

    def _read(self, request: httpx2.Request, end: float) -> httpx2.Response:
        import httpx2

        data = bytearray()
        with contextlib.closing(self.connections.send(request, stream=True)) as response:
            for piece in response.iter_bytes():
                data += piece
                if time.monotonic() > end:
                    raise self.client.too_slow()
                if len(data) > LARGEST_ANSWER:
                    most = f"{LARGEST_ANSWER >> 20} MB"
                    raise EndpointError(f"{self.client.url} sent more than {most} for one answer.")
        kept = ("retry-after", "retry-after-ms")
        headers = {name: response.headers[name] for name in kept if name in response.headers}
        return httpx2.Response(response.status_code, headers=headers, content=bytes(data), request=request)

    def _wait_for_turn(self) -> None:
        """Keep to the rate limit: turns are handed out evenly, to all threads together."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self.next_turn)
            self.next_turn = turn + self.gap
        if turn > now:
            time.sleep(turn - now)


def check_address(url: str, example: str = "http://127.0.0.1:8000/v1") -> None:
    """Raise UsageError where `url` is no http(s) address."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half a bracket
        valid = False
    if not valid:
        raise UsageError(f"{url!r} is no address of an API: write one such as {example}.")


def _in_time(call: Callable[[], T], seconds: float) -> T:
    """Return what `call` returns, or raise what it raises. Raises TimeoutError after `seconds`.

    The call goes on in its thread after a time-out: headers that come byte by byte end no other way.

    >>> _in_time(lambda: 3, 1.0)
    3
    """
    return begun(call).result(timeout=max(0.0, seconds))


def begun(call: Callable[[], T]) -> Future[T]:
    """The outcome of `call`, which runs in a thread of its own; the end of the program does not wait for it."""
    outcome: Future[T] = Future()

    def attempt() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=attempt, daemon=True).start()
    return outcome
