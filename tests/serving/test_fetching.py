"""Fetching by address, against a resolver and servers of our own that try each trick. The network of the tests leads
public addresses to local ports; every check of addresses is the real one."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import functools
import io
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx2", reason="httpx2 speaks HTTP: run `make setup`")

import httpcore2

from pixelsleuth.errors import FetchError, FetchRefused, FetchTimeout, PictureTooLarge
from pixelsleuth.serving import fetching
from pixelsleuth.serving.addresses import LONGEST_URL, is_public

PUBLIC, OTHER = "93.184.216.34", "8.8.8.8"
LIMIT = 100_000
PICTURE = b"\xff\xd8 a picture"
Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def plain(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> Answer:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        size = len(body) if length is None else length
        head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers])
        writer.write(head.encode() + b"\r\n\r\n" + body)

    return answer


def redirect(location: str, status: str = "302 Found") -> Answer:
    return plain(b"", f"Location: {location}", status=status)


@dataclasses.dataclass
class Web(httpcore2.AsyncNetworkBackend):
    """A small internet: `names` resolve (each answer is used once, the last one again), `sites` answer by path.

    `asked` are the requests as they came, `connected` the addresses that a connection was opened to.
    """

    names: dict[str, list[list[str]]] = dataclasses.field(default_factory=dict)
    sites: dict[str, Answer] = dataclasses.field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    dead: tuple[str, ...] = ()
    asked: list[bytes] = dataclasses.field(default_factory=list)
    connected: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    looked_up: list[str] = dataclasses.field(default_factory=list)
    open: int = 0

    async def resolve(self, host: str) -> list[str]:
        self.looked_up.append(host)
        answers = self.names.get(host)
        if answers is None:
            raise OSError("Name or service not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect_tcp(self, host: str, port: int, *_: object) -> httpcore2.AsyncNetworkStream:  # type: ignore[override]
        assert is_public(ip_address(host)), f"a connection to {host}"
        self.connected.append((host, port))
        if host in self.dead:
            raise httpcore2.ConnectError(f"{host} refused")
        local = self.secure if port in (443, 8443) else self.clear
        return await httpcore2.AnyIOBackend().connect_tcp("127.0.0.1", local)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(request)
            await self.sites[request.split()[1].decode()](request, writer)
            await writer.drain()
        except OSError:
            pass  # the fetch broke off, as many are meant to
        finally:
            self.open -= 1
            writer.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        servers = [await asyncio.start_server(self._serve, "127.0.0.1", 0)]
        if self.tls is not None:
            servers.append(await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls))
        self.clear, self.secure = (server.sockets[0].getsockname()[1] for server in (servers[0], servers[-1]))
        try:
            yield
        finally:
            for server in servers:
                server.close()

    def fetch(
        self, url: str, *, limit: int = LIMIT, seconds: float = 5.0, tls: ssl.SSLContext | None = None
    ) -> bytes:
        async def run() -> bytes:
            async with self.running():
                return await fetching.fetch(
                    url, max_bytes=limit, total_seconds=seconds, resolver=self.resolve, network=self, tls=tls
                )

        return asyncio.run(run())


def web(answer: Answer = plain(PICTURE), **sites: Answer) -> Web:  # noqa: B008
    """One host, `example.org`, that answers at / and at the named paths."""
    paths = {"/": answer} | {f"/{name}": site for name, site in sites.items()}
    return Web({"example.org": [[PUBLIC]]}, paths)


def test_a_picture_is_fetched_with_the_hosts_name_and_nothing_of_ours() -> None:
    net = web(**{"a.jpg?x=1": plain(PICTURE)})
    assert net.fetch("http://example.org:8080/a.jpg?x=1#part") == PICTURE
    (request,) = net.asked
    lines = request.decode().lower().split("\r\n")
    assert lines[0] == "get /a.jpg?x=1 http/1.1"
    assert "host: example.org:8080" in lines
    assert "accept-encoding: identity" in lines
    assert "connection: close" in lines
    assert not [line for line in lines if line.startswith(("cookie", "authorization", "referer", "proxy"))]
    assert net.connected == [(PUBLIC, 8080)]
    assert net.looked_up == ["example.org"]


def test_a_proxy_from_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert web().fetch("http://example.org") == PICTURE


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.org", "//example.org/", "http://", "http:///a", "http://[::1", "http://exa mple.org"),
        *("file:///etc/passwd", "ftp://example.org/", "gopher://example.org/", "data:image/png;base64,AA"),
        *("http://user@example.org/", "http://user:word@example.org/", "http://example.org:80@127.0.0.1/"),
        *("http://example.org:22/", "http://example.org:0/", "http://example.org:65616/", "https://a.org:25"),
        *("http://2130706433/", "http://0x7f000001/", "http://017700000001/", "http://0177.0.0.1/"),
        *("http://0x7f.0.0.1/", "http://127.1/", "http://127.0.0.1./", "http://127.0.0.0x1/", "http://1.2.3/"),
        *("http://localhost/", "http://intranet/", "http://example.org./", "http://%31%32%37.0.0.1/"),
        *("http://\uff11\uff12\uff17.0.0.1/", "http://127\u30020\u30020\u30021/"),
        *("http://ex\tample.org/", "http://example.org\r\nX: y/"),
        *("http://example.org\\@127.0.0.1/", "http://127.0.0.1\\.example.org/", "http://a..org/", "http://-.-/"),
        *("http://[fe80::1%25eth0]/", "http://[v1.x]/", f"http://example.org/{'a' * LONGEST_URL}"),
        f"http://{'a.' * 130}org/",
    ],
)  # fmt: skip
def test_an_address_that_is_no_plain_public_web_address_is_refused_before_anything_is_asked(url: str) -> None:
    net = web()
    with pytest.raises(FetchRefused):
        net.fetch(url)
    assert net.looked_up == []
    assert net.connected == []


NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
    *("168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1"),
    *("192.88.99.1", "192.168.1.1", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.7"),
    *("203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808"),
    *("64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1"),
    *("2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "2620:4f:8000::1", "3fff::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "fe80::1%eth0"),
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_as_a_host_and_as_what_a_name_resolves_to(
    address: str,
) -> None:
    net = Web({"inside.example.org": [[address]], "mixed.example.org": [[PUBLIC, address]]})
    host = f"[{address}]" if ":" in address else address
    for url in (f"http://{host}/", "http://inside.example.org/", "https://mixed.example.org/"):
        with pytest.raises(FetchRefused) as refusal:
            net.fetch(url)
        assert address not in str(refusal.value).replace(f"{address} has no public", "")
    assert net.connected == []


@pytest.mark.parametrize(
    "address", [PUBLIC, "1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00::1"]
)
def test_a_public_address_is_asked(address: str) -> None:
    net = web()
    host = f"[{address}]" if ":" in address else address
    assert net.fetch(f"http://{host}/") == PICTURE
    assert net.connected == [(address, 80)]
    assert net.looked_up == []
    assert f"Host: {host}\r\n".encode() in net.asked[0]


def test_a_name_that_does_not_exist_and_one_of_the_local_network_get_the_same_answer() -> None:
    net = Web({"a.example.org": [["10.0.0.7"]], "c.example.org": [[]], "d.example.org": [["nonsense"]]})
    sentences = set()
    for name in ("a", "b", "c", "d"):
        with pytest.raises(FetchRefused) as refusal:
            net.fetch(f"http://{name}.example.org/")
        sentences.add((refusal.value.code, str(refusal.value).replace(f"{name}.example.org", "HOST")))
    assert len(sentences) == 1
    assert "10.0.0.7" not in str(sentences)


def test_a_name_that_changes_its_address_after_the_check_is_not_followed_there() -> None:
    net = web(again=redirect("http://example.org/"))
    net.names["example.org"] = [[PUBLIC], ["127.0.0.1"]]
    with pytest.raises(FetchRefused):
        net.fetch("http://example.org/again")
    # The first request went to the address that was checked, and the redirect was looked up anew.
    assert net.connected == [(PUBLIC, 80)]
    assert net.looked_up == ["example.org", "example.org"]


def test_the_second_address_is_asked_where_the_first_is_dead() -> None:
    net = web()
    net.names["example.org"], net.dead = [[OTHER, PUBLIC]], (OTHER,)
    assert net.fetch("http://example.org/") == PICTURE
    assert net.connected == [(OTHER, 80), (PUBLIC, 80)]
    net.dead = (OTHER, PUBLIC)
    with pytest.raises(FetchError, match="cannot be reached") as failure:
        net.fetch("http://example.org/")
    assert PUBLIC not in str(failure.value)


@pytest.mark.parametrize(
    "location",
    [
        *("http://127.0.0.1/", "http://[::1]:8080/", "http://[::ffff:127.0.0.1]/", "//10.0.0.1/a", "http://localhost/"),
        *("file:///etc/passwd", "ftp://example.org/", "http://example.org:6379/", "http://user@example.org/"),
        *("http://2130706433/", "http://inside.example.org/", "http://nowhere.example.org/", "https://exa mple.org/"),
        *("http://[", "javascript:alert(1)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", ["301 Moved", "307 Temporary"])
def test_a_redirect_is_checked_like_the_first_address(location: str, status: str) -> None:
    net = web(redirect(location, status))
    net.names["inside.example.org"] = [[PUBLIC, "192.168.0.9"]]
    with pytest.raises(FetchRefused):
        net.fetch("http://example.org/")
    assert net.connected == [(PUBLIC, 80)]


def test_five_redirects_are_followed_and_no_more() -> None:
    hops = {str(n): redirect(f"/{n + 1}" if n % 2 else f"http://other.org:8080/{n + 1}") for n in range(5)}
    net = web(**hops, **{"5": plain(PICTURE)})
    net.names["other.org"] = [[OTHER]]
    assert net.fetch("http://example.org/0") == PICTURE
    assert len(net.connected) == 6
    net = web(redirect("/"))
    with pytest.raises(FetchRefused, match="more than 5 times"):
        net.fetch("http://example.org/")
    assert len(net.connected) == 6


async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(bytes(1 << 14))
        await writer.drain()


async def endless_pieces(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"64\r\n" + bytes(100) + b"\r\n")
        await writer.drain()


async def endless_head(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def endless_promises(_: bytes, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def slow(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silent(*_: object) -> None:
    await asyncio.sleep(30)


async def no_http(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")


async def nothing(*_: object) -> None: ...


@pytest.mark.parametrize(
    "answer, error",
    [
        (endless, PictureTooLarge),
        (endless_pieces, PictureTooLarge),
        (plain(bytes(LIMIT + 1)), PictureTooLarge),
        (plain(b"", length=LIMIT + 1), PictureTooLarge),
        (plain(b"", length=10**18), PictureTooLarge),
        (endless_head, FetchError),
        (endless_promises, FetchTimeout),
        (slow, FetchTimeout),
        (silent, FetchTimeout),
        (no_http, FetchError),
        (nothing, FetchError),
        (plain(PICTURE, length=len(PICTURE) + 5), FetchError),
        (plain(PICTURE, "Content-Length: 3"), FetchError),
        (plain(PICTURE, "Content-Encoding: gzip"), FetchError),
        (plain(PICTURE, "Content-Encoding: br"), FetchError),
        (plain(PICTURE, "Transfer-Encoding: gzip, chunked"), FetchError),
        (plain(PICTURE, status="404 Not Found"), FetchError),
        (plain(PICTURE, status="206 Partial Content"), FetchError),
        (plain(PICTURE, status="304 Not Modified"), FetchError),
        (plain(PICTURE, status="302 Found"), FetchError),
    ],
)  # fmt: skip
def test_a_hostile_answer_costs_bounded_time_and_memory_and_gives_one_sentence(
    answer: Answer, error: type[Exception]
) -> None:
    with pytest.raises(error) as failure:
        web(answer).fetch("http://example.org/", seconds=0.4 if error is FetchTimeout else 30)
    assert type(failure.value) is error
    assert str(failure.value).count(".") <= 3
    assert PUBLIC not in str(failure.value)


def test_an_answer_of_exactly_the_limit_and_one_that_ends_with_the_connection_are_read() -> None:
    async def until_closed(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Encoding: identity\r\n\r\n" + PICTURE)

    assert web(plain(bytes(LIMIT))).fetch("http://example.org/") == bytes(LIMIT)
    assert web(until_closed).fetch("http://example.org/") == PICTURE
    # What follows a declared length is not part of the picture.
    assert web(plain(PICTURE + b"more", length=len(PICTURE))).fetch("http://example.org/") == PICTURE


def test_the_time_counts_for_all_redirects_together() -> None:
    async def late(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        await redirect("/")(b"", writer)

    with pytest.raises(FetchTimeout):
        web(late).fetch("http://example.org/", seconds=0.4)


def test_a_name_server_that_does_not_answer_ends_the_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: str) -> list[str]:
        await asyncio.sleep(30)
        return [PUBLIC]

    monkeypatch.setattr(fetching, "DNS_SECONDS", 0.05)
    with pytest.raises(FetchTimeout, match="looked up"):
        asyncio.run(fetching.fetch("http://example.org/", max_bytes=LIMIT, resolver=hang))
    with pytest.raises(FetchTimeout, match="did not arrive"):
        asyncio.run(fetching.fetch("http://example.org/", max_bytes=LIMIT, total_seconds=0.02, resolver=hang))


def test_the_connection_is_closed_afterwards() -> None:
    async def run(net: Web) -> None:
        async with net.running():
            for path in ("", "slow", "endless"):
                with contextlib.suppress(FetchError, PictureTooLarge):
                    await fetching.fetch(
                        f"http://example.org/{path}",
                        max_bytes=LIMIT,
                        total_seconds=0.2,
                        resolver=net.resolve,
                        network=net,
                    )
            for _ in range(100):
                await asyncio.sleep(0.02)
                if net.open == 0:
                    return
            raise AssertionError(f"{net.open} connections stay open")

    asyncio.run(run(web(slow=slow, endless=endless)))


def test_the_systems_resolver_is_asked_and_what_it_says_is_checked() -> None:
    assert "127.0.0.1" in asyncio.run(fetching.resolve("localhost"))
    with pytest.raises(FetchRefused, match="no public address"):
        asyncio.run(fetching.fetch("http://127.0.0.1/", max_bytes=LIMIT))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for example.org, with its key, in one file."""
    pytest.importorskip("cryptography", reason="cryptography makes the certificate: run `make setup`")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.org")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("example.org")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "example.org.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_https_checks_the_certificate_against_the_name_and_sends_the_name(certificate: Path) -> None:
    names: list[str | None] = []
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)
    served.sni_callback = lambda _, name, __: names.append(name)
    trusted = ssl.create_default_context(cafile=str(certificate))

    net = web()
    net.tls = served
    net.names["example.com"] = [[PUBLIC]]
    assert net.fetch("https://example.org/", tls=trusted) == PICTURE
    assert names == ["example.org"]
    assert net.connected == [(PUBLIC, 443)]
    for url, context in (
        ("https://example.com/", trusted),  # another name than the certificate's
        (f"https://{PUBLIC}/", trusted),  # the address is none of its names
        ("https://example.org:8443/", None),  # signed by nobody that the system trusts
    ):
        with pytest.raises(FetchError, match="no valid certificate"):
            net.fetch(url, tls=context)
    assert len(net.asked) == 1


@pytest.fixture(scope="module")
def service() -> Iterator[Any]:
    """The service in this process, with a stand-in detector and --allow-fetch; no port is opened."""
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from pixelsleuth.models import registry
    from pixelsleuth.serving.service import Service
    from pixelsleuth.serving.settings import ServeOptions

    ready = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "fakes"))
        patch.setattr(registry, "_SPECS", dict(registry._SPECS))
        registry.register(registry.ModelSpec("fake", "fake_detector:load", "For tests."))
        service = Service(
            ServeOptions(models=("fake",), decoders=1, allow_fetch=True, max_bytes=LIMIT, keep=0)
        )
        service.start(failed=ready.set)
        for _ in range(600):
            if service.ready or ready.wait(0.1):
                break
        assert service.ready, service.failure
        yield service
        service.close()


def test_the_service_judges_the_picture_at_an_address(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2
    from PIL import Image

    from pixelsleuth.serving import named
    from pixelsleuth.serving.app import make_app

    encoded = io.BytesIO()
    Image.new("RGB", (60, 40), (90, 90, 90)).save(encoded, "PNG")
    net = web(
        plain(encoded.getvalue()),
        away=redirect("http://169.254.169.254/latest/meta-data/"),
        large=plain(bytes(LIMIT + 1)),
        text=plain(b"hello"),
    )
    fetch = functools.partial(fetching.fetch, resolver=net.resolve, network=net)
    monkeypatch.setattr(named, "fetch", fetch)

    async def ask(*bodies: bytes) -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(make_app(service))
        async with (
            net.running(),
            httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            headers = {"Content-Type": "application/json"}
            return [
                await client.post("/v1/check?evidence=false", content=body, headers=headers)
                for body in bodies
            ]

    good, *refused = asyncio.run(
        ask(
            b'{"url": "http://example.org"}',
            *(b'{"url": "http://example.org/%s"}' % name for name in (b"away", b"large", b"text")),
            *(b'{"url": "http://127.0.0.1/"}', b'{"url": "file:///etc/passwd"}'),
            *(b'{"url": 3}', b"[]", b"nonsense", b'{"url": "http://example.org", "more": 1}'),
        )
    )
    assert good.status_code == 200
    assert good.json()["source"] == "http://example.org"
    assert good.json()["label"] == "full_synthetic"
    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [
        (422, "fetch_refused"),
        (422, "picture_too_large"),
        (422, "not_a_picture"),
        (422, "fetch_refused"),
        (422, "fetch_refused"),
        *[(400, "bad_request")] * 4,
    ]
    assert all(address == PUBLIC for address, _ in net.connected)


def test_a_service_fetches_nothing_unless_it_was_started_so(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx2

    from pixelsleuth.serving.app import make_app

    monkeypatch.setattr(service, "options", dataclasses.replace(service.options, allow_fetch=False))

    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(make_app(service))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/v1/models")).json()["fetch"] is False
            return await client.post("/v1/check", json={"url": "http://example.org/"})

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert "--allow-fetch" in answer.json()["detail"]
