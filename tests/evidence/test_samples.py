"""Files that generators really wrote (../shared/samples/provenance): each says what its name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelsleuth.evidence.inspection import inspect_file

TOOLS = {
    "gen-jpg-civitai-hires.jpg": "Civitai",
    "gen-jpg-comfyui-comfy-image-saver.jpeg": "ComfyUI",
    "gen-jpg-comfyui-saveimagewithmetadata.jpeg": "ComfyUI",
    "gen-jpg-forge-classic.jpeg": "Forge Classic",
    "gen-jpg-reforge-hires.jpeg": "reForge",
    "gen-jpg-sd-next.jpg": "SD.Next",
    "gen-webp-comfyui-save-image-extended.webp": "ComfyUI",
    "gen-webp-forge-neo.webp": "Forge Neo",
    "gen-webp-sd-webui.webp": "Stable Diffusion web UI",
    "sd-bad_images-text_after_idat.png": "Stable Diffusion web UI",
    "sd-parsers-AUTOMATIC1111-automatic1111_cropped.png": "Stable Diffusion web UI",
    "sd-parsers-AUTOMATIC1111-automatic1111_stealth.png": "Stable Diffusion web UI",
    "sd-parsers-ComfyUI-img2img_cropped.png": "ComfyUI",
    "sd-parsers-ComfyUI-night_evening_day_morning_cropped.png": "ComfyUI",
    "sd-parsers-ComfyUI-noisy_latents_3_subjects_cropped.png": "ComfyUI",
    "sd-parsers-ComfyUI-unclip_2pass_cropped.png": "ComfyUI",
    "sd-parsers-Fooocus-fooocus1_cropped.png": "Fooocus",
    "sd-parsers-InvokeAI-invokeai_dream1.png": "InvokeAI",
    "sd-parsers-InvokeAI-invokeai_imeta1.png": "InvokeAI",
    "sd-parsers-InvokeAI-invokeai_sdmeta1.png": "InvokeAI",
    "sd-parsers-NovelAI-novelai1_cropped.png": "NovelAI",
}


@pytest.mark.parametrize("name", TOOLS)
def test_the_tool_that_wrote_a_sample_is_named(shared: Path, name: str) -> None:
    findings = inspect_file(str(shared / "samples" / "provenance" / name)).findings
    marks = [f.detail for f in findings if f.kind == "metadata"]
    assert [(mark["declares"], mark["tool"]) for mark in marks] == [("generated", TOOLS[name])]


@pytest.mark.parametrize("name", ["adobe-20220124-A.jpg", "adobe-20220124-I.jpg", "crater-lake.jpeg"])
def test_photographs_declare_no_generation(shared: Path, name: str) -> None:
    findings = inspect_file(str(shared / "samples" / "provenance" / name)).findings
    assert {f.strength for f in findings} == {"hints"}
