"""Stage 0: the photographs, with captions, outlines, licences and their split.

The split follows a hash of the group, before anything is made: a splice takes its donor from its own split, and no
scene stands in two. The same bytes twice are one photograph.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.core.io import sha256_of
from pixelsleuth.data.equalise import SizePolicy, resized
from pixelsleuth.data.left_out import ABSENT, DOUBLE, NO_PICTURE, UNREADABLE, LeftOut
from pixelsleuth.data.source import Source
from pixelsleuth.data.tables import open_table
from pixelsleuth.errors import PictureNotFound, UsageError
from pixelsleuth.forge.configuration import ForgeConfig
from pixelsleuth.forge.stages import Row, read_rows, write_rows
from pixelsleuth.pictures.files import find_pictures
from pixelsleuth.pictures.images import open_picture

CARRIED = ("photograph", "path", "sha256", "group", "split", "licence", "caption", "source")
"""What the line of a made picture takes over from its photograph's."""


@dataclass(frozen=True)
class Context:
    """The settings and the folder of the run, as every stage gets them."""

    config: ForgeConfig
    folder: Path

    @property
    def root(self) -> Path:
        """The folder that the photographs' paths are relative to."""
        photographs = Path(self.config.photographs)
        return photographs if photographs.is_dir() else photographs.parent


def list_photographs(config: ForgeConfig, target: Path) -> tuple[int, LeftOut]:
    """Write `target`, a line a photograph (path, caption, licence, group, objects); returns (lines, what was left out).

    Raises UsageError where there are none.
    """
    left_out = LeftOut()
    where = Path(config.photographs)
    if where.is_dir():
        rows: list[Row] = [{"path": os.path.relpath(file, where)} for file in find_pictures([where])]
    elif where.is_file():
        rows = _manifest(where, config, left_out)
    else:
        raise UsageError(f"photographs={where}: there is no such folder or manifest.")
    captions = _captions(Path(config.captions)) if config.captions else {}
    objects = _instances(Path(config.instances)) if config.instances else {}
    for row in rows:
        name = Path(row["path"])
        row.setdefault("licence", config.licence)
        row.setdefault("caption", captions.get(row["path"]) or captions.get(name.name) or "")
        row["objects"] = objects.get(row["path"]) or objects.get(name.name) or []
        row["id"] = row["path"]
    single = {row["id"]: row for row in reversed(rows)}
    if len(single) < len(rows):
        left_out.add(DOUBLE, count=len(rows) - len(single))
    rows = list(reversed(single.values()))[: config.limit or None]
    if not rows:
        why = f" {left_out.sentence()}" if left_out else ""
        raise UsageError(f"photographs={where} holds no photograph.{why}")
    write_rows(target, rows, ascii=True)
    return len(rows), left_out


def inspect(row: Row, context: Context) -> list[Row]:
    """Read one photograph: its digest, size, id, group and split. Raises PictureError."""
    path = context.root / row["path"]
    digest = sha256_of(path) if path.is_file() else ""
    size = open_picture(path, name=row["path"]).pixels.shape[:2]
    stem = re.sub(r"[^\w.-]+", "_", Path(row["path"]).stem).strip("._")[:40] or "photograph"
    name = f"{stem}-{digest[:10]}"
    group = row.get("group") or name
    side = int.from_bytes(hashlib.sha256(f"split/{group}".encode()).digest()[:8], "big") / 2**64
    split = "validation" if side < context.config.validation else "train"
    made = {"id": name, "sha256": digest, "height": size[0], "width": size[1], "group": group, "split": split}
    return [{**row, **made}]


def count_unusable(inspected: Path, left_out: LeftOut) -> None:
    """Add the photographs that cannot be read, and those whose bytes another one has, to the tally."""
    digests: set[str] = set()
    for row in read_rows(inspected):
        if "error" in row:
            missing = row["error"]["code"] == PictureNotFound.code
            left_out.add(ABSENT if missing else UNREADABLE, row["path"])
        elif row["sha256"] in digests:
            left_out.add(DOUBLE, row["path"])
        digests.add(row.get("sha256", ""))


def without_doubles(source: Path, target: Path) -> Path:
    """Copy the lines of `source`, the first of each digest: the same bytes under two names are one photograph."""
    kept: dict[str, Row] = {}
    for row in read_rows(source):
        kept.setdefault(row.get("sha256") or row["id"], row)
    return write_rows(target, kept.values())


def photograph(row: Row, context: Context) -> np.ndarray:
    """The photograph of a line at the run's size, (H, W, 3) uint8."""
    pixels = open_picture(context.root / row["path"], name=row["path"]).pixels
    return resized(pixels, size_policy(context.config))[0]


def size_policy(config: ForgeConfig) -> SizePolicy:
    """The size rule that every class gets."""
    return SizePolicy.parse(config.size)


@functools.lru_cache(maxsize=2)
def photographs(folder: Path) -> dict[str, list[Row]]:
    """The photographs of a run by split, for donors."""
    by_split: dict[str, list[Row]] = {}
    for row in read_rows(folder / "photographs.jsonl"):
        if "error" not in row:
            by_split.setdefault(row["split"], []).append(row)
    return by_split


def _manifest(path: Path, config: ForgeConfig, left_out: LeftOut) -> list[Row]:
    """The photographs that a manifest (CSV, JSON lines, Parquet) names; of a labelled set its real pictures."""
    table = open_table(path)
    if "path" not in table.columns:
        raise UsageError(f"{path} lacks the column path; a manifest of photographs needs it.")
    source = Source(path.parent, path, table, left_out=left_out, allow_outside=config.allow_outside)
    columns = ("caption", "licence", "group", "source")
    rows = []
    for row in table.rows():
        if str(row.get("label") or "real") != "real" or (config.split and row.get("split") != config.split):
            continue
        name = str(row.get("path") or "")
        if not name:
            source.leave_out(NO_PICTURE, row["_where"])
        elif source.inside(name) is not None:
            rows.append({"path": name} | {key: str(row[key]) for key in columns if row.get(key)})
    return rows


def _captions(path: Path) -> dict[str, str]:
    """Captions by file name: COCO's annotation file, or JSON lines with `image` and `caption`."""
    content = _json(path)
    captions: dict[str, str] = {}
    if isinstance(content, dict):
        names = {image["id"]: image["file_name"] for image in content.get("images", [])}
        pairs = [(names.get(note["image_id"]), note["caption"]) for note in content.get("annotations", [])]
    else:
        pairs = [(line.get("image"), line.get("caption")) for line in content]
    for name, caption in pairs:
        if isinstance(name, str) and isinstance(caption, str):
            captions.setdefault(name, " ".join(caption.split())[:1000])
    return captions


def _instances(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Outlines by file name: COCO's instances file, or `{name: {"objs": [{"category", "polygons"}]}}`."""
    content = _json(path)
    if "annotations" not in content:
        return {name: list(image.get("objs", [])) for name, image in content.items()}
    outlines: dict[str, list[dict[str, Any]]] = {}
    names = {image["id"]: image["file_name"] for image in content["images"]}
    kinds = {category["id"]: category["name"] for category in content["categories"]}
    for instance in content["annotations"]:
        if isinstance(instance.get("segmentation"), list) and instance["image_id"] in names:
            kind = kinds.get(instance["category_id"], "")
            outline = {"category": kind, "polygons": instance["segmentation"]}
            outlines.setdefault(names[instance["image_id"]], []).append(outline)
    return outlines


def _json(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        return json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read as JSON ({error}); give captions or outlines as docs/reference/forge.md says."
        ) from None
