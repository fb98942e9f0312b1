"""Fetches a picture that a client names by its address, without becoming the client's arm into the local network.

A host is resolved once; where any of its addresses is not public it is refused, else the connection goes to the
checked addresses and to no other: a name that resolves differently the next time changes nothing. Host header, SNI and
the certificate stay those of the name. Redirects are followed here, each checked like the first address. httpcore2
speaks HTTP; it knows no proxies, no cookies and no compression.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import TypeAlias

import httpcore2

from pixelsleuth._version import __version__
from pixelsleuth.errors import FetchError, FetchRefused, FetchTimeout, PictureTooLarge
from pixelsleuth.serving.addresses import Target, is_public

TOTAL_SECONDS = 10.0
"""For everything: names, connections, redirects and the body."""
DNS_SECONDS = 5.0
"""For the name of one host."""
CONNECT_SECONDS = 3.0
"""For one address of a host; then the next one is tried."""
MOST_ADDRESSES = 4
"""Addresses of a host that are tried."""
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADERS = (
    ("User-Agent", f"pixelsleuth/{__version__}"),
    ("Accept", "image/*"),
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
)

Resolver: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the IP addresses of a host name as texts. Raises OSError where it has none."""


async def fetch(
    url: str,
    *,
    max_bytes: int,
    total_seconds: float = TOTAL_SECONDS,
    resolver: Resolver | None = None,
    network: httpcore2.AsyncNetworkBackend | None = None,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """The bytes at a web address, at most `max_bytes`, within `total_seconds`.

    `resolver`, `network` and `tls` replace name servers, sockets and trusted certificates in tests; the checks stand
    before them and cannot be replaced.

    Raises:
        FetchRefused: the address, or one that it redirects to, may not be fetched. Nothing tells a name that does not
            exist from one that leads into the local network.
        FetchTimeout: it took longer than `total_seconds`. PictureTooLarge: more than `max_bytes`.
        FetchError: no connection, no valid certificate, another status than 200, a compressed or broken answer.
    """
    try:
        async with asyncio.timeout(total_seconds):
            return await _follow(Target.parse(url), max_bytes, resolver or resolve, network, tls)
    except TimeoutError:
        raise FetchTimeout(
            f"The picture did not arrive within {total_seconds:g} seconds; try again, or upload it."
        ) from None


async def resolve(host: str) -> list[str]:
    """The addresses that the system's resolver knows for a host, in its order of preference. Raises OSError."""
    infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in infos]


async def _follow(
    target: Target,
    max_bytes: int,
    resolver: Resolver,
    network: httpcore2.AsyncNetworkBackend | None,
    tls: ssl.SSLContext | None,
) -> bytes:
    for _ in range(MOST_REDIRECTS + 1):
        pinned = _Pinned(await _public_addresses(target, resolver), network or httpcore2.AnyIOBackend())
        url = httpcore2.URL(
            scheme=target.url.raw_scheme,
            host=target.url.raw_host,
            port=target.port,
            target=target.url.raw_path,
        )
        connection = httpcore2.AsyncHTTPConnection(
            url.origin, ssl_context=tls or trusted_certificates(), network_backend=pinned
        )
        headers = [*HEADERS, ("Host", target.url.netloc.decode("ascii"))]
        async with contextlib.aclosing(connection):
            with _explained(target.host):
                async with connection.stream("GET", url, headers=headers) as response:
                    location = _header(response, b"location")
                    if response.status not in REDIRECTS or location is None:
                        return await _body(response, target.host, max_bytes)
        target = target.join(location)
    raise FetchRefused(
        f"The picture's address redirects more than {MOST_REDIRECTS} times; name the last one, or upload the picture."
    )


async def _public_addresses(target: Target, resolver: Resolver) -> list[str]:
    """The addresses of the target's host, each of them public. Raises FetchRefused, FetchTimeout."""
    try:
        async with asyncio.timeout(DNS_SECONDS) as limit:
            texts = [target.literal] if target.literal else await resolver(target.host)
        addresses = [ip_address(text) for text in texts]
    except (OSError, ValueError):
        if limit.expired():
            raise FetchTimeout(
                f"{target.host} could not be looked up within {DNS_SECONDS:g} seconds; try again, or upload it."
            ) from None
        addresses = []
    if not addresses or not all(map(is_public, addresses)):
        raise FetchRefused(
            f"{target.host} has no public address to fetch from; check the address, or upload the picture."
        )
    return list(dict.fromkeys(map(str, addresses)))[:MOST_ADDRESSES]


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were checked, whatever host it is asked for."""

    def __init__(self, addresses: Sequence[str], network: httpcore2.AsyncNetworkBackend) -> None:
        self.addresses, self.network = addresses, network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception | None = None
        for address in self.addresses:
            try:
                return await self.network.connect_tcp(
                    address, port, CONNECT_SECONDS, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore2.ConnectError(host)


async def _body(response: httpcore2.Response, host: str, max_bytes: int) -> bytes:
    """The body of an answer. Raises FetchError, PictureTooLarge."""
    if response.status != 200:
        raise FetchError(
            f"{host} answers with status {response.status} in place of a picture; check the address."
        )
    encoding = _header(response, b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        raise FetchError(f"{host} compresses its answer, which is not unpacked; upload the picture.")
    length = _header(response, b"content-length")
    if length is not None and length.isdecimal() and int(length) > max_bytes:
        raise _too_large(host, max_bytes)
    data = bytearray()
    async for piece in response.aiter_stream():
        if len(data) + len(piece) > max_bytes:
            raise _too_large(host, max_bytes)
        data += piece
    return bytes(data)


def _too_large(host: str, max_bytes: int) -> PictureTooLarge:
    return PictureTooLarge(
        f"{host} sends more than the limit of {max_bytes:,} bytes; upload a smaller picture."
    )


def _header(response: httpcore2.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


@functools.lru_cache(maxsize=1)
def trusted_certificates() -> ssl.SSLContext:
    """The system's certificates; read once, since that takes long."""
    return httpcore2.default_ssl_context()


@contextlib.contextmanager
def _explained(host: str) -> Iterator[None]:
    """Turn the errors of httpcore2 into FetchError; what they say may name addresses, so that none of it is passed on.
    Time-outs of the whole pass."""
    try:
        yield
    except httpcore2.ConnectError as error:
        if isinstance(error.__cause__, ssl.SSLError) or isinstance(error.__context__, ssl.SSLError):
            raise FetchError(f"{host} shows no valid certificate for its name; upload the picture.") from None
        raise FetchError(f"{host} cannot be reached; check the address, or try again.") from None
    except httpcore2.TimeoutException:
        raise FetchError(f"{host} cannot be reached; check the address, or try again.") from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError):
        raise FetchError(
            f"{host} breaks off, or does not speak HTTP; try again, or upload the picture."
        ) from None
