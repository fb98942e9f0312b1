"""The bundled detector on photographs: complete verdicts, true measurements, the same answer every time."""

import numpy as np
import pytest
from skimage import data

import pixelsleuth
from pixelsleuth.compact import detector as compact
from pixelsleuth.compact import grammar
from pixelsleuth.core.detector import Detector


@pytest.fixture(scope="module")
def bundled() -> Detector:
    return pixelsleuth.load("compact", device="cpu")


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    pasted = data.coffee().copy()
    pasted[100:220, 300:420] = data.astronaut()[60:180, 170:290]
    return [data.astronaut(), data.chelsea(), data.coffee(), pasted]


def test_every_photograph_gets_a_whole_verdict(bundled: Detector, photographs: list[np.ndarray]) -> None:
    for pixels, verdict in zip(photographs, bundled.check(photographs), strict=True):
        assert verdict.ok
        assert verdict.heatmap is not None
        assert 0 <= verdict.heatmap.min() <= verdict.heatmap.max() <= 1
        assert verdict.label == max(verdict.probabilities, key=verdict.probabilities.__getitem__)
        assert (verdict.mask is None) or verdict.mask.shape == pixels.shape[:2]
        assert verdict.explanation
        assert verdict.evidence


def test_words_and_mask_agree(bundled: Detector, photographs: list[np.ndarray]) -> None:
    for verdict in bundled.check(photographs):
        if verdict.mask is None:
            continue
        said = {item["kind"]: item["statement"] for item in verdict.evidence}
        assert said["place"] == grammar.place(verdict.mask)
        assert said["size"] == grammar.size(verdict.mask)


def test_a_picture_is_judged_alike_alone_and_among_others(
    bundled: Detector, photographs: list[np.ndarray]
) -> None:
    together = bundled.check(photographs)
    alone = bundled.check(photographs[1])
    assert alone.probabilities == pytest.approx(together[1].probabilities, rel=1e-4)
    assert alone.explanation == together[1].explanation


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
