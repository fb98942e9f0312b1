"""Small ICC profiles made from numbers, so that no third-party profile is needed. Source: ICC.1:2001-04."""

import importlib.util
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def profiles() -> SimpleNamespace:
    """Profiles as bytes: `rgb` far from sRGB, `grey` linear, `cmyk` where any ink prints mid grey."""
    return SimpleNamespace(rgb=_rgb(), grey=_grey(), cmyk=_cmyk())


def _rgb() -> bytes:
    primaries = {
        b"rXYZ": (0.7977, 0.2880, 0.0),
        b"gXYZ": (0.1352, 0.7119, 0.0),
        b"bXYZ": (0.0313, 0.0001, 0.8249),
    }
    tags = {tag: b"XYZ \0\0\0\0" + b"".join(_fixed(value) for value in xyz) for tag, xyz in primaries.items()}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(1.8)))


def _grey() -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(1.0)})


def _cmyk() -> bytes:
    identity = bytes(range(256))
    nodes = b"".join(bytes([255 if node == 0 else 128, 128, 128]) for node in range(16))
    matrix = b"".join(_fixed(1.0 if i % 4 == 0 else 0.0) for i in range(9))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + identity * 4 + nodes + identity * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def _gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"Test\0"
    white = _fixed(0.9642) + _fixed(1.0) + _fixed(0.8249)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(12 + 67),
        b"wtpt": b"XYZ \0\0\0\0" + white,
        b"cprt": b"text\0\0\0\0none\0",
    } | tags
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, value in tags.items():
        table += tag + struct.pack(">II", offset + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", offset + len(body), b"", 0x02200000, kind, space, connection, b"", b"acsp"
    )
    head = head.ljust(68, b"\0") + white
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


@pytest.fixture(scope="session")
def write_tiff():
    """The writer of TIFF files of any layout, `fakes/tiffs.py`."""
    spec = importlib.util.spec_from_file_location("tiffs", Path(__file__).parents[1] / "fakes" / "tiffs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.tiff
