"""Manifest stores as a stranger may write them, box by box, in a PNG.

JUMBF (ISO 19566-5): a box is its length, its type and its content; a superbox `jumb` begins with a description `jumd`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from .signing import plain_picture

PNG_START = 33
"""Bytes of a PNG up to the end of its header chunk."""


def box(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    """A box; `length` is the one that it claims."""
    return struct.pack(">I", len(content) + 8 if length is None else length) + kind + content


def superbox(kind: bytes, label: bytes, *inside: bytes, length: int | None = None) -> bytes:
    """A superbox with its description."""
    return box(b"jumb", described(kind, label) + b"".join(inside), length)


def described(kind: bytes, label: bytes) -> bytes:
    return box(b"jumd", kind + bytes.fromhex("00110010800000aa00389b71") + b"\x03" + label + b"\0")


def store(*manifests: bytes) -> bytes:
    return superbox(b"c2pa", b"c2pa", *manifests)


def manifest(label: bytes, *assertions: bytes, claim: bytes = b"\xa0") -> bytes:
    """A manifest with a claim (CBOR) and a signature that signs nothing."""
    return superbox(
        b"c2ma",
        label,
        superbox(b"c2as", b"c2pa.assertions", *assertions),
        superbox(b"c2cl", b"c2pa.claim.v2", box(b"cbor", claim)),
        superbox(b"c2cs", b"c2pa.signature", box(b"cbor", b"\xa0")),
    )


def assertion(label: bytes, content: bytes) -> bytes:
    return superbox(b"cbor", label, box(b"cbor", content))


def nested(depth: int) -> bytes:
    """Superboxes inside each other."""
    description = described(b"c2ma", b"a")
    step = 8 + len(description)
    return b"".join(
        struct.pack(">I", (depth - level) * step) + b"jumb" + description for level in range(depth)
    )


def png_with(content: bytes) -> bytes:
    """A PNG with `content` as its manifest store (chunk `caBX`)."""
    plain = plain_picture(kind="PNG")
    checksum = struct.pack(">I", zlib.crc32(b"caBX" + content))
    chunk = struct.pack(">I", len(content)) + b"caBX" + content + checksum
    return plain[:PNG_START] + chunk + plain[PNG_START:]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing inside": store,
    "boxes 100,000 deep": lambda: store(nested(100_000)),
    "a box of 4 GiB": lambda: store(superbox(b"c2ma", b"a", length=0xFFFFFFF0)),
    "a box of 2^62 bytes": lambda: store(
        struct.pack(">I", 1) + b"jumb" + struct.pack(">Q", 1 << 62) + described(b"c2ma", b"a")
    ),
    "a box of no length": lambda: store(superbox(b"c2ma", b"a", length=0)),
    "a box shorter than its head": lambda: store(superbox(b"c2ma", b"a", length=3)),
    "a cut store": lambda: store(manifest(b"urn:c2pa:1"))[:-40],
    "CBOR a million deep in the claim": lambda: store(
        manifest(b"urn:c2pa:1", claim=b"\x81" * 1_000_000 + b"\0")
    ),
    "CBOR a million deep in an assertion": lambda: store(
        manifest(b"urn:c2pa:1", assertion(b"c2pa.actions.v2", b"\x81" * 1_000_000 + b"\0"))
    ),
    "a CBOR list of 2^40 entries": lambda: store(
        manifest(b"urn:c2pa:1", claim=b"\x9b" + struct.pack(">Q", 1 << 40))
    ),
    "CBOR bytes of 2^62": lambda: store(manifest(b"urn:c2pa:1", claim=b"\x5b" + struct.pack(">Q", 1 << 62))),
    "broken CBOR": lambda: store(manifest(b"urn:c2pa:1", claim=b"\xff\xfe\x1c")),
    "10,000 manifests": lambda: store(*(manifest(b"urn:c2pa:%d" % number) for number in range(10_000))),
    "20,000 assertions": lambda: store(
        manifest(b"urn:c2pa:1", *(assertion(b"a%d" % number, b"\xa0") for number in range(20_000)))
    ),
    "a label of 5 MB": lambda: store(manifest(b"<b>" + b"x" * 5_000_000)),
}
"""What is wrong -> the store."""
