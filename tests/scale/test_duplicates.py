"""Duplicates are judged once, whatever run does it, and nothing that differs is taken for one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scale_tools import rows_of, write_pictures

from pixelsleuth.errors import PlanMismatch
from pixelsleuth.scale import duplicates, parts
from pixelsleuth.scale.hashing import phash

Scan = Callable[..., int]


def judged_in_place(out: Path) -> dict[str, str]:
    """Name of a duplicate -> name of the input that was judged for it."""
    rows = rows_of(out)
    names = [Path(row["source"]).name for row in rows]
    return {names[row["id"]]: names[row["duplicate_of"]] for row in rows if row["state"] == "duplicate"}


def test_one_of_equal_files_is_judged(tmp_path: Path, scan: Scan) -> None:
    folder = tmp_path / "pictures"
    pictures = write_pictures(folder, 5)
    (folder / "a.png").write_bytes(b"of one size")
    (folder / "b.png").write_bytes(b"and another")
    shutil.copy(pictures[0], folder / "z1.jpg")
    shutil.copy(pictures[0], folder / "z2.jpg")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere")
    assert scan(folder, tmp_path / "out", dedup="sha256") == 1
    assert judged_in_place(tmp_path / "out") == {"z1.jpg": "p000.jpg", "z2.jpg": "p000.jpg"}
    assert len(rows_of(tmp_path / "out")) == 10
    before = rows_of(tmp_path / "out")
    for shard in (0, 2):
        parts.part_path(tmp_path / "out", shard).unlink()
    (tmp_path / "out" / duplicates.FILE).unlink()
    scan(folder, tmp_path / "out", dedup="sha256", resume=True)
    assert rows_of(tmp_path / "out") == before
    with pytest.raises(PlanMismatch, match="--dedup"):
        scan(folder, tmp_path / "out", resume=True)


def test_a_list_without_sizes_is_compared_as_well(tmp_path: Path, scan: Scan) -> None:
    pictures = write_pictures(tmp_path / "pictures", 4)
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(map(str, [*pictures, pictures[2]])))
    assert scan(listed, tmp_path / "out", dedup="sha256") == 0
    assert [row["duplicate_of"] for row in rows_of(tmp_path / "out")] == [None] * 4 + [2]


def test_one_of_pictures_that_look_the_same_is_judged(tmp_path: Path, scan: Scan) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        small = np.random.default_rng(number).integers(0, 256, (6, 8, 3)).astype("uint8")
        image = Image.fromarray(small).resize((192, 144), Image.Resampling.BICUBIC)
        image.save(folder / f"p{number}.png")
    Image.open(folder / "p1.png").save(folder / "q.jpg", quality=95)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert scan(folder, tmp_path / "out", dedup="phash") == 1
    assert judged_in_place(tmp_path / "out") == {"q.jpg": "p1.png"}


def test_the_hash_is_that_of_the_whole_transform() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (32, 32), dtype=np.uint8)
    low = scipy.fft.dctn(pixels.astype(float), type=2)[:8, :8]
    # scipy scales every frequency alike; ours differs from it by a factor of four only.
    expected = "".join("1" if value > np.median(low) else "0" for value in low.ravel())
    assert f"{phash(np.repeat(pixels[..., None], 3, axis=2)):064b}" == expected


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), max_size=40), st.randoms(use_true_random=False))
def test_a_copy_names_the_first_of_its_group(values: list[int], shuffle: object) -> None:
    order = list(range(len(values)))
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    digests = np.zeros((len(values), duplicates.HASHED), np.uint8)
    digests[:, 0] = [values[number] % 3 for number in order]
    digests[:, 9] = [values[number] // 3 for number in order]
    copies, firsts = duplicates.grouped(np.array(order, np.int64), digests)
    expected = {n: values.index(value) for n, value in enumerate(values) if values.index(value) != n}
    assert dict(zip(copies.tolist(), firsts.tolist(), strict=True)) == expected
    assert sorted(copies.tolist()) == copies.tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 63), max_size=2)), max_size=30))
def test_hashes_a_few_bits_apart_are_alike(drawn: list[tuple[int, list[int]]]) -> None:
    centres = [0x0123456789ABCDEF, 0xFFFF0000FFFF0000, 0x00000000FFFFFFFF, 0x5555AAAA5555AAAA]
    hashes = [centres[centre] ^ sum(1 << bit for bit in set(bits)) for centre, bits in drawn]
    digests = np.zeros((len(hashes), duplicates.HASHED), np.uint8)
    digests[:, :8] = np.array(hashes, ">u8").view(np.uint8).reshape(-1, 8)
    kept: list[int] = []
    expected: dict[int, int] = {}
    for number, value in enumerate(hashes):
        near = [first for first in kept if (hashes[first] ^ value).bit_count() <= duplicates.TOLERANCE]
        if near:
            expected[number] = near[0]
        else:
            kept.append(number)
    copies, firsts = duplicates.alike(np.arange(len(hashes)), digests)
    assert dict(zip(copies.tolist(), firsts.tolist(), strict=True)) == expected
