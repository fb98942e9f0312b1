"""FaceForensics++: original_sequences/{youtube,actors}/C/ and manipulated_sequences/METHOD/C/, C a compression.

Extracted frames are read (C/frames/VIDEO/FRAME.png, masks in C/masks/VIDEO/FRAME.png, as DeepfakeBench writes them). A
video (C/videos/*.mp4) without them gives `frames` evenly spaced frames, decoded with OpenCV. Fakes are called
TARGET_SOURCE; both directions of a pair and both originals share a group. Splits come from JSON lists of pairs
(splits/{train,val,test}.json) where there are any. Masks of Deepfakes are the blended rectangle, those of
NeuralTextures the tracked region; neither is the exact edit.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.core.settings import Range
from pixelsleuth.core.verdict import Label
from pixelsleuth.data.reader import ReaderSpec, Setting
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras, picture_named
from pixelsleuth.errors import MissingExtra, UsageError

MAX_LIST = 4 << 20
FRAMES = Range(1, 10_000)


def read(source: Source) -> Iterator[Sample]:
    pairs = _pairs(source)
    chosen = source.settings["compression"]
    for place in source.places("original_sequences/*/*", "manipulated_sequences/*/*"):
        kind, method, compression = place.parts[-3:]
        if chosen not in ("all", compression):
            continue
        fake = kind == "manipulated_sequences"
        for video in _videos(place):
            ids = video.stem.split("_")
            group, split = pairs.get(ids[0]) or ("_".join(sorted(ids)), "")
            if not source.takes(split):
                continue
            for path, data in _frames(video, place, source):
                has_mask = fake and data is None
                mask = picture_named(place / "masks" / video.stem, path.stem) if has_mask else None
                yield Sample(
                    path, Label.TAMPERED if fake else Label.REAL, mask, "FaceForensics++", method if fake else "",
                    "face manipulation" if fake else "", group, "", data,
                    extras(split, video=video.stem, compression=compression, origin="" if fake else method),
                )  # fmt: skip


def _pairs(source: Source) -> dict[str, tuple[str, str]]:
    """Video id -> (group, split), from the split files, else from the names of the fakes; a thousand ids."""
    groups: dict[str, tuple[str, str]] = {}
    for split in ("train", "val", "test"):
        for file in (source.root / "splits" / f"{split}.json", source.root / f"{split}.json"):
            if file.is_file() and file.stat().st_size <= MAX_LIST:
                try:
                    listed = [[str(video) for video in pair] for pair in json.loads(file.read_text("utf-8"))]
                except (ValueError, TypeError) as error:
                    raise UsageError(
                        f"{file} is no list of pairs of ids; download the splits again."
                    ) from error
                groups.update((video, ("_".join(sorted(pair)), split)) for pair in listed for video in pair)
                break
    if not groups:
        for place in source.places("manipulated_sequences/*/*"):
            for video in _videos(place):
                ids = video.stem.split("_")
                if len(ids) == 2:
                    groups.update((name, ("_".join(sorted(ids)), "")) for name in ids)
    return groups


def _videos(place: Path) -> list[Path]:
    """One path a video: its folder of frames where there is one, else its file."""
    videos = {path.stem: path for path in sorted((place / "videos").glob("*.mp4"))}
    if (place / "frames").is_dir():
        videos |= {path.name: path for path in (place / "frames").iterdir() if path.is_dir()}
    return [videos[name] for name in sorted(videos)]


def _frames(video: Path, place: Path, source: Source) -> Iterator[tuple[Path, bytes | None]]:
    if video.is_dir():
        for path in source.pictures(video):
            yield path, None
        return
    count = source.settings["frames"]
    if not count.isdigit() or int(count) not in FRAMES:
        raise UsageError(f"frames is {count!r}: it must be a whole number, {FRAMES}.")
    decoded = False
    for number, data in _decode(video, int(count)):
        decoded = True
        yield Path(f"{video}#{number}"), data
    if not decoded:
        source.leave_out("video that cannot be decoded", video)


def _decode(video: Path, count: int) -> Iterator[tuple[int, bytes]]:
    """`count` evenly spaced frames of a video as PNG bytes."""
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra("opencv-python-headless", "data") from error
    from PIL import Image

    capture = cv2.VideoCapture(str(video))
    try:
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        for number in sorted({int((i + 0.5) * total / count) for i in range(count)}) if total > 0 else []:
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            ok, frame = capture.read()
            if ok:
                file = io.BytesIO()
                Image.fromarray(frame[..., ::-1]).save(file, "PNG", compress_level=1)
                yield number, file.getvalue()
    finally:
        capture.release()


SPECS = (
    ReaderSpec(
        name="faceforensics",
        title="FaceForensics++",
        read=read,
        licence="own terms, by form; code MIT",
        size="1,000 videos and 1,000 fakes a method",
        classes="real, tampered",
        get="the form in the repository ondyari/FaceForensics; frames extracted as DeepfakeBench does",
        folders=(("manipulated_sequences",), ("original_sequences",)),
        settings={
            "compression": Setting("all", "which compression is read", ("all", "raw", "c0", "c23", "c40")),
            "frames": Setting("32", "frames taken from each video that has no extracted frames"),
        },
    ),
)
