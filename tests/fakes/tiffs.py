"""Writes TIFF files of any layout, so that tests need no file and no library of somebody else's."""

from __future__ import annotations

import struct
import zlib

import numpy as np

NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773


def tiff(
    samples,
    *,
    photometric,
    bits,
    order="<",
    big=False,
    planar=1,
    compression=NONE,
    sample_format=1,
    extra=(),
    fill=1,
    predictor=1,
    rows=16,
    tile=None,
    tags=None,
    shorten=None,
):
    """Bytes of a TIFF whose pixels are `samples` (H, W, S), integers of `bits` bits or floats.

    `tile` is (width, height) of tiles in place of strips of `rows` rows. `tags` adds or replaces entries
    {tag: (type, values)}. `shorten(pieces)` may drop or cut the encoded strips before they are written.
    """
    samples = samples if samples.ndim == 3 else samples[..., None]
    height, width, count = samples.shape
    planes = [samples] if planar == 1 else [samples[..., i : i + 1] for i in range(count)]
    across, down = tile or (width, rows)
    pieces = []
    for plane in planes:
        for y in range(0, height, down):
            for x in range(0, width, across):
                part = plane[y : y + down, x : x + across]
                if tile:
                    part = np.pad(part, ((0, down - part.shape[0]), (0, across - part.shape[1]), (0, 0)))
                pieces.append(_encoded(_packed(_raw(part, bits, order, predictor), compression), fill))
    if shorten:
        pieces = shorten(pieces)
    entries = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * count),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        266: ("H", [fill]),
        277: ("H", [count]),
        284: ("H", [planar]),
        317: ("H", [predictor]),
        339: ("H", [sample_format] * count),
    }
    if extra:
        entries[338] = ("H", list(extra))
    where, sizes = [], []
    body = bytearray()
    start = 16 if big else 8
    for piece in pieces:
        where.append(start + len(body))
        sizes.append(len(piece))
        body += piece + bytes(len(piece) % 2)
    entries |= {322: ("I", [across]), 323: ("I", [down])} if tile else {278: ("I", [down])}
    entries |= {324 if tile else 273: ("I", where), 325 if tile else 279: ("I", sizes)}
    entries |= tags or {}
    return _file(entries, body, order, big)


def _raw(part, bits, order, predictor):
    if predictor == 2:
        part = part.astype(np.uint64)
        before = np.pad(part, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        part = (part - before) & np.uint64((1 << bits) - 1)
    if part.dtype.kind == "f":
        return part.astype(f"{order}f{bits // 8}").tobytes()
    if bits in (8, 16, 32, 64):
        return part.astype(np.int64).astype(f"{order}{'i' if part.min() < 0 else 'u'}{bits // 8}").tobytes()
    flat = part.reshape(part.shape[0], -1).astype(np.uint32)
    each = (flat[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint32)) & 1
    return np.packbits(each.reshape(part.shape[0], -1).astype(np.uint8), axis=1).tobytes()


def _encoded(raw, fill):
    if fill == 1:
        return raw
    return bytes(int(f"{byte:08b}"[::-1], 2) for byte in raw)


def _packed(raw, compression):
    if compression == DEFLATE:
        return zlib.compress(raw)
    if compression == PACKBITS:
        return b"".join(
            bytes([len(raw[i : i + 128]) - 1]) + raw[i : i + 128] for i in range(0, len(raw), 128)
        )
    if compression == LZW:
        return _lzw(raw)
    return raw


def _lzw(raw):
    """LZW as TIFF has it, without a single entry of the table: a clear code after every 200 bytes."""
    codes = []
    for at in range(0, len(raw), 200):
        codes += [256, *raw[at : at + 200]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _file(entries, body, order, big):
    sizes = {"B": 1, "H": 2, "I": 4, "Q": 8, "s": 1}
    kinds = {"B": 1, "H": 3, "I": 4, "Q": 16, "s": 7}
    start = 16 if big else 8
    at = start + len(body)
    word, inline, entry = ("Q", 8, 20) if big else ("I", 4, 12)
    table_size = (8 if big else 2) + entry * len(entries) + inline
    later, table = bytearray(), bytearray(struct.pack(order + ("Q" if big else "H"), len(entries)))
    for tag in sorted(entries):
        kind, values = entries[tag]
        value = values if kind == "s" else struct.pack(f"{order}{len(values)}{kind}", *values)
        table += struct.pack(order + "HH" + word, tag, kinds[kind], len(value) // sizes[kind])
        if len(value) <= inline:
            table += value.ljust(inline, b"\0")
        else:
            table += struct.pack(order + word, at + table_size + len(later))
            later += value + bytes(len(value) % 2)
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at)
    return mark + head + bytes(body) + bytes(table) + bytes(inline) + bytes(later)
