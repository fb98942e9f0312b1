"""Stage 0: which photographs there are, with captions, outlines, licences and the side of the split they stand on.

The split goes by a hash of the group, before anything is made, so that a splice takes its donor from its own side and
no scene stands on both. The same bytes twice are one photograph.
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

from pixelsleuth.data.equalise import SizePolicy, resized
from pixelsleuth.data.left_out import ABSENT, DOUBLE, NO_PICTURE, UNREADABLE, LeftOut
from pixelsleuth.data.source import Source
from pixelsleuth.data.tables import open_table
from pixelsleuth.errors import PictureNotFound, UsageError
from pixelsleuth.forge.recipe import ForgeConfig
from pixelsleuth.forge.stages import Row, read_rows, sha256_of, write_rows
from pixelsleuth.pictures.files import find_pictures
from pixelsleuth.pictures.images import open_picture


@dataclass(frozen=True)
class Context:
    """What every stage knows: the settings and the folder of the run."""

    config: ForgeConfig
    folder: Path

    @property
    def root(self) -> Path:
        """The folder that the photographs' paths are relative to."""
        place = Path(self.config.photographs)
        return place if place.is_dir() else place.parent


def list_photographs(config: ForgeConfig, target: Path) -> tuple[int, LeftOut]:
    """Write `target`, a line a photograph (path, caption, licence, group, objects), and return how many, and what was
    left out.

    Raises UsageError where there are none.
    """
    left_out = LeftOut()
    place = Path(config.photographs)
    if place.is_dir():
        rows: list[Row] = [{"path": os.path.relpath(file, place)} for file in find_pictures([place])]
    elif place.is_file():
        rows = _manifest(place, config, left_out)
    else:
        raise UsageError(f"photographs={place}: there is no such folder or manifest.")
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
        raise UsageError(f"photographs={place} holds no photograph.{why}")
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
    seen: set[str] = set()
    for row in read_rows(inspected):
        if "error" in row:
            missing = row["error"]["code"] == PictureNotFound.code
            left_out.add(ABSENT if missing else UNREADABLE, row["path"])
        elif row["sha256"] in seen:
            left_out.add(DOUBLE, row["path"])
        seen.add(row.get("sha256", ""))


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
    found: dict[str, list[Row]] = {}
    for row in read_rows(folder / "photographs.jsonl"):
        if "error" not in row:
            found.setdefault(row["split"], []).append(row)
    return found


def _manifest(path: Path, config: ForgeConfig, left_out: LeftOut) -> list[Row]:
    """The photographs that a manifest (CSV, JSON lines, Parquet) names; of a labelled set its real pictures."""
    table = open_table(path)
    if "path" not in table.columns:
        raise UsageError(f"{path} lacks the column path; a manifest of photographs needs it.")
    source = Source(path.parent, path, table, left_out=left_out, allow_outside=config.allow_outside)
    keep = ("caption", "licence", "group", "source")
    rows = []
    for row in table.rows():
        if str(row.get("label") or "real") != "real" or (config.split and row.get("split") != config.split):
            continue
        name = str(row.get("path") or "")
        if not name:
            source.leave_out(NO_PICTURE, row["_where"])
        elif source.inside(name) is not None:
            rows.append({"path": name} | {key: str(row[key]) for key in keep if row.get(key)})
    return rows


def _captions(path: Path) -> dict[str, str]:
    """Captions by file name: COCO's annotation file, or JSON lines with `image` and `caption`."""
    content = _json(path)
    found: dict[str, str] = {}
    if isinstance(content, dict):
        names = {one["id"]: one["file_name"] for one in content.get("images", [])}
        pairs = [(names.get(one["image_id"]), one["caption"]) for one in content.get("annotations", [])]
    else:
        pairs = [(one.get("image"), one.get("caption")) for one in content]
    for name, caption in pairs:
        if isinstance(name, str) and isinstance(caption, str):
            found.setdefault(name, " ".join(caption.split())[:1000])
    return found


def _instances(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Outlines by file name: COCO's instances file, or `{name: {"objs": [{"category", "polygons"}]}}`."""
    content = _json(path)
    found: dict[str, list[dict[str, Any]]] = {}
    if "annotations" not in content:
        return {name: list(one.get("objs", [])) for name, one in content.items()}
    names = {one["id"]: one["file_name"] for one in content["images"]}
    kinds = {one["id"]: one["name"] for one in content["categories"]}
    for one in content["annotations"]:
        if isinstance(one.get("segmentation"), list) and one["image_id"] in names:
            item = {"category": kinds.get(one["category_id"], ""), "polygons": one["segmentation"]}
            found.setdefault(names[one["image_id"]], []).append(item)
    return found


def _json(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        return json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read as JSON ({error}); give captions or outlines as docs/forge.md says."
        ) from None
