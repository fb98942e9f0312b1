"""FakeClue: data_json/SPLIT.json, a list of {image, label, cate, width, height, conversations}; label 0 fake, 1 real.

The paths reveal the class ("ff++/fake/..."): they stay in `path`, never in a text. Where the annotations lie apart from
the pictures, the setting `images` names their folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pixelsleuth.core.verdict import Label
from pixelsleuth.data import big_json
from pixelsleuth.data.left_out import ABSENT
from pixelsleuth.data.reader import ReaderSpec, Setting
from pixelsleuth.data.sample import Sample, is_fake
from pixelsleuth.data.source import Source, extras

UNCLEAR = "record whose label and explanation disagree, or that has no label"


def read(source: Source) -> Iterator[Sample]:
    for file in sorted(source.root.glob("data_json/*.json")):
        split = file.stem
        if not source.takes(split):
            continue
        folder: Path | None = None
        for record in big_json.items(file):
            if not isinstance(record, dict) or not isinstance(record.get("image"), str):
                source.leave_out("record without a picture")
                continue
            if source.inside(record["image"]) is None:
                continue
            folder = folder or _folder_of(source, split, record["image"])
            if folder is None:
                source.leave_out(ABSENT, record["image"])
                continue
            path = source.existing(record["image"], folder)
            if path is None:
                continue
            if (sample := _sample(source, split, path, record)) is not None:
                yield sample


def _folder_of(source: Source, split: str, name: str) -> Path | None:
    chosen = source.settings["images"]
    names = [chosen] if chosen else [split, f"{split}/{split}", "images", f"images/{split}", "."]
    folders = (source.root / candidate for candidate in names)
    return next((folder for folder in folders if (folder / name).is_file()), None)


def _sample(source: Source, split: str, path: Path, record: dict[str, Any]) -> Sample | None:
    text, question = "", ""
    for turn in record.get("conversations") or []:
        if isinstance(turn, dict) and turn.get("from") == "gpt":
            text = text or str(turn.get("value") or "")
        elif isinstance(turn, dict):
            question = question or str(turn.get("value") or "")
    fake = {0: True, 1: False, "0": True, "1": False}.get(record.get("label"))
    claimed = is_fake(text) if text else fake
    if fake is None or (claimed is not None and claimed is not fake):
        source.leave_out(UNCLEAR)
        return None
    category = str(record.get("cate") or "")
    label = Label.REAL if not fake else Label.FULL_SYNTHETIC
    if fake and category == "deepfake":
        label = Label(source.settings["deepfake"])
    parts = PurePosixPath(record["image"]).parts
    # ff++/{fake/METHOD|real}/c23/frames/VIDEO/FRAME.png
    video = parts[-2] if parts[0] == "ff++" and len(parts) > 2 else ""
    return Sample(
        path, label, source=f"FakeClue {parts[0]}", generator=parts[2] if fake and video else "",
        tamper="face manipulation" if label is Label.TAMPERED else "",
        group="_".join(sorted(video.split("_"))) if video else "", description=text,
        extra=extras(split, category=category, question=question),
    )  # fmt: skip


SPECS = (
    ReaderSpec(
        name="fakeclue",
        title="FakeClue",
        read=read,
        licence="Apache-2.0",
        size="more than 100,000 pictures; train 28 GB, test 1.3 GB (5,000)",
        classes="real, full_synthetic, tampered (face manipulation)",
        get="hub lingcco/FakeClue: data_json/, train.zip, test.zip, unpacked side by side",
        folders=(("data_json/t*.json",),),
        settings={
            "images": Setting(
                "",
                "folder of the pictures; by default the first of SPLIT, SPLIT/SPLIT, images and . that fits",
            ),
            "deepfake": Setting(
                "tampered", "label of fakes of the category deepfake", ("tampered", "full_synthetic")
            ),
        },
        expects={"test": 5_000},
    ),
)
