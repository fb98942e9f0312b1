"""The files that the pages name: photographs, a labelled data set, a manifest, weights of a baseline."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parents[2]
SIDE = 96
"""Pixels a side of the pictures of the data set: small, so that a page takes seconds."""


def make_inputs(folder: Path) -> None:
    """Fill a folder with what the commands of the pages take. Weights come from `make_weights`."""
    from pixelsleuth.forge import demo_pictures as demo

    photos = demo.photographs()
    photographs = list(photos.values())
    for name, forge in (("photo", demo.cat_in_visor), ("rocket-twice", demo.second_rocket)):
        picture, mask = forge(photos)
        forged = demo.DemoPicture(f"{name}.jpg", picture, demo.Label.TAMPERED, "", mask)
        forged.save(folder / forged.name)
    small = [photo.resize((160, 120)) for photo in photographs]
    for name in ("a.jpg", "b.jpg", "b.png", "photo.png"):
        small[1].save(folder / name)
    (folder / "pictures").mkdir()
    small[0].save(folder / "pictures" / "one.jpg")
    small[1].save(folder / "pictures" / "two.png")
    (folder / "pictures" / "broken.jpg").write_text("broken\n")
    (folder / "photographs").mkdir()
    for i, photo in enumerate(photographs):
        photo.resize((256, 192)).save(folder / "photographs" / f"{i}.jpg", quality=95)
    make_data(folder / "data", photographs)
    make_manifest(folder)
    for name in ("recipes", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)


def make_data(folder: Path, photographs: list[Image.Image]) -> None:
    """A labelled set: 48 real pictures of 12 sources, 36 generated, 12 tampered; 6 are for evaluation."""
    folder.mkdir()
    random = np.random.default_rng(0)
    counts = {"real": (12, 4), "full_synthetic": (6, 6), "tampered": (6, 2)}
    rows: list[list[str]] = []
    for label, (sources, each) in counts.items():
        for source in range(sources):
            photo = photographs[source % len(photographs)]
            for i in range(each):
                name = f"{label}-{source}-{i}"
                left, top = (int(random.integers(0, room - SIDE)) for room in photo.size)
                picture = photo.crop((left, top, left + SIDE, top + SIDE))
                mask = ""
                if label == "full_synthetic":
                    picture = picture.resize((SIDE // 4, SIDE // 4)).resize((SIDE, SIDE))
                if label == "tampered":
                    mask = f"{name}-mask.png"
                    part = np.zeros((SIDE, SIDE), np.uint8)
                    part[20:70, 30:80] = 255
                    marks = Image.fromarray(part)
                    picture.paste(picture.filter(ImageFilter.GaussianBlur(3)), mask=marks)
                    marks.save(folder / mask)
                picture.save(folder / f"{name}.png")
                split = "eval" if i == 1 and source < 2 else "train"
                about = f"a picture of {name}"
                rows.append([f"{name}.png", label, mask, split, f"{label}-{source}", f"g-{name}", about])
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "mask", "split", "source", "group", "description"])
        writer.writerows(rows)


def make_manifest(folder: Path) -> None:
    """An inventory as a bucket's owner would write it: path, size, source."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = [folder / "photographs" / "0.jpg", folder / "pictures" / "one.jpg"]
    table = pa.table(
        {
            "path": [str(file.relative_to(folder)) for file in files],
            "size": [file.stat().st_size for file in files],
            "source": ["forum", "archive"],
        }
    )
    pq.write_table(table, folder / "manifest.parquet")


def make_weights(folder: Path) -> None:
    """NPR's weights drawn at random, in the form in which its authors publish theirs."""
    import torch

    from pixelsleuth.models.baseline import baseline_class

    torch.manual_seed(0)
    torch.save(baseline_class("npr")().state_dict(), folder / "NPR.pth")


def copy_inputs(made: Path, folder: Path) -> None:
    """A page's own copy: it may write beside the files and into them."""
    shutil.copytree(made, folder, symlinks=True, dirs_exist_ok=True)
