"""Models are found by name, and a wrong name is answered with what there is."""

import subprocess
import sys
from pathlib import Path

import pytest

from pixelsleuth.core.detector import Capability
from pixelsleuth.errors import MissingExtra, UnknownModel, UsageError
from pixelsleuth.models import registry
from pixelsleuth.models.registry import ModelSpec

FAKES = Path(__file__).parents[1] / "fakes"


@pytest.fixture
def fake():
    spec = ModelSpec("fake-model", "pixelsleuth.models.registry:_test_factory", "A fake.")
    registry._test_factory = lambda device: ("made", device)
    registry.register(spec)
    yield spec
    registry.unregister("fake-model")
    del registry._test_factory


def test_compact_is_known_and_ships_inside():
    (spec,) = [spec for spec in registry.specs() if spec.name == "compact"]
    assert spec.download_bytes == 0
    assert spec.installed
    assert spec.capabilities == frozenset(Capability)


def test_a_registered_model_is_loaded_with_its_device(fake):
    assert registry.load("fake-model", "cpu") == ("made", "cpu")


def test_a_detector_of_ones_own_is_loaded_by_module_and_name(fake, monkeypatch):
    monkeypatch.syspath_prepend(FAKES)
    made = registry.load("fake_detector:load")
    assert made.name == "fake"
    with pytest.raises(UnknownModel, match="with `device` alone"):
        registry.load("fake_detector:FakeDetector")
    with pytest.raises(UnknownModel, match="no_such_module"):
        registry.load("no_such_module:load")
    with pytest.raises(UnknownModel, match="nothing"):
        registry.load("pixelsleuth.models.registry:nothing")


NO_DETECTORS = """
calls = []
def needs_more(path, device): calls.append(1)
def without_device(): calls.append(1)
def says_int(device="auto") -> int: calls.append(1)
def anything(*args, **kwargs): calls.append(1)
class Plain:
    def __init__(self, device="auto"): calls.append(1)
number = 3
imported = __import__("shutil").rmtree
"""


@pytest.mark.parametrize(
    "name", ["needs_more", "without_device", "says_int", "anything", "Plain", "number", "imported", "calls"]
)
def test_what_is_no_detector_is_refused_in_one_sentence_and_not_called(name, tmp_path, monkeypatch):
    (tmp_path / "other_things.py").write_text(NO_DETECTORS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "other_things", raising=False)
    with pytest.raises(UnknownModel, match=r"no detector.*name a class derived from") as caught:
        registry.load(f"other_things:{name}")
    assert "\n" not in str(caught.value)
    assert sys.modules["other_things"].calls == []


@pytest.mark.parametrize(
    "name", ["os:getcwd", "os:_exit", "sys:exit", "builtins:print", "pixelsleuth:check", "json:dumps"]
)
def test_functions_of_other_modules_are_not_called(name):
    with pytest.raises(UnknownModel, match="no detector"):
        registry.load(name)


def test_a_function_that_makes_something_else_is_told(tmp_path, monkeypatch):
    (tmp_path / "makes_text.py").write_text("def load(device='auto'): return 'text'\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownModel, match="made a str, which is no detector"):
        registry.load("makes_text:load")


def test_a_module_that_fails_when_it_is_imported_is_told(tmp_path, monkeypatch):
    (tmp_path / "half_written.py").write_text("def load(device: return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="half_written:load' fails when it is imported"):
        registry.load("half_written:load")


def test_a_wrong_name_gets_a_suggestion():
    with pytest.raises(UnknownModel, match="did you mean 'compact'"):
        registry.load("compcat")
    with pytest.raises(UnknownModel, match="known models: auto, compact"):
        registry.load("zzz")


def test_a_hub_id_that_cannot_be_had_is_told(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        UsageError, match="someone/some-model is not in the cache and the hub cannot be reached"
    ):
        registry.load("someone/some-model")


def test_a_folder_that_is_not_there_is_called_so(tmp_path):
    with pytest.raises(UnknownModel, match=r"There is no folder .*runs/tiny/model"):
        registry.load(str(tmp_path / "runs/tiny/model"))


def test_weights_that_are_not_there_are_named():
    with pytest.raises(UsageError, match="there is nothing at FOLDER"):
        registry.weights_of(["npr", "rine"], ["FOLDER"])


def test_a_folder_that_is_no_model_is_called_so(tmp_path):
    with pytest.raises(UnknownModel, match="holds no model"):
        registry.load(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "pixelsleuth_compact"}')
    with pytest.raises(UnknownModel, match="pixelsleuth export"):
        registry.load(str(tmp_path))


def test_a_missing_extra_says_what_to_install():
    registry.register(
        ModelSpec("big", "pixelsleuth.nowhere:load", "", extra="vlm", packages=("no_such_package",))
    )
    try:
        assert not registry.specs()[-1].installed
        with pytest.raises(MissingExtra, match=r"pip install '\.\[vlm\]'"):
            registry.load("big")
    finally:
        registry.unregister("big")


@pytest.mark.parametrize(
    "body, error, sentence",
    [
        ("import no_such_package", UsageError, "needs no_such_package, which is not installed"),
        ("def load(device): import no_such_package", UsageError, "needs no_such_package"),
        ("def load(device): open('/no/such/weights')", UsageError, "No such file"),
        ("from json import no_such_name", UsageError, "cannot be imported"),
    ],
)
def test_what_a_model_lacks_is_told_in_a_sentence(tmp_path, monkeypatch, body, error, sentence):
    (tmp_path / "lacking.py").write_text(body + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lacking", raising=False)
    with pytest.raises(error, match=sentence):
        registry.load("lacking:load")


def test_a_missing_package_of_the_core_is_told_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"onnxruntime is not installed.*pip install \."):
        registry.load("compact")


def test_a_model_is_named_by_a_text_or_a_path(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no model"):
        registry.load(tmp_path / "empty")
    for name in (None, 7, b"compact", ["compact"]):
        with pytest.raises(UsageError, match="named by a text or a path"):
            registry.load(name)


def test_an_unknown_device_is_refused():
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        registry.load("compact", device="tpu")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, pixelsleuth, pixelsleuth.models.registry, pixelsleuth.errors; print(*sys.modules)"
    loaded = set(run(code).split())
    assert not loaded & {"numpy", "PIL", "onnxruntime", "torch", "rich", "jinja2"}


def test_help_shows_the_public_names_and_not_the_methods_of_str():
    printed = run("import pixelsleuth; help(pixelsleuth)")
    for name in ("check(", "load(", "open_picture(", "find_pictures(", "class Detector", "class Label", "class Picture",
                 "class PictureError", "class Region", "class Verdict"):  # fmt: skip
        assert name in printed
    for name in ("REAL", "TAMPERED", "LOCALIZE"):
        assert name in printed
    for method in ("casefold", "rjust", "maketrans"):
        assert method not in printed


def test_the_public_names_are_all_there():
    import pixelsleuth

    for name in pixelsleuth.__all__:
        assert getattr(pixelsleuth, name) is not None
    assert set(pixelsleuth.__all__) <= set(dir(pixelsleuth))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = pixelsleuth.nonsense
