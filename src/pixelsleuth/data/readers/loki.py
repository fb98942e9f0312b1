"""LOKI's pictures: data_json/image/{true_or_false,open_ended_vqa}.json and media_data/image/.

There are two questions on every picture; it is yielded once, with the class that its question type names
(`image_tf_image_{real|fake}_ask_...`). open_ended_vqa.json is UTF-16. Its problems become a description by the setting
`reference_text`, since the benchmark's own recipe is not public, and boxes (x, y, w, h) in `extra["regions"]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelsleuth.core.verdict import Label
from pixelsleuth.data import big_json
from pixelsleuth.data.reader import ReaderSpec, Setting
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras

_TYPE = re.compile(r"^image_tf_image_(?P<label>real|fake)_ask_(?:real|fake)_(?P<category>\w+)$")
_SPELLING = {"sence": "scene"}


def read(source: Source) -> Iterator[Sample]:
    folders = (source.root / "data_json" / "image", source.root / "image", source.root)
    folder = next(path for path in folders if path.is_dir())
    problems = _problems(folder / "open_ended_vqa.json")
    yielded: set[str] = set()
    source.takes("")
    for record in big_json.items(folder / "true_or_false.json"):
        name = record.get("image_path")
        name = name[0] if isinstance(name, list) and name else name
        match = _TYPE.match(str(record.get("question_type")))
        if not isinstance(name, str) or match is None:
            source.leave_out("record without a picture or of an unknown question type")
            continue
        if name in yielded:
            continue
        yielded.add(name)
        path = source.existing(name)
        if path is None:
            continue
        fake = match["label"] == "fake"
        text, regions = _description(problems.get(name) or {}, source.settings["reference_text"])
        category = _SPELLING.get(match["category"], match["category"])
        yield Sample(
            Path(path), Label.FULL_SYNTHETIC if fake else Label.REAL, source=f"LOKI {category}", description=text,
            extra=extras(id=Path(name).stem, category=category, regions=regions),
        )  # fmt: skip


def _problems(file: Path) -> dict[str, dict[str, Any]]:
    """By picture, what is wrong with it; 229 records."""
    if not file.is_file():
        return {}
    problems = {}
    for record in big_json.items(file):
        name, listed = record.get("image_path"), record.get("problems")
        if isinstance(listed, dict):
            problems[str(name[0] if isinstance(name, list) and name else name)] = listed
    return problems


def _description(problems: dict[str, Any], how: str) -> tuple[str, list[list[float]]]:
    """(the description that the setting `reference_text` asks for, the boxes) of the problems of one picture."""
    entries = {
        kind: [entry for entry in problems.get(kind) or [] if isinstance(entry, dict)]
        for kind in ("global", "regional")
    }
    texts = [
        str(entry.get("desc", "")).strip()
        for kind in entries
        if kind in how.split("+")
        for entry in entries[kind]
    ]
    regions = [entry.get("region") or [] for entry in entries["regional"]]
    boxes = [[float(number) for number in region] for region in regions if len(region) == 4]
    return " ".join(filter(None, texts)), boxes


SPECS = (
    ReaderSpec(
        name="loki",
        title="LOKI, images",
        read=read,
        licence="Apache-2.0 on the hub",
        size="2,217 pictures (900 real, 1,317 fake)",
        classes="real, full_synthetic",
        get="hub bczhou/LOKI: data_json/, loki_media.zip",
        folders=(("data_json/image/true_or_false.json",), ("image/true_or_false.json",)),
        settings={
            "reference_text": Setting(
                "global+regional",
                "how a description is made of the listed problems; the benchmark's own recipe is not public",
                ("global+regional", "global", "regional", "none"),
            )
        },
        expects={"": 2_217},
    ),
)
