"""Which reader is taken, what is refused, and that nothing in a name, a table or a mask can break out or blow up."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelsleuth.core.verdict import Label
from pixelsleuth.data import big_json, layouts
from pixelsleuth.data.masks import Marks, Mask, read_mask
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import Sample, is_fake, label_named
from pixelsleuth.data.source import Source
from pixelsleuth.errors import PictureError, UnsupportedFormat, UsageError

PACKAGE = Path(__file__).parents[2] / "src" / "pixelsleuth"

ISSUE = [
    "sid_set", "sid_set_description", "so_fake_set", "so_fake_ood", "so_fake_ood_v3", "fakeclue", "loki", "dd_vqa",
    "faceforensics", "dmimage", "magicbrush", "genimage", "forensynths", "chameleon", "casia_v1", "casia_v2",
    "columbia", "coverage", "nist16", "imd2020", "dso1", "openforensics", "autosplice", "cocoglide",
    "tgif", "opensdi", "manifest", "folder",
]  # fmt: skip


def test_every_set_has_a_reader_that_tells_all_about_itself():
    assert set(ISSUE) <= set(layouts.names())
    assert len(set(layouts.names())) == len(layouts.names())
    for spec in layouts.specs():
        assert callable(spec.read)
        assert all((spec.title, spec.licence, spec.size, spec.classes, spec.get))
        assert spec.folders or spec.columns
        for setting in spec.settings.values():
            assert not setting.choices or setting.default in setting.choices


def test_listing_the_readers_imports_nothing_heavy():
    code = (
        "import sys\nfrom pixelsleuth.data import layouts\nlayouts.names()\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('pyarrow', 'datasets', 'cv2', 'torch', 'ijson')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


READER = """
from pixelsleuth.core.verdict import Label
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.data.sample import Sample


def read(source):
    for path in source.pictures(source.root / "good"):
        yield Sample(path, Label.REAL)


SPECS = (ReaderSpec("added", "Added", read, "none", "1", "real", "made by a test", folders=(("good",),)),)
"""


def test_a_new_data_set_is_one_new_file(tmp_path, build):
    package = tmp_path / "pixelsleuth"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("weights", "graphs", "__pycache__"))
    (package / "data" / "readers" / "added.py").write_text(READER)
    build.picture("good/a.png")
    code = (
        "from pixelsleuth.data import layouts\nfrom pixelsleuth.data.readers import open_data\n"
        f"data = open_data({str(build.root)!r})\nprint(data.spec.name, len(list(data)), layouts.names()[-7:])"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (
        done.stdout.strip()
        == "added 1 ['added', 'labelstudio', 'folder', 'manifest', 'shards', 'exported', 'imagefolder']"
    ), done.stderr


@pytest.mark.parametrize(
    "wrong, right", [("sidset", "sid_set"), ("Casia-V1", "casia_v1"), ("gen_image", "genimage")]
)
def test_a_wrong_reader_gets_a_suggestion(build, wrong, right):
    build.picture("real/a.png")
    with pytest.raises(UsageError, match=f"did you mean {right}"):
        open_data(build.root, reader=wrong)


def test_wrong_settings_get_a_suggestion_or_the_choices(build):
    build.picture("real/a.png")
    build.picture("fake/b.png")
    with pytest.raises(UsageError, match="did you mean fake"):
        open_data(build.root, fakes="tampered")
    with pytest.raises(UsageError, match="it may be full_synthetic, tampered"):
        open_data(build.root, fake="real")


@pytest.mark.parametrize("spec", ["nowhere", "hf:", "hf:/nowhere/at/all"])
def test_what_is_not_there_is_refused(tmp_path, monkeypatch, spec):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError):
        open_data(spec if spec.startswith("hf:") else tmp_path / spec)


def test_an_unknown_layout_names_the_ways_out(build):
    build.picture("some/where/a.png")
    with pytest.raises(UsageError, match="--reader"):
        open_data(build.root)


def test_a_layout_is_recognised_in_one_pass_and_its_marks_are_not_lost_among_many_files(build, monkeypatch):
    monkeypatch.setattr(layouts, "MAX_FILES", 5)
    for number in range(40):
        build.file(f"Train/{number}.jpg", b"")
    build.json("Train/Train_poly.json", {})
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    spec, root = layouts.of_folder(build.root)
    assert (spec.name, root) == ("openforensics", build.root)
    assert len(listed) == len(set(map(str, listed))) == 2


def test_a_reader_can_be_forced(build):
    build.picture("0_real/a.png")
    build.picture("1_fake/b.png")
    assert open_data(build.root).spec.name == "chameleon"
    samples = list(open_data(build.root, reader="forensynths"))
    assert [sample.label for sample in samples] == [Label.REAL, Label.FULL_SYNTHETIC]
    with pytest.raises(UsageError, match="reads a table"):
        open_data(build.root, reader="so_fake_set")


def test_a_sample_is_what_it_was_before_and_more():
    sample = Sample(Path("a.png"), Label.REAL, Path("m.png"), "source", "generator", "tamper", "group")
    assert sample.unit == "group"
    assert hash(sample) == hash(Sample(*[getattr(sample, name) for name in sample.__dataclass_fields__]))
    assert (sample.split, sample.description, sample.data) == ("", "", None)


NAMES = st.text(st.sampled_from("ab./\\~\0 \n\u00e9$"), max_size=12) | st.text(max_size=20)


@given(name=NAMES)
def test_no_name_whatsoever_leads_outside(name, tmp_path_factory):
    root = tmp_path_factory.getbasetemp() / "inside"
    root.mkdir(exist_ok=True)
    try:
        path = Source(root).inside(name)
    except (ValueError, OSError):  # names that no file system takes
        pytest.fail("a name must be refused, not raise")
    assert path is None or os.path.realpath(path).startswith(os.path.realpath(root))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=50)
@given(value=st.lists(JSON, max_size=5), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_json_is_read_item_by_item_as_the_standard_library_reads_it_at_once(
    value, encoding, tmp_path_factory
):
    path = tmp_path_factory.getbasetemp() / "list.json"
    text = json.dumps(value, ensure_ascii=False)
    path.write_bytes(
        text.encode(encoding, "surrogatepass") if encoding != "utf-16" else text.encode(encoding)
    )
    assert list(big_json.items(path)) == json.loads(text)
    path.write_bytes(json.dumps({"k": value, "l": 1}).encode(encoding))
    assert list(big_json.pairs(path)) == [("k", value), ("l", 1)]
    assert list(big_json.items(path, "k.item")) == value


@settings(max_examples=60, deadline=None)
@given(
    stored=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(16, 60), st.integers(16, 60)),
    orientation=st.integers(1, 8),
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]),
    marks=st.sampled_from(list(Marks)),
)
def test_any_mask_of_any_kind_gets_the_size_of_its_picture_or_is_refused(
    stored, size, orientation, mode, marks
):
    grey = np.indices(stored[::-1]).sum(0) * 37 % 256
    image = Image.fromarray(grey.astype(np.uint8))
    image = Image.fromarray((grey * 257).astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    mask = Mask(file.getvalue(), marks)
    if marks in (Marks.ALPHA, Marks.OPAQUE) and "A" not in mode:
        with pytest.raises(PictureError):
            read_mask(mask, size, orientation)
        return
    try:
        reading = read_mask(mask, size, orientation)
    except UnsupportedFormat as error:
        assert "marks=" in str(error)  # noqa: PT017  (few levels may be class ids: refused with the way out)
        return
    assert reading.pixels.shape == size[::-1]
    assert reading.pixels.dtype == bool
    assert 0.0 <= reading.share <= 1.0


HEADS = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"BM"]


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300), head=st.sampled_from(HEADS))
def test_any_bytes_are_a_mask_or_a_picture_error(data, head):
    try:
        read_mask(head + data, (32, 32))
    except PictureError:
        return
    pytest.fail("noise is no mask")


def test_masks_of_zeros_and_ones_and_of_colours_count_as_marked():
    for pixels in (
        np.eye(32, dtype=np.uint8),
        np.dstack([np.eye(32) * 255, np.zeros((32, 32, 2))]).astype(np.uint8),
    ):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        assert (read_mask(file.getvalue(), (32, 32)).pixels == np.eye(32, dtype=bool)).all()


def test_a_mask_of_absurd_size_is_refused_before_it_is_decoded():
    file = io.BytesIO()
    Image.new("1", (30_000, 10_000)).save(file, "PNG")
    assert len(file.getvalue()) < 100_000
    with pytest.raises(PictureError, match="30000 x 10000"):
        read_mask(file.getvalue(), (32, 32))


def test_polygons_are_drawn_in_the_stored_frame_and_turned_with_the_picture():
    square = ((0.0, 0.0, 9.0, 0.0, 9.0, 4.0, 0.0, 4.0),)
    upright = read_mask(Mask(polygons=square), (48, 32))
    assert upright.pixels[:5, :10].all()
    assert upright.pixels.sum() == 50
    turned = read_mask(
        Mask(polygons=square), (32, 48), orientation=6
    )  # turned right: top left goes to top right
    assert turned.pixels[:10, -5:].all()
    assert turned.pixels.sum() == 50


@given(st.text(max_size=60))
def test_any_answer_is_fake_real_or_unclear(text):
    assert is_fake(text) in (True, False, None)
    assert label_named(text) in (*Label, None)
