"""The data card: what is in the set, how it was made, what it must not be used to claim."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pixelsleuth.forge.config import ForgeConfig, settings
from pixelsleuth.forge.stages import read_rows


def data_card(lines: Path, config: ForgeConfig, counts: dict[str, int], told: dict[str, Any]) -> str:
    """The card as Markdown with the hub's YAML head; the same for the same lines and settings."""
    rows = list(read_rows(lines))
    operations = Counter(_operation(row) for row in rows if row["label"] == "tampered")
    pairs = Counter((row["object"], row["replacement"]) for row in rows if row.get("replacement"))
    licences = Counter(row.get("licence") or "not stated" for row in rows)
    groups = {row["group"] for row in rows}
    sizes = sorted((row["width"], row["height"]) for row in rows)
    areas = sorted(row["mask_area"] for row in rows if row.get("mask_area"))
    quality = config.output.quality
    form = (
        "PNG" if quality is None else f"JPEG, quality {quality[0]} to {quality[1]}, drawn blind to the label"
    )
    parts = [
        _head(counts, len(rows)),
        f"# {config.output.title}\n",
        f"{len(rows)} pictures from {len(groups)} photographs or scenes, made by PixelSleuth's forge.\n",
        _table("| split | class | pictures |\n|---|---|---:|", [(*name.split("/"), n) for name, n in sorted(counts.items())]),
        "## How it was made\n",
        f"* Size: {config.size}; sides from {_range(sizes, 0)} x {_range(sizes, 1)} pixels. File: {form}; no metadata.",
        "* Splits go by group: a photograph, its forgeries and the donors of its splices stand on one side.",
        f"* Edits: {config.edit.method}" + (f", {config.edit.pipeline} {config.edit.model}, paste-back "
        f"{config.edit.paste_back}" if config.edit.method == "inpaint" else "") + f". Masks: {config.masks.method}.",
        f"* Full synthesis: {config.synthesis.method}.",
        f"* Descriptions: {config.descriptions.method}, style {config.descriptions.style}.",
        f"* Without a result: {told.get('rejected', 0)} edits, {told.get('unreadable', 0)} photographs; the reasons stand in "
        "the JSONL files of the stages.\n",
        _table("| operation | pictures |\n|---|---:|", operations.most_common()),
    ]  # fmt: skip
    if areas:
        share = [areas[int(q * (len(areas) - 1))] for q in (0.1, 0.5, 0.9)]
        parts.append(
            f"Mask area, requested: median {share[1]:.1%}, from {share[0]:.1%} to {share[2]:.1%} (10th, 90th percentile).\n"
        )
    if pairs:
        rows_of = [(f"{a} -> {b}", n) for (a, b), n in pairs.most_common(15)]
        parts.append(_table("| most frequent replacement | pictures |\n|---|---:|", rows_of))
    parts += [
        _table("| licence of the photograph | pictures |\n|---|---:|", licences.most_common()),
        "## What it cannot show\n",
        "Masks mark what was changed on purpose. Where paste-back is `none`, every pixel went through the model's decoder. "
        "Descriptions from the record are true but plain; those by models were written knowing the label. Audit the set "
        "with `pixelsleuth audit` before reporting a score on it.\n",
        "## Settings\n\n```json\n" + json.dumps(_told(config), indent=1, sort_keys=True) + "\n```\n",
        "Versions: " + ", ".join(f"{k} {v}" for k, v in sorted(told.get("versions", {}).items())) + ".\n",
    ]
    return "\n".join(parts)


def _head(counts: dict[str, int], total: int) -> str:
    splits = sorted({name.split("/")[0] for name in counts})
    files = "".join(f"  - split: {one}\n    path: data/{one}-*.parquet\n" for one in splits)
    size = (
        "n<1K"
        if total < 1000
        else "1K<n<10K"
        if total < 10_000
        else "10K<n<100K"
        if total < 100_000
        else "100K<n<1M"
    )
    return (
        "---\ntask_categories:\n- image-classification\n- image-segmentation\ntags:\n- image-forensics\n"
        f"size_categories:\n- {size}\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
    )


def _operation(row: dict[str, Any]) -> str:
    return {"object": "object replacement", "part": "part replacement"}.get(row["mode"], row["operation"])


def _range(sizes: list[tuple[int, int]], axis: int) -> str:
    values = [size[axis] for size in sizes] or [0]
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _table(head: str, rows: list[tuple[Any, ...]]) -> str:
    return head + "\n" + "".join("| " + " | ".join(map(str, row)) + " |\n" for row in rows)


def _told(config: ForgeConfig) -> dict[str, Any]:
    """The settings without places of this machine."""
    found = settings(config)
    for key in ("out", "photographs", "captions", "instances"):
        found[key] = Path(found[key]).name
    return found
