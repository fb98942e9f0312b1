"""The data set: folders in SID-Set's layout, a manifest, descriptions, Parquet shards and a data card.

Everything is derived from the lines of the last stage, in their order, and written whole or not at all; files of an
earlier run that no line names are removed. Public facts on the layout: reference in docs/reference/forge.md.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.core.verdict import LABELS
from pixelsleuth.data.equalise import Draw, Equalised, draw_for, equalised
from pixelsleuth.data.hub_form import TEXTS, schema, shard_name, write_shard
from pixelsleuth.forge.card import data_card, operation_of
from pixelsleuth.forge.configuration import ForgeConfig
from pixelsleuth.forge.locating import load_mask, png
from pixelsleuth.forge.sources import Context, photograph
from pixelsleuth.forge.stages import Row, read_rows, write_file, write_rows
from pixelsleuth.pictures.images import open_picture

COLUMNS = (
    "path", "split", "label", "mask", "source", "generator", "tamper", "group", "licence", "width", "height",
    "description", "sha256",
)  # fmt: skip
SHARD = {
    "img_id": "string", "image": "image", "mask": "image", "width": "int64", "height": "int64", "label": "label",
    "label_name": "string", **dict.fromkeys(TEXTS, "string"), "record": "string",
}  # fmt: skip
"""Columns of a shard and their kinds, see `data.hub_form`."""


def pixels_of(row: Row, context: Context) -> np.ndarray:
    """The pixels of a picture of the run: a file that it made, or the photograph at the run's size."""
    if "file" in row:
        return open_picture(context.folder / row["file"], name=row["file"]).pixels
    return photograph(row, context)


def finished(row: Row, context: Context) -> Equalised:
    """The picture as the data set holds it: pixels and file."""
    return equalised(pixels_of(row, context), encoding(row, context), name=row["id"])


def encoding(row: Row, context: Context) -> Draw:
    """The compression of a picture: depends on a scrambled id and the seed, and on nothing else."""
    quality = context.config.output.quality
    if quality is None:
        return Draw(quality=None)
    return draw_for(f"finish/{row['id']}", context.config.seed, low=quality[0], high=quality[1])


def finish_picture(row: Row, context: Context) -> list[Row]:
    """Write the file of one picture, and its mask, into the data set; adds `path`, `mask_path`, size and digest."""
    config = context.config.output
    done = finished(row, context)
    suffix = ".png" if config.quality is None else ".jpg"
    if config.names == "sid_set":
        suffix = ".jpg" if row["label"] == "real" else ".png"
    kind = "controls" if row.get("control") else row["label"]
    path = f"{row['split']}/{kind}/{row['id']}{suffix}"
    write_file(context.folder / "dataset" / path, done.data)
    made = {"path": path, "mask_path": "", "width": done.pixels.shape[1], "height": done.pixels.shape[0]}
    if row["label"] == "tampered":
        made["mask_path"] = f"{row['split']}/masks/{row['id']}_mask.png"
        mask = load_mask(context, row.get("corrected_mask") or row["masks"]["given"])
        write_file(context.folder / "dataset" / made["mask_path"], png(mask))
    kept = {key: value for key, value in row.items() if key not in ("path", "objects")}
    digest = hashlib.sha256(done.data).hexdigest()
    return [{**kept, "photograph_path": row["path"], **made, "file_sha256": digest}]


def balanced(source: Path, target: Path, config: ForgeConfig) -> Path:
    """Choose the lines that the data set holds: those without an error and, with `balance`, as many of each class.

    Classes are balanced in each split by itself. What is left out depends on a hash of the id, not on the order.
    """
    rows = [row for row in read_rows(source) if "error" not in row]
    if config.output.reviewed_only:
        rows = [row for row in rows if row.get("review") == "accepted"]
    if not config.output.balance:
        return write_rows(target, rows)
    classes: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if not row.get("control"):
            classes.setdefault(row["split"], {}).setdefault(row["label"], []).append(row["id"])
    chosen = {row["id"] for row in rows if row.get("control")}
    for of_split in classes.values():
        fewest = min(map(len, of_split.values()))
        for names in of_split.values():
            chosen |= set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:fewest])
    return write_rows(target, (row for row in rows if row["id"] in chosen))


def write_data_set(lines: Path, context: Context, facts: dict[str, Any]) -> dict[str, int]:
    """Write manifest, descriptions, shards and card beside the pictures; returns the pictures by split and class.

    `facts` are what the card says of the run beside its lines. Raises MissingExtra.
    """
    folder, config = context.folder / "dataset", context.config
    members: set[str] = set()
    counts: Counter[str] = Counter()
    texts: dict[str, dict[str, str]] = {}
    sheets = {"manifest.csv": io.StringIO(), "controls.csv": io.StringIO()}
    writers = {name: csv.DictWriter(sheet, COLUMNS, lineterminator="\n") for name, sheet in sheets.items()}
    for writer in writers.values():
        writer.writeheader()
    digest = hashlib.sha256(lines.read_bytes())  # they hold the digests of the pictures, not of the masks
    for row in read_rows(lines):
        members |= {row["path"], row["mask_path"]}
        if row["mask_path"]:
            digest.update((folder / row["mask_path"]).read_bytes())
        name = "controls" if row.get("control") else row["label"]
        counts[f"{row['split']}/{name}"] += 1
        writers["controls.csv" if row.get("control") else "manifest.csv"].writerow(_manifest_row(row))
        if not row.get("control"):
            place = f"{row['split']}/description/{row['label']}_GT.json"
            texts.setdefault(place, {})[Path(row["path"]).name] = row["description"]
    files: dict[str, bytes] = {"manifest.csv": sheets["manifest.csv"].getvalue().encode()}
    if any("/controls" in name for name in counts):
        files["controls.csv"] = sheets["controls.csv"].getvalue().encode()
    files |= {name: json.dumps(text, indent=1, ensure_ascii=False).encode() for name, text in texts.items()}
    files["records.jsonl"] = lines.read_bytes()
    card = data_card(lines, config, dict(counts), facts, fingerprint=digest.hexdigest())
    files["README.md"] = card.encode()
    for name, data in files.items():
        write_file(folder / name, data)
    members |= set(files)
    members.discard("")
    if config.output.parquet:
        members |= set(_parquet(lines, folder, config.output.shard_pictures))
    _remove_others(folder, members)
    return dict(counts)


def _manifest_row(row: Row) -> dict[str, Any]:
    return {
        "path": row["path"], "split": row["split"], "label": row["label"], "mask": row["mask_path"],
        "source": row.get("source") or "photographs", "generator": row.get("generator", ""),
        "tamper": operation_of(row) if row["label"] == "tampered" else row.get("control", ""), "group": row["group"],
        "licence": row.get("licence", ""), "width": row["width"], "height": row["height"],
        "description": row["description"], "sha256": row["file_sha256"],
    }  # fmt: skip


def _parquet(lines: Path, folder: Path, size: int) -> Iterator[str]:
    """Shards with the columns of SID-Set on the hub (img_id, image, mask, width, height, label) and those of
    `data.hub_form`; label 0 real, 1 full synthetic, 2 tampered, with its name beside it."""
    form = schema(SHARD, extra="forge")
    chosen = Counter(row["split"] for row in read_rows(lines) if not row.get("control"))
    for split, count in sorted(chosen.items()):
        shards = -(-count // size)
        members = (row for row in read_rows(lines) if row["split"] == split and not row.get("control"))
        for number in range(shards):
            name = shard_name(split, number, shards)
            stream = io.BytesIO()
            write_shard(stream, (_shard_row(row, folder) for row in islice(members, size)), form)
            write_file(folder / name, stream.getvalue())
            yield name


def _shard_row(row: Row, folder: Path) -> dict[str, Any]:
    mask = None
    if row["mask_path"]:
        mask = {"bytes": (folder / row["mask_path"]).read_bytes(), "path": Path(row["mask_path"]).name}
    return {
        # The hub names real pictures by their own id, the others with their class before it.
        "img_id": row["id"] if row["label"] == "real" else f"{row['label']}_{row['id']}",
        "image": {"bytes": (folder / row["path"]).read_bytes(), "path": Path(row["path"]).name},
        "mask": mask,
        "width": row["width"],
        "height": row["height"],
        "label": LABELS.index(row["label"]),
        "label_name": str(row["label"]),
        "description": row["description"],
        "source": row.get("source") or "photographs",
        "group": row["group"],
        "generator": row.get("generator", ""),
        "tamper": operation_of(row) if row["label"] == "tampered" else "",
        "licence": row.get("licence", ""),
        "path": row["path"],
        "record": json.dumps(row, sort_keys=True, ensure_ascii=False),
    }


def _remove_others(folder: Path, members: set[str]) -> None:
    """Remove what a run with other settings left in the folders that the forge itself makes."""
    for place in ("train", "validation", "data"):
        for file in (folder / place).rglob("*"):
            if file.is_file() and file.relative_to(folder).as_posix() not in members:
                file.unlink()
