"""What an assistant gets from `pixelsleuth mcp`: through the SDK's own client, over standard streams and in memory."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mcp", reason="the SDK of the Model Context Protocol is not installed: run `make setup`")

from jsonschema import Draft202012Validator
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from pixelsleuth.errors import UsageError
from pixelsleuth.serving.assistant import Assistant, AssistantOptions, make_server

ROOT = Path(__file__).parents[2]
FAKES = ROOT / "tests" / "fakes"
SCHEMA = json.loads((ROOT / "docs" / "reference" / "verdict.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder that may be read, with a picture of each kind, beside a file and a folder that may not."""
    folder = tmp_path / "allowed"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(90, 200, (60, 80, 3), dtype=np.uint8)
    tampered = noise.copy()
    tampered[30:50, 10:30] = (255, 0, 255)
    for name, pixels in {"real": noise, "tampered": tampered, "thin": noise // 10}.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "text.jpg").write_text("no picture")
    Image.fromarray(noise).save(tmp_path / "outside.png")
    return folder


def fake(loads: list[str] | None = None) -> Callable[[], Any]:
    def load() -> Any:
        sys.path.insert(0, str(FAKES))
        try:
            from fake_detector import FakeDetector
        finally:
            sys.path.remove(str(FAKES))
        if loads is not None:
            loads.append("loaded")
        return FakeDetector()

    return load


def call(
    folder: Path, *calls: tuple[str, dict[str, Any]], loads: list[str] | None = None, **options: Any
) -> list[Any]:
    """The results of calls to a server in this process that may read `folder`."""

    async def run() -> list[Any]:
        assistant = Assistant(AssistantOptions(allow=(str(folder),), **options), fake(loads))
        async with Client(make_server(assistant)) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(run())


def text(result: Any) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


def test_an_assistant_that_starts_the_command_gets_records_over_standard_streams(pictures: Path) -> None:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "pixelsleuth", "mcp", "--allow", str(pictures), "--model", "noisy:load"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(FAKES), str(pictures)])},
    )
    # A detector that prints to standard output, from Python and past it, must not break the protocol.
    (pictures / "noisy.py").write_text(
        "import os, fake_detector\n"
        "def load(device: str = 'auto'):\n"
        "    print('loading'); os.write(1, b'weights\\n')\n"
        "    return fake_detector.load()\n"
    )

    async def run() -> tuple[Any, ...]:
        async with Client(stdio_client(command)) as client:
            listed = await client.list_tools()
            verdict = await client.call_tool("check", {"picture": "tampered.png", "mask": True})
            return listed, verdict, await client.call_tool("inspect", {"picture": "tampered.png"})

    listed, verdict, inspected = asyncio.run(run())
    assert [tool.name for tool in listed.tools] == ["check", "inspect", "explain"]
    record = verdict.structured_content
    Draft202012Validator(SCHEMA).validate(record)
    assert (record["label"], record["source"], record["mask"]["area"]) == ("tampered", "tampered.png", 400)
    picture = Image.open(io.BytesIO(base64.b64decode(verdict.content[1].data)))
    assert (verdict.content[1].mime_type, picture.size) == ("image/jpeg", (80, 60))
    assert inspected.structured_content["schema"] == "pixelsleuth.evidence/1"
    assert not verdict.is_error
    assert not inspected.is_error


def test_an_inconclusive_verdict_is_told_as_none_without_a_leaning(pictures: Path) -> None:
    (verdict,) = call(pictures, ("check", {"picture": "thin.png"}))
    told = text(verdict)
    assert told.startswith("thin.png: Inconclusive.")
    assert "This is no verdict" in told
    assert "leans real" not in told
    assert "93%" not in told
    assert "45%" not in told
    assert verdict.structured_content["inconclusive"] is True
    assert all(part.type == "text" for part in verdict.content)


def test_tools_say_beforehand_that_inconclusive_is_no_verdict() -> None:
    from pixelsleuth.serving.assistant_tools import INSTRUCTIONS, tools

    (check, _, _) = tools(fetch=False)
    assert "inconclusive there is no verdict" in (check.description or "")
    assert "must be reported as undecided" in INSTRUCTIONS
    for tool in tools(fetch=True):
        Draft202012Validator.check_schema(tool.input_schema)
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint


def test_a_conclusive_verdict_is_told_with_its_places_and_what_it_is_worth(pictures: Path) -> None:
    (verdict,) = call(pictures, ("check", {"picture": "tampered.png", "overlay": False}))
    assert "Tampered." in text(verdict)
    assert "Region 1: lower left, x 10 to 30, y 30 to 50, score 90%." in text(verdict)
    assert "No error rate was measured for this model." in text(verdict)
    assert "no proof" in text(verdict)
    assert len(verdict.content) == 1
    assert verdict.structured_content["mask"] is None


def test_explain_needs_no_second_judgement_and_notices_that_a_file_changed(pictures: Path) -> None:
    loads: list[str] = []

    async def run() -> list[str]:
        assistant = Assistant(AssistantOptions(allow=(str(pictures),)), fake(loads))
        judged: list[Any] = []
        async with Client(make_server(assistant)) as client:
            await client.call_tool("inspect", {"picture": "real.png"})
            assert not loads  # nothing has needed the model yet
            await client.call_tool("check", {"picture": "real.png"})
            check = assistant.detector.check
            assistant.detector.check = lambda *a, **k: judged.append(a) or check(*a, **k)  # type: ignore
            told = [text(await client.call_tool("explain", {"picture": "real.png"}))]
            assert not judged
            os.replace(pictures / "thin.png", pictures / "real.png")
            told.append(text(await client.call_tool("explain", {"picture": "real.png"})))
            assert len(judged) == 1
        return told

    before, after = asyncio.run(run())
    assert before.startswith("real.png: Real.")
    assert "How often such a verdict is wrong" in before
    assert after.startswith("real.png: Inconclusive.")
    assert loads == ["loaded"]


def test_explain_without_a_picture_tells_the_measured_rates(pictures: Path) -> None:
    async def run(load: Any) -> str:
        async with Client(
            make_server(Assistant(AssistantOptions((str(pictures),), model="compact"), load))
        ) as c:
            return text(await c.call_tool("explain", {}))

    told = asyncio.run(run(None))
    assert "authentic pictures accused: " in told
    assert "inconclusive: the evidence is too thin" in told
    assert "Nobody measured that." in asyncio.run(run(fake()))


@pytest.mark.parametrize("path", [
    "../outside.png", "{parent}/outside.png", "link.png", "linked/outside.png", "/etc/passwd", "real.png\0.txt",
    "~/a.png", "../allowed-not/x.png",
])  # fmt: skip
def test_nothing_outside_the_folders_is_read_wherever_paths_and_links_lead(pictures: Path, path: str) -> None:
    (pictures / "link.png").symlink_to(pictures.parent / "outside.png")
    (pictures / "linked").symlink_to(pictures.parent)
    (pictures.parent / "allowed-not").mkdir()
    (pictures.parent / "allowed-not" / "x.png").write_bytes((pictures / "real.png").read_bytes())
    named = path.format(parent=pictures.parent)
    for result in call(pictures, *((tool, {"picture": named}) for tool in ("check", "inspect", "explain"))):
        assert result.is_error
        expected = "[picture_not_found]" if path.startswith("~") else "[not_allowed]"
        assert text(result).startswith(expected)


def test_a_missing_file_outside_is_refused_in_the_words_of_one_that_is_there(pictures: Path) -> None:
    there, missing = (text(call(pictures, ("check", {"picture": f"../{name}.png"}))[0])
                      for name in ("outside", "missing"))  # fmt: skip
    assert there.replace("outside.png", "X") == missing.replace("missing.png", "X")


@pytest.mark.parametrize("name, arguments, sentence", [
    ("check", {}, "it needs picture"),
    ("check", {"picture": ["a.png"]}, "picture must be of type string"),
    ("check", {"picture": ""}, "picture breaks the rule minLength 1"),
    ("check", {"picture": "x" * 100_000}, "picture breaks the rule maxLength 4096"),
    ("check", {"picture": "real.png", "explain": "yes"}, "explain must be of type boolean"),
    ("check", {"picture": "real.png", "model": "evil:load"}, "and nothing else"),
    ("inspect", {"picture": None}, "picture must be of type string"),
    ("delete", {"picture": "real.png"}, "There is no tool 'delete'"),
])  # fmt: skip
def test_a_call_that_is_not_as_described_is_answered_with_one_sentence(
    pictures: Path, name: str, arguments: dict[str, Any], sentence: str
) -> None:
    (result,) = call(pictures, (name, arguments))
    assert result.is_error
    assert text(result).startswith("[usage_error]")
    assert sentence in text(result)
    assert len(text(result)) < 400


def test_an_unreadable_picture_is_a_record_with_its_code(pictures: Path) -> None:
    checked, inspected, folder = call(
        pictures,
        ("check", {"picture": "text.jpg"}),
        ("inspect", {"picture": "text.jpg"}),
        ("check", {"picture": "."}),
    )
    Draft202012Validator(SCHEMA).validate(checked.structured_content)
    assert checked.is_error
    assert text(checked).startswith("[not_a_picture] ")
    assert inspected.structured_content["error"]["code"] == "not_a_picture"
    assert "it holds real.png, tampered.png, text.jpg, thin.png" in text(folder)


def test_the_limit_on_megapixels_holds(pictures: Path) -> None:
    (result,) = call(pictures, ("check", {"picture": "real.png"}), max_megapixels=0.001)
    assert text(result).startswith("[picture_too_large]")


def test_addresses_are_refused_unless_allowed_and_then_only_public_ones_are_asked(pictures: Path) -> None:
    (off,) = call(pictures, ("check", {"picture": "https://example.org/a.jpg"}))
    local, file = call(
        pictures,
        ("check", {"picture": "http://127.0.0.1:8080/a.jpg"}),
        ("inspect", {"picture": "file:///etc/passwd"}),
        allow_fetch=True,
    )
    assert text(off).startswith("[not_allowed]")
    assert text(local).startswith("[fetch_refused]")
    assert text(file).startswith("[fetch_refused]")


def test_a_fault_of_the_detector_is_told_without_its_details(pictures: Path) -> None:
    def broken() -> Any:
        raise RuntimeError("a secret path")

    async def run() -> Any:
        async with Client(make_server(Assistant(AssistantOptions((str(pictures),)), broken))) as client:
            return await client.call_tool("check", {"picture": "real.png"})

    result = asyncio.run(run())
    assert text(result).startswith("[internal_error]")
    assert "secret" not in text(result)


def test_a_folder_to_allow_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which is no folder"):
        Assistant(AssistantOptions(allow=(str(tmp_path / "missing"),)))
