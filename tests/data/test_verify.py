"""`pixelsleuth datasets` as a user calls it: the list, one entry, and what `verify` says of good and bad sets."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pixelsleuth.cli.main import main
from pixelsleuth.data import layouts


def run(*arguments):
    return CliRunner().invoke(main, ["datasets", *map(str, arguments)])


def verified(*arguments, status):
    result = run("verify", *arguments, "--format", "json")
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


@pytest.fixture
def good(build):
    """A SID-Set of two splits with nothing wrong."""
    for split in ("train", "validation"):
        for index in range(3):
            build.picture(f"{split}/real/{split}{index}.jpg")
            build.picture(f"{split}/full_synthetic/full_synthetic_{index}.png")
            build.picture(f"{split}/tampered/tampered_{index}.png")
            build.mask(f"{split}/masks/tampered_{index}_mask.png")
    return build


def test_the_list_names_every_reader_with_its_licence():
    result = run()
    assert result.exit_code == 0
    for spec in layouts.specs():
        assert f"{spec.name}: {spec.title}" in result.stdout
        assert spec.licence in result.stdout
    records = json.loads(run("--format", "json").stdout)
    assert [record["name"] for record in records] == layouts.names()


def test_show_tells_the_settings_and_suggests(build):
    assert "inserted=green [green, red]" in run("show", "columbia").stdout
    assert json.loads(run("show", "sid_set", "--format", "json").stdout)["expects"]["train"] == 210_000
    wrong = run("show", "colombia")
    assert wrong.exit_code == 2
    assert "did you mean columbia" in wrong.stderr


def test_a_good_set_is_usable_and_what_is_missing_is_said(good):
    record = verified(good.root, status=0)
    assert record["ok"]
    assert record["complete"]
    assert record["samples"] == 18
    assert record["splits"]["train"] == {"full_synthetic": 3, "real": 3, "tampered": 3}
    assert record["masks"] == 6
    assert not any(record["errors"].values())
    assert not any(record["warnings"].values())
    assert "The split train has 9 pictures; its publisher states 210,000." in record["missing"]
    text = run("verify", good.root)
    assert text.exit_code == 0
    assert "18 pictures, read as sid_set" in text.stdout
    assert text.stdout.rstrip().endswith("Usable.")


def test_every_kind_of_finding_is_counted_and_named(good):
    root = good.root
    twin = (root / "train/real/train0.jpg").read_bytes()
    (root / "validation/real/copy.jpg").write_bytes(twin)
    (root / "train/full_synthetic/copy.png").write_bytes(twin)
    (root / "train/real/broken.jpg").write_bytes(twin[:200])
    good.picture("train/tampered/bare.png")
    good.picture("train/tampered/empty.png")
    good.mask("train/masks/empty_mask.png", box=(0, 0, 0, 0))
    good.picture("train/tampered/small.png", size=(96, 64))
    good.mask("train/masks/small_mask.png")
    good.picture("train/tampered/swapped.png")
    good.mask("train/masks/swapped_mask.png", size=(32, 48))
    good.picture("train/tampered/noise.png")
    good.file("train/masks/noise_mask.png", b"no picture at all")
    good.picture("train/tampered/full.png")
    good.mask("train/masks/full_mask.png", box=(0, 0, 48, 30), kind="JPEG")
    record = verified(root, status=1)
    assert record["errors"] == {
        "unreadable_picture": 1, "unreadable_mask": 1, "empty_mask": 1, "swapped_mask": 1, "same_under_two_labels": 1,
    }  # fmt: skip
    assert record["warnings"] == {
        "tampered_without_mask": 1, "mask_of_other_size": 1, "mask_turned": 0, "mask_with_greys": 1,
        "mask_over_half": 1, "mask_on_real": 0, "same_in_two_splits": 1, "duplicate": 2,
        "group_in_two_splits": 0,
    }  # fmt: skip
    assert record["examples"]["unreadable_mask"][0].startswith(str(root / "train/tampered/noise.png"))
    assert "broken.jpg" in record["examples"]["unreadable_picture"][0]
    assert "1 tampered pictures have no mask, and this set has one for each." in record["missing"]
    text = run("verify", root)
    assert text.exit_code == 1
    assert "Error: 1 masks that cannot be read" in text.stdout
    assert "Not usable as it is." in text.stdout


def test_a_group_in_two_splits_is_noticed(build):
    lines = ["path,label,group,split"]
    for index, split in enumerate(("train", "train", "test", "test")):
        build.picture(f"{index}.png")
        lines.append(f"{index}.png,real,scene-{index % 3},{split}")
    record = verified(build.file("m.csv", "\n".join(lines)), status=0)
    assert record["warnings"]["group_in_two_splits"] == 1
    assert record["examples"]["group_in_two_splits"] == [str(build.root / "3.png")]


def test_masks_read_upside_down_are_noticed(build):
    for index in range(3):
        build.picture(f"Forged_JPEG75/{index}_0.jpg")
        build.mask(f"Mask/{index}_mask.png", inverted=True)
        build.picture(f"Authentic/{index}.jpg")
    assert any("polarity" in sentence for sentence in verified(build.root, status=0)["missing"])
    right = verified(build.root, "--set", "marks=black", status=0)
    assert not any("polarity" in sentence for sentence in right["missing"])
    assert right["settings"]["marks"] == "black"


def test_a_part_of_a_set_can_be_looked_at(good):
    assert verified(good.root, "--split", "train", status=0)["samples"] == 9
    record = verified(good.root, "--limit", "4", status=0)
    assert record["samples"] == 4
    assert not record["complete"]
    assert "(of the part that was looked at)" in run("verify", good.root, "--limit", "4").stdout


def test_wrong_usage_is_one_sentence_with_status_2(good, build):
    wrong = [["--reader", "sid"], ["--set", "x"], ["--set", "x=1"], ["--set", "split=a"]]
    for arguments in (["nowhere"], *([good.root, *more] for more in wrong)):
        result = run("verify", *arguments)
        assert result.exit_code == 2
        assert result.stderr.strip().count("Error:") == 1
    build.file("empty/notes.txt", "nothing")
    assert run("verify", build.root / "empty").exit_code == 2


def test_a_broken_shard_makes_a_set_unusable(build):
    row = {"img_id": "1", "image": build.bytes(), "mask": None, "width": 48, "height": 32, "label": 0}
    build.shard("train-00000-of-00002.parquet", [row])
    build.file("train-00001-of-00002.parquet", b"PAR1")
    record = verified(build.root, status=1)
    assert record["samples"] == 1
    assert any(reason.startswith("shard that cannot be read") for reason in record["left_out"])


def test_an_interrupted_run_tells_what_it_saw(good, monkeypatch):
    from pixelsleuth.data.sample import Sample

    load, taken = Sample.load, []

    def interrupted(self):
        if len(taken) == 5:
            raise KeyboardInterrupt
        taken.append(self)
        return load(self)

    monkeypatch.setattr(Sample, "load", interrupted)
    result = run("verify", good.root, "--format", "json")
    assert result.exit_code == 130
    assert json.loads(result.stdout)["samples"] in (5, 6)


def test_the_shared_corpus_is_usable(shared):
    manifest = shared / "corpus" / "manifest.csv"
    if not manifest.is_file():
        pytest.skip("the corpus is not there")
    assert verified(manifest, "--split", "eval", "--limit", "20", status=0)["samples"] == 20
