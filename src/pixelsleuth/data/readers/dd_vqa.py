"""DD-VQA: questions on face crops of FaceForensics++; DQ_FF++/{train,test}_set/MANIPULATION/*.json, or the hub's copy.

Records: {"MANIP_TARGET_SOURCE" or "5_044": {question id: {question, answer: [...]}}}; MANIP 0 Deepfakes, 1 Face2Face,
2 FaceShifter, 3 FaceSwap, 5 original, 6 NeuralTextures. No pictures are shipped, and which frame was cropped how is not
public: the setting `images` names a folder with KEY.png or MANIPULATION/KEY.png.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelsleuth.core.verdict import Label
from pixelsleuth.data import big_json
from pixelsleuth.data.left_out import NO_PICTURE
from pixelsleuth.data.reader import ReaderSpec, Setting
from pixelsleuth.data.sample import Sample, is_fake
from pixelsleuth.data.source import Source, extras, picture_named
from pixelsleuth.data.tables import picture_bytes

METHODS = {
    "0": "Deepfakes", "1": "Face2Face", "2": "FaceShifter", "3": "FaceSwap", "5": "", "6": "NeuralTextures",
}  # fmt: skip
SETS = {"train_set": "train", "val_set": "val", "test_set": "test"}


def read(source: Source) -> Iterator[Sample]:
    if source.table is not None:
        yield from _rows(source)
        return
    base = source.root / "DQ_FF++" if (source.root / "DQ_FF++").is_dir() else source.root
    for folder, split in SETS.items():
        if not (base / folder).is_dir() or not source.takes(split):
            continue
        for file in sorted((base / folder).glob("*/*.json")):
            for key, questions in big_json.pairs(file):
                sample = _sample(source, split, file.stem, key, questions)
                if sample is not None:
                    yield sample


def _sample(source: Source, split: str, folder: str, key: str, questions: Any) -> Sample | None:
    manipulation, _, video = key.partition("_")
    if manipulation not in METHODS or not isinstance(questions, dict):
        source.leave_out("record of an unknown manipulation")
        return None
    images = source.root / (source.settings["images"] or ".")
    if source.inside(f"{key}.png", images) is None:
        return None
    path = (
        picture_named(images, key)
        or picture_named(images / folder, key)
        or picture_named(images / folder, video)
    )
    if path is None:
        source.leave_out("face crop that is not there (the set ships none)")
        return None
    entries = [entry for entry in questions.values() if isinstance(entry, dict)]
    answers = {str(entry.get("question")): _list(entry.get("answer")) for entry in entries}
    generator = METHODS[manipulation]
    label = Label.TAMPERED if generator else Label.REAL
    every_answer = (text for entry in entries for text in _list(entry.get("answer")))
    claimed = next((fake for fake in map(is_fake, every_answer) if fake is not None), None)
    if claimed is not None and claimed is (label is Label.REAL):
        source.leave_out("record whose label and answers disagree")
        return None
    return Sample(
        path, label, source="DD-VQA", generator=generator, tamper="face manipulation" if generator else "",
        group="_".join(sorted(video.split("_"))),
        description=" ".join(texts[0] for entry in entries if (texts := _list(entry.get("answer")))),
        extra=extras(split, id=key, questions=answers),
    )  # fmt: skip


def _list(value: Any) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else [str(value)] if value else []


def _rows(source: Source) -> Iterator[Sample]:
    """The hub's copy: image and text; the text opens with the class."""
    for row in source.rows():
        data, text = picture_bytes(row.get("image")), str(row.get("text") or "")
        fake = is_fake(text)
        if data is None or fake is None:
            source.leave_out(NO_PICTURE if data is None else "row whose text names no class", row["_where"])
            continue
        label = Label.TAMPERED if fake else Label.REAL
        tamper = "face manipulation" if fake else ""
        extra = extras(row["_split"])
        yield Sample(Path(row["_where"]), label, None, "DD-VQA", "", tamper, "", text, data, extra)


SPECS = (
    ReaderSpec(
        name="dd_vqa",
        title="DD-VQA",
        read=read,
        licence="none stated; pictures under FaceForensics++'s terms",
        size="1,692 faces with 8,635 questions",
        classes="real, tampered",
        get="questions: Reality-Defender/Research-DD-VQA; pictures: hub iamjinchen/DD-VQA, or your own face crops",
        folders=(("DQ_FF++",), ("train_set", "test_set")),
        columns=frozenset({"image", "text"}),
        hubs=("iamjinchen/DD-VQA",),
        settings={
            "images": Setting(
                "images", "folder of the face crops KEY.png or MANIPULATION/KEY.png; none are shipped"
            )
        },
        expects={"train": 1_430, "test": 262},
    ),
)
