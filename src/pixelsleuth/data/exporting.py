"""A labelled set as a folder that `datasets.load_dataset` reads: Parquet shards, or files with a table beside them.

    parquet       README.md  data/SPLIT-00000-of-00001.parquet
    imagefolder   README.md  SPLIT/metadata.parquet  SPLIT/images/000000.jpg  SPLIT/masks/000000.png

Bytes of pictures go through unchanged. Masks become PNG of the upright picture's size, 255 = tampered. Both forms are
also read by `open_data`, with the same samples.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pixelsleuth.core.outputs import whole_folder
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.data.hub_form import TEXTS, card_head, schema, shard_name, write_shard
from pixelsleuth.data.left_out import LeftOut, reason_of
from pixelsleuth.data.listing import Listing
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import PictureError, UsageError

FORMS = ("parquet", "imagefolder")
SPLIT = "train"
"""The split of a set that names none."""
SPLIT_NAME = re.compile(r"\w+(\.\w+)*")
"""What `datasets` takes as the name of a split."""
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "GIF": ".gif"}
KEPT = {"image": "image", "label": "label", "mask": "image", **dict.fromkeys(TEXTS, "string")}
FILED = {"file_name": "string", "label": "label", "mask_file_name": "string", "split": "string",
         **dict.fromkeys(TEXTS[:-1], "string"), "original": "string"}  # fmt: skip
"""The table of an image folder; `original` is what is `path` in a shard, which here would name a file."""

COLUMNS = """\
`label` is real, full_synthetic or tampered. `mask` marks with 255 what was tampered with, in the size of the upright
picture; pictures that are not tampered have none. `group` is what must never be split: the original and all that was
made of it. Licences of single pictures stand in `licence`"""


class Tally:
    """What an export wrote, pictures by split and label, a digest of all that, and what it left out."""

    def __init__(self, left_out: LeftOut) -> None:
        self.written: Counter[tuple[str, str]] = Counter()
        self.digest = hashlib.sha256()
        self.left_out = left_out

    @property
    def total(self) -> int:
        """Pictures that were written."""
        return sum(self.written.values())


def export(
    listing: Listing,
    out: Path,
    form: str,
    *,
    shard_size: int = 1000,
    licence: str = "",
    step: Callable[[], object] | None = None,
) -> Tally:
    """Write the set into the folder `out`, whole or not at all; `licence` is the hub's name of one, for the card.

    Pictures and masks that cannot be read are left out and named. Raises UsageError where nothing can be written or a
    split's name cannot be used, OutputError where `out` holds other files or cannot be written.
    """
    splits = Counter(sample.split or SPLIT for _, sample in listing.light)
    wrong = next((name for name in splits if not SPLIT_NAME.fullmatch(name)), None)
    if wrong is not None:
        raise UsageError(
            f"`datasets` takes no split named {wrong!r}: letters, digits, _ and inner dots are allowed."
        )
    tally = Tally(listing.left_out.copied())
    with whole_folder(out, kind="exported data set", ours="README.md") as folder:
        rows = {split: _rows(listing, split, folder, form, tally, step) for split in splits}
        for split, stream in rows.items():
            if form == "parquet":
                _shards(folder, split, stream, -(-splits[split] // shard_size), shard_size)
            else:
                (folder / split).mkdir(exist_ok=True)
                write_shard(folder / split / "metadata.parquet", stream, schema(FILED))
        if not tally.total:
            raise UsageError(f"{listing.spec} has no picture that can be exported.")
        card = _card(listing, form, tally, licence)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return tally


def _shards(folder: Path, split: str, rows: Iterator[dict[str, Any]], shards: int, size: int) -> None:
    from itertools import islice

    (folder / "data").mkdir(exist_ok=True)
    for number in range(shards):
        write_shard(folder / shard_name(split, number, shards), islice(rows, size), schema(KEPT))


def _rows(
    listing: Listing, split: str, folder: Path, form: str, tally: Tally, step: Callable[[], object] | None
) -> Iterator[dict[str, Any]]:
    """The rows of one split; of an image folder the files are written on the way."""
    for index, sample in listing:
        if (sample.split or SPLIT) != split:
            continue
        if step is not None:
            step()
        try:
            data, mask, kind = _bytes_of(sample)
        except PictureError as error:
            tally.left_out.add(reason_of(error), sample.path.name)
            continue
        tally.written[split, str(sample.label)] += 1
        name = f"{index:06d}"
        texts = {key: _text(sample, key) for key in TEXTS[:-1]}
        original = _name_of(sample, listing)
        label = LABELS.index(sample.label)
        for part in (repr((split, label, original, *texts.values())).encode(), data, mask or b""):
            tally.digest.update(hashlib.sha256(part).digest())
        if form == "parquet":
            named = {"bytes": mask, "path": f"{name}_mask.png"} if mask is not None else None
            yield {
                "image": {"bytes": data, "path": name + kind},
                "label": label,
                "mask": named,
                **texts,
                "path": original,
            }
            continue
        files = {"file_name": f"images/{name}{kind}", "mask_file_name": f"masks/{name}.png" if mask else None}
        for place, content in ((files["file_name"], data), (files["mask_file_name"], mask)):
            if place is not None and content is not None:
                (folder / split / place).parent.mkdir(parents=True, exist_ok=True)
                (folder / split / place).write_bytes(content)
        yield {**files, "label": label, "split": split, **texts, "original": original}


def _bytes_of(sample: Sample) -> tuple[bytes, bytes | None, str]:
    """The picture's bytes, its mask as PNG, and the ending for its name. Raises PictureError where either is broken."""
    from PIL import Image

    from pixelsleuth.pictures.files import read_file
    from pixelsleuth.pictures.formats import read_header

    name = sample.path.as_posix()
    data = sample.data if sample.data is not None else bytes(read_file(str(sample.path), name))
    picture, reading = Sample(sample.path, sample.label, sample.mask, data=data).load()
    kind = SUFFIXES.get(read_header(memoryview(data), name).format, Path(name).suffix.lower())
    del picture
    if reading is None:
        return data, None, kind
    stream = io.BytesIO()
    Image.fromarray(reading.pixels.astype("uint8") * 255).save(stream, format="PNG")
    return data, stream.getvalue(), kind


def _text(sample: Sample, key: str) -> str:
    value = sample.extra.get(key) if key == "licence" else getattr(sample, key)
    return "" if value is None else str(value)


def _name_of(sample: Sample, listing: Listing) -> str:
    """The picture's path below the set, so that names stay apart; only its name where it lies elsewhere."""
    root = Path(listing.spec)
    root = root if root.is_dir() else root.parent
    inside = sample.data is None and sample.path.is_relative_to(root)
    return sample.path.relative_to(root).as_posix() if inside else sample.path.name


def _card(listing: Listing, form: str, tally: Tally, licence: str) -> str:
    """The data card: how `datasets` reads the folder, and what is in it."""
    from pixelsleuth import __version__

    splits = {split for split, _ in tally.written}
    pattern = "data/{}-*.parquet" if form == "parquet" else "{}/**"
    counts = "".join(
        f"| {split} | {label} | {count:,} |\n" for (split, label), count in sorted(tally.written.items())
    )
    left_out = (
        f"{len(tally.left_out):,} pictures could not be read and are left out.\n\n" if tally.left_out else ""
    )
    name = Path(listing.spec.removeprefix("hf:")).stem
    return (
        card_head(
            {split: pattern.format(split) for split in splits},
            tally.total,
            licence or (),
            fingerprint=tally.digest.hexdigest(),
        )
        + f"# {name}\n\n{tally.total:,} labelled pictures, exported by PixelSleuth {__version__}.\n\n"
        f"| split | label | pictures |\n|---|---|---:|\n{counts}\n{left_out}"
        f"{COLUMNS}" + (f"; the set's is {licence}.\n" if licence else "; the set's is not stated.\n")
    )
