"""A detector that a PixelSleuth service runs: pictures go there, verdicts come back.

    client = pixelsleuth.Client("http://127.0.0.1:8000")
    verdict = client.check("photo.jpg")

Files are sent as they are, what is decoded already as PNG; the service sees no name of a file. What does not begin as a
picture is not sent at all.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pixelsleuth.core.chat import begun, check_address
from pixelsleuth.core.completion import shortened
from pixelsleuth.core.detector import Capability, Detector, several_of
from pixelsleuth.core.examining import examined
from pixelsleuth.core.names import suggestion
from pixelsleuth.core.verdict import Verdict
from pixelsleuth.errors import EndpointError, PixelSleuthError, UnknownModel, UsageError, error_of
from pixelsleuth.models.remote.exchange import Exchange
from pixelsleuth.models.remote.parcel import Parcel, parcel_of, verdict_of

if TYPE_CHECKING:
    from pixelsleuth.core.bounds import Bounds
    from pixelsleuth.core.detector import Source
    from pixelsleuth.pictures.images import Picture

AT_ONCE = 8
"""Pictures of a list that are under way at a time: a service judges that many together."""
KEY_FROM = "PIXELSLEUTH_API_KEY"


class Client(Detector):
    """The detector of a service; `check` and `check_many` are those of any detector. Threads may share it.

    A verdict is that of the service, without heat map and without the pictures of its findings; its mask is there.

    Args:
        url: of the service, such as `http://127.0.0.1:8000`.
        model: the name of one of its models; None: its first.
        api_key: a key of the service; None: what the environment variable PIXELSLEUTH_API_KEY holds, if anything.
        timeout: seconds for one try.
        patience: seconds for which a picture is sent again while the service is busy (429), starting (503) or away, as
            often as its `Retry-After` asks.

    Raises:
        UsageError: no address, or a key that cannot be sent. UnknownModel: the service has no such model. MissingExtra:
            httpx2 is not installed. EndpointError: nobody answers, or no PixelSleuth service. NotAllowed: the key is
            missing or wrong.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = 120.0,
        patience: float = 120.0,
    ) -> None:
        self.url = _address(url)
        key = (os.environ.get(KEY_FROM, "") if api_key is None else api_key).strip()
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"{KEY_FROM} holds no API key: it has characters that no key has.")
        self._exchange = Exchange(self.url, key, timeout=timeout, patience=patience)
        try:
            served = self._served(model)
        except BaseException:
            self.close()
            raise
        self._parameters = {} if model is None else {"model": model}
        self.name, self.version = str(served["model"]["name"]), str(served["model"]["version"])
        known = [str(name) for name in served.get("capabilities", ())]
        self.capabilities = frozenset(ability for ability in Capability if ability in known)
        notices = (str(notice) for notice in served.get("notices", ()))
        self.notices = (f"The pictures are sent to {self.url}.", *notices)

    def close(self) -> None:
        """Close the connections to the service."""
        self._exchange.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def decide_by(self, bounds: Bounds | None = None, *, stable: bool = True) -> None:
        """Raises UsageError: the service decides by the bounds that it was started with."""
        raise UsageError(
            f"{self.url} decides by its own bounds: leave out --accuse-at-most, --right-at-least and --stable/--fast."
        )

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        """Return one verdict a picture, in order; their pixels are sent. Raises the first error."""
        parcels = (parcel_of(picture, self.max_megapixels) for picture in pictures)
        return [
            _judged(verdict)
            for verdict in _in_order(lambda parcel: self._send(parcel, explain), parcels, AT_ONCE)
        ]

    def check_many(
        self, sources: Iterable[Source] | Source, *, explain: bool = True, batch_size: int = 1
    ) -> Iterator[Verdict]:
        """Judge a stream of pictures and yield verdicts in order; a failure is a record, never an exception.

        `batch_size` pictures are under way at a time.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, not {batch_size}.")
        several = several_of(sources)
        entries = [cast("Source", sources)] if several is None else several
        yield from _in_order(lambda source: self._recorded(source, explain), entries, batch_size)

    def _check_one(self, source: Source, explain: bool, *, raise_errors: bool) -> Verdict:
        return _judged(self._checked(source, explain)) if raise_errors else self._recorded(source, explain)

    def _check_several(
        self, sources: Iterable[Source], explain: bool, *, raise_errors: bool
    ) -> list[Verdict]:
        def check(source: Source) -> Verdict:
            return self._check_one(source, explain, raise_errors=raise_errors)

        return list(_in_order(check, sources, AT_ONCE))

    def _recorded(self, source: Source, explain: bool) -> Verdict:
        """The verdict on a picture; whatever fails is its record."""
        from pixelsleuth.pictures.images import source_name

        try:
            return self._checked(source, explain)
        except PixelSleuthError as error:
            return Verdict.failed(source_name(source), error, self.model)

    def _checked(self, source: Source, explain: bool) -> Verdict:
        """The service's verdict on a picture, its refusal included. Raises PixelSleuthError where there is none."""
        parcel = parcel_of(source, self.max_megapixels)
        if parcel.picture is None:
            return self._send(parcel, explain)
        with examined(self.examiner, [parcel.picture]) as beside:
            verdict = self._send(parcel, explain)
            beside.attach(verdict, parcel.picture)
        return verdict

    def _send(self, parcel: Parcel, explain: bool) -> Verdict:
        # What our own PNG says by itself is not what the picture's file says.
        evidence = self.examiner is not None and parcel.picture is None
        switches = {"explain": explain, "evidence": evidence}
        parameters = {name: str(value).lower() for name, value in switches.items()} | {"mask": "rle"}
        record = self._exchange.check(parcel.data, self._parameters | parameters)
        try:
            return verdict_of(record, parcel)
        except (ValueError, KeyError, TypeError, AttributeError, PixelSleuthError) as error:
            raise EndpointError(
                f"{self.url} answers with no verdict ({shortened(str(error)) or type(error).__name__}): "
                "check that it has the same version of PixelSleuth."
            ) from None

    def _served(self, name: str | None) -> dict[str, Any]:
        """What the service says of one of its models, of its default where `name` is None."""
        models = self._exchange.models()
        try:
            by_name = {str(model["name"]): model for model in models if model["model"]["name"] is not None}
            default = next((model for model in models if model.get("default")), models[0])
            chosen: dict[str, Any] | None = default if name is None else by_name.get(name)
        except (KeyError, TypeError, AttributeError):
            raise EndpointError(f"{self.url} does not list models as a PixelSleuth service does.") from None
        if chosen is None:
            raise UnknownModel(f"{self.url} has no model {name!r}{suggestion(str(name), by_name)}.")
        return chosen


def _address(url: str) -> str:
    """An address without the slash at its end. Raises UsageError."""
    check_address(url, "http://127.0.0.1:8000")
    parts = urlsplit(url)
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            f"{url!r} is more than the address of a service: write one such as http://127.0.0.1:8000; "
            f"a key stands in {KEY_FROM}."
        )
    return url.rstrip("/")


def _judged(verdict: Verdict) -> Verdict:
    """The verdict itself. Raises its error where it has one."""
    if verdict.error is not None:
        raise error_of(verdict.error)
    return verdict


def _in_order(call: Callable[[Any], Verdict], entries: Iterable[Any], at_once: int) -> Iterator[Verdict]:
    """The results of `call` in the order of `entries`, of which at most `at_once` are under way.

    Ctrl-C does not wait for those that are.
    """
    if at_once == 1:
        yield from map(call, entries)
        return
    running: deque[Future[Verdict]] = deque()
    for entry in entries:
        if len(running) == at_once:
            yield running.popleft().result()
        running.append(begun(partial(call, entry)))
    while running:
        yield running.popleft().result()


def load(name: str, device: str = "auto", precision: str = "auto") -> Client:
    """The detector of `http://HOST` or `http://HOST#MODEL`.

    Raises:
        UsageError: a device or precision was asked for, which is the service's to choose. Also what `Client` raises.
    """
    if precision != "auto" or device == "cuda":
        raise UsageError("A service runs its models where it is: leave --device and --precision out.")
    url, _, model = name.partition("#")
    return Client(url, model=model or None)
