"""Protocols: the rules of one evaluation, each with a name and a version that results carry.

`standard` is the default; its figures follow the standard definitions. The others follow published works as their code
or papers compute. Their figures stand beside the standard ones under names of their own (`sida_f1`, `fakevlm_acc`).
`notes` says what a paper leaves open.

To change the mask threshold of a protocol, set its `mask_level` below.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from pixelsleuth.core.names import suggestion
from pixelsleuth.data.mask_levels import LEVEL
from pixelsleuth.errors import UsageError


@dataclass(frozen=True)
class Protocol:
    """The rules of an evaluation.

    equalise: every picture gets the same size rule and compression before it is judged.
    teacher_forced: the detector gets the true answer where it can take it.
    sentence: the class is read out of the text, not out of the probabilities.
    mask_level: the grey level (1 to 255) from which a pixel of a stored mask counts as tampered. The detector's own map
        is always cut at half (`metrics.localization.HALF`).
    labels: the classes that are judged.
    own: the figures that this protocol adds (`figures.OWN_FIGURES`).
    """

    name: str
    version: int
    summary: str
    equalise: bool = True
    teacher_forced: bool = False
    sentence: bool = False
    mask_level: int = LEVEL
    labels: tuple[str, ...] = ("real", "full_synthetic", "tampered")
    own: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As results carry it."""
        return asdict(self)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "standard",
            1,
            "Every picture is decoded, turned upright, brought to sRGB and given one JPEG pass (quality 90, "
            "4:2:0) at its own size, whatever its class; the detector sees nothing but pixels. Pixel figures are "
            "means over tampered pictures at threshold 0.5, whatever class was named.",
        ),
        Protocol(
            "sida",
            1,
            "As the release of SIDA validates: pixels of the files as they are, the true answer given to the model "
            "where it can take it (teacher forcing), masks at logit 0, IoU on tampered pictures only.",
            equalise=False,
            teacher_forced=True,
            mask_level=255,
            own=("sida_giou", "sida_ciou", "sida_accuracy", "sida_f1", "sida_auc", "sida_pixel_accuracy"),
            notes=(
                "sida_f1 is the harmonic mean of cIoU and classification accuracy; the names are the release's.",
                "sida_auc is mean precision times mean recall of the classes, sida_pixel_accuracy is cIoU times 100.",
                "Only mask pixels that are fully white count as tampered, as in the release's integer conversion.",
            ),
        ),
        Protocol(
            "sida_tables",
            1,
            "As SIDA's tables 2 and 5 score detectors of two classes: files as they are, and a fake of either kind is "
            "right when the detector says fake of either kind.",
            equalise=False,
            own=(
                "sida_tables_acc",
                "sida_tables_f1",
                *(
                    f"sida_tables_{figure}_{name}"
                    for figure in ("acc", "f1")
                    for name in ("real", "full_synthetic", "tampered")
                ),
            ),
            notes=(
                "sida_tables_acc_CLASS is the share of that class told right, as real or as fake.",
                "sida_tables_acc is their mean over the classes that occur.",
                "sida_tables_f1_CLASS is 2a / (1 + a) of that accuracy: F1 inside one class, without false alarms.",
                "sida_tables_f1 is the usual F1 of fake against real.",
                "Worked out from the published numbers; some cells of the paper follow no such rule.",
            ),
        ),
        Protocol(
            "fakevlm",
            1,
            "As the release of FakeVLM evaluates: files as they are; the class is read out of the answer's first two "
            "sentences by the words real and fake. An answer with neither is counted as unparsable and as wrong.",
            equalise=False,
            sentence=True,
            own=("fakevlm_acc", "fakevlm_f1", "fakevlm_unparsable"),
            notes=(
                "The positive class of fakevlm_f1 is real, as the published figures imply.",
                "The release draws an unparsable answer at random; here it is wrong, so a score can only be lower.",
                "The rule is a substring test: unrealistic counts as real, as in the release.",
            ),
        ),
        Protocol(
            "so_fake",
            2,
            "As So-Fake reports: three classes, files as they are, pixel F1 and IoU over all tampered pictures; "
            "beside them the IoU of the box.",
            equalise=False,
            own=("so_fake_acc", "so_fake_f1", "so_fake_loc_iou", "so_fake_loc_f1", "so_fake_box_iou"),
            notes=(
                "The paper does not name the averaging of its F1: macro here.",
                "Nor whether pictures of a wrongly named class count for localization: all tampered pictures do here.",
                "so_fake_box_iou is ours: the box around the verdict's regions against the box around the mask.",
            ),
        ),
        Protocol(
            "imdl",
            1,
            "As benchmarks of manipulation localization do: tampered pictures only, files as they are, threshold "
            "0.5, mean over pictures.",
            equalise=False,
            labels=("tampered",),
            own=("imdl_f1", "imdl_iou", "imdl_auc"),
            notes=("Ties in imdl_auc count half; the best of a map and its inverse is never taken.",),
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol called `name`. Raises UsageError with the nearest name, or all of them."""
    if name not in PROTOCOLS:
        raise UsageError(f"There is no protocol {name!r}{suggestion(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def parse_answer(text: str | None) -> str | None:
    """Return "real", "fake" or None for an answer, by FakeVLM's rule: its first sentence, else its second.

    >>> parse_answer("This is a fake image. The hands are not realistic."), parse_answer("I cannot tell.")
    ('fake', None)
    """
    sentences = [sentence for sentence in re.split(r"\.", (text or "").lower()) if sentence.strip()]
    for sentence in sentences[:2]:
        if "real" in sentence:
            return "real"
        if "fake" in sentence:
            return "fake"
    return None
