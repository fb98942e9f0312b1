"""Checkpoints met in public bug reports, as their makers write them: each is read rightly, or refused by name."""

from __future__ import annotations

import csv
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from pixelsleuth.cli.main import main
from pixelsleuth.errors import UsageError
from pixelsleuth.models import baseline
from pixelsleuth.models.baselines.npr import Npr
from pixelsleuth.models.sida import prompts
from pixelsleuth.models.sida.checkpoint import load_large

QUIRKS = (
    "no_im_start_tokens", "config_says_no_im_start_end", "added_tokens_in_tokenizer_config_only", "nan_weights",
    "pytorch_model_bin_is_a_folder", "lfs_pointer", "machine_path_tower",
)  # fmt: skip
WRAPPERS = ("model_dict", "namespace", "numpy_scalar", "compiled")


@pytest.fixture(scope="module")
def cases(shared: Path) -> Path:
    folder = shared / "cases"
    if not (folder / "cases.csv").is_file():
        pytest.skip("needs the shared cases")
    return folder


@pytest.fixture(scope="module")
def golden(shared: Path) -> Path:
    return shared / "parity" / "sida"


def make(maker: Path, *arguments: Path) -> None:
    """Run a maker with its arguments."""
    before = sys.argv
    sys.argv = [str(maker), *map(str, arguments)]
    try:
        runpy.run_path(str(maker), run_name="__main__")
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def quirks(cases: Path, golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for each quirk of a SIDA checkpoint."""
    folder = tmp_path_factory.mktemp("quirks")
    make(cases / "make_checkpoint_quirks.py", golden, folder)
    return folder


@pytest.fixture(scope="module")
def wrappers(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for each wrapper around a baseline's weights."""
    folder = tmp_path_factory.mktemp("wrappers")
    with pytest.MonkeyPatch.context() as patch:
        # The shared maker imports the module under its earlier name.
        patch.setitem(sys.modules, "pixelsleuth.models.baselines.base", baseline)
        make(cases / "make_baseline_wrappers.py", folder)
    return folder


def test_every_checkpoint_row_has_its_test(cases: Path, quirks: Path, wrappers: Path) -> None:
    with (cases / "cases.csv").open(newline="") as handle:
        rows = [row for row in csv.reader(handle) if row and row[0].startswith("make_")]
    assert {row[0].split()[0] for row in rows} == {"make_checkpoint_quirks.py", "make_baseline_wrappers.py"}
    assert sorted(path.name for path in quirks.iterdir()) == sorted(QUIRKS)
    assert sorted(path.stem.removeprefix("npr_") for path in wrappers.iterdir()) == sorted(WRAPPERS)


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("no_im_start_tokens", "lacks <im_start> and <im_end>"),
        ("lfs_pointer", "model.safetensors is a pointer of Git LFS"),
        ("machine_path_tower", "neither a folder nor a hub id"),
        ("nan_weights", "NaN or infinite"),
    ],
)
def test_a_checkpoint_that_would_answer_wrongly_is_refused_by_name(
    quirks: Path, name: str, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as error:
        load_large(str(quirks / name))
    assert "\n" not in str(error.value)


def test_the_prompt_is_the_one_that_the_config_states(quirks: Path, golden: Path) -> None:
    _, marked = load_large(str(golden))
    _, plain = load_large(str(quirks / "config_says_no_im_start_end"))
    ends = [marked.tokenizer.id(mark) for mark in prompts.MARKS]
    row, bare = marked.ids(prompts.QUESTION), plain.ids(prompts.QUESTION)
    assert row.before[-1] == ends[0]
    assert row.after[0] == ends[1]
    assert not set(ends) & {*bare.before, *bare.after}
    stated = json.loads((golden / "golden.json").read_text())["samples"][0]["input_ids"]
    assert [*row.before, -200, *row.after] == stated


@pytest.mark.parametrize("name", ["added_tokens_in_tokenizer_config_only", "pytorch_model_bin_is_a_folder"])
def test_another_place_of_the_same_things_gives_the_same_model(quirks: Path, golden: Path, name: str) -> None:
    model, processor = load_large(str(golden))
    again, same = load_large(str(quirks / name))
    assert same.tokenizer.added == processor.tokenizer.added
    assert same.ids(prompts.QUESTION) == processor.ids(prompts.QUESTION)
    state = again.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_check_says_the_same_of_a_folder_as_deepspeed_leaves_it(quirks: Path, golden: Path) -> None:
    answers = []
    for folder in (golden, quirks / "pytorch_model_bin_is_a_folder"):
        arguments = ["check", str(golden / "images/2.png"), "--model", str(folder), "--format", "json"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        (record,) = json.loads(result.stdout)
        answers.append((record["label"], record["probabilities"], record["mask"]))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_baseline_is_read_out_of_its_wrapper(wrappers: Path, name: str) -> None:
    torch.manual_seed(0)
    loaded = Npr.load(wrappers / f"npr_{name}.pth").state_dict()
    stored = torch.load(wrappers / "npr_model_dict.pth", weights_only=True)["model_dict"]
    assert all(torch.equal(loaded[key], value) for key, value in stored.items())
