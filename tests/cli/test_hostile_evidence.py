"""Hostile content in files: bounded records, one warning at most, escaped pages, and nothing goes online."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

EVIL = "</li></script><script>alert(1)</script><img src=https://example.org/x onerror=alert(2)>\u202e\x1b[31m"
LARGEST_RECORD = 32_768
"""Bytes of one record of a picture of 80 x 60 pixels, whatever its file holds."""
LARGEST_PAGE = 131_072

ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c SYSTEM "https://example.org/secret">]>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    "<rdf:Description>&b;&c;</rdf:Description></rdf:RDF></x:xmpmeta>"
)
WORKFLOW = json.dumps(
    {
        str(number): {
            "class_type": "KSampler" if number % 2 else "CLIPTextEncode",
            "inputs": {"text": EVIL * 40, "model": [str(number + 1), 0], "positive": [str(number + 1), 0]},
        }
        for number in range(400)
    }
)
CASES = {
    "a prompt of megabytes": {
        "parameters": EVIL * 40_000 + "\nSteps: 20, Sampler: Euler a, Model: " + EVIL * 9
    },
    "a workflow with scripts": {"prompt": WORKFLOW, "workflow": WORKFLOW},
    "entities in XMP": {"XML:com.adobe.xmp": ENTITIES},
    "many texts": {f"Software{number}": EVIL for number in range(500)} | {"Software": EVIL},
    "deep JSON": {"parameters": '{"sui_image_params":' * 5000 + "1" + "}" * 5000, "workflow": "[" * 90_000},
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket can be made."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("something went online")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def hostile(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A PNG of noise with the texts of one case."""
    info = PngInfo()
    for key, text in CASES[request.param].items():
        if key.startswith("XML"):
            info.add_itxt(key, text)
        else:
            info.add_text(key, text, zip=len(text) > 100_000)
    pixels = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    path = tmp_path / "hostile.png"
    Image.fromarray(pixels).save(path, pnginfo=info)
    return path


@pytest.mark.parametrize("hostile", CASES, indirect=True)
def test_hostile_files_give_bounded_records_and_escaped_pages(cli, hostile, tmp_path):
    report, page = tmp_path / "report.html", tmp_path / "page.html"
    checked = cli("check", hostile, "--format", "jsonl", "--quiet", "--report", report)
    assert checked.exit_code == 0
    (line,) = checked.stdout.splitlines()
    assert len(line.encode()) < LARGEST_RECORD
    assert len(json.loads(line)["warnings"]) <= 1
    assert cli("inspect", hostile, "--report", page).exit_code == 0
    for written in (report, page):
        text = written.read_text("utf-8")
        assert len(text.encode()) < LARGEST_PAGE
        assert "<script" not in text
        assert "<img src=https" not in text
        assert not {"\u202e", "\x1b"} & set(text)


@pytest.mark.parametrize("hostile", CASES, indirect=True)
def test_hostile_texts_reach_no_terminal(cli, hostile):
    for command in ("check", "inspect"):
        output = cli(command, hostile).stdout
        assert not {"\u202e", "\x1b"} & set(output)
        assert len(output) < LARGEST_RECORD
