"""How often sound Content Credentials are called broken: authentic pictures, signed here, read back, and after changes.

    python benchmarks/credentials.py ../shared/corpus/manifest.csv --split eval
    python benchmarks/credentials.py --assertions 5000

No corpus holds signed authentic pictures: every one is signed with a certificate made for the run, as it is and as PNG
and WebP, and read with that certificate's root as the trust list. Then the signed JPEG is changed as platforms and
programs do, none of which touches what the picture shows. Prints a Markdown table: pictures by state of the finding.
`--assertions`: signs one picture with so many assertions, instead, and prints the time that the library takes for it.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from pixelsleuth.evidence.credentials import credentials_finding
from pixelsleuth.evidence.trust_lists import TrustLists

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.evidence.signing import Authority, action, plain_picture

STATES = ("trusted", "not_recognised", "invalid", "unreadable", "none")
COMMENT = b"\xff\xfe\x00\x09checked"
"""A JPEG comment, as a program that adds metadata leaves it."""


def saved(data: bytes, kind: str, **options: object) -> bytes:
    """The picture in `data`, saved again by Pillow, which keeps no manifest."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").save(stream, kind, **options)
    return stream.getvalue()


def kept(data: bytes) -> bytes:
    """A JPEG saved again whose manifest (APP11) is carried over: what a program does that copies unknown segments."""
    place, segments = 2, b""
    while data[place] == 0xFF and data[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        segments += data[place:end] if data[place + 1] == 0xEB else b""
        place = end
    new = saved(data, "JPEG", quality=85)
    return new[:2] + segments + new[2:]


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "left as it is": lambda data: data,
    "bytes added behind the picture": lambda data: data + b"\0" * 16,
    "a comment added": lambda data: data[:2] + COMMENT + data[2:],
    "saved again, manifest carried over": kept,
    "saved again (quality 85)": lambda data: saved(data, "JPEG", quality=85),
    "saved as PNG": lambda data: saved(data, "PNG"),
}


def print_time(assertions: int) -> None:
    """Print how long the library reads a file with so many assertions, in this process and without limits."""
    import c2pa

    others = [{"label": f"org.example.{number}", "data": {"x": 1}} for number in range(assertions)]
    data = Authority().sign([action("c2pa.created", "digitalCapture")], plain_picture(), others=others)
    begin = time.perf_counter()
    c2pa.Reader("image/jpeg", io.BytesIO(data)).json()
    print(f"{assertions} assertions, {len(data) / 1e6:.1f} MB: {time.perf_counter() - begin:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("--split")
    parser.add_argument("--most", type=int, help="only so many pictures")
    parser.add_argument("--assertions", type=int)
    arguments = parser.parse_args()
    if arguments.assertions:
        print_time(arguments.assertions)
        return
    if arguments.manifest is None:
        parser.error("name a manifest, or --assertions.")
    with arguments.manifest.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == "real"]
    rows = [row for row in rows if arguments.split in (None, row["split"])][: arguments.most]
    authority, captured = Authority(), [action("c2pa.created", "digitalCapture")]
    lists = TrustLists(signers=authority.root)
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def judge(name: str, data: bytes) -> None:
        finding = credentials_finding(memoryview(data), lists)
        counts[name][finding.detail["state"] if finding is not None else "none"] += 1

    for row in rows:
        data = (arguments.manifest.parent / row["path"]).read_bytes()
        signed = authority.sign(captured, data)
        for name, change in CHANGES.items():
            judge(f"JPEG, {name}", change(signed))
        for kind in ("PNG", "WEBP"):
            judge(f"{kind}, left as it is", authority.sign(captured, saved(data, kind)))
    print(f"| {len(rows)} authentic pictures | {' | '.join(STATES)} |\n|---|{'---:|' * len(STATES)}")
    for name, states in counts.items():
        print(f"| {name} | {' | '.join(str(states[state]) for state in STATES)} |")


if __name__ == "__main__":
    main()
