"""FakeVLM behind any endpoint that speaks the OpenAI chat API (vLLM, SGLang, ...): `--model openai:URL#name`.

A batch of pictures becomes as many requests at once. What may pass (no answer, a busy or failing server, an answer that
is no JSON) is tried again with growing pauses; what stays is the error record of that picture, and the rest goes on.

A server puts LLaVA's roles around the question unless told otherwise, and the published figures are those without:
start it with the template of `recipes/fakevlm/raw.jinja` (docs/fakevlm.md shows how).
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import numpy as np
from PIL import Image

from pixelsleuth.core.deadline import in_time
from pixelsleuth.errors import EndpointError, UsageError
from pixelsleuth.models.fakevlm.answers import FAKE, QUESTION, REAL, Answer, read
from pixelsleuth.models.fakevlm.detector import FakeVlmDetector

SCHEME = "openai:"
SIDE = 336
"""FakeVLM sees the middle square at this size: it is cut here, so that a picture costs no more than that to send."""
LARGEST_ANSWER = 4 << 20
MOST_AT_ONCE = 64
PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
LONGEST_PAUSE = 30.0
TOTAL = 300.0
"""Seconds for one question, all tries and pauses together: a server that sends a byte a second never times out."""
LONGEST_TEXT = 20_000
"""Characters of an explanation; the answer is asked for with a limit of tokens, which a server may ignore."""
MOST_SAID = 200
"""Characters of what a server says that stand in a message."""


class Endpoint:
    """A client of one endpoint.

    Args:
        url: of the API, such as `http://localhost:8000/v1`.
        model: the name that it is served under; empty: the only one that the endpoint lists.
        retries: further tries of what may pass; none once the endpoint did not answer at all several times.
        timeout: seconds without a byte of an answer. pause: seconds before the first further try, doubled each time.
        total: seconds for one question, with all tries.
    """

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        retries: int = 3,
        timeout: float = 120.0,
        pause: float = 0.5,
        total: float = TOTAL,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url!r} is no address of an API: write openai:http://HOST:PORT/v1#MODEL.")
        self.url = url.rstrip("/") if parts.path.strip("/") else f"{url.rstrip('/')}/v1"
        self.name, self.retries, self.pause, self.sleep = model, retries, pause, sleep
        self.total = total
        key = os.environ.get("OPENAI_API_KEY")
        self.client = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(10.0, timeout)),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=MOST_AT_ONCE),
            follow_redirects=False,
        )
        self.silent = 0
        self.lock = threading.Lock()

    @property
    def model(self) -> str:
        """The model's name, asked for once where none was given. Raises EndpointError."""
        with self.lock:
            if not self.name:
                listed = self.request("GET", "models").get("data")
                names = [one["id"] for one in listed or [] if isinstance(one, dict) and "id" in one]
                if len(names) != 1:
                    served = shortened(", ".join(map(str, names))) or "none that it tells"
                    raise EndpointError(f"{self.url} serves {served}: name one, openai:URL#NAME.")
                self.name = str(names[0])
            return self.name

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object that the endpoint answers with. Raises EndpointError after the last try, or in the end."""
        tries = 1 + (self.retries if self.silent < 3 else 0)
        end = time.monotonic() + self.total
        for number in range(tries):
            try:
                return self._in_time(end, method, path, body)
            except _MayPassError as error:
                pause = min(LONGEST_PAUSE, error.pause or self.pause * 2**number)
                if number + 1 == tries or time.monotonic() + pause >= end:
                    again = f" ({number + 1} tries)" if number else ""
                    raise EndpointError(
                        f"{error}{again}: check that the server runs and is not overloaded."
                    ) from None
                self.sleep(pause)
        raise AssertionError("unreachable")

    def _in_time(self, end: float, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """One try, given up at the time `end`: headers may come byte by byte as well."""
        try:
            return in_time(lambda: self._once(method, path, body, end), end - time.monotonic())
        except TimeoutError:
            raise self._too_slow() from None

    def _too_slow(self) -> EndpointError:
        self.silent += 1
        return EndpointError(
            f"{self.url} did not finish its answer within {self.total:g} seconds: check that the server is not "
            "overloaded."
        )

    def _once(self, method: str, path: str, body: dict[str, Any] | None, end: float) -> dict[str, Any]:
        try:
            with self.client.stream(method, f"{self.url}/{path}", json=body) as response:
                status, told, data = response.status_code, response.headers.get("retry-after"), bytearray()
                for piece in response.iter_bytes():
                    data += piece
                    if time.monotonic() > end:
                        raise self._too_slow()
                    if len(data) > LARGEST_ANSWER:
                        raise EndpointError(
                            f"{self.url} sent more than {LARGEST_ANSWER >> 20} MB for one answer."
                        )
        except httpx.TimeoutException:
            self.silent += 1
            raise _MayPassError(f"{self.url} did not answer in time") from None
        except (httpx.HTTPError, OSError) as error:
            self.silent += 1
            raise _MayPassError(
                f"{self.url} cannot be reached ({shortened(str(error)) or type(error).__name__})"
            ) from None
        self.silent = 0
        if status in PASSING:
            raise _MayPassError(f"{self.url} answered with status {status}", pause=_seconds(told))
        if status >= 300:
            raise _RefusedError(
                f"{self.url} refused the request with status {status}{_reason(data)}.", status
            )
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise _MayPassError(f"{self.url} answered with something that is no JSON object")
        return answer


class _MayPassError(Exception):
    """A failure that another try may not meet; `pause` is what the server asked to wait, in seconds."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class _RefusedError(EndpointError):
    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ServedEngine:
    """FakeVLM's question to an endpoint, for as many pictures at once as the batch holds."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.tells_likelihoods = True

    def answer(
        self, pixels: Sequence[np.ndarray], *, explain: bool = True, max_new_tokens: int = 256
    ) -> list[Answer]:
        """One answer a picture, in order; a failure is the answer of that picture."""
        tokens = max_new_tokens if explain else 8  # "This is a real image." and no more
        with ThreadPoolExecutor(max_workers=max(1, min(len(pixels), MOST_AT_ONCE))) as pool:
            found = list(pool.map(lambda one: self._ask(one, tokens), pixels))
        return found if explain else [Answer(one.text, one.real, False, one.error) for one in found]

    def _ask(self, pixels: np.ndarray, tokens: int) -> Answer:
        try:
            body = {"model": self.endpoint.model, **_question(pixels), "temperature": 0, "max_tokens": tokens}
            return _read_completion(self._complete(body), self.endpoint.url)
        except EndpointError as error:
            return Answer(error=error)

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """With likelihoods where the endpoint tells them; one that refuses is not asked for them again."""
        if self.tells_likelihoods:
            try:
                return self.endpoint.request(
                    "POST", "chat/completions", body | {"logprobs": True, "top_logprobs": 20}
                )
            except _RefusedError as error:
                if error.status not in (400, 422):
                    raise
                answer = self.endpoint.request("POST", "chat/completions", body)
                self.tells_likelihoods = False
                return answer
        return self.endpoint.request("POST", "chat/completions", body)


def middle_square(pixels: np.ndarray, side: int = SIDE) -> Image.Image:
    """The middle square at `side` pixels, as CLIP's processor cuts it (bicubic, shorter side first)."""
    image = Image.fromarray(pixels)
    width, height = image.size
    short = min(width, height)
    size = (side * width // short, side * height // short)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return image.crop((left, top, left + side, top + side))


def _question(pixels: np.ndarray) -> dict[str, Any]:
    buffer = io.BytesIO()
    middle_square(pixels).save(buffer, "PNG", compress_level=1)
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION}]
    return {"messages": [{"role": "user", "content": content}]}


def _read_completion(answer: dict[str, Any], url: str) -> Answer:
    """Text and likelihood of a chat completion. Raises EndpointError where it is none."""
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        if not isinstance(text, str):
            raise TypeError
    except (KeyError, IndexError, TypeError):
        raise EndpointError(f"{url} answered without a text: it is no chat completion.") from None
    reading = read(text)
    real = _likelihood(choice.get("logprobs"), reading.span)
    kept = text.strip()[:LONGEST_TEXT]
    return Answer(kept, real, choice.get("finish_reason") == "length" or len(text.strip()) > LONGEST_TEXT)


def _likelihood(logprobs: Any, span: tuple[int, int] | None) -> float | None:
    """Likelihood of "real" against "fake" at the token that wrote the verdict's word; None where it is not told.

    A word that is not among the alternatives told is at most as likely as the least likely of them.
    """
    if span is None or not isinstance(logprobs, dict) or not isinstance(logprobs.get("content"), list):
        return None
    so_far = 0
    try:
        for token in logprobs["content"]:
            so_far += len(token["token"])
            if so_far <= span[0]:
                continue
            told = [
                (str(one["token"]), float(one["logprob"])) for one in [token, *token.get("top_logprobs", [])]
            ]
            chances = dict.fromkeys((REAL, FAKE), math.exp(min(value for _, value in told)))
            named = {word.strip(" ▁Ġ").lower(): math.exp(value) for word, value in reversed(told)}
            if not named.keys() & chances.keys() or len(told) < 2:
                return None
            chances |= {word: named[word] for word in chances if word in named}
            return chances[REAL] / (chances[REAL] + chances[FAKE])
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return None


def _seconds(told: str | None) -> float:
    try:
        value = float(told or 0)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and value > 0 else 0.0


def _reason(data: bytes | bytearray) -> str:
    """What the server says of a refusal, shortened."""
    try:
        told = json.loads(data)
        error = told.get("error", told)
        text = str(error.get("message") if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f" ({shortened(text)})"


def shortened(text: str) -> str:
    """What a server says, in one line of at most MOST_SAID characters that all print.

    >>> shortened("a\\n  b"), len(shortened("x" * 1000))
    ('a b', 200)
    """
    line = " ".join("".join(one if one.isprintable() else " " for one in text[: 10 * MOST_SAID]).split())
    return line if len(line) <= MOST_SAID else f"{line[: MOST_SAID - 3]}..."


def load(name: str, device: str = "auto", precision: str = "auto") -> FakeVlmDetector:
    """The detector of `openai:URL#model`; nothing is sent before the first picture.

    Raises:
        UsageError: the address is none; a device or precision was asked for, which is the server's to choose.
    """
    if precision != "auto" or device == "cuda":
        raise UsageError("A served model runs where its server runs: leave --device and --precision out.")
    url, _, model = name.removeprefix(SCHEME).partition("#")
    return FakeVlmDetector(ServedEngine(Endpoint(url, model)), model or "served")
