"""The data card of a forged set: its content, how it was made, and what it cannot show."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pixelsleuth.data.hub_form import card_head
from pixelsleuth.forge.configuration import ForgeConfig
from pixelsleuth.forge.stages import read_rows


def data_card(
    lines: Path, config: ForgeConfig, counts: dict[str, int], facts: dict[str, Any], *, fingerprint: str
) -> str:
    """The card as Markdown with the hub's YAML head; the same for the same lines, settings, facts and content.

    `counts`: pictures by "split/class". `fingerprint`: a digest of lines, pictures and masks.
    `facts`: `rejected`, `unreadable`, `left_out`, `versions` of the run.
    """
    rows = list(read_rows(lines))
    operations = Counter(operation_of(row) for row in rows if row["label"] == "tampered")
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
        f"Without a result: {facts.get('rejected', 0)} edits, {facts.get('unreadable', 0)} photographs.",
        *([facts["left_out"]] if facts.get("left_out") else []),
    ]
    splits = {name.split("/")[0] for name in counts}
    parts = [
        card_head({split: f"data/{split}-*.parquet" for split in splits}, len(rows), fingerprint=fingerprint),
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
    versions = ", ".join(f"{name} {version}" for name, version in sorted(facts.get("versions", {}).items()))
    parts += [
        _table(("licence of the photograph", "pictures"), licences.most_common()),
        "## What it cannot show\n",
        LIMITS,
        f"## Settings\n\n```json\n{json.dumps(_settings(config), indent=1, sort_keys=True)}\n```\n",
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


def operation_of(row: dict[str, Any]) -> str:
    """What was done to a tampered picture, in the card's and the manifest's words."""
    return {"object": "object replacement", "part": "part replacement"}.get(row["mode"], row["operation"])


def _range(sizes: list[tuple[int, int]], axis: int) -> str:
    values = [size[axis] for size in sizes] or [0]
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    if not rows:
        return ""
    lines = [f"| {' | '.join(map(str, row))} |\n" for row in (head, *rows)]
    lines.insert(1, "|---" * (len(head) - 1) + "|---:|\n")
    return "".join(lines)


def _settings(config: ForgeConfig) -> dict[str, Any]:
    """The settings that decide what is in the set: not where it lies and how many processes made it."""
    settings = asdict(config)
    del settings["out"], settings["workers"], settings["allow_outside"]
    for key in ("photographs", "captions", "instances"):
        settings[key] = Path(settings[key]).name
    return settings
