"""The rows of a scan, or of a file of `check`, for other tools: CSV, JSON lines, COCO masks, Label Studio, FiftyOne.

Rows go through in batches, so that memory does not depend on their number.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pixelsleuth.checking.results import OUR_RECORDS
from pixelsleuth.core.io import failed
from pixelsleuth.core.outputs import AtomicFile
from pixelsleuth.errors import UsageError
from pixelsleuth.scale import fiftyone, labelstudio
from pixelsleuth.scale.judged import finding, judged_rows, rows_of
from pixelsleuth.scale.listing import arrow
from pixelsleuth.scale.rows import HEATMAP, record_of, schema

if TYPE_CHECKING:
    from pixelsleuth.scale.results import Results

KIND = "export"
PLAIN = ("id", "state", "duplicate_of", "origin", "judged_at", "source", "sha256", "width", "height", "label")
"""First columns of a CSV file, as they stand in a row; then the flattened ones of `_flat`."""
TEXTS = (
    "state",
    "origin",
    "source",
    "sha256",
    "label",
    "explanation",
    "model",
    "version",
    "error",
    "message",
)
"""Columns of text, which could begin as a formula does."""
FORMULA = r"^[=+\-@\t\r]"
"""How a cell begins that a spreadsheet may run; an apostrophe before it makes it text."""
COCO_COLUMNS = ("id", "state", "source", "sha256", "width", "height", "label", "inconclusive", "decision",
                "probabilities", "mask")  # fmt: skip
CATEGORY = {"id": 1, "name": "tampered", "supercategory": "forgery"}
OUR_CSV = re.compile(rb'"id","state","duplicate_of","origin"')
OUR_COCO = re.compile(rb'\{"info": \{"description": "PixelSleuth')
OUR_TASKS = re.compile(rb'\[\s*(?:\]|\{"data": \{"image")')
OUR_XML = re.compile(rb'<View>\s*<Header value="\$verdict"/>')
KINDS = (
    ".csv, .jsonl (verdict records), .json (COCO masks), .labelstudio.json (tasks with predictions) or .fiftyone "
    "(a folder)"
)
Writer = Callable[["Results", AtomicFile], int]


def export(results: Results, path: str, root: str | None = None) -> int:
    """Write all rows to `path` and return how many stand there; its ending says how, see KINDS.

    A part that turns out damaged is left out from there on (`Results.problems`). `root` is the folder that Label Studio
    serves. Raises UsageError for another ending, OutputError where the file cannot be written.
    """
    write, ours = check_name(path)
    if ours is None:
        return fiftyone.write(results, path)
    file = AtomicFile(path, ours=ours, kind=KIND)
    beside = (
        AtomicFile(labelstudio.configuration_beside(path), ours=OUR_XML, kind=KIND)
        if ours is OUR_TASKS
        else None
    )
    try:
        count = write(results, file) if beside is None else labelstudio.write(results, file, root=root)
        if beside is not None:
            beside.write(labelstudio.CONFIGURATION)
    except BaseException:
        for output in filter(None, (file, beside)):
            output.discard()
        raise
    for output in filter(None, (file, beside)):
        output.commit()
    return count


def check_name(path: str) -> tuple[Writer, re.Pattern[bytes] | None]:
    """What writes a file of this name, and how such files begin (None: it is a folder). Raises UsageError."""
    name = path.lower()
    for ending, writer, ours in _kinds():
        if name.endswith(ending) and len(Path(name).name) > len(ending):
            return writer, ours
    raise UsageError(f"{path} ends as no export does; end its name with {KINDS}.")


def _kinds() -> tuple[tuple[str, Writer, re.Pattern[bytes] | None], ...]:
    """Endings, writers, and how files of ours begin; a longer ending goes before the one that it ends with."""
    return (
        (labelstudio.ENDING, labelstudio.write, OUR_TASKS),
        (fiftyone.ENDING, _coco, None),
        (".csv", _csv, OUR_CSV),
        (".jsonl", _lines, OUR_RECORDS),
        (".json", _coco, OUR_COCO),
    )


def _csv(results: Results, file: AtomicFile) -> int:
    """A row an input, duplicates too; masks and regions as their sizes."""
    file.write(_csv_of(arrow().RecordBatch.from_pylist([], schema()), header=True))
    rows = 0
    for path, batch in results.batches(_columns()):
        for text, count in _csv_pieces(results, path, batch):
            file.write(text)
            rows += count
    return rows


def _csv_pieces(results: Results, path: Path, batch: Any) -> Iterator[tuple[str, int]]:
    """The lines of a batch and their number, together or, where a row is damaged, one by one without that row."""
    try:
        yield _csv_of(batch), batch.num_rows
    except (arrow().ArrowException, ValueError) as error:  # a text that is no UTF-8
        if batch.num_rows == 1:
            results.leave_out_row(path, batch["id"][0].as_py(), error)
        else:
            for place in range(batch.num_rows):
                yield from _csv_pieces(results, path, batch.slice(place, 1))


def _csv_of(batch: Any, *, header: bool = False) -> str:
    import pyarrow.csv

    piece = io.BytesIO()
    pyarrow.csv.write_csv(_flat(batch), piece, pyarrow.csv.WriteOptions(include_header=header))
    return piece.getvalue().decode("utf-8")


def _flat(batch: Any) -> Any:
    """The batch as a table of plain columns."""
    pa = arrow()
    pc = pa.compute
    inner = pc.struct_field
    columns = {name: batch[name] for name in PLAIN}
    columns["judged_at"] = batch["judged_at"].cast(
        pa.timestamp("ms")
    )  # UTC; the zone's name needs a data base
    columns |= {"confidence": batch["confidence"]}
    columns |= {name: inner(batch["probabilities"], name) for name in ("real", "full_synthetic", "tampered")}
    columns |= {
        "inconclusive": batch["inconclusive"],
        "mask_area": inner(batch["mask"], "area"),
        "regions": pc.list_value_length(batch["regions"]),
        "explanation": batch["explanation"],
        "model": inner(batch["model"], "name"),
        "version": inner(batch["model"], "version"),
        "elapsed_ms": batch["elapsed_ms"],
        "error": inner(batch["error"], "code"),
        "message": inner(batch["error"], "message"),
    }
    for name in TEXTS:
        text = columns[name]
        guarded = pc.binary_join_element_wise("'", text, "")
        columns[name] = pc.if_else(pc.match_substring_regex(text, FORMULA), guarded, text)
    return pa.table(columns)


def _lines(results: Results, file: AtomicFile) -> int:
    """A record a line; a duplicate has none."""
    lines = 0
    for path, batch in results.batches(_columns()):
        for row in rows_of(results, path, batch):
            try:
                record = record_of(row)
                text = json.dumps(record, ensure_ascii=False, allow_nan=False)
            except (ValueError, TypeError, RecursionError) as error:
                results.leave_out_row(path, row["id"], error)
                continue
            if record is not None:
                file.write(text + "\n")
                lines += 1
    return lines


def _columns() -> list[str]:
    """The columns of a row but its heat map, which no record has."""
    return [name for name in schema().names if name != HEATMAP]


def _coco(results: Results, file: AtomicFile) -> int:
    """Images: the judged pictures. Annotations: the masks that are findings (`Verdict.located`), as run lengths."""
    from pixelsleuth import __version__

    info = {"description": f"PixelSleuth {__version__}: masks of a scan", "model": results.model}
    file.write(f'{{"info": {json.dumps(info)}, "categories": [{json.dumps(CATEGORY)}],\n"images": [')
    images = annotations = 0
    # Annotations follow the images in the file; until then they wait beside it, not in memory.
    with _spool(file) as waiting:
        for path, row in judged_rows(results, COCO_COLUMNS):
            try:
                annotation = _annotation(row, annotations + 1)
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                results.leave_out_row(path, row["id"], error)
                continue
            file.write(f"{',' if images else ''}\n{json.dumps(_image(row), ensure_ascii=False)}")
            images += 1
            if annotation is not None:
                _put(waiting, f"{',' if annotations else ''}\n{json.dumps(annotation)}", file)
                annotations += 1
        file.write('],\n"annotations": [')
        waiting.seek(0)
        while piece := waiting.read(1 << 20):
            file.write(piece)
    file.write("]}\n")
    return images


def _image(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"], "file_name": row["source"], "width": row["width"], "height": row["height"],
        "sha256": row["sha256"], "label": row["label"], "inconclusive": row["inconclusive"],
    }  # fmt: skip


def _annotation(row: dict[str, Any], number: int) -> dict[str, Any] | None:
    """The annotation of a row's mask; None without a mask that is a finding. Raises ValueError for a damaged one."""
    marked = finding(row)
    if marked is None:
        return None
    rle, (x0, y0, x1, y1), area = marked
    return {
        "id": number, "image_id": row["id"], "category_id": CATEGORY["id"], "iscrowd": 0, "area": area,
        "bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": rle, "score": row["probabilities"]["tampered"],
    }  # fmt: skip


def _spool(file: AtomicFile) -> IO[str]:
    try:
        folder = str(file.path.resolve().parent)
        return tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=folder)
    except OSError as error:
        raise failed(file.path, KIND, error) from error


def _put(spool: IO[str], text: str, file: AtomicFile) -> None:
    try:
        spool.write(text)
    except OSError as error:
        raise failed(file.path, KIND, error) from error
