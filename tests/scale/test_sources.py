"""Sources give every input once, in any form, and a hostile one costs a sentence or a row, never the process."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scale_tools import rows_of, write_pictures

from pixelsleuth.errors import PictureChanged, SourceError
from pixelsleuth.pictures.images import find_pictures
from pixelsleuth.scale import sampling, sources, tars
from pixelsleuth.scale.listing import Entry, path_of, pieces, stored
from pixelsleuth.scale.reading import read
from pixelsleuth.scale.sources import Selection
from pixelsleuth.scale.where import Condition

Scan = Callable[..., int]
FEW = settings(max_examples=60, deadline=None)


def listed(source: object, **selection: Any) -> list[dict[str, Any]]:
    return [row for table in sources.inputs(str(source), Selection(**selection)) for row in table.to_pylist()]


def places(source: object, **selection: Any) -> list[str]:
    return [path_of(row["location"]) for row in listed(source, **selection)]


def test_a_folder_holds_what_check_finds(tmp_path: Path) -> None:
    write_pictures(tmp_path, 20)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "scan.psd").write_bytes(b"8BPS")
    (tmp_path / "bare").write_bytes((tmp_path / "p000.jpg").read_bytes())
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path)
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb") as file:
        file.write(b"x")
    assert places(tmp_path) == find_pictures([tmp_path])
    assert all(row["size"] == os.path.getsize(path_of(row["location"])) for row in listed(tmp_path))


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_a_list_names_a_path_a_line(tmp_path: Path, separator: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(separator.join([b"a b.jpg", b"", b"caf\xe9.jpg", b"file:c.jpg"]))
    assert places(tmp_path / "list.txt") == ["a b.jpg", "caf\udce9.jpg", "file:c.jpg"]


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"x" * (3 << 20))
    with pytest.raises(SourceError, match="path a line"):
        listed(tmp_path / "list.txt")


def table(count: int = 6) -> pa.Table:
    return pa.table(
        {
            "path": [f"p{number}.jpg" for number in range(count - 1)] + ["/far/p.jpg"],
            "size": range(count),
            "source": ["forum" if number % 2 else "007" for number in range(count)],
            "label": [None, *["real"] * (count - 1)],
        }
    )


def write_manifest(path: Path, rows: pa.Table) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(rows, path)
    elif path.suffix == ".csv":
        pcsv.write_csv(rows, path)
    else:
        import json

        path.write_text("".join(json.dumps(row) + "\n" for row in rows.to_pylist()))
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_every_kind_of_manifest_says_the_same(tmp_path: Path, suffix: str) -> None:
    path = write_manifest(tmp_path / f"m{suffix}", table())
    rows = listed(path)
    assert [row["location"] for row in rows] == [*(f"{tmp_path}/p{n}.jpg" for n in range(5)), "/far/p.jpg"]
    assert [row["size"] for row in rows] == list(range(6))
    assert [row["origin"] for row in rows] == ["007", "forum"] * 3
    assert [row["size"] for row in listed(path, where='source == "forum" and 1 < size')] == [3, 5]
    assert [row["size"] for row in listed(path, where="label == null or size in (2, 4)")] == [0, 2, 4]
    assert listed(path, where="size == -3") == []
    assert [row["size"] for row in listed(path, where="-3 < size and size < 2")] == [0, 1]


@pytest.mark.parametrize(
    "name, content, where, says",
    [
        ("m.csv", b"name,size\na,1\n", None, "no column path"),
        ("m.csv", b"path\na\n", "sorce == 'x'", "names the column sorce"),
        ("m.csv", b"path,source\na,b\n", "source > 3", "no condition"),
        ("m.csv", b"path,size\na,1,2,3\n", None, "cannot be read"),
        ("m.parquet", b"PAR1 no table PAR1", None, "cannot be read"),
        ("m.jsonl", b'{"path": ["a"]}\n', None, "no texts"),
        ("m.jsonl", b"{]\n", None, "cannot be read"),
        ("l.txt", b"a.jpg\n", "size > 3", "columns of a manifest"),
        ("t.tar.gz", b"", None, "compressed"),
        ("x.bin", b"", None, "no source that a scan knows"),
    ],
)  # fmt: skip
def test_what_is_no_source_is_refused_in_one_sentence(
    tmp_path: Path, name: str, content: bytes, where: str | None, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=says):
        listed(tmp_path / name, where=where)


ROWS = [{"size": size, "source": source} for size in (0, 5, 9) for source in ("a", "b", None)]
values = st.one_of(
    st.tuples(
        st.just("size"), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.integers(-1, 10).map(str)
    ),
    st.tuples(st.just("source"), st.sampled_from(["==", "!="]), st.sampled_from(['"a"', '"b"', '"c"'])),
).map(" ".join)
conditions = st.recursive(
    values,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map(lambda parts: f"({''.join(parts)})"),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=6,
)


@FEW
@given(conditions)
def test_a_condition_means_what_python_means(text: str) -> None:
    rows = [row for row in ROWS if row["source"] is not None]
    expected = [row for row in rows if eval(text, {}, dict(row))]
    assert Condition.parse(text).of(pa.Table.from_pylist(rows)).to_pylist() == expected


@FEW
@given(st.one_of(st.text(max_size=60), st.text("()[]'\"=<>!andornti source10,.-_", max_size=60)))
@example("__import__('os').system('true')")
@example("source.__class__ == 1")
@example("[x for x in (1,)]")
@example("not " * 500 + "size == 1")
@example("(" * 300 + "size == 1" + ")" * 300)
@example("size == 1 == 1")
@example("size ** 999999999 == 1")
@example("size == 9" + "9" * 3000)
@example("size in (1, 'a')")
@example("size in ()")
@example("null == null")
@example("size == \0")
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        condition = Condition.parse(text)
        condition.check(["size", "source"])
        kept = condition.of(pa.table({"size": [1], "source": ["a"]}))
    except SourceError:
        return
    assert kept.num_rows in (0, 1)


def write_tar(path: Path, members: list[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form, errors="surrogateescape") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


names = st.text(min_size=1, max_size=130).map(lambda text: text.replace("\0", "_") + ".jpg")


@FEW
@given(st.lists(st.tuples(names, st.binary(max_size=900)), max_size=5), st.sampled_from([0, 1, 2]))
@example(
    [("../../etc/passwd.jpg", b"a"), ("/root.png", b"b"), ("C:\\x::y.jpg", b"c"), ("a/" * 200 + ".jpg", b"")],
    2,
)
def test_members_are_read_at_their_place_under_any_name(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, bytes]], form: int
) -> None:
    folder = tmp_path_factory.mktemp("tar")
    try:
        path = write_tar(folder / "a.tar", [("first.json", b"{}"), *members], form)
    except (ValueError, UnicodeError):
        return  # a name that this form of archive cannot hold
    rows = listed(path)
    with tarfile.open(path) as archive:
        kept = [member for member in archive.getmembers() if tars._named_as_picture(member.name)]
        expected = [archive.extractfile(member).read() for member in kept]  # type: ignore[union-attr]
    assert [bytes(read(Entry(0, **row), "")) for row in rows] == expected
    assert sorted(os.listdir(folder)) == ["a.tar"]


@FEW
@given(st.data())
def test_a_damaged_archive_gives_rows_and_never_an_exception(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("tar")
    path = write_tar(folder / "a.tar", [("a.jpg", b"a" * 700), ("b" * 150 + ".png", b"b" * 10)])
    raw = bytearray(path.read_bytes()[: data.draw(st.integers(0, 4000))])
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 3999), st.integers(0, 255)), max_size=8)):
        if place < len(raw):
            raw[place] = value
    path.write_bytes(raw)
    for row in listed(path):
        if row["archive"] is not None:
            with contextlib.suppress(PictureChanged):
                assert len(read(Entry(0, **row), "")) == row["size"]


def test_a_header_that_asks_for_gigabytes_gets_none(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 6 << 30
    path = tmp_path / "a.tar"
    with open(path, "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(7 << 30)  # sparse: takes no room
    assert [row["archive"] for row in listed(path)] == [None]


def test_a_scan_of_archives_judges_their_members(tmp_path: Path, scan: Scan) -> None:
    pictures = write_pictures(tmp_path / "pictures", 6)
    folder = tmp_path / "shards"
    folder.mkdir()
    members = [(path.name, path.read_bytes()) for path in pictures]
    write_tar(folder / "0.tar", members[:3])
    write_tar(folder / "1.tar", members[3:])
    (folder / "2.tar").write_bytes((folder / "0.tar").read_bytes()[:2000])
    assert scan(folder, tmp_path / "out") == 1
    rows = rows_of(tmp_path / "out")
    assert [row["source"].partition("::")[2] for row in rows if row["state"] == "judged"] == [
        name for name, _ in [*members, members[0]]
    ][: len(rows) - 1]
    assert [row["source"] for row in rows if row["state"] == "error"] == [str(folder / "2.tar")]


def test_a_sample_is_the_same_whatever_the_pieces(tmp_path: Path) -> None:
    files = [(f"p{number}", number) for number in range(1000)]
    whole = [row for t in sampling.sample(pieces(files), 50, 7) for row in t.to_pylist()]
    small = [next(pieces(files[start : start + 7])) for start in range(0, 1000, 7)]
    assert [row for t in sampling.sample(small, 50, 7) for row in t.to_pylist()] == whole
    sizes = [row["size"] for row in whole]
    assert len(set(sizes)) == 50
    assert sizes == sorted(sizes)
    assert [row["size"] for t in sampling.sample(pieces(files), 50, 8) for row in t.to_pylist()] != sizes
    assert sum(t.num_rows for t in sampling.sample(pieces(files), 2000, 7)) == 1000


def test_a_sample_draws_all_rows_alike() -> None:
    files = [(f"p{number}", number) for number in range(40)]
    counts = [0] * 40
    for seed in range(200):
        for drawn in sampling.sample(pieces(files), 10, seed):
            for size in drawn.column("size").to_pylist():
                counts[size] += 1
    assert sum(counts) == 2000
    assert min(counts) >= 25  # 50 expected, 6 the standard deviation
    assert max(counts) <= 75


def test_a_store_behind_an_address_is_scanned(tmp_path: Path, scan: Scan) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    pictures = write_pictures(tmp_path / "pictures", 5)
    for path in pictures:
        store.pipe_file(f"/bucket/in/{path.name}", path.read_bytes())
    write_tar(tmp_path / "a.tar", [(pictures[0].name, pictures[0].read_bytes())])
    store.pipe_file("/bucket/in/z.tar", (tmp_path / "a.tar").read_bytes())
    write_manifest(tmp_path / "m.csv", pa.table({"path": [f"in/{pictures[1].name}", "in/gone.jpg"]}))
    store.pipe_file("/bucket/m.csv", (tmp_path / "m.csv").read_bytes())
    assert scan("memory://bucket/in", tmp_path / "out") == 0
    rows = rows_of(tmp_path / "out")
    assert sorted(row["source"].rpartition("/")[2] for row in rows) == sorted(
        [*(path.name for path in pictures), f"z.tar::{pictures[0].name}"]
    )
    assert scan("memory://bucket/m.csv", tmp_path / "named") == 1
    assert [row["error"] and row["error"]["code"] for row in rows_of(tmp_path / "named")] == [
        None,
        "picture_not_found",
    ]


@pytest.mark.parametrize(
    "address, says",
    [
        ("nosuch://bucket/x", "cannot be opened"),
        ("https://example.org/a.jpg", "no store"),
        ("memory://nothing/here", "cannot be listed|names no picture"),
    ],
)
def test_an_address_that_cannot_be_listed_is_refused(
    tmp_path: Path, scan: Scan, address: str, says: str
) -> None:
    from pixelsleuth.errors import UsageError

    with pytest.raises(UsageError, match=says):
        scan(address, tmp_path / "out")


def test_a_bucket_that_refuses_gives_error_rows_or_one_sentence(
    tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    from pixelsleuth.errors import SourceError

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Access Denied")

    store = fsspec.filesystem("memory")
    for path in write_pictures(tmp_path / "pictures", 5):
        store.pipe_file(f"/refused/{path.name}", path.read_bytes())
    assert scan("memory://refused", tmp_path / "out") == 0
    for part in (tmp_path / "out" / "parts").rglob("part-*.parquet"):
        part.unlink()
    monkeypatch.setattr(type(store), "_open", refuse)
    assert scan("memory://refused", tmp_path / "out", resume=True) == 1
    errors = [row["error"] for row in rows_of(tmp_path / "out")]
    assert [error["code"] for error in errors] == ["picture_not_found"] * 5
    assert all("Access Denied" in error["message"] for error in errors)
    monkeypatch.setattr(type(store), "info", refuse)
    with pytest.raises(SourceError, match=r"cannot be listed .*Access Denied"):
        scan("memory://refused", tmp_path / "other")
    assert not (tmp_path / "other" / "plan.parquet").exists()


@given(st.binary(min_size=1, max_size=20).filter(lambda raw: b"\0" not in raw))
@example(b"file:a%20b")
def test_a_stored_name_is_unicode_and_comes_back(raw: bytes) -> None:
    stored(raw).encode()
    assert os.fsencode(path_of(stored(raw))) == raw
