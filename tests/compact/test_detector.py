"""The bundled detector on photographs: complete verdicts, true measurements, the same answer every time."""

from importlib.resources import as_file, files

import numpy as np
import pytest
from skimage import data

import pixelsleuth
from pixelsleuth.compact import detector as compact
from pixelsleuth.compact import grammar
from pixelsleuth.compact.ruling import explanation, rule
from pixelsleuth.core.bounds import Bounds
from pixelsleuth.core.decision import Decision, Ruling
from pixelsleuth.core.detector import Detector
from pixelsleuth.core.scores import Scores
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.evaluation.metrics.claims import claims_of


@pytest.fixture(scope="module")
def bundled() -> Detector:
    return pixelsleuth.load("compact", device="cpu")


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    pasted = data.coffee().copy()
    pasted[100:220, 300:420] = data.astronaut()[60:180, 170:290]
    return [data.astronaut(), data.chelsea(), data.coffee(), pasted]


@pytest.fixture(scope="module")
def verdicts(bundled: Detector, photographs: list[np.ndarray]) -> list[Verdict]:
    """Of all photographs, judged together."""
    return bundled.check(photographs)


def test_every_photograph_gets_a_whole_verdict(
    photographs: list[np.ndarray], verdicts: list[Verdict]
) -> None:
    for pixels, verdict in zip(photographs, verdicts, strict=True):
        assert verdict.ok
        assert verdict.heatmap is not None
        assert 0 <= verdict.heatmap.min() <= verdict.heatmap.max() <= 1
        assert verdict.label == max(verdict.probabilities, key=verdict.probabilities.__getitem__)
        assert (verdict.mask is None) or verdict.mask.shape == pixels.shape[:2]
        assert verdict.explanation
        assert verdict.evidence


def test_words_and_mask_agree(verdicts: list[Verdict]) -> None:
    for verdict in verdicts:
        if verdict.mask is None:
            continue
        statements = {item["kind"]: item["statement"] for item in verdict.evidence}
        assert statements["place"] == grammar.place(verdict.mask)
        assert statements["size"] == grammar.size(verdict.mask)


def test_a_picture_is_judged_alike_alone_and_among_others(
    bundled: Detector, photographs: list[np.ndarray], verdicts: list[Verdict]
) -> None:
    alone = bundled.check(photographs[1])
    assert alone.probabilities == pytest.approx(verdicts[1].probabilities, rel=1e-4)
    assert alone.explanation == verdicts[1].explanation


@pytest.mark.parametrize("beside", [2_000_000, 250_000], ids=["in threads", "one of them alone"])
def test_pictures_judged_beside_each_other_get_what_they_get_alone(
    photographs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, beside: int
) -> None:
    monkeypatch.setattr("pixelsleuth.core.detector.BESIDE_PIXELS", beside)
    with as_file(files("pixelsleuth.compact") / "weights") as folder:
        detector = compact.CompactDetector(folder, device="cpu", threads=3)
    assert detector.beside == 3
    alone = list(detector.check_many(photographs))
    for one, other in zip(alone, detector.check_many(photographs, batch_size=4), strict=True):
        assert one.to_dict() | {"elapsed_ms": 0} == other.to_dict() | {"elapsed_ms": 0}
        assert np.array_equal(one.heatmap, other.heatmap)


def test_without_explain_nothing_is_said(bundled: Detector, photographs: list[np.ndarray]) -> None:
    verdict = bundled.check(photographs[0], explain=False)
    assert verdict.explanation is None
    assert verdict.evidence == []


def test_a_very_large_picture_is_reduced_and_says_so(
    bundled: Detector, photographs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact, "LARGEST", 40_000)
    verdict = bundled.check(photographs[0])
    assert any("judged at" in warning for warning in verdict.warnings)
    assert (verdict.width, verdict.height) == (512, 512)


def test_a_folder_without_weights_is_refused(tmp_path) -> None:
    with pytest.raises(pixelsleuth.PixelSleuthError, match="pixelsleuth export"):
        compact.CompactDetector(tmp_path)


def test_without_a_measured_decision_nothing_is_conclusive_and_no_place_is_named(
    bundled: Detector, photographs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "decision", None)
    for verdict in bundled.check(photographs[1:3]):
        assert verdict.inconclusive
        assert (verdict.mask, verdict.regions) == (None, [])
        assert verdict.heatmap is not None
        assert str(verdict.explanation).startswith("Nothing conclusive; noise is ")
        assert not {"place", "operation"} & {item["kind"] for item in verdict.evidence}
        assert verdict.decision["sentence"].endswith("was never measured.")


@pytest.mark.parametrize("side", [16, 32, 64])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_squares_of_one_colour_are_inconclusive(bundled: Detector, side: int, grey: int) -> None:
    verdict = bundled.check(np.full((side, side, 3), grey, np.uint8))
    assert verdict.inconclusive
    assert verdict.mask is None
    assert verdict.explanation == "Nothing conclusive."


def sure(claims: dict | None = None) -> Scores:
    """Scores of a model that is never wrong, so that every verdict from 0.34 on is conclusive."""
    sources, pictures = 12, 10
    count = 3 * sources * pictures
    labels = np.repeat(np.arange(3), sources * pictures)
    views = np.full((count, 3, 3), 330)
    views[np.arange(count), :, labels] = 340
    return Scores(
        "made for a test", ("jpeg:85", "resize:0.75"), tuple(map(str, range(sources * 3))), ("photograph",),
        np.arange(count) // pictures, labels, np.zeros(count, np.int64), views, claims or {},
    )  # fmt: skip


def ruled(claims: dict | None = None) -> Decision:
    return Decision.fit(sure(claims), Bounds(0.03, 0.9))


TRUE = (95, 100)
HIGHEST = "the map is highest in the upper left , over 5 to 10 % of the picture"
MASK = np.zeros((90, 90), bool)
MASK[:20, :30] = True


@pytest.mark.parametrize(
    "claims, expected",
    [
        (
            {},
            f"{HIGHEST} ; NOISE ; DETAIL",
        ),
        ({"trace": {"its pixels were resampled": TRUE}}, None),
        (
            {"operation": {"retouched in place": TRUE}},
            f"{HIGHEST} ; part of it was retouched in place ; NOISE ; DETAIL",
        ),
        (
            {
                "operation": {"retouched in place": TRUE},
                "trace": {"its pixels were resampled": TRUE},
                "place": {"": TRUE},
                "size": {"": TRUE},
            },
            "in the upper left , 5 to 10 % of the picture was retouched in place ; its pixels were resampled",
        ),
        ({"operation": {"retouched in place": (80, 100)}}, None),
        ({"operation": {"retouched in place": (5, 5)}}, None),
        ({"operation": {"pasted from another picture": TRUE}}, None),
    ],
)
def test_an_operation_is_asserted_only_where_such_claims_were_right(
    claims: dict, expected: str | None
) -> None:
    generate = lambda opening: f"{opening} retouched in place ; its pixels were resampled"  # noqa: E731
    grey = np.random.default_rng(0).integers(120, 130, (90, 90, 3), dtype=np.uint8)
    text = explanation(Ruling(Label.TAMPERED, True), ruled(claims), grey, MASK, None, generate)
    assert grammar.parse(text) is not None
    if expected is not None:
        noise, detail = grammar.measure(grey)
        assert text == expected.replace("NOISE", noise).replace("DETAIL", detail)
    else:
        assert "retouched" not in text
    stated = claims_of(grammar.prose(text))
    assert (stated["label"], stated["place"], stated["size"]) == ("tampered", "upper left", "5 to 10 %")


def test_nothing_conclusive_claims_nothing() -> None:
    grey = np.random.default_rng(0).integers(120, 130, (90, 90, 3), dtype=np.uint8)
    text = explanation(Ruling(Label.TAMPERED, False, "thin"), ruled(), grey, None, None, str)
    assert claims_of(grammar.prose(text)) == {}
    assert "tamper" not in text


def test_resaves_are_judged_only_where_the_picture_would_be_conclusive() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    judged: list[tuple[int, ...]] = []

    def judge(pixels: np.ndarray) -> np.ndarray:
        judged.append(pixels.shape)
        return np.array([0.1, 0.1, 0.8])

    assert not rule(ruled(), noise, np.array([0.33, 0.33, 0.335]), judge).conclusive
    assert judged == []
    assert rule(ruled(), noise, np.array([0.1, 0.1, 0.8]), judge) == Ruling(Label.TAMPERED, True, None, True)
    assert judged == [(64, 64, 3), (48, 48, 3)]
    assert rule(ruled(), noise, np.array([0.1, 0.8, 0.1]), judge).stable is False


def test_a_conclusive_verdict_of_tampering_has_a_mask_and_its_record(
    bundled: Detector, photographs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "decision", ruled())
    monkeypatch.setattr(bundled, "probabilities", lambda _: np.array([0.1, 0.1, 0.8]))
    verdict = bundled.check(photographs[2])
    assert not verdict.inconclusive
    assert verdict.mask is not None or any("no mask" in warning for warning in verdict.warnings)
    assert verdict.decision["stable"] is True
    assert verdict.decision["wrong"]["all"] == {"wrong": 0, "of": 120, "sources": 12}
    assert "wrong for 0 of 120 test pictures from 12 sources" in verdict.decision["sentence"]
