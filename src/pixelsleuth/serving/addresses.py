"""Which addresses a server may fetch from: web addresses that name a public host, and public IP addresses.

Sources: the special-purpose registries of IANA (RFC 6890 and its successors) and the documents named beside the blocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx2

from pixelsleuth.errors import FetchRefused

PORTS = frozenset({80, 443, 8080, 8443})
"""The ports of web servers; others belong to mail, databases and consoles."""
LONGEST_URL = 2048
"""Characters of an address."""
LONGEST_HOST = 253
"""Characters of a host name (RFC 1035, section 2.3.4, without the dots at its ends)."""
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
"""A full host name. Its last label begins with a letter: `2130706433`, `0x7f.1` and `127.1`, which some resolvers read
as IPv4 addresses, are none, and neither is a name without a dot, which stands for a host of the local network."""

_NOT_PUBLIC_4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by carriers' address translation
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # public by its number; in Azure it is the platform's own, which gives out secrets
            "169.254.0.0/16",  # link-local; cloud metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_UNICAST_6 = ip_network("2000::/3")
"""The only block of IPv6 from which public addresses are given out. Outside it lie loopback, private, link-local and
multicast addresses, IPv4-mapped ones (`::ffff:0:0/96`) and NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`)."""
_NOT_PUBLIC_6 = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # protocol assignments; Teredo, which carries an IPv4 address
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which carries an IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation (RFC 9637)
        ),
    )
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """True for a unicast address of the public internet.

    An IPv6 address that carries an IPv4 address (mapped, NAT64, 6to4, Teredo) is never public: where it leads depends
    on the network that translates it.

    >>> [is_public(ip_address(text)) for text in ("93.184.216.34", "127.0.0.1", "::ffff:93.184.216.34")]
    [True, False, False]
    """
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in block for block in _NOT_PUBLIC_4)
    return (
        address.is_global
        and address.scope_id is None
        and address in _UNICAST_6
        and not any(address in block for block in _NOT_PUBLIC_6)
    )


@dataclass(frozen=True)
class Target:
    """An address that may be asked for once the addresses of its host were checked.

    `literal` is the host's IP address where the host is no name.
    """

    url: httpx2.URL
    host: str
    port: int
    literal: str | None

    @classmethod
    def parse(cls, url: str | httpx2.URL) -> Target:
        """Read an address. Raises FetchRefused for one that is not fetched, whatever its host resolves to.

        >>> Target.parse("https://example.org/a.jpg").port
        443
        """
        try:
            parts = httpx2.URL(url)
        except (httpx2.InvalidURL, ValueError):
            raise _refused("It is no web address that can be read") from None
        if len(str(parts)) > LONGEST_URL:
            raise _refused(f"It has more than {LONGEST_URL} characters")
        if parts.scheme not in ("http", "https"):
            raise _refused("Only http and https addresses are fetched")
        if parts.userinfo:
            raise _refused("An address with a user name or a password is not fetched")
        port = {"http": 80, "https": 443}[parts.scheme] if parts.port is None else parts.port
        if port not in PORTS:
            known = ", ".join(map(str, sorted(PORTS)))
            raise _refused(f"Only web servers at the ports {known} are asked")
        host = parts.raw_host.decode("ascii")
        try:
            literal = str(ip_address(host))
        except ValueError:
            literal = None
            if len(host) > LONGEST_HOST or _HOST.fullmatch(host) is None:
                raise _refused("Its host is neither a full name nor a plain IP address") from None
        return cls(parts, host, port, literal)

    def join(self, location: str) -> Target:
        """The target of a redirect from here. Raises FetchRefused."""
        try:
            return Target.parse(self.url.join(location))
        except httpx2.InvalidURL:
            raise _refused("It leads on to no web address that can be read") from None


def _refused(why: str) -> FetchRefused:
    return FetchRefused(f"The picture's address is refused: {why[0].lower()}{why[1:]}; upload the picture.")
