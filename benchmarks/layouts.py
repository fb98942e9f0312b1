"""Data sets of generated pictures in every published layout, for `benchmarks/data.py`: hard links to a small pool.

`write(name, pool, root, count)` lays out `count` pictures as the reader `name` expects them and returns the pairs of
(picture, mask or None), as paths or as bytes inside shards, that a bare loop would decode.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Pair = tuple[Path | bytes, Path | bytes | None]
Row = dict[str, Any]

# Per reader: (picture, mask or None), turn by turn; {i} is the number of the picture.
FOLDERS: dict[str, tuple[tuple[str, str | None], ...]] = {
    "sid_set": (
        ("train/real/{i:016x}.jpg", None),
        ("train/full_synthetic/full_synthetic_{i}.png", None),
        ("train/tampered/tampered_{i}.png", "train/masks/tampered_{i}_mask.png"),
    ),
    "faceforensics": (
        ("manipulated_sequences/Deepfakes/c23/frames/{pair}/{frame:03}.png",
         "manipulated_sequences/Deepfakes/c23/masks/{pair}/{frame:03}.png"),
        ("original_sequences/youtube/c23/frames/{video:03}/{frame:03}.png", None),
    ),
    "genimage": (("BigGAN/imagenet/val/ai/{i}.png", None), ("BigGAN/imagenet/val/nature/{i}.JPEG", None)),
    "forensynths": (("test/progan/cat/0_real/{i}.png", None), ("test/progan/cat/1_fake/{i}.png", None)),
    "chameleon": (("test/0_real/{i}.jpg", None), ("test/1_fake/{i}.jpg", None)),
    "casia_v1": (
        ("Au/Au_ani_{i:04}.jpg", None),
        ("Tp/Sp/Sp_D_NRN_A_ani{i:04}_art{i:04}_{i:04}.jpg", "gt/Sp/Sp_D_NRN_A_ani{i:04}_art{i:04}_{i:04}_gt.png"),
    ),
    "casia_v2": (
        ("Au/Au_ani_{i:05}.jpg", None),
        ("Tp/Tp_D_CRN_S_N_ani{i:05}_art{i:05}_{i:05}.jpg", "gt/Tp_D_CRN_S_N_ani{i:05}_art{i:05}_{i:05}_gt.png"),
    ),
    "columbia": (
        ("4cam_auth/canong3_{i}.tif", None),
        ("4cam_splc/canong3_canonxt_{i}.tif", "4cam_splc/edgemask/canong3_canonxt_{i}_edgemask.jpg"),
    ),
    "coverage": (("image/{i}.tif", None), ("image/{i}t.tif", "mask/{i}forged.tif")),
    "nist16": (("probe/NC2016_{i:05}.jpg", "reference/manipulation/mask/NC2016_{i:05}.png"),),
    "imd2020": (("{i:05}/a_orig.jpg", None), ("{i:05}/a_0.jpg", "{i:05}/a_0_mask.png")),
    "dso1": (
        ("DSO-1/normal-{i}.png", None),
        ("DSO-1/splicing-{i}.png", "DSO-1-Fake-Images-Masks/splicing-{i}.png"),
    ),
    "autosplice": (("Authentic/{i}.jpg", None), ("Forged_JPEG75/{i}_0.jpg", "Mask/{i}_mask.png")),
    "cocoglide": (
        ("real/dog_{i}.png", None),
        ("fake/glide_inpainting_val2017_{i}_up.png", "mask/dog_{i}_mask.png"),
    ),
    "tgif": (
        ("original/dog_{i:06}.png", None),
        ("sd2-sp/dog_{i:06}_bbox_0.png", "masks/dog_{i:06}_bbox.png"),
    ),
    "folder": (("real/{i}.jpg", None), ("fake/{i}.jpg", None)),
    # With annotations beside them, see `_annotate`.
    "sid_set_description": (
        ("train/real/{i}.jpg", None),
        ("train/tampered/{i}.png", "train/masks/{i}_mask.png"),
    ),
    "fakeclue": (("test/chameleon/fake/{i}.jpg", None), ("test/chameleon/real/{i}.jpg", None)),
    "loki": (("media_data/image/{i}.png", None),),
    "dd_vqa": (("images/0_{i}_000.png", None),),
    "dmimage": (("TestSet/glide/{i}.png", None), ("TestSet/real_coco_valid/{i}.png", None)),
    "openforensics": (("Images/Val/{i}.jpg", None),),
    "manifest": (("p/{i}.jpg", None), ("t/{i}.jpg", "m/{i}.png")),
}  # fmt: skip


@dataclass(frozen=True)
class Pool:
    """The generated files that everything links to: JPEG pictures and PNG masks (grey, and RGBA with a hole)."""

    pictures: list[Path]
    mask: Path
    hole: Path


def write(name: str, pool: Pool, root: Path, count: int) -> list[Pair]:
    """Lay out `count` pictures under `root` (see above)."""
    return _shards(name, pool, root, count) if name in SHARDS else _folders(name, pool, root, count)


def _folders(name: str, pool: Pool, root: Path, count: int) -> list[Pair]:
    pairs: list[Pair] = []
    templates = FOLDERS[name]
    for number in range(count):
        index = number // len(templates)
        values = {"i": index, "frame": index % 32, "video": index // 32, "pair": f"{index // 32:03}_999"}
        picture, mask = (one and root / one.format(**values) for one in templates[number % len(templates)])
        assert picture
        _link(pool.pictures[number % len(pool.pictures)], picture)
        if mask:
            _link(pool.mask, mask)
        pairs.append((picture, mask or None))
    _annotate(name, root, [picture.relative_to(root) for picture, _ in pairs if isinstance(picture, Path)])
    return pairs


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)


def _annotate(name: str, root: Path, pictures: list[Path]) -> None:
    """Write the annotation files that some layouts have."""
    if name == "sid_set_description":
        for label in ("real", "tampered"):
            texts = {one.name: "Type: ..." for one in pictures if one.parts[1] == label}
            _json(root / f"train/description/{label}_GT.json", texts)
    elif name == "fakeclue":
        _json(root / "data_json/test.json", list(_clues(pictures)))
    elif name == "loki":
        kind = "image_tf_image_fake_ask_fake_animals"
        _json(
            root / "data_json/image/true_or_false.json",
            [{"image_path": one.as_posix(), "question_type": kind} for one in pictures],
        )
    elif name == "dd_vqa":
        answers = {"1": {"question": "Does the image looks real/fake?", "answer": ["The image looks fake."]}}
        _json(root / "DQ_FF++/train_set/Deepfakes/Deepfakes.json", {one.stem: answers for one in pictures})
    elif name == "dmimage":
        (root / "TestSet/operations.csv").write_text("src,cropsize,x1,y1,jpegQF\n")
    elif name == "openforensics":
        square = [[10, 10, 200, 10, 200, 200, 10, 200]]
        images = [{"id": i, "file_name": one.as_posix()} for i, one in enumerate(pictures)]
        faces = [
            {"id": i, "image_id": i, "category_id": 1, "segmentation": square} for i in range(len(images))
        ]
        categories = [{"id": 0, "name": "Real"}, {"id": 1, "name": "Fake"}]
        _json(root / "Val_poly.json", {"images": images, "annotations": faces, "categories": categories})
    elif name == "manifest":
        lines = [f"{one},{'tampered' if one.parts[0] == 't' else 'real'},"
                 f"{'m/' + one.stem + '.png' if one.parts[0] == 't' else ''}" for one in pictures]  # fmt: skip
        (root / "manifest.csv").write_text("path,label,mask\n" + "\n".join(lines) + "\n")


def _clues(pictures: list[Path]) -> Iterator[Row]:
    for one in pictures:
        fake = "fake" in one.parts
        text = f"This is a {'fake' if fake else 'real'} image."
        turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": text}]
        yield {
            "image": Path(*one.parts[1:]).as_posix(),
            "label": int(not fake),
            "cate": "animal",
            "conversations": turns,
        }


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


# Per reader of shards: the columns of row i beside the picture, and whether row i has a mask.
SHARDS: dict[str, Callable[[int], Row]] = {
    "so_fake_set": lambda i: {"label": i % 3, "generator": "FLUX"},
    "so_fake_ood": lambda i: {"label": i % 3, "filename": f"{i}.png"},
    "so_fake_ood_v3": lambda i: {"scope": ("REAL", "FULL_SYNTHETIC", "TAMPERED")[i % 3], "release_form": "image",
                                 "filename": f"{i}.png", "version": "3"},
    "magicbrush": lambda i: {"img_id": str(i), "turn_index": 2, "instruction": "x"},
    "opensdi": lambda i: {"key": f"partial/sd15/fake/{i:09}.jpg", "label": 2},
    "shards": lambda i: {"label": i % 3},
}  # fmt: skip
NAMES = ["real", "full_synthetic", "tampered"]
ROWS_IN_SHARD = 256


def _shards(name: str, pool: Pool, root: Path, count: int) -> list[Pair]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    root.mkdir(parents=True, exist_ok=True)
    blobs = [path.read_bytes() for path in pool.pictures]
    brush = name == "magicbrush"
    mask_bytes = (pool.hole if brush else pool.mask).read_bytes()
    names = ["real", "full_synthetic", "fake"] if name == "opensdi" else NAMES
    features = json.dumps({"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}})
    pairs: list[Pair] = []
    for start in range(0, count, ROWS_IN_SHARD):
        rows = []
        for i in range(start, min(count, start + ROWS_IN_SHARD)):
            told, blob = SHARDS[name](i), blobs[i % len(blobs)]
            marked = brush or name == "opensdi" or i % 3 == 2
            mask = mask_bytes if marked and name not in ("so_fake_ood_v3",) else None
            keys = ("target_img", "mask_img") if brush else ("image", "mask")
            cells = {keys[0]: _cell(blob), keys[1]: _cell(mask)} | (
                {"source_img": _cell(blob)} if brush else {}
            )
            rows.append(told | cells)
            pairs.append((blob, mask))
        table = pa.Table.from_pylist(rows)
        if brush or "label" not in rows[0]:
            features = "{}"
        table = table.replace_schema_metadata({"huggingface": features})
        pq.write_table(table, root / f"test-{start // ROWS_IN_SHARD:05}-of-99999.parquet", row_group_size=64)
    return pairs


def _cell(data: bytes | None) -> Row | None:
    return None if data is None else {"bytes": data, "path": None}
