"""Requests to a PixelSleuth service over HTTP: repeated where it is busy, bounded in time and bytes."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from pixelsleuth._version import __version__
from pixelsleuth.core.completion import shortened
from pixelsleuth.errors import (
    EndpointError,
    MissingExtra,
    NotAllowed,
    PixelSleuthError,
    ServiceUnavailable,
    error_of,
)

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 10.0
MOST_CONNECTIONS = 64
LARGEST_ANSWER = 256 << 20
"""Bytes of an answer; the mask of a picture of 100 megapixels of noise stays below it."""
TRANSIENT = frozenset({429, 502, 503, 504})
"""Statuses of a service, or of a proxy before it, to which the same request may succeed later."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before another try where the service names none; each further pause is twice as long. The longest bounds
what the service may name as well."""
JITTER = 0.25
"""Largest share by which a pause is made longer, so that clients that were refused together do not come together."""


@dataclass(frozen=True)
class Answer:
    """Status, `Retry-After` in seconds (None: not named) and body of one answer."""

    status: int
    pause: float | None
    body: bytes

    def document(self) -> dict[str, Any] | None:
        """The JSON object in the body, None where it is none."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None


class Exchange:
    """The connection to one service; threads may share it.

    Args:
        timeout: seconds for one try, its answer included.
        patience: seconds for which a request is repeated while the service is busy, starting or away.

    Raises:
        MissingExtra: httpx2 is not installed.
    """

    def __init__(self, url: str, key: str, *, timeout: float, patience: float) -> None:
        try:
            import httpx2
        except ImportError as error:
            raise MissingExtra("httpx2", "client") from error
        self.url, self.timeout, self.patience = url, timeout, patience
        # Not compressed: the bound on bytes is then a bound on memory.
        headers = {"User-Agent": f"pixelsleuth/{__version__}", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout)),
            limits=httpx2.Limits(max_connections=MOST_CONNECTIONS),
            follow_redirects=False,
        )
        self._away = False
        """True after a request was given up because nobody answered: then others are not repeated."""

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """The models that the service lists. Raises what `ask` does, and EndpointError for another service."""
        self.ask("GET", "/readyz", until_there=False)  # waits while the service loads its models
        answer = self.ask("GET", "/v1/models", until_there=False)
        document = answer.document() or {}
        models = document.get("models")
        if answer.status != 200 or not isinstance(models, list) or not models:
            raise self._refusal(answer)
        return models

    def check(self, data: bytes, parameters: dict[str, str]) -> dict[str, Any]:
        """The record of one picture, also where it could not be judged. Raises what `ask` does, and the service's own
        error where it gives no record."""
        answer = self.ask("POST", "/v1/check", data=data, parameters=parameters)
        document = answer.document()
        if document is not None and answer.status == 200:
            return document
        if document is not None and isinstance(document.get("verdict"), dict):
            record: dict[str, Any] = document["verdict"]
            return record
        raise self._refusal(answer)

    def ask(
        self,
        method: str,
        path: str,
        *,
        data: bytes | None = None,
        parameters: dict[str, str] | None = None,
        until_there: bool = True,
    ) -> Answer:
        """The first answer that is not "later"; without `until_there` a service that nobody reaches is not waited for.

        Raises EndpointError where no answer came, and the service's own error (ServiceBusy, ServiceUnavailable) where
        it said "later" for longer than `patience`.
        """
        import httpx2

        end, pause = time.monotonic() + self.patience, FIRST_PAUSE
        while True:
            wait, failure = pause, None
            try:
                answer = self._once(method, path, data, parameters)
            except httpx2.TransportError as error:
                failure = self._unreached(error)
                if isinstance(error, httpx2.ReadTimeout) or self._away or not until_there:
                    raise failure from None
            else:
                self._away = False
                if answer.status not in TRANSIENT:
                    return answer
                wait = pause if answer.pause is None else answer.pause
            wait = min(wait, LONGEST_PAUSE) * random.uniform(1, 1 + JITTER)
            if time.monotonic() + wait > end:
                self._away = failure is not None
                raise failure or self._refusal(answer)
            time.sleep(wait)
            pause *= 2

    def _once(self, method: str, path: str, data: bytes | None, parameters: dict[str, str] | None) -> Answer:
        """One try. Raises httpx2.TransportError, EndpointError."""
        end, body = time.monotonic() + self.timeout, bytearray()
        headers = {"Content-Type": "application/octet-stream"} if data is not None else {}
        url = f"{self.url}{path}"
        with self._http.stream(method, url, params=parameters, content=data, headers=headers) as response:
            for piece in response.iter_bytes():
                body += piece
                if len(body) > LARGEST_ANSWER:
                    raise EndpointError(
                        f"{self.url} sent more than {LARGEST_ANSWER >> 20} MB for one answer."
                    )
                if time.monotonic() > end:
                    raise self._too_slow()
            return Answer(response.status_code, seconds_of(response.headers.get("retry-after")), bytes(body))

    def _unreached(self, error: httpx2.TransportError) -> EndpointError:
        import httpx2

        if isinstance(error, httpx2.ReadTimeout):
            return self._too_slow()
        why = shortened(str(error)) or type(error).__name__
        return EndpointError(
            f"{self.url} cannot be reached ({why}): check the address and that the service runs."
        )

    def _too_slow(self) -> EndpointError:
        return EndpointError(
            f"{self.url} did not answer within {self.timeout:g} seconds: check that the service is not overloaded."
        )

    def _refusal(self, answer: Answer) -> PixelSleuthError:
        """The error that an answer stands for: the service's own, or that this is no PixelSleuth service."""
        document = answer.document() or {}
        code, detail = document.get("code"), document.get("detail")
        if answer.status == 401:
            return NotAllowed(
                f"{self.url} refuses the key: set PIXELSLEUTH_API_KEY, or api_key, to a valid one."
            )
        if isinstance(code, str) and isinstance(detail, str):
            return error_of({"code": code, "message": f"{self.url}: {shortened(detail)}"})
        if answer.status in TRANSIENT:
            return ServiceUnavailable(
                f"{self.url} is busy or starting (status {answer.status}): try again later."
            )
        return EndpointError(
            f"{self.url} does not answer as a PixelSleuth service does (status {answer.status}): check the address."
        )


def seconds_of(text: str | None) -> float | None:
    """The seconds of a `Retry-After` header, a number or a date; None where there is none.

    >>> seconds_of("2"), seconds_of("soon"), seconds_of("Wed, 21 Oct 2015 07:28:00 GMT")
    (2.0, None, 0.0)
    """
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
