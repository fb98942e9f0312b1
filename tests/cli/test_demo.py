"""The demonstration: real photographs, forged before the user's eyes, truth beside verdict."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import MissingExtra
from pixelsleuth.forge import demo_pictures as demo

needs_photographs = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="scikit-image (extra 'demo') is not installed"
)


@needs_photographs
def test_forgeries_differ_from_their_originals_inside_the_mask_only():
    originals = demo.photographs()
    for stem, forgeries in demo.FORGERIES.items():
        before = np.asarray(originals[stem]).astype(int)
        for name, forge, _ in forgeries:
            forged, mask = forge(originals)
            changed = np.abs(np.asarray(forged).astype(int) - before).max(axis=2) > 0
            assert mask.dtype == bool, name
            assert not (changed & ~mask).any(), name
            assert (changed & mask).sum() > 0.4 * mask.sum(), name
            assert 0.005 < mask.mean() < 0.5, name


@needs_photographs
def test_the_set_holds_originals_and_forgeries_under_names_of_their_own():
    pictures = list(demo.demo_pictures())
    assert len({picture.name for picture in pictures}) == len(pictures)
    labels = [picture.label for picture in pictures]
    assert labels.count(Label.REAL) >= 5
    assert labels.count(Label.TAMPERED) >= 5


@needs_photographs
def test_demo_prints_truth_beside_verdict_and_an_honest_count(cli, tmp_path):
    result = cli("demo", "--model", "fake", "--out", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    assert "Splice: a cat's face was pasted onto the visor." in result.stdout
    assert "of 5 originals right" in result.stdout
    assert "of 6 forgeries right" in result.stdout
    page = (tmp_path / "demo" / "report.html").read_text("utf-8")
    assert page.count("In truth:") == 11
    assert len(list((tmp_path / "demo").glob("*.jpg"))) == 11


def test_without_scikit_image_demo_says_what_to_install(cli, monkeypatch, tmp_path):
    def missing() -> None:
        raise MissingExtra("scikit-image", "demo")

    monkeypatch.setattr(demo, "photographs", missing)
    result = cli("demo", "--model", "fake", "--out", tmp_path / "demo")
    assert result.exit_code == 2
    assert "pip install '.[demo]'" in result.stderr


def test_an_unwritable_folder_is_one_sentence(cli, tmp_path):
    (tmp_path / "file").write_text("")
    result = cli("demo", "--model", "fake", "--out", tmp_path / "file")
    assert result.exit_code == 2
    assert "choose another with --out" in result.stderr
