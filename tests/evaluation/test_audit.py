"""The audit finds what was planted, finds nothing in a clean set, and goes on past bad files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("sklearn", reason="the audit needs the extra eval")
pytest.importorskip("matplotlib", reason="the audit needs the extra eval")

from pixelsleuth.data.equalise import Draw, SizePolicy, draw_for, equalised
from pixelsleuth.errors import PictureError, UsageError
from pixelsleuth.evaluation.audit.auditing import AuditOptions, run_audit
from pixelsleuth.evaluation.audit.headers import FEATURES, header_features
from pixelsleuth.evaluation.audit.leak import Labels, auroc, leak
from pixelsleuth.evaluation.audit.measure import Looked, audit_text, boosted, parts_of
from pixelsleuth.evaluation.audit.report import sentences, strength


def photograph(seed: int, side: int = 48) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = cv2.resize(random.normal(128, 50, (8, 8, 3)).astype(np.float32), (side, side))
    return (coarse + random.normal(0, random.uniform(2, 8), coarse.shape)).clip(0, 255).astype(np.uint8)


Write = Callable[[Path, np.ndarray, str, np.random.Generator], Path]


def jpeg_whatever_the_label(stem: Path, pixels: np.ndarray, _: str, random: np.random.Generator) -> Path:
    path = stem.with_suffix(".jpg")
    Image.fromarray(pixels).save(path, quality=int(random.integers(75, 96)))
    return path


def png_when_fake(stem: Path, pixels: np.ndarray, label: str, random: np.random.Generator) -> Path:
    if label == "real":
        return jpeg_whatever_the_label(stem, pixels, label, random)
    path = stem.with_suffix(".png")
    Image.fromarray(pixels).save(path)
    return path


def data_set(folder: Path, write: Write, count: int = 100) -> Path:
    """A manifest of `count` pictures, two classes that differ in nothing but how `write` treats them."""
    random = np.random.default_rng(7)
    folder.mkdir()
    rows = []
    for index in range(count):
        label = ("real", "full_synthetic")[index % 2]
        path = write(folder / f"{index:04}", photograph(index), label, random)
        rows.append(
            {
                "path": path.name,
                "label": label,
                "source": f"{label}-{index % 4 // 2}",
                "group": f"g{index // 2}",
            }
        )
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def audited(manifest: Path, out: Path, **options: object) -> dict:
    assert run_audit(AuditOptions(manifest, out, quiet=True, size="crop:48", **options)) == 0  # type: ignore[arg-type]
    return json.loads((out / "audit.json").read_text())


def test_jpeg_reals_and_png_fakes_are_found_and_equalising_takes_it_away(tmp_path: Path) -> None:
    result = audited(data_set(tmp_path / "set", png_when_fake), tmp_path / "out")
    assert result["headers"]["auroc"] > 0.99
    assert result["headers"]["by_kind"]["container"] > 0.99
    assert result["headers"]["new_sources"] > 0.99
    assert abs(result["equalised"]["headers"]["auroc"] - 0.5) < 0.15
    assert "give the label away" in sentences(result)[0]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.usefixtures("no_audit_plots")
def test_a_clean_set_is_called_clean(tmp_path: Path) -> None:
    result = audited(
        data_set(tmp_path / "set", jpeg_whatever_the_label, 240), tmp_path / "out", equalise=False
    )
    assert abs(result["headers"]["auroc"] - 0.5) < 0.1
    assert max(result["headers"]["by_kind"].values()) < 0.6
    assert abs(result["thumbnails"]["auroc"] - 0.5) < 0.1
    assert "say little" in sentences(result)[0]
    assert result["text"]["auroc"] is None
    assert result["equalised"] is None


def test_descriptions_that_name_the_label_are_found_and_neutral_ones_are_not(tmp_path: Path) -> None:
    words = ("a dog", "a red bus", "two people", "a plate of food", "an empty street")

    def text_figures(describe: Callable[[str, int], str]) -> dict:
        labels = np.array(["real", "full_synthetic"] * 40, dtype=object)
        texts = [describe(label, i) for i, label in enumerate(labels)]
        units = Labels(labels, np.full(80, "s", dtype=object), np.arange(80).astype(str).astype(object))
        return audit_text(Looked(units, np.zeros((80, 1)), np.zeros((80, 1)), texts, []))

    figures = text_figures(lambda label, i: f"{words[i % 5]}, {label} it seems")
    assert figures["auroc"] > 0.99
    assert "full_synthetic" in " ".join(figures["words"]["full_synthetic"])
    assert text_figures(lambda _, i: words[i * 7 % 11 % 5])["auroc"] < 0.75
    assert text_figures(lambda *_: "")["auroc"] is None


@pytest.mark.usefixtures("no_audit_plots")
def test_a_damaged_file_is_named_and_the_rest_is_audited(tmp_path: Path) -> None:
    manifest = data_set(tmp_path / "set", png_when_fake, 40)
    (tmp_path / "set" / "0000.jpg").write_bytes(b"no picture")
    assert run_audit(AuditOptions(manifest, tmp_path / "out", quiet=True, equalise=False)) == 1
    result = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert result["pictures"] == 39
    assert "0000.jpg" in result["skipped"][0]["message"]


def test_one_class_or_too_few_groups_give_a_reason_and_no_figure() -> None:
    labels = Labels(*(np.array(x, dtype=object) for x in (["real"] * 9, ["s"] * 9, list("abcdefghi"))))
    assert leak(np.zeros((9, 2)), labels, boosted)["why"] == "there is only one class"
    few = Labels(*(np.array(x, dtype=object) for x in (["real", "tampered"] * 6, ["s"] * 12, list("ab") * 6)))
    assert "fewer than" in leak(np.zeros((12, 2)), few, boosted)["why"]


def test_a_group_is_never_on_both_sides() -> None:
    # Each group has a number of its own and one label: whoever splits groups can look the label up, others cannot.
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 4)
    label = np.array(["real", "tampered"], dtype=object)[random.permutation(60) % 2][group]
    labels = Labels(label, np.full(240, "s", dtype=object), group.astype(str).astype(object))
    figures = leak(group[:, None] * 1.0, labels, boosted)
    assert figures["auroc"] < 0.65
    alone = Labels(label, labels.source, np.arange(240).astype(str).astype(object))
    assert leak(group[:, None] * 1.0, alone, boosted)["auroc"] > 0.9


def test_the_figures_by_source_and_within_a_source() -> None:
    n = 240
    label = np.array(["real", "tampered"] * (n // 2), dtype=object)
    source = np.array(["a", "a", "b", "b"] * (n // 4), dtype=object)
    feature = np.where((source == "a") & (label == "real"), 1.0, 0.0)[:, None]  # only source a leaks
    figures = leak(feature, Labels(label, source, np.arange(n).astype(str).astype(object)), boosted)
    assert figures["by_source"]["a"]["within"] > 0.95
    assert abs(figures["by_source"]["b"]["within"] - 0.5) < 0.06
    assert figures["by_source"]["a"]["classes"]["real"]["auroc"] > 0.95
    assert figures["new_sources"] <= 0.5


def test_auroc_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(1)
    a, b = random.integers(0, 9, 50), random.integers(2, 11, 70)
    assert auroc(a, b) == pytest.approx(roc_auc_score([1] * 50 + [0] * 70, [*a, *b]))


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def test_header_features_tell_tables_sampling_and_metadata() -> None:
    pixels = photograph(0)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    plain = header_features(encoded(pixels, "JPEG", quality=75, subsampling=2), "a.jpg")
    rich = header_features(
        encoded(pixels, "JPEG", quality=95, subsampling=0, exif=exif, progressive=True), "a.png"
    )
    assert plain["luma_mean"] > rich["luma_mean"]
    assert (plain["sampling"], rich["sampling"]) == (0x22, 0x11)
    assert (plain["exif"], rich["exif"], rich["exif_make"], rich["progressive"]) == (0, 1, 1, 1)
    assert (plain["suffix_agrees"], rich["suffix_agrees"]) == (1, 0)
    assert plain["table_id"] != rich["table_id"]
    png = header_features(encoded(pixels, "PNG"), "a.png")
    assert (png["container"], png["bit_depth"], png["colour_type"]) == (2, 8, 2)
    assert set(plain) == set(rich) == set(png) == set(FEATURES)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 3000), st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_damaged_headers_end_in_features_or_in_our_error(junk: bytes, at: int, kind: str) -> None:
    whole = encoded(photograph(1, 32), kind)
    data = whole[: at % len(whole)] + junk + whole[at % len(whole) + len(junk) :]
    try:
        features = header_features(data, "x.jpg")
    except PictureError:
        return
    assert set(features) == set(FEATURES)
    assert np.isfinite([*features.values()]).all()


def test_equalised_gives_every_container_the_same_file_form() -> None:
    pixels = np.kron(photograph(2, 48), np.ones((2, 2, 1), np.uint8))
    size = SizePolicy("crop", 64)
    files = [encoded(pixels, "JPEG", quality=60), encoded(pixels, "PNG"), encoded(pixels, "WEBP")]
    results = [equalised(data, Draw(quality=85), size=size) for data in files]
    heads = [header_features(result.data, "x.jpg") for result in results]
    for key in set(FEATURES) - {"bytes", "bytes_per_pixel"}:
        assert len({head[key] for head in heads}) == 1, key
    assert all(result.pixels.shape == (64, 64, 3) for result in results)


def test_a_draw_depends_on_the_name_and_the_seed_alone() -> None:
    assert draw_for("a.png") == draw_for("a.png")
    assert len({draw_for(f"{i}.png").quality for i in range(200)}) > 15
    assert len({draw_for("a.png", seed).quality for seed in range(50)}) > 10


@pytest.mark.parametrize("kind, shape", [("native", (40, 90)), ("crop", (64, 64)), ("fit", (28, 64))])
def test_size_policies(kind: str, shape: tuple[int, int]) -> None:
    result = equalised(np.zeros((40, 90, 3), np.uint8), size=SizePolicy(kind, 64))
    assert result.pixels.shape[:2] == shape


def test_wrong_policies_and_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="size is 'squash'"):
        SizePolicy("squash")
    with pytest.raises(UsageError, match=r"layout of .* is not known"):
        parts_of(tmp_path)


@pytest.fixture
def no_audit_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second a page; the first test of this file has them drawn."""
    monkeypatch.setattr("pixelsleuth.evaluation.audit.report._plots", lambda result: [])


@pytest.mark.usefixtures("no_audit_plots")
def test_splits_are_audited_together_and_each(tmp_path: Path) -> None:
    manifest = data_set(tmp_path / "set", png_when_fake, 40)
    rows = list(csv.DictReader(manifest.open()))
    with manifest.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, [*rows[0], "split"])
        writer.writeheader()
        writer.writerows(row | {"split": "train" if index < 24 else "eval"} for index, row in enumerate(rows))
    result = audited(manifest, tmp_path / "out", equalise=False)
    assert {name: part["pictures"] for name, part in result["splits"].items()} == {"eval": 16, "train": 24}
    assert result["pictures"] == 40
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Split train" in page
    assert "All splits together" in page


def test_a_folder_with_a_folder_a_class_is_read(tmp_path: Path) -> None:
    for name in ("real", "fake", "masks"):
        (tmp_path / name).mkdir()
        Image.fromarray(photograph(3)).save(tmp_path / name / "one.png")
    assert [str(sample.label) for _, sample in parts_of(tmp_path)[None]] == ["real", "full_synthetic"]


@pytest.mark.usefixtures("no_audit_plots")
def test_the_command_says_what_it_found(tmp_path: Path, shared: Path) -> None:
    from click.testing import CliRunner

    from pixelsleuth.cli.main import main

    arguments = ["audit", str(shared / "corpus" / "manifest.csv"), "--split", "eval", "--limit", "60"]
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out"), "--no-equalise"])
    assert done.exit_code == 0, done.output
    assert "Headers" in done.output
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["headers"]["auroc"] > 0.85
    wrong = CliRunner().invoke(main, [*arguments[:2], "--out", str(tmp_path / "o"), "--quality", "x"])
    assert wrong.exit_code == 2


def test_strengths() -> None:
    assert [strength(v) for v in (0.5, 0.41, 0.3, 0.8, 1.0)] == [
        "say little", "say little", "say little", "say much", "give the label away",
    ]  # fmt: skip
