"""The data card: what is in the set, how it was made, what it must not be used to claim."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pixelsleuth.forge.recipe import ForgeConfig
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
    how = [
        f"Size: {config.size}; sides from {_range(sizes, 0)} x {_range(sizes, 1)} pixels. File: {form}; no metadata.",
        "Splits go by group: a photograph, its forgeries and the donors of its splices stand on one side.",
        f"Edits: {_edits(config)}. Masks: {config.masks.method}.",
        f"Full synthesis: {config.synthesis.method}.",
        f"Descriptions: {config.descriptions.method}, style {config.descriptions.style}.",
        f"Without a result: {told.get('rejected', 0)} edits, {told.get('unreadable', 0)} photographs.",
        *([told["left_out"]] if told.get("left_out") else []),
    ]
    parts = [
        _head(counts, len(rows)),
        f"# {config.output.title}\n",
        f"{len(rows)} pictures from {len(groups)} photographs or scenes, made by PixelSleuth's forge.\n",
        _table(("split", "class", "pictures"), [(*name.split("/"), n) for name, n in sorted(counts.items())]),
        "## How it was made\n",
        "".join(f"* {line}\n" for line in how),
        _table(("operation", "pictures"), operations.most_common()),
    ]
    if areas:
        low, middle, high = (areas[int(q * (len(areas) - 1))] for q in (0.1, 0.5, 0.9))
        parts.append(
            f"Mask area as requested: median {middle:.1%}, 10th to 90th percentile {low:.1%} to {high:.1%}\n"
        )
    if pairs:
        replaced = [(f"{a} -> {b}", n) for (a, b), n in pairs.most_common(15)]
        parts.append(_table(("most frequent replacements", "pictures"), replaced))
    versions = ", ".join(f"{name} {version}" for name, version in sorted(told.get("versions", {}).items()))
    parts += [
        _table(("licence of the photograph", "pictures"), licences.most_common()),
        "## What it cannot show\n",
        LIMITS,
        f"## Settings\n\n```json\n{json.dumps(_told(config), indent=1, sort_keys=True)}\n```\n",
        f"Versions: {versions}.\n",
    ]
    return "\n".join(parts)


LIMITS = """Masks mark what was changed on purpose. Where paste-back is `none`, all pixels went through the decoder.
Descriptions from the record are true but plain; those by models were written knowing the label. Audit the set with
`pixelsleuth audit` before reporting a score on it.
"""


def _edits(config: ForgeConfig) -> str:
    edit = config.edit
    if edit.method != "inpaint":
        return edit.method
    return f"inpainting by {edit.pipeline} {edit.model}, paste-back {edit.paste_back}"


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


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    if not rows:
        return ""
    line = "|---" * (len(head) - 1) + "|---:|\n"
    return (
        "| "
        + " | ".join(head)
        + " |\n"
        + line
        + "".join("| " + " | ".join(map(str, row)) + " |\n" for row in rows)
    )


def _told(config: ForgeConfig) -> dict[str, Any]:
    """The settings that decide what is in the set: not where it lies and how many processes made it."""
    found = asdict(config)
    del found["out"], found["workers"], found["allow_outside"]
    for key in ("photographs", "captions", "instances"):
        found[key] = Path(found[key]).name
    return found
