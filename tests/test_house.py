"""What the house promises as a whole: a light core, arrows that point one way, pins, a small wheel."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "pixelsleuth"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# What a bare `pip install pixelsleuth` does not bring.
ABSENT_IN_CORE = [
    *("accelerate", "c2pa", "cv2", "datasets", "diffusers", "fastapi", "httpx2", "onnx", "onnxscript"),
    *("jsonschema", "mcp", "mcp_types", "openai", "peft", "ray"),
    *(
        "scipy",
        "skimage",
        "sklearn",
        "tokenizers",
        "torch",
        "torchvision",
        "transformers",
        "trl",
    ),
    *("prometheus_client", "starlette", "uvicorn", "watchfiles"),
    "yaml",
]
RUNTIME_ROOMS = ("checking", "cli", "compact", "core", "evidence", "pictures", "reporting")
LIGHT_MODELS = (
    "catalogue",
    "facts",
    "factories",
    "precision",
    "registry",
    "store",
)
"""Files of `models` that list and find detectors: no torch, so that `pixelsleuth models` answers at once."""

# A room may use the rooms below its own level, and itself. docs/background/design.md draws the same picture.
LEVELS = {
    "pictures": 0,
    "core": 1,
    "compact": 2,
    "data": 2,
    "evidence": 2,
    "reporting": 2,
    "decoding": 3,
    "forge": 3,
    "models": 3,
    "checking": 4,
    "evaluation": 4,
    "scale": 5,
    "serving": 5,
    "training": 5,
    "cli": 6,
}
LARGEST_WHEEL = 40 * 1024 * 1024


_spec = importlib.util.spec_from_file_location("house", ROOT / "benchmarks" / "house.py")
assert _spec is not None
assert _spec.loader is not None
house = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(house)
sources, imports = house.sources, house.imports


def room_of(path: Path) -> str | None:
    inside = path.relative_to(PACKAGE).parts
    return inside[0] if len(inside) > 1 else None


def test_the_page_on_design_draws_the_rooms_that_there_are() -> None:
    page = (ROOT / "docs" / "background" / "design.md").read_text(encoding="utf-8")
    tree = page.partition("src/pixelsleuth/\n")[2].partition("```")[0]
    drawn = re.findall(r"^  ([a-z]+)/ ", tree, flags=re.MULTILINE)
    assert sorted(drawn) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    below = page.partition("never one beside or above it:")[2].split("```")[1].removeprefix("text").split()
    assert set(below) == set(LEVELS)
    for place in re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.[a-z]+)?)`", page):
        assert any((root / place).exists() for root in (PACKAGE, ROOT)), f"design.md names {place}"


def is_light(path: Path) -> bool:
    """True for what must load in a plain install."""
    room = room_of(path)
    return room in (*RUNTIME_ROOMS, None) or (room == "models" and path.stem in LIGHT_MODELS)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_room_imports_only_rooms_below_it() -> None:
    wrong: dict[str, str] = {}  # one entry a line of code
    for path in sources():
        room = room_of(path)
        if room is None:
            continue
        assert room in LEVELS, f"{path} lies in a room that docs/background/design.md does not know"
        for module, line in imports(path):
            parts = module.split(".")
            if parts[0] != "pixelsleuth" or len(parts) < 2 or parts[1] not in LEVELS or parts[1] == room:
                continue
            if LEVELS[parts[1]] >= LEVELS[room]:
                wrong.setdefault(f"{path.relative_to(ROOT)}:{line}", f"{room} imports {module}")
    assert not wrong


def test_the_light_rooms_import_nothing_heavy_when_loaded() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in sources()
        if is_light(path)
        for module, line in imports(path, inside=False)
        if module.split(".")[0] in ABSENT_IN_CORE
    ]
    assert not wrong, "\n".join(wrong)


def test_the_light_rooms_load_without_torch_or_any_other_extra() -> None:
    modules = [
        ".".join(("pixelsleuth", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for path in sources()
        if is_light(path) and path.name != "__main__.py"
    ]
    run_python(
        "import importlib, sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {ABSENT_IN_CORE!r}:\n"
        "            raise ImportError(f'{name} is not part of the core')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
    )


def test_help_answers_before_anything_heavy_is_imported() -> None:
    loaded = json.loads(
        run_python(
            "import contextlib, io, json, sys\n"
            "from pixelsleuth.cli.main import main\n"
            "with contextlib.redirect_stdout(io.StringIO()):\n"
            "    main(['--help'], standalone_mode=False)\n"
            "print(json.dumps(sorted(sys.modules)))"
        )
    )
    heavy = {"numpy", "PIL", "onnxruntime", "rich", "jinja2", *ABSENT_IN_CORE}
    assert not heavy & set(loaded)


def test_the_version_is_the_same_everywhere() -> None:
    version = run_python("import pixelsleuth; print(pixelsleuth.__version__)").strip()
    assert version == PYPROJECT["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_a_plain_install_asks_for_no_torch() -> None:
    names = {canonicalize_name(Requirement(text).name) for text in PYPROJECT["project"]["dependencies"]}
    assert names == {"click", "jinja2", "numpy", "onnxruntime", "pillow", "rich", "safetensors"}


def test_no_extra_but_those_of_others_asks_for_torchvision() -> None:
    for extra, texts in PYPROJECT["project"]["optional-dependencies"].items():
        assert all(Requirement(text).name != "torchvision" for text in texts), extra


WORKSHOP = {"dev", "docs", "release"}
"""Extras for those who work on PixelSleuth, not with it."""


def test_the_extra_all_covers_every_extra_of_users() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    covered = set().union(*(Requirement(text).extras for text in extras["all"]))
    assert covered == set(extras) - {"all", *WORKSHOP}


def pinned() -> dict[str, str]:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", line)
            assert match, f"constraints.txt holds plain `name==version` lines only, not {line!r}"
            pins[canonicalize_name(match[1])] = match[2]
    return pins


def required_with(*extras: str) -> set[str]:
    """Names of all direct and transitive requirements of the installed pixelsleuth with these extras."""
    required: set[tuple[str, str]] = set()
    pending = [("pixelsleuth", extra) for extra in ("", *extras)]
    while pending:
        name, extra = pending.pop()
        if (name, extra) in required:
            continue
        required.add((name, extra))
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                other = canonicalize_name(requirement.name)
                pending.extend((other, its_extra) for its_extra in ("", *requirement.extras))
    return {name for name, _ in required} - {"pixelsleuth"}


def test_every_requirement_of_the_tests_is_pinned() -> None:
    try:
        names = required_with("dev", "train", "demo")
    except metadata.PackageNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed: run `make setup`")
    assert not names - set(pinned())


EXTRAS = sorted(PYPROJECT["project"]["optional-dependencies"])


def direct(extra: str) -> list[Requirement]:
    """What an extra asks for itself, without the other extras that it takes in."""
    requirements = map(Requirement, PYPROJECT["project"]["optional-dependencies"][extra])
    return [requirement for requirement in requirements if requirement.name != "pixelsleuth"]


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_extra_resolves_against_the_constraints(extra: str) -> None:
    pins = pinned()
    wrong = []
    for requirement in direct(extra):
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None or not requirement.specifier.contains(pin, prereleases=True):
            wrong.append(f"{requirement}: pinned to {pin}")
    named = set().union(
        *(Requirement(text).extras for text in PYPROJECT["project"]["optional-dependencies"][extra])
    )
    assert not wrong
    assert named <= {*EXTRAS, *(name for requirement in direct(extra) for name in requirement.extras)}


def test_what_is_installed_of_the_pins_asks_for_nothing_that_another_pin_forbids() -> None:
    pins, wrong = pinned(), []
    for name, version in pins.items():
        try:
            if metadata.version(name).partition("+")[0] != version:
                continue  # another version is on this machine: its requirements say nothing of the pin's
            texts = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, texts):
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            pin = pins.get(canonicalize_name(requirement.name))
            if applies and (pin is None or not requirement.specifier.contains(pin, prereleases=True)):
                wrong.append(f"{name} {version} wants {requirement}; the pin is {pin}")
    assert not wrong, "\n".join(wrong)


# Distribution -> module, where the two differ.
MODULES = {
    "c2pa-python": "c2pa", "opencv-python-headless": "cv2", "pillow": "PIL", "pyyaml": "yaml",
    "scikit-image": "skimage", "scikit-learn": "sklearn",
}  # fmt: skip
NEEDED_BY_OTHERS = {
    "python-multipart": "starlette reads forms with it",
    "protobuf": "transformers reads sentencepiece's tokenizers through it",
    "onnxscript": "torch.onnx's exporter asks for it",
    "tensorboard": "torch.utils.tensorboard asks for it",
}


def test_nothing_is_asked_for_that_no_source_file_imports() -> None:
    imported = {name.partition(".")[0] for path in sources() for name, _ in imports(path)}
    # What is only looked up before a command begins counts as well.
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources())
    unused = []
    for extra in set(EXTRAS) - WORKSHOP:
        for requirement in direct(extra):
            module = MODULES.get(canonicalize_name(requirement.name), requirement.name.replace("-", "_"))
            known = module in imported or f'"{module}"' in text or requirement.name in NEEDED_BY_OTHERS
            unused += [] if known else [f"{extra}: {requirement.name}"]
    assert not unused


def text_files() -> Iterator[tuple[Path, str]]:
    """Everything that git tracks or would track, as text."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.stat().st_size < 2_000_000:
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def test_no_file_records_a_registry_host_or_a_path_of_somebodys_machine() -> None:
    # Spelled in parts, so that this file does not find itself.
    hosts = [
        "py" + "pi.org",
        "python" + "hosted",
        "download.py" + "torch",
        "extra-index" + "-url",
        "find" + "-links",
    ]
    machine_path = re.compile(r"(?<![\w./~-])/(?:work|root|home)/\w")
    wrong = []
    for path, text in text_files():
        wrong += [f"{path.relative_to(ROOT)}: {host}" for host in hosts if host in text]
        wrong += [f"{path.relative_to(ROOT)}: {match[0]}" for match in machine_path.finditer(text)]
    assert not wrong, "\n".join(wrong)


def test_a_source_file_can_be_read_at_once() -> None:
    assert not house.long_files()


def test_a_function_can_be_read_at_once() -> None:
    assert not house.long_functions()


def test_no_folder_of_a_walled_room_uses_its_neighbour() -> None:
    assert not house.inner_arrows(house.graph())


def test_no_imports_run_in_a_circle() -> None:
    assert not house.circles(house.graph())


def test_a_file_name_occurs_once_in_a_room() -> None:
    rooms: dict[tuple[str, str], list[str]] = {}
    for path in sources():
        inside = path.relative_to(PACKAGE).parts
        # The folders of a walled room are alike: each system has its own `detector`, each training its `settings`.
        alike = inside[0] in house.WALLED and len(inside) > 2
        if len(inside) > 1 and path.name != "__init__.py" and not alike:
            rooms.setdefault((inside[0], path.name), []).append(str(path.relative_to(PACKAGE)))
    twice = {key: places for key, places in rooms.items() if len(places) > 1}
    assert not twice


def test_the_wheel_is_small_and_holds_what_check_needs(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: run `make setup`")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True, timeout=200,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size <= LARGEST_WHEEL
    names = zipfile.ZipFile(wheel).namelist()
    assert "pixelsleuth/py.typed" in names
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in names if "/licenses/" in name}
    assert "pixelsleuth/compact/MODEL_CARD.md" in names
    assert any(name.endswith("share/man/man1/pixelsleuth-check.1") for name in names)
    assert any(name.startswith("pixelsleuth/reporting/") and name.endswith(".j2") for name in names)
    assert any(name.startswith("pixelsleuth/evaluation/audit/") and name.endswith(".j2") for name in names)
    assert any(name.startswith("pixelsleuth/compact/") and name.endswith(".onnx") for name in names)
    assert "pixelsleuth/evidence/trust/C2PA-TRUST-LIST.pem" in names
    assert any(
        name.startswith("pixelsleuth/models/light/graphs/") and name.endswith(".onnx") for name in names
    )
    assert not [name for name in names if name.endswith((".pt", ".pth", ".jpg", ".jpeg", ".png", ".log"))]
    assert not [name for name in names if not name.startswith(("pixelsleuth/", "pixelsleuth-"))]
