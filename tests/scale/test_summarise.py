"""What `summarise` counts, shows and exports is what stands in the parts; a hostile part costs only itself."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from scale_tools import FAKES, STUB, rows_of, write_pictures

from pixelsleuth.cli.main import main
from pixelsleuth.core.rle import decode
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.errors import CorruptPicture, PictureNotFound, UsageError
from pixelsleuth.models.registry import load
from pixelsleuth.scale import summary as counting
from pixelsleuth.scale.listing import Entry, listing
from pixelsleuth.scale.parts import part_path, write_part
from pixelsleuth.scale.plan import Plan, PlanSettings, write_plan
from pixelsleuth.scale.results import Results
from pixelsleuth.scale.rows import duplicate_row, row_of
from pixelsleuth.scale.summarising import SummaryOptions, run_summarise
from pixelsleuth.scale.summary import KINDS, Times, summarise

Scan = Callable[..., int]
MODEL = {"name": "made-up", "version": "1"}
ROWS, SHARD = 240, 50
HOSTILE = "=cmd|'/c calc'!A1 <script>alert(1)</script> \"\x1b[31m.jpg"


def made_row(entry: Entry, draw: np.random.Generator) -> dict[str, Any]:
    """A row of any kind, judged a minute after the one before."""
    judged_at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=entry.id)
    if entry.id % 17 == 5:
        error = PictureNotFound if entry.id % 2 else CorruptPicture
        return row_of(entry, Verdict.failed(entry.location, error("gone"), MODEL), judged_at)
    if entry.id % 13 == 7:
        return duplicate_row(Entry(entry.id, entry.location, origin=entry.origin, duplicate_of=0), judged_at)
    shares = draw.dirichlet((1, 1, 1))
    label = list(Label)[int(shares.argmax())]
    verdict = Verdict(
        entry.location, "0" * 64, 8, 6, label, float(shares.max()), dict(zip(Label, shares, strict=True)),
        inconclusive=bool(shares.max() < 0.6), model=MODEL, decision={"sentence": "made up"},
    )  # fmt: skip
    if label is Label.TAMPERED:
        verdict.mask = draw.random((6, 8)) < 0.5
    return row_of(entry, verdict, judged_at)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of all kinds of rows, without pictures."""
    out = tmp_path_factory.mktemp("made")
    draw = np.random.default_rng(4)
    origins = [[None, "forum", HOSTILE][i % 3] for i in range(ROWS)]
    table = listing([HOSTILE if i == 3 else f"p/{i}.jpg" for i in range(ROWS)], origins=origins)
    plan = write_plan(out, [table], PlanSettings("made-up", "", SHARD), lambda _: None)
    (out / "scan.json").write_text(json.dumps({"model": MODEL}))
    for shard in range(plan.shards):
        write_part(out, shard, [made_row(entry, draw) for entry in plan.entries(shard)], MODEL)
    plan.close()
    return out


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """A scan that may be damaged."""
    return Path(shutil.copytree(made, tmp_path / "copied"))


def kind_of(row: dict[str, Any]) -> str:
    if row["state"] != "judged":
        return {"error": "failed", "duplicate": "duplicate"}[row["state"]]
    return "inconclusive" if row["inconclusive"] else str(row["label"])


def table_of(counts: np.ndarray) -> dict[str, int]:
    return {kind: int(number) for kind, number in zip(KINDS, counts, strict=True) if number}


def test_figures_are_those_of_counting_by_hand(made: Path) -> None:
    with Results(made) as results:
        summary = summarise(results, top=20)
        assert not results.left_out
    rows = rows_of(made)
    assert table_of(summary.kinds) == Counter(map(kind_of, rows))
    assert summary.errors == Counter(row["error"]["code"] for row in rows if row["error"])
    judged = [row for row in rows if row["state"] == "judged"]
    for place, counts in enumerate(summary.confidence):
        inside = [row for row in judged if min(19, int(row["confidence"] * 20)) == place]
        assert table_of(counts) == Counter(map(kind_of, inside))
    for name, counts in summary.origins.items():
        inside = [row for row in rows if (row["origin"] or "(no source)") == name]
        assert inside
        assert table_of(counts) == Counter(map(kind_of, inside))
    width, bars = summary.times.bars(10)
    assert (width, len(bars)) == (3600, 4)
    assert [int(counts.sum()) for _, counts in bars] == [60, 60, 60, 60]

    def suspicion(row: dict[str, Any]) -> float:
        return float(row["probabilities"]["full_synthetic"] + row["probabilities"]["tampered"])

    ranked = sorted(judged, key=lambda row: (-suspicion(row), row["id"]))
    assert summary.suspects == [row["id"] for row in ranked[:20]]


def test_the_command_prints_the_figures_and_nothing_that_a_terminal_would_run(made: Path) -> None:
    text = CliRunner().invoke(main, ["summarise", str(made)])
    assert text.exit_code == 0, text.output
    assert "\x1b" not in text.stdout
    counts = Counter(map(kind_of, rows_of(made)))
    for name, kind in (
        ("Tampered", "tampered"),
        ("Inconclusive", "inconclusive"),
        ("Duplicate", "duplicate"),
    ):
        assert re.search(rf"{name} .* {counts[kind]}  ", text.stdout)
    whole = json.loads(CliRunner().invoke(main, ["summarise", str(made), "--format", "json"]).stdout)
    assert whole["counts"] == {kind: counts[kind] for kind in KINDS}
    assert sum(sum(row.values()) for row in whole["sources"].values()) == whole["rows"] == ROWS


def test_json_lines_are_the_records_of_check(tmp_path: Path, scan: Scan) -> None:
    pictures = write_pictures(tmp_path / "pictures", 9)
    (tmp_path / "pictures" / "text.jpg").write_text("no picture")
    scan(tmp_path / "pictures", tmp_path / "out")
    target = tmp_path / "rows.jsonl"
    assert run_summarise(str(tmp_path / "out"), SummaryOptions(export=(str(target),))) == 0
    detector = load(STUB)
    verdicts = detector.check_many(map(str, [*pictures, tmp_path / "pictures" / "text.jpg"]))

    def timeless(line: str) -> str:
        return re.sub(r'"elapsed_ms": [\d.]+', "", line)

    lines = target.read_text(encoding="utf-8").splitlines()
    assert sorted(map(timeless, lines)) == sorted(timeless(verdict.to_json()) for verdict in verdicts)
    assert all(Verdict.from_dict(json.loads(line)).ok for line in lines if '"error": null' in line)


def test_csv_has_a_row_an_input_and_no_formula(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    assert run_summarise(str(made), SummaryOptions(export=(str(target),))) == 0
    with target.open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    rows = rows_of(made)
    assert [int(row["id"]) for row in read] == list(range(ROWS))
    for ours, theirs in zip(read, rows, strict=True):
        guard = "'" if theirs["source"].startswith("=") else ""
        assert ours["source"] == guard + theirs["source"]
        assert ours["state"] == theirs["state"]
        assert ours["label"] == (theirs["label"] or "")
        if theirs["state"] == "judged":
            assert float(ours["tampered"]) == theirs["probabilities"]["tampered"]
            assert ours["mask_area"] == str((theirs["mask"] or {"area": ""})["area"])
    assert read[1]["judged_at"] == "2026-11-01 00:01:00.000"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in read for cell in row.values())


def test_coco_masks_are_decoded_by_pycocotools(made: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    target = tmp_path / "masks.json"
    assert run_summarise(str(made), SummaryOptions(export=(str(target),))) == 0
    read = coco.COCO(str(target))
    rows = {row["id"]: row for row in rows_of(made) if row["state"] == "judged"}
    assert set(read.imgs) == set(rows)
    accused = {i for i, row in rows.items() if row["label"] == "tampered" and not row["inconclusive"]}
    assert {annotation["image_id"] for annotation in read.anns.values()} == accused
    assert accused
    for annotation in read.anns.values():
        expected = decode(rows[annotation["image_id"]]["mask"]["rle"])
        assert np.array_equal(read.annToMask(annotation), expected)
        assert annotation["area"] == expected.sum()
        ys, xs = expected.nonzero()
        box = [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
        assert annotation["bbox"] == [int(side) for side in box]


class Page(HTMLParser):
    """Tags with their attributes, and the text of each tile."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tiles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if (dict(attrs).get("class") or "").startswith("tile ") or tag == "footer":
            self.tiles.append("")

    def handle_data(self, data: str) -> None:
        if self.tiles:
            self.tiles[-1] += data

    def count(self, tag: str, name: str) -> int:
        return sum(
            t == tag and name in (attributes.get("class") or "").split() for t, attributes in self.tags
        )


def test_the_page_shows_the_suspects_where_they_are_still_what_was_judged(tmp_path: Path, scan: Scan) -> None:
    pictures = write_pictures(tmp_path / "pictures", 10)
    scan(tmp_path / "pictures", tmp_path / "out")
    pictures[1].unlink()
    changed = bytearray(pictures[0].read_bytes())
    changed[-20] ^= 1
    pictures[0].write_bytes(changed)
    target = tmp_path / "page.html"
    assert run_summarise(str(tmp_path / "out"), SummaryOptions(report=str(target), top=10)) == 0
    page = Page(target.read_text(encoding="utf-8"))
    tiles = page.tiles[:-1]
    with Results(tmp_path / "out") as results:
        ids = summarise(results, 10).suspects
    assert [int(re.findall(r"no\. (\d+)", tile)[0]) for tile in tiles] == ids
    assert (page.count("img", "base"), page.count("img", "heat")) == (8, 8)
    by_name = {pictures[i].name: next(tile for tile in tiles if pictures[i].name in tile) for i in (0, 1)}
    assert "changed since it was judged" in by_name[pictures[0].name]
    assert "no longer readable" in by_name[pictures[1].name]
    without = tmp_path / "without.html"
    run_summarise(str(tmp_path / "out"), SummaryOptions(report=str(without), top=3, pictures=False))
    page = Page(without.read_text(encoding="utf-8"))
    assert (len(page.tiles) - 1, page.count("img", "base")) == (3, 0)


def test_names_in_the_page_are_escaped_and_its_plots_hold_every_row(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert run_summarise(str(made), SummaryOptions(report=str(target), top=ROWS)) == 0
    text = target.read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "iframe", "link"} & {
        tag for tag, attributes in page.tags if attributes.get("rel") != "icon"
    }
    assert "&lt;script&gt;alert(1)" in text
    assert "\x1b" not in text
    assert not any(
        name.startswith("on") or name == "style" for _, attributes in page.tags for name in attributes
    )
    titles = [
        int(n.replace(",", "")) for n in re.findall(r"<title>\d{4}-[^<]*: ([\d,]+) [a-z ]+</title>", text)
    ]
    assert sum(titles) == ROWS


def test_a_part_that_is_cut_or_foreign_costs_one_sentence_and_the_rest_is_counted(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [part_path(copied, shard) for shard in range(5)]
    paths[0].write_bytes(paths[0].read_bytes()[:-30])
    plan = Plan.open(copied)
    rows = [duplicate_row(entry, datetime.now(UTC)) for entry in plan.entries(1)]
    write_part(copied, 1, rows, MODEL | {"version": "2"})
    shutil.copy(paths[3], paths[2])
    (paths[0].parent / "notes.txt").write_text("mine")
    plan.close()
    assert run_summarise(str(copied), SummaryOptions()) == 1
    out, err = capsys.readouterr()
    assert "90 of 240 inputs" in out
    lines = [line for line in err.splitlines() if "left out" in line]
    assert len(lines) == 4
    for name, reason in (
        (paths[0].name, ""),
        (paths[1].name, "another model"),
        (paths[2].name, "not those of its shard"),
        ("notes.txt", "no part of this scan"),
    ):
        assert any(name in line and reason in line for line in lines)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"label": "innocent"}, "labels"),
        ({"state": "unknown"}, "states"),
        ({"confidence": float("nan")}, "probabilities"),
        ({"probabilities": {"real": 0.0, "full_synthetic": 0.0, "tampered": 7.0}}, "probabilities"),
        ({"judged_at": datetime(1900, 1, 1, tzinfo=UTC)}, "times"),
        ({"judged_at": None}, "time"),
    ],
)
def test_values_that_no_scan_writes_are_not_counted(
    copied: Path, change: dict[str, Any], reason: str
) -> None:
    rows = pq.read_table(part_path(copied, 1)).to_pylist()
    write_part(copied, 1, [rows[0] | change, *rows[1:]], MODEL)
    with Results(copied) as results:
        assert summarise(results, 5).rows == ROWS - SHARD
        assert len(results.problems) == results.left_out == 1
        assert reason in results.problems[0]


def test_a_damaged_mask_or_text_costs_the_export_its_row(copied: Path, tmp_path: Path) -> None:
    rows = pq.read_table(part_path(copied, 2)).to_pylist()
    place = next(i for i, r in enumerate(rows) if r["label"] == "tampered" and not r["inconclusive"])
    rows[place]["mask"] = {"rle": {"size": [100_000, 100_000], "counts": "1"}, "area": 1}
    rows[place]["evidence"] = "[" * 100_000
    write_part(copied, 2, rows, MODEL)
    names = (str(tmp_path / "rows.jsonl"), str(tmp_path / "masks.json"), str(tmp_path / "page.html"))
    options = SummaryOptions(export=names[:2], report=names[2], top=ROWS)
    assert run_summarise(str(copied), options) == 1
    records = [json.loads(line)["source"] for line in Path(names[0]).read_text().splitlines()]
    standing = [row["source"] for row in rows_of(copied) if row["state"] != "duplicate"]
    assert records == [source for source in standing if source != rows[place]["source"]]
    judged = sum(row["state"] == "judged" for row in rows_of(copied))
    assert len(json.loads(Path(names[1]).read_text())["images"]) == judged - 1


def test_a_text_that_is_no_unicode_costs_the_export_its_row(copied: Path, tmp_path: Path) -> None:
    """Parquet readers do not look at the bytes of texts."""
    path = part_path(copied, 2)
    table = pq.read_table(path)
    sources = [source.encode() for source in table["source"].to_pylist()]
    sources[7] = b"caf\xe9.jpg"
    column = table.schema.get_field_index("source")
    broken = pa.array(sources, pa.binary()).view(pa.string())
    pq.write_table(table.set_column(column, table.schema.field(column), broken), path)
    names = (str(tmp_path / "rows.csv"), str(tmp_path / "rows.jsonl"))
    assert run_summarise(str(copied), SummaryOptions(export=names)) == 1
    with open(names[0], newline="", encoding="utf-8") as stream:
        assert [int(row["id"]) for row in csv.DictReader(stream)] == [i for i in range(ROWS) if i != 107]
    assert "p/108.jpg" in Path(names[1]).read_text(encoding="utf-8")


def test_only_results_of_a_scan_are_read_and_no_file_of_others_is_replaced(
    copied: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no plan"):
        run_summarise(str(tmp_path), SummaryOptions())
    with pytest.raises(UsageError, match=r"\.csv"):
        run_summarise(str(copied), SummaryOptions(export=("rows.xlsx",)))
    notes = tmp_path / "notes.csv"
    notes.write_text("mine\n")
    assert run_summarise(str(copied), SummaryOptions(export=(str(notes),))) == 2
    assert notes.read_text() == "mine\n"
    (copied / "scan.json").unlink()
    with pytest.raises(UsageError, match="no results yet"):
        run_summarise(str(copied), SummaryOptions())


def test_any_span_of_time_takes_few_intervals_and_loses_no_row() -> None:
    draw = np.random.default_rng(1)
    times = Times()
    for span in (100, 10**6, 10**9, counting.LAST_SECOND):
        times.add(draw.integers(0, span, 5000), draw.integers(0, len(KINDS), 5000))
        assert len(times.counts) <= counting.MOST_TIMES
    assert sum(int(row.sum()) for row in times.counts.values()) == 20_000
    _, bars = times.bars(400)
    assert len(bars) <= 400
    assert sum(int(row.sum()) for _, row in bars) == 20_000


def test_sources_beyond_the_limit_are_counted_together(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST_NAMES", 1)
    with Results(made) as results:
        summary = summarise(results, 0)
    assert len(summary.origins) == 2
    assert summary.largest(1)[-1][0] == counting.OTHERS
    assert sum(int(row.sum()) for _, row in summary.largest(1)) == ROWS


def test_the_page_on_scans_names_every_option() -> None:
    page = (FAKES.parents[1] / "docs" / "how-to" / "scan-results.md").read_text(encoding="utf-8")
    command = main.get_command(click.Context(main), "summarise")
    assert command is not None
    for option in command.params[1:]:
        assert all(name in page for name in (*option.opts, *option.secondary_opts))
