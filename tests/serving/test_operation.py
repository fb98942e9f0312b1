"""What the pages on the service, the Dockerfile and compose.yaml show, beyond what tests/docs runs of them."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chromium
import httpx2
import pytest
import yaml

from pixelsleuth.cli.serve import serve
from pixelsleuth.serving.metrics import Metrics

if TYPE_CHECKING:
    from conftest import Served

ROOT = Path(__file__).resolve().parents[2]
PAGE = "".join(
    (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("how-to/serve", "how-to/operate", "reference/service")
)
USUAL = "http://127.0.0.1:8000"
"""The address of the service in every example."""
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["pixelsleuth"]


def blocks(language: str) -> list[str]:
    """The fenced blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the pictures that the examples name, the current one."""
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(picture)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example_tells_what_is_wrong(
    server: Served, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "photo.jpg").write_bytes(b"no picture")
    (code,) = (block for block in blocks("python") if "httpx2" in block)
    exec(compile(code.replace(USUAL, server.url), "serve.md", "exec"), {})
    assert capsys.readouterr().out.startswith("422 not_a_picture ")


@pytest.mark.skipif(
    chromium.PROGRAM is None, reason="no chromium on this machine (Debian: apt install chromium)"
)
def test_the_javascript_example_runs_on_a_page_of_the_service(server: Served, tmp_path: Path) -> None:
    """`file` is what a canvas draws, or text; what the example logs is returned."""
    (code,) = blocks("javascript")
    canvas = "Object.assign(document.createElement('canvas'), {width: 64, height: 48})"
    drawn = f"await new Promise((resolve) => {canvas}.toBlob(resolve))"
    browser = chromium.Browser(tmp_path)
    try:
        browser.open(server.url + "/")
        for file, answer in (
            (drawn, r"(real|full_synthetic|tampered|null) "),
            ("new Blob(['text'])", r"422 not_a_picture "),
        ):
            logs = "const logged = [], console = {log: (...values) => logged.push(values.join(' '))};"
            body = f"{logs} const file = {file}; {code.replace(USUAL, server.url)}; return logged.join();"
            assert re.match(answer, browser.run(f"(async () => {{{body}}})()"))
    finally:
        browser.close()


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile and their arguments."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1].strip()) for line in lines]


def last(instruction: str) -> str:
    return [argument for name, argument in dockerfile() if name == instruction][-1]


def test_the_image_copies_what_there_is_and_runs_as_nobody() -> None:
    copied = [argument.split()[:-1] for name, argument in dockerfile() if name == "COPY"]
    sources = [source for names in copied for source in names if not names[0].startswith("--from")]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert sources
    assert all((ROOT / source).exists() and source not in ignored for source in sources)
    user, _, group = last("USER").partition(":")
    assert int(user) > 0 < int(group)


def test_what_the_image_installs_resolves_under_our_constraints() -> None:
    pytest.importorskip("pip", reason="no pip in this environment")
    pytest.importorskip("hatchling", reason="hatchling describes the package: run `make setup`")
    (line,) = [argument for name, argument in dockerfile() if name == "RUN" and "pip install" in argument]
    words = shlex.split(line)
    offline = ["--dry-run", "--quiet", "--no-index", "--no-build-isolation"]
    command = [sys.executable, "-m", *words[words.index("pip") :], *offline]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "does not provide the extra" not in done.stderr


@pytest.fixture(scope="module")
def contained(start: Callable[..., Served], tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The service as the image and compose.yaml start it, behind the prefix of a proxy."""
    command = [*json.loads(last("ENTRYPOINT"))[1:], *COMPOSE["command"]]
    command[command.index("--port") + 1] = "0"
    home = tmp_path_factory.mktemp("data")
    before = dict(os.environ)
    os.environ.update(PIXELSLEUTH_HOME=str(home), HOME="/nonexistent")
    try:
        return start(*command[1:], "--root-path", "/sleuth", folder=Path("/"))
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_the_health_check_of_the_image_asks_the_service(contained: Served) -> None:
    words = json.loads(last("HEALTHCHECK").partition("CMD")[2])
    port = contained.url.rpartition(":")[2]

    def status(port: str) -> int:
        command = [sys.executable, *(word.replace("8000", port) for word in words[1:])]
        return subprocess.run(command, capture_output=True, timeout=30).returncode

    assert status(port) == 0
    assert status("1") != 0


def test_a_service_behind_a_prefix_names_its_places_with_it(contained: Served, picture: bytes) -> None:
    url = contained.url.replace("0.0.0.0", "127.0.0.1")
    answer = httpx2.post(
        f"{url}/v1/jobs", files={"file": ("a.jpg", picture)}, headers={"Host": "any.example"}
    )
    assert answer.status_code == 202
    assert answer.headers["location"].startswith("/sleuth/v1/jobs/")
    assert httpx2.get(url + answer.headers["location"]).json()["total"] == 1


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The options of `serve` that a command sets. Raises click's error where there is no such option."""
    with serve.make_context("serve", arguments) as context:
        return context.params


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_compose_gives_the_container_no_rights_and_time_to_stop() -> None:
    assert COMPOSE["read_only"] is True
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert COMPOSE["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["ports"])
    assert COMPOSE["volumes"] == [f"data:{last('VOLUME')}"]
    assert parsed(COMPOSE["command"])["grace"] < seconds(COMPOSE["stop_grace_period"])


def test_the_unit_starts_a_command_that_exists_and_gives_it_time_to_stop(tmp_path: Path) -> None:
    (text,) = blocks("ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    words = shlex.split(unit["Service"]["ExecStart"])
    assert words[1] == "serve"
    assert parsed(words[2:])["grace"] < float(unit["Service"]["TimeoutStopSec"])
    if shutil.which("systemd-analyze"):
        (tmp_path / "pixelsleuth.service").write_text(text.replace(words[0], sys.executable))
        command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "pixelsleuth.service")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert "pixelsleuth.service" not in done.stderr, done.stderr


def table(title: str) -> set[str]:
    """The code in the first column of the table under a row of titles."""
    rows = PAGE.partition(f"| {title} |")[2].partition("\n\n")[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_the_page_lists_every_metric() -> None:
    families = {
        family.name + ("_total" if family.type == "counter" else "") + labels(family)
        for family in Metrics().registry.collect()
    }
    assert table("metric") == families


def labels(family: Any) -> str:
    """The names of the labels of a metric, as the page writes them."""
    names = next(
        metric._labelnames
        for metric in vars(Metrics()).values()
        if getattr(metric, "_name", None) == family.name
    )
    return "{" + ",".join(names) + "}" if names else ""
