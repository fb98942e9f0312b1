"""What a user may rely on: every mark of a generator that a file carries is named, and nothing is made up."""

from __future__ import annotations

import gzip
import io
import json
import socket
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelsleuth.evidence.generators import marks_of
from pixelsleuth.evidence.inspection import inspect_file
from pixelsleuth.evidence.metadata import metadata_findings
from pixelsleuth.evidence.stealth import hidden_text
from pixelsleuth.evidence.texts import LONGEST, texts_of
from pixelsleuth.evidence.vocabulary import SOURCE_TYPES

LINES = (
    "a red fox\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Model: foxes_v1"
)
GRAPH = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "foxes.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red fox", "clip": ["1", 1]}},
    "3": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "a much longer text, not wanted", "clip": ["1", 1]},
    },
    "4": {
        "class_type": "KSampler",
        "inputs": {"positive": ["2", 0], "negative": ["3", 0], "model": ["1", 0]},
    },
}


def declared(data: bytes) -> list[tuple[str, str, str, str]]:
    """(meaning, tool, model, prompt) of every mark."""
    return [(mark.meaning, mark.tool, mark.model, mark.prompt) for mark in marks_of(texts_of(data))]


@pytest.mark.parametrize(
    "texts, expected",
    [
        ({"parameters": LINES}, ("generated", "Stable Diffusion web UI", "foxes_v1", "a red fox")),
        ({"parameters": LINES + ", Version: f2.0.1v1.10.1"}, ("generated", "Forge", "foxes_v1", "a red fox")),
        ({"parameters": LINES + ", Version: neo"}, ("generated", "Forge Neo", "foxes_v1", "a red fox")),
        ({"parameters": LINES + ", App: SD.Next"}, ("generated", "SD.Next", "foxes_v1", "a red fox")),
        ({"parameters": LINES + ", App: SD.Next, Mask blur: 4"}, ("edited_by_ai", "SD.Next", "foxes_v1", "a red fox")),
        ({"prompt": json.dumps(GRAPH)}, ("generated", "ComfyUI", "foxes.safetensors", "a red fox")),
        (
            {"prompt": json.dumps(GRAPH | {"5": {"class_type": "VAEEncodeForInpaint", "inputs": {}}})},
            ("edited_by_ai", "ComfyUI", "foxes.safetensors", "a red fox"),
        ),
        (
            {"invokeai_metadata": json.dumps({"positive_prompt": "a red fox", "model": {"model_name": "foxes"}})},
            ("generated", "InvokeAI", "foxes", "a red fox"),
        ),
        ({"Dream": '"a red fox" -s 50 -W 512'}, ("generated", "InvokeAI", "", "a red fox")),
        (
            {"Software": "NovelAI", "Source": "Stable Diffusion 1", "Description": "a red fox", "Comment": "{}"},
            ("generated", "NovelAI", "Stable Diffusion 1", "a red fox"),
        ),
        (
            {"parameters": json.dumps({"sui_image_params": {"prompt": "a red fox", "model": "foxes"}})},
            ("generated", "SwarmUI", "foxes", "a red fox"),
        ),
        (
            {"parameters": json.dumps({"base_model": "foxes", "prompt": "a red fox"}), "fooocus_scheme": "fooocus"},
            ("generated", "Fooocus", "foxes", "a red fox"),
        ),
        (
            {"use_stable_diffusion_model": "models/foxes", "prompt": "a red fox", "seed": "1"},
            ("generated", "Easy Diffusion", "foxes", "a red fox"),
        ),
        (
            {"Description": "a red fox --v 6.1 Job ID: 0f8fad5b-d9cb-469f-a165-70867728950e"},
            ("generated", "Midjourney", "v 6.1", "a red fox"),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_png_text_of_every_generator_is_read(png, texts, expected, packed) -> None:
    assert declared(png(packed=packed, **texts)) == [expected]


def test_the_same_lines_are_read_from_exif_in_either_byte_order(jpeg) -> None:
    assert declared(jpeg(comment=LINES)) == [
        ("generated", "Stable Diffusion web UI", "foxes_v1", "a red fox")
    ]


def test_comfyui_in_exif_fields_and_draw_things_in_a_user_comment_are_read(jpeg) -> None:
    assert declared(jpeg(ImageDescription="Prompt: " + json.dumps(GRAPH)))[0][:3] == (
        "generated", "ComfyUI", "foxes.safetensors",
    )  # fmt: skip
    settings = json.dumps({"c": "a red fox", "uc": "", "sampler": "DPM++", "model": "foxes.ckpt", "steps": 8})
    assert declared(jpeg(comment=settings)) == [("generated", "Draw Things", "foxes.ckpt", "a red fox")]


@pytest.mark.parametrize("name", SOURCE_TYPES)
def test_every_iptc_digital_source_type_is_put_into_words(jpeg, xmp, name) -> None:
    uri = f"http://cv.iptc.org/newscodes/digitalsourcetype/{name}"
    (mark,) = marks_of(texts_of(jpeg(xmp(f'Iptc4xmpExt:DigitalSourceType="{uri}"'))))
    assert mark.meaning == SOURCE_TYPES[name][0]
    assert name in mark.note


@pytest.mark.parametrize(
    "credit, meaning, tool",
    [
        ("Made with Google AI", "generated", "Google AI"),
        ("AI-Generated with Google Photos", "generated", "Google Photos"),
        ("Apple Photos Clean Up", "edited_by_ai", "Apple Photos Clean Up"),
    ],
)
def test_credit_lines_are_read_from_xmp_and_iptc(jpeg, xmp, credit, meaning, tool) -> None:
    record = b"\x1c\x02\x6e" + len(credit).to_bytes(2, "big") + credit.encode()
    resource = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(record).to_bytes(4, "big") + record
    for data in (jpeg(xmp(f'photoshop:Credit="{credit}"')), jpeg((0xED, resource))):
        assert [(mark.meaning, mark.tool) for mark in marks_of(texts_of(data))] == [(meaning, tool)]


def test_editors_and_cameras_are_named_without_an_accusation(jpeg) -> None:
    data = jpeg(Make="Canon", Model="Canon EOS R5", Software="Adobe Photoshop 26.0")
    findings = metadata_findings(texts_of(data))
    assert [finding.strength for finding in findings] == ["hints", "hints"]
    assert "no sign of a forgery" in findings[0].statement


def test_a_file_that_declares_nothing_gives_no_finding(png, jpeg) -> None:
    assert not declared(png(Comment="holiday", Title="On the beach", Author="Ann"))
    assert not declared(jpeg(ImageDescription="A fox on the steps: 20 people watched"))


def stealthy(text: str, *, packed: bool, alpha: bool) -> np.ndarray:
    """(64, 64, 3 or 4) uint8 with a text in its lowest bits, written independently of the reader."""
    name = ("png" if alpha else "rgb") + ("comp" if packed else "info")
    content = gzip.compress(text.encode()) if packed else text.encode()
    payload = f"stealth_{name}".encode() + (8 * len(content)).to_bytes(4, "big") + content
    bits = [int(bit) for byte in payload for bit in f"{byte:08b}"]
    pixels = np.full((64, 64, 4 if alpha else 3), 254, np.uint8)
    samples = [(x, y, c) for x in range(64) for y in range(64) for c in ([3] if alpha else [0, 1, 2])]
    for (x, y, channel), bit in zip(samples, bits, strict=False):
        pixels[y, x, channel] |= bit
    return pixels


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_text_hidden_in_the_lowest_bits_is_found(tmp_path: Path, packed: bool, alpha: bool) -> None:
    Image.fromarray(stealthy(LINES, packed=packed, alpha=alpha)).save(tmp_path / "a.png")
    (finding,) = inspect_file(str(tmp_path / "a.png")).findings
    assert finding.detail["tool"] == "Stable Diffusion web UI"
    assert "hidden" in finding.detail["place"]


def test_ordinary_pixels_hide_no_text() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    assert hidden_text(pixels) is None


# --- hostile files ---------------------------------------------------------------------------------------------------


def test_a_text_that_unpacks_to_gigabytes_is_cut_short(png) -> None:
    data = png(parameters="x")
    bomb = b"parameters\0\0" + zlib.compress(bytes(200_000_000), 9)
    chunk = len(bomb).to_bytes(4, "big") + b"zTXt" + bomb + b"\0\0\0\0"
    texts = texts_of(data[:33] + chunk + data[33:])
    assert sum(len(text.value) for text in texts) <= LONGEST


@pytest.mark.parametrize(
    "packet",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>',
        b"<x>" * 100_000,
        b"<x a='1'",
        b"\xff\xfe\x00<",
    ],
)
def test_hostile_xmp_says_nothing(jpeg, packet: bytes) -> None:
    data = jpeg((0xE1, (b"http://ns.adobe.com/xap/1.0/\0" + packet)[:65000]))
    assert not [text for text in texts_of(data) if text.place == "XMP"]


def test_graphs_with_loops_and_deep_json_end(png) -> None:
    loop = {"1": {"class_type": "KSampler", "inputs": {"positive": ["1", 0]}}}
    assert declared(png(prompt=json.dumps(loop))) == [("generated", "ComfyUI", "", "")]
    assert not declared(png(parameters='{"a":' * 40_000))


def test_a_megabyte_prompt_is_shortened(png) -> None:
    (mark,) = declared(png(parameters="fox " * 200_000 + LINES))
    assert len(mark[3]) <= 200


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF"]))
def test_no_bytes_make_the_reader_fail(tail: bytes, kind: str) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "PNG" if kind == "AVIF" else kind)
    data = bytearray(stream.getvalue())
    at = len(data) // 3
    for part in (bytes(data[:at]) + tail, bytes(data[:at]) + tail + bytes(data[at:])):
        marks_of(texts_of(part))
    marks_of(texts_of(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + tail))


def test_nothing_goes_online(
    monkeypatch: pytest.MonkeyPatch, png: Callable[..., bytes], tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    (tmp_path / "a.png").write_bytes(png(parameters=LINES, Source="https://example.org/a.png"))
    assert inspect_file(str(tmp_path / "a.png")).findings
