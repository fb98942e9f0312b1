"""Whatever bytes arrive, a parser gives its result or its own error, never another exception.

Properties by hypothesis, for the parsers whose own test files have none. Pictures, C2PA, masks, RLE, names of members,
tar headers, `--where`, recipes, perturbations and the answers of SIDA, FakeVLM and So-Fake-R1 have theirs beside their
other tests.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import tarfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pixelsleuth.errors import PixelSleuthError, UsageError

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose files the examples write over."""
    return tmp_path_factory.mktemp("parsers")


# Tables


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=12)


@FEW
@given(rows=st.lists(st.fixed_dictionaries({"path": CELL, "label": CELL, "a,b": CELL}), max_size=5))
def test_any_cells_come_back_from_a_manifest(place: Path, rows: list[dict[str, str]]) -> None:
    from pixelsleuth.data.tables import open_table

    table = place / "rows.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "label", "a,b"], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    lines = place / "rows.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for path in (table, lines):
        read = [{key: row[key] for key in ("path", "label", "a,b")} for row in open_table(path).rows()]
        assert read == rows


@FEW
@given(
    data=st.binary(max_size=200) | st.text(max_size=120).map(str.encode),
    suffix=st.sampled_from(["csv", "jsonl"]),
)
@example(data=b'{"a": ' + b"[" * 100_000, suffix="jsonl")
@example(data=b'path,label\n"a', suffix="csv")
@example(data=b"a\n" + b'"' + b"x" * 200_000, suffix="csv")
def test_any_bytes_are_a_table_or_refused(place: Path, data: bytes, suffix: str) -> None:
    from pixelsleuth.data.tables import open_table

    path = place / f"any.{suffix}"
    path.write_bytes(data)
    try:
        rows = list(open_table(path).rows())
    except UsageError as error:
        assert str(path) in str(error)
        return
    assert all(row["_where"].startswith(path.name) for row in rows)


@FEW
@given(
    cut=st.integers(0, 10_240),
    edits=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=6),
)
def test_a_damaged_webdataset_gives_rows_or_is_refused(
    place: Path, cut: int, edits: list[tuple[int, int]]
) -> None:
    from pixelsleuth.data.webdataset import open_shards

    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, data in (
            ("a.jpg", b"pixels"),
            ("a.json", b'{"label": "real"}'),
            ("b.jpg", b"more"),
            ("b.cls", b"1"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    raw = bytearray(whole.getvalue()[:cut])
    for where, value in edits:
        if where < len(raw):
            raw[where] = value
    path = place / "a.tar"
    path.write_bytes(raw)
    try:
        rows = list(open_shards([path], place).rows())
    except UsageError:
        return
    assert len(rows) <= 4


@FEW
@given(
    data=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), cut=st.integers(0, 60)
)
def test_any_bytes_are_a_list_of_annotations_or_refused(place: Path, data: bytes, cut: int) -> None:
    pytest.importorskip("ijson")
    from pixelsleuth.data.big_json import items, pairs

    path = place / "annotations.json"
    path.write_bytes(data[:cut])
    for read in (items, pairs):
        reading: Iterator[Any] = read(path)
        try:
            list(reading)
        except UsageError as error:
            assert "damaged" in str(error)


# Records of earlier runs


@FEW
@given(head=JSON, rows=st.lists(JSON, max_size=3), tail=st.binary(max_size=10))
@example(head={"schema": "pixelsleuth.predictions/1"}, rows=[], tail=b"")
def test_any_log_of_predictions_is_read_or_refused(
    place: Path, head: Any, rows: list[Any], tail: bytes
) -> None:
    from pixelsleuth.evaluation.predictions import SCHEMA, read_rows

    path = place / "predictions.jsonl"
    for first in (head, {"schema": SCHEMA}, {"schema": SCHEMA, "run": {}}):
        path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in (first, *rows)) + tail)
        try:
            list(read_rows(path))
        except UsageError as error:
            assert str(path) in str(error)


@FEW
@given(
    changes=st.dictionaries(
        st.sampled_from(["label", "mask", "regions", "probabilities", "width", "evidence"]), JSON
    )
)
def test_any_record_of_an_earlier_run_gives_a_verdict_or_is_refused(changes: dict[str, Any]) -> None:
    from pixelsleuth.checking.resume import _record, _verdict
    from pixelsleuth.core.verdict import Label, Verdict

    whole = Verdict(
        source="a.png",
        sha256="0" * 64,
        width=20,
        height=10,
        probabilities={Label.REAL: 0.5, Label.FULL_SYNTHETIC: 0.25, Label.TAMPERED: 0.25},
        model={"name": "m", "version": "1"},
    ).to_dict()
    record = _record(json.dumps({**whole, **changes}).encode())
    if record is None:
        return
    try:
        assert _verdict(record).source == "a.png"
    except UsageError as error:
        assert "The earlier record of a.png is damaged" in str(error)


# What comes over the network


@FEW
@given(data=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@example(data=b"[" * 100_000)
@example(data=b'{"choices": [{"message": {"content": 1}}], "usage": {"prompt_tokens": "x"}}')
@example(data=b'{"choices": [{"message": {"content": "a"}}], "usage": [1]}')
@example(data=b'{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 1e999}}')
def test_any_answer_of_an_endpoint_is_a_completion_or_refused(data: bytes) -> None:
    from pixelsleuth.core import completion

    for read in (completion.completion, completion.model_names):
        try:
            read(data)
        except ValueError as error:
            assert "something that is no" in str(error)
    assert len(completion.reason(data)) <= completion.MOST_SHOWN + 3


HEADER = st.binary(max_size=30).map(lambda data: data.decode("latin-1"))
"""A header as a server hands it on."""


class Memory:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.data, self.open = b"", True

    def write(self, data: bytes) -> None:
        assert self.open
        self.data += data

    def close(self) -> None:
        self.open = False


def form(files: list[tuple[str, bytes]], boundary: str) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


@FEW
@given(
    files=st.lists(
        st.tuples(st.text("abcé .", min_size=1, max_size=9), st.binary(max_size=80)), min_size=1, max_size=3
    ),
    pieces=st.lists(st.integers(1, 40), min_size=1, max_size=20),
)
def test_the_files_of_a_form_arrive_whole_in_whatever_pieces(
    files: list[tuple[str, bytes]], pieces: list[int]
) -> None:
    pytest.importorskip("python_multipart")
    from pixelsleuth.serving.forms import FormReader

    taken: list[tuple[str | None, Memory]] = []

    def open_sink(name: str | None) -> Memory:
        taken.append((name, Memory()))
        return taken[-1][1]

    reader = FormReader("multipart/form-data; boundary=1f2e3d4c5b6a", open_sink, most=3, limit=1000)
    body, at = form(files, "1f2e3d4c5b6a"), 0
    for size in pieces:
        reader.write(body[at : at + size])
        at += size
    reader.write(body[at:])
    reader.finish()
    assert [(name, sink.data) for name, sink in taken] == [
        (name.strip() or None, data) for name, data in files
    ]
    assert not any(sink.open for _, sink in taken)


@FEW
@given(
    kind=HEADER | HEADER.map("multipart/form-data; boundary={}".format),
    body=st.binary(max_size=200),
    cut=st.integers(0, 150),
)
@example(kind="multipart/form-data; boundary=b", body=b"", cut=150)
def test_any_form_is_read_or_refused(kind: str, body: bytes, cut: int) -> None:
    pytest.importorskip("python_multipart")
    for data in (body, form([("a", body)], "b")[:cut] + body):
        sinks = read_form(kind, data)
        assert len(sinks) <= 2
        assert not any(sink.open for sink in sinks)
        assert all(len(sink.data) <= 100 for sink in sinks)


def read_form(kind: str, data: bytes) -> list[Memory]:
    """The files of a form of at most two files of 100 bytes, also of one that is refused."""
    from pixelsleuth.errors import BadRequest, BodyTooLarge
    from pixelsleuth.serving.forms import FormReader

    sinks: list[Memory] = []

    def open_sink(name: str | None) -> Memory:
        sinks.append(Memory())
        return sinks[-1]

    with contextlib.suppress(BadRequest, BodyTooLarge):
        reader = FormReader(kind, open_sink, most=2, limit=100)
        try:
            reader.write(data)
            reader.finish()
        finally:
            reader.close()
    return sinks


@FEW
@given(
    url=st.text(max_size=60) | st.text("htps:/@[]%.0123456789abcdefx?#", max_size=40).map("http://{}".format)
)
@example(url="http://[::1%25eth0]/a.jpg")
@example(url="http://xn--a.xn--b/")
@example(url="http://\udcff.example/")
@example(url="http://2130706433/")
@example(url="http://0x7f.1/")
def test_any_address_is_refused_or_names_a_full_host_or_an_ip_address(url: str) -> None:
    pytest.importorskip("httpx2")
    from pixelsleuth.errors import FetchRefused
    from pixelsleuth.serving.addresses import PORTS, Target

    try:
        target = Target.parse(url)
    except FetchRefused:
        return
    assert target.port in PORTS
    assert target.url.scheme in ("http", "https")
    assert "." in target.host if target.literal is None else ip_address(target.literal)


@FEW
@given(st.integers(0, 2**32 - 1).map(ip_address) | st.integers(0, 2**128 - 1).map(ip_address))
def test_no_address_is_public_that_the_standard_library_calls_anything_else(address: Any) -> None:
    pytest.importorskip("httpx2")
    from pixelsleuth.serving.addresses import is_public

    if is_public(address):
        assert address.is_global
        other = (
            "is_multicast",
            "is_private",
            "is_reserved",
            "is_loopback",
            "is_link_local",
            "is_unspecified",
        )
        assert not [kind for kind in other if getattr(address, kind)]
    if address.version == 4:
        assert not is_public(ip_address(f"::ffff:{address}"))


# What stands in files of models and in metadata


@FEW
@given(data=st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
@example(data=b"{" * 100_000)
def test_any_settings_of_a_converted_detector_are_refused_in_one_sentence(place: Path, data: bytes) -> None:
    from pixelsleuth.models.light.form import read

    path = place / "detector.json"
    path.write_bytes(data)
    with pytest.raises(UsageError, match="damaged or of another version"):
        read(path)


@FEW
@given(
    changes=st.dictionaries(
        st.sampled_from(["frame", "options", "prepare", "tensors", "weights", "fake_is"]), JSON
    )
)
def test_shipped_settings_with_any_other_value_are_read_or_refused(
    place: Path, changes: dict[str, Any]
) -> None:
    from pixelsleuth.models.light.form import Form, read, shipped

    source = shipped("commfor", {"size": "224"})
    assert source is not None
    path = place / "detector.json"
    path.write_text(
        json.dumps({**json.loads(source.read_text(encoding="utf-8")), **changes}), encoding="utf-8"
    )
    try:
        form = read(path)
    except UsageError:
        return
    assert isinstance(form, Form)
    assert 0 <= form.frame <= 4096


@FEW
@given(
    head=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()),
    length=st.none() | st.integers(0, 2**64 - 1),
    tail=st.binary(max_size=40),
)
@example(
    head=b'{"a":{"dtype":"F32","shape":[1,1099511627776],"data_offsets":[0,4]}}', length=None, tail=b"1234"
)
@example(head=b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', length=None, tail=b"12")
def test_any_header_of_safetensors_is_refused_in_one_sentence(
    place: Path, head: bytes, length: int | None, tail: bytes
) -> None:
    from pixelsleuth.models.light.form import read, read_tensors, shipped

    source = shipped("commfor", {"size": "224"})
    assert source is not None
    path = place / "model.safetensors"
    path.write_bytes((len(head) if length is None else length).to_bytes(8, "little") + head + tail)
    with pytest.raises(UsageError) as refusal:
        read_tensors(path, read(source))
    assert str(path) in str(refusal.value)


@FEW
@given(
    packet=st.binary(max_size=120)
    | st.text(max_size=60).map(
        lambda text: f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{text}</x:xmpmeta>'.encode()
    ),
)
@example(packet=b"<a>" * 10_000)
@example(packet=b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
def test_any_packet_of_xmp_gives_bounded_texts(packet: bytes) -> None:
    from pixelsleuth.evidence import xmp

    properties = list(xmp.properties(packet))
    assert len(properties) <= 2 * xmp.MOST
    assert all(isinstance(name, str) and isinstance(text, str) for name, text in properties)


@FEW
@given(text=st.text(max_size=40) | st.binary(max_size=30).map(lambda data: data.decode("latin-1")))
def test_any_text_is_a_histogram_or_refused_without_memory(text: str) -> None:
    from pixelsleuth.evaluation.predictions import pack_histogram, unpack_histogram

    counts = np.arange(512, dtype=np.int64).reshape(2, 256) * len(text)
    assert np.array_equal(unpack_histogram(pack_histogram(counts)), counts)
    import zlib

    with pytest.raises((ValueError, zlib.error)):
        unpack_histogram(text)


@FEW
@given(data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_trust_list_is_read_or_refused(place: Path, data: bytes) -> None:
    from pixelsleuth.evidence.trust_lists import read_trust_lists

    for name in ("C2PA-TRUST-LIST.pem", "allowed.sha256.txt"):
        folder = place / name.partition(".")[0]
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        try:
            read_trust_lists(folder)
        except PixelSleuthError as error:
            assert str(folder) in str(error)
