"""What every detector promises, whichever model is behind it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.errors import NotAPicture, PictureError, PictureNotFound, UsageError


class Fake(Detector):
    """Calls dark pictures real and bright ones tampered; fails on those that are wholly red."""

    name, version = "fake", "7"
    capabilities = frozenset({Capability.DETECT, Capability.EXPLAIN})

    def __init__(self):
        self.batches = []

    def judge(self, pictures, *, explain):
        self.batches.append(len(pictures))
        for picture in pictures:
            if (picture.pixels[..., 0] == 255).all() and not picture.pixels[..., 1:].any():
                raise RuntimeError("red")
        return [self.verdict(picture, explain) for picture in pictures]

    def verdict(self, picture, explain):
        bright = float(picture.pixels.mean()) / 255
        return Verdict.of(
            picture,
            {Label.REAL: 1 - bright, Label.FULL_SYNTHETIC: 0.0, Label.TAMPERED: bright},
            model=self.model,
            explanation="It is bright." if explain else None,
        )


@pytest.fixture
def paths(tmp_path):
    result = []
    for name, colour in (("dark", "black"), ("red", "red"), ("bright", "white")):
        result.append(str(tmp_path / f"{name}.png"))
        Image.new("RGB", (32, 24), colour).save(result[-1])
    result.insert(1, str(tmp_path / "absent.png"))
    return result


def test_one_picture_gives_one_verdict(paths):
    verdict = Fake().check(paths[0])
    assert (verdict.label, verdict.source, verdict.model) == (
        Label.REAL,
        paths[0],
        {"name": "fake", "version": "7"},
    )
    assert verdict.elapsed_ms > 0
    assert Fake().check(paths[0], explain=False).explanation is None


def test_any_kind_of_source_is_taken(paths):
    image = Image.open(paths[3])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    for source in (image, buffer.getvalue(), np.asarray(image)):
        assert Fake().check(source).label == Label.TAMPERED


def test_an_open_file_is_taken_like_its_bytes_and_text_is_refused(paths):
    with open(paths[0], "rb") as file:
        verdict = Fake().check(file)
    assert verdict.source == paths[0]
    stream = io.BytesIO(open(paths[0], "rb").read())  # noqa: SIM115
    assert Fake().check(stream).source == "bytes"
    with pytest.raises(NotAPicture, match="The file in memory"):
        Fake().check(stream)  # read to its end already
    with pytest.raises(NotAPicture, match="mode 'rb'"):
        Fake().check(io.StringIO("text"))
    assert file.closed
    with pytest.raises(NotAPicture, match="mode 'rb'"):
        Fake().check(file)


@pytest.mark.parametrize("several", [list, tuple, iter, lambda paths: (path for path in paths)])
def test_any_iterable_of_pictures_gives_a_list(paths, several):
    verdicts = Fake().check(several(paths))
    assert isinstance(verdicts, list)
    assert [verdict.source for verdict in verdicts] == paths


def test_check_many_takes_a_single_path_for_one_picture(paths):
    for single in (paths[0], Path(paths[0]), open(paths[0], "rb").read()):  # noqa: SIM115
        (verdict,) = Fake().check_many(single)
        assert verdict.ok
    stack = np.zeros((3, 32, 40, 3), np.uint8)
    assert len(list(Fake().check_many(stack))) == len(Fake().check(stack)) == 3
    (verdict,) = Fake().check_many(stack[0])
    assert verdict.ok


def test_what_is_no_picture_is_named_in_good_english():
    for thing, message in ((3, "An int is not a picture"), (None, "A NoneType is not a picture"),
                        ({}, "A dict is not a picture"), (b"just a text", "The file in memory is a text")):  # fmt: skip
        with pytest.raises(NotAPicture, match=message):
            Fake().check(thing)


def test_one_unreadable_picture_raises_unless_told_to_record(paths):
    with pytest.raises(PictureNotFound):
        Fake().check(paths[1])
    assert Fake().check(paths[1], on_error="record").error["code"] == "picture_not_found"


def test_a_list_is_judged_to_the_end_and_in_order(paths):
    verdicts = Fake().check(paths)
    assert [verdict.source for verdict in verdicts] == paths
    assert [verdict.error and verdict.error["code"] for verdict in verdicts] == [
        None,
        "picture_not_found",
        "internal_error",
        None,
    ]
    assert verdicts[2].width == 32
    with pytest.raises(PictureError):
        Fake().check(paths, on_error="raise")
    assert Fake().check([]) == []


def test_verdicts_of_a_list_can_still_draw_their_overlay(paths):
    (verdict,) = Fake().check([paths[0]])
    assert verdict.picture is None
    assert verdict.overlay().size == (32, 24)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_batches_give_what_single_pictures_give(paths, batch_size):
    detector = Fake()
    verdicts = list(detector.check_many(iter(paths), batch_size=batch_size))
    assert [verdict.source for verdict in verdicts] == paths
    assert [verdict.label for verdict in verdicts] == [Label.REAL, None, None, Label.TAMPERED]
    assert max(detector.batches) <= batch_size


def test_a_stream_is_judged_while_it_comes(paths):
    opened = []

    def stream():
        for path in paths:
            opened.append(path)
            yield path

    first = next(Fake().check_many(stream()))
    assert first.source == paths[0]
    assert opened == paths[:1]


def test_wrong_arguments_are_named(paths):
    with pytest.raises(UsageError, match="batch_size"):
        list(Fake().check_many(paths, batch_size=0))
    with pytest.raises(UsageError, match="on_error"):
        Fake().check(paths, on_error="ignore")


def test_warnings_of_the_reader_reach_the_verdict(tmp_path):
    Image.new("RGBA", (32, 24), (0, 0, 0, 10)).save(tmp_path / "clear.png")
    assert Fake().check(tmp_path / "clear.png").warnings == ["Transparent areas were laid on white."]


def test_the_size_limit_is_the_detectors(paths):
    detector = Fake()
    detector.max_megapixels = 0.0005
    assert detector.check(paths[:1])[0].error["code"] == "picture_too_large"
