"""Marks that generators and editors leave in a file's texts: tool, model, prompt, and what they declare.

Anybody can write or remove such a mark: it *declares*, it proves nothing. Formats: as the tools write them (public
sources and sample files); IPTC digital source types as of September 2024.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pixelsleuth.evidence.texts import Text
from pixelsleuth.evidence.vocabulary import CREDITS, NAMED, ORDER, SOURCE_TYPES, Meaning
from pixelsleuth.evidence.workflow import read_workflow

SHORT = 200
"""Characters of a prompt that are shown."""
DEEPEST = 40


@dataclass(frozen=True)
class Mark:
    """What one mark declares. `tool` is as its makers spell it; `model` and `prompt` as far as they are stated."""

    tool: str
    meaning: Meaning
    place: str
    model: str = ""
    prompt: str = ""
    note: str = ""


def marks_of(texts: Sequence[Text]) -> list[Mark]:
    """Return what the texts of a file declare, each tool and meaning once, the fullest mark first."""
    marks: dict[tuple[str, Meaning], Mark] = {}
    for mark in _all(texts):
        known = marks.get((mark.tool, mark.meaning))
        if known is None or (not known.prompt and mark.prompt) or (not known.model and mark.model):
            marks[mark.tool, mark.meaning] = mark
    shortened = (
        replace(mark, tool=_short(mark.tool, 60), model=_short(mark.model, 100)) for mark in marks.values()
    )
    return sorted(shortened, key=lambda mark: ORDER.index(mark.meaning))


def _all(texts: Sequence[Text]) -> Iterator[Mark]:
    keys = {text.key: text.value for text in texts if text.place != "XMP"}
    for text in texts:
        if text.key in _BY_KEY:
            yield from _BY_KEY[text.key](text, keys)
        yield from _by_content(text, keys)
    yield from _together(texts, keys)


# --- by the key ------------------------------------------------------------------------------------------------------


def _comfy(text: Text, keys: Mapping[str, str]) -> Iterator[Mark]:
    """ComfyUI's `prompt` (the graph that ran) or `workflow` (the editor's graph)."""
    graph = read_workflow(_json(text.value))
    if graph is not None and not (text.key == "workflow" and read_workflow(_json(keys.get("prompt", "")))):
        meaning: Meaning = "edited_by_ai" if graph.inpaints else "generated"
        note = "its workflow starts from another picture" if graph.loads_picture else ""
        yield Mark("ComfyUI", meaning, _at(text), graph.model, _short(graph.prompt), note)


def _invoke(text: Text, keys: Mapping[str, str]) -> Iterator[Mark]:
    value = _json(text.value)
    if text.key == "Dream":
        prompt = text.value.partition('"')[2].partition('"')[0] or text.value
        yield Mark("InvokeAI", "generated", _at(text), "", _short(prompt))
    elif text.key == "sd-metadata" and isinstance(value, dict):
        image = value.get("image")
        prompts = image.get("prompt") if isinstance(image, dict) else None
        first = prompts[0] if isinstance(prompts, list) and prompts else prompts
        words = _word(first, "prompt") if isinstance(first, dict) else _str(first)
        yield Mark("InvokeAI", "generated", _at(text), _word(value, "model_weights"), _short(words))
    elif isinstance(value, dict):
        model = value.get("model")
        name = _word(model, "model_name", "name", "key") if isinstance(model, dict) else _str(model)
        masked = "inpaint" in _word(value, "generation_mode") or "outpaint" in _word(value, "generation_mode")
        prompt = _word(value, "positive_prompt")
        yield Mark("InvokeAI", "edited_by_ai" if masked else "generated", _at(text), name, _short(prompt))


def _description(text: Text, keys: Mapping[str, str]) -> Iterator[Mark]:
    """Midjourney's `Description`: the prompt with its switches and the number of the job."""
    value = text.value
    if re.search(r"Job ID: [0-9a-f]{8}-[0-9a-f-]{27}", value) or re.search(
        r" --(v|ar|niji|stylize|s) \S+", value
    ):
        version = re.search(r"--(?:v|niji) (\S+)", value)
        prompt = re.split(r" --\w|\s*Job ID:", value)[0]
        yield Mark("Midjourney", "generated", _at(text), version[0][2:] if version else "", _short(prompt))


def _software(text: Text, keys: Mapping[str, str]) -> Iterator[Mark]:
    """A field that names the software: generators by name, editors as editors."""
    value = text.value
    for pattern, tool, meaning in NAMED:
        if re.search(pattern, value, re.IGNORECASE):
            if tool == "NovelAI":
                yield from _novelai(text, keys)
            else:
                yield Mark(tool or _short(value, 60), meaning, _at(text))
            return
    firmware = "Make" in keys and re.fullmatch(r"[\w.-]*\d[\w.-]*", value) is not None
    named = 2 < len(value) < 80 and not firmware and not _UUID.fullmatch(value)
    if named and text.key in ("Software", "xmp:CreatorTool"):
        yield Mark(_short(value, 60), "software", _at(text))


def _novelai(text: Text, keys: Mapping[str, str]) -> Iterator[Mark]:
    comment = _json(keys.get("Comment", ""))
    prompt = keys.get("Description") or (_word(comment, "prompt") if isinstance(comment, dict) else "")
    masked = isinstance(comment, dict) and "infill" in _word(comment, "request_type").lower()
    meaning: Meaning = "edited_by_ai" if masked else "generated"
    yield Mark("NovelAI", meaning, _at(text), keys.get("Source", ""), _short(prompt))


def _credit(text: Text, keys: Mapping[str, str]) -> Iterator[Mark]:
    for pattern, tool, meaning in CREDITS:
        if re.search(pattern, text.value, re.IGNORECASE):
            yield Mark(tool, meaning, _at(text), note=f"credit line {_short(text.value, 60)!r}")
            return


def _source_type(text: Text, keys: Mapping[str, str]) -> Iterator[Mark]:
    name = text.value.rstrip("/").rpartition("/")[2]
    known = SOURCE_TYPES.get(name)
    if known is not None:
        meaning, words = known
        yield Mark("IPTC digital source type", meaning, _at(text), note=f"{name}: {words}")


_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}")
_READERS = Callable[[Text, Mapping[str, str]], Iterator[Mark]]
_BY_KEY: dict[str, _READERS] = {
    "prompt": _comfy, "workflow": _comfy,
    "Dream": _invoke, "sd-metadata": _invoke, "invokeai_metadata": _invoke,
    "Description": _description, "ImageDescription": _description, "dc:description": _description,
    "Caption": _description,
    "Software": _software, "xmp:CreatorTool": _software, "stEvt:softwareAgent": _software, "Author": _software,
    "OriginatingProgram": _software, "Title": _software, "dc:creator": _software, "Artist": _software,
    "photoshop:Credit": _credit, "Credit": _credit, "By-line": _credit,
    "Iptc4xmpExt:DigitalSourceType": _source_type, "Iptc4xmpExt:digitalSourceType": _source_type,
    "Iptc4xmpExt:DigitalSourcefileType": _source_type,
}  # fmt: skip


# --- by the content: the same text travels in PNG text, EXIF UserComment, XMP and comments ----------------------------


def _by_content(text: Text, keys: Mapping[str, str]) -> Iterator[Mark]:
    value = text.value
    lead = re.match(r"\s*(prompt|workflow)\s*:\s*(?=\{)", value, re.IGNORECASE)
    if lead is not None:  # ComfyUI in WebP and JPEG: EXIF fields that begin with the key
        yield from _comfy(Text(text.place, lead[1].lower(), value[lead.end() :]), keys)
    elif value.lstrip()[:1] in ("{", "["):
        content = _json(value)
        if isinstance(content, dict):
            yield from _settings(text, content)
    elif re.search(r"\bSteps: \d+", value) and re.search(
        r"\b(Sampler|CFG scale|Seed|Schedule type): ", value
    ):
        yield _a1111(text)


def _settings(text: Text, content: Mapping[str, Any]) -> Iterator[Mark]:
    """Settings as JSON: SwarmUI, Fooocus, Draw Things, Easy Diffusion, Civitai, and others of their kind."""
    place = _at(text)
    if isinstance(swarm := content.get("sui_image_params"), dict):
        masked = "initimage" in swarm and "maskimage" in swarm
        yield Mark("SwarmUI", "edited_by_ai" if masked else "generated", place, _word(swarm, "model"),
                   _short(_word(swarm, "prompt")))  # fmt: skip
    elif (
        _word(content, "software") == "RuinedFooocus"
        or "base_model" in content
        or "base_model_name" in content
    ):
        tool = "RuinedFooocus" if "Ruined" in _word(content, "software") else "Fooocus"
        yield Mark(tool, "generated", place, _word(content, "base_model", "base_model_name"),
                   _short(_word(content, "prompt", "Prompt")))  # fmt: skip
    elif "uc" in content and "c" in content and "sampler" in content:
        yield Mark("Draw Things", "generated", place, _word(content, "model"), _short(_word(content, "c")))
    elif "use_stable_diffusion_model" in content or "Stable Diffusion model" in content:
        model = _word(content, "use_stable_diffusion_model", "Stable Diffusion model")
        prompt = _word(content, "prompt", "Prompt")
        yield Mark("Easy Diffusion", "generated", place, model.rpartition("/")[2], _short(prompt))
    elif (graph := read_workflow(content)) is not None:
        tool = "Civitai" if "extraMetadata" in content or "urn:air:" in text.value else "ComfyUI"
        meaning: Meaning = "edited_by_ai" if graph.inpaints else "generated"
        yield Mark(tool, meaning, place, graph.model, _short(graph.prompt))
    elif {"prompt", "seed"} <= set(content) or {"prompt", "num_inference_steps"} <= set(content):
        prompt = _word(content, "prompt")
        tool = _word(content, "app", "software", "generator") or "a diffusion model"
        yield Mark(
            _short(tool, 60),
            "generated",
            place,
            _word(content, "model", "Model", "checkpoint"),
            _short(prompt),
        )


def _a1111(text: Text) -> Mark:
    """The lines of Stable Diffusion web UI and those who write as it does: prompt, negative prompt, settings."""
    value = text.value
    settings = value[value.rfind("Steps: ") :]
    version = _after("Version", settings)
    app = _after("App", settings)
    if "civitai" in settings.lower() and not version:
        tool = "Civitai"
    elif app:
        tool = app
    elif "ComfyUI" in version:
        tool = "ComfyUI"
    elif "Fooocus" in version:
        tool = "Fooocus"
    elif version == "neo":
        tool = "Forge Neo"
    elif version == "classic":
        tool = "Forge Classic"
    elif version.startswith("f"):
        tool = "reForge" if "-latest" in version else "Forge"
    elif not version and re.fullmatch(r"[a-z0-9_]+", _after("Sampler", settings)):
        tool = "ComfyUI"  # its savers write these lines, too, with its own spelling of samplers
    else:
        tool = "Stable Diffusion web UI"
    masked = any(
        f"{key}: " in settings for key in ("Mask blur", "Masked content", "Inpaint area", "Mask mode")
    )
    prompt = re.split(r"\n?Negative prompt: |\n?Steps: \d", value, maxsplit=1)[0]
    meaning: Meaning = "edited_by_ai" if masked else "generated"
    model = _after("Model", settings) or _after("Model hash", settings)
    return Mark(tool, meaning, _at(text), model, "" if prompt.strip() == "unknown" else _short(prompt))


def _together(texts: Sequence[Text], keys: Mapping[str, str]) -> Iterator[Mark]:
    """Marks that only several fields together make."""
    make, model = keys.get("Make", ""), keys.get("Model", "")
    if make and model and max(len(make), len(model)) < 60:
        yield Mark(model if model.startswith(make) else f"{make} {model}", "camera", "EXIF")
    if "use_stable_diffusion_model" in keys and "prompt" in keys:
        checkpoint = keys["use_stable_diffusion_model"].rpartition("/")[2]
        yield Mark("Easy Diffusion", "generated", "PNG text", checkpoint, _short(keys["prompt"]))
    if "fooocus_scheme" in keys and "parameters" in keys and not isinstance(_json(keys["parameters"]), dict):
        yield Mark("Fooocus", "generated", "PNG text")
    content = _json(keys.get("generation_data", ""))
    if isinstance(content, dict):
        name = _word(content.get("baseModel"), "modelFileName", "label")
        yield Mark("TensorArt", "generated", "PNG text", name, _short(_word(content, "prompt")))


def _after(key: str, settings: str) -> str:
    match = re.search(rf'(?:^|, |\n){key}: ("[^"]*"|[^,\n]+)', settings)
    return match[1].strip().strip('"') if match else ""


def _json(text: str) -> Any:
    """The value of JSON text; None for what is none, or too deep."""
    if text.count("[") + text.count("{") > 50_000:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _word(content: Any, *names: str) -> str:
    """The first of the names that holds a text or a number."""
    if isinstance(content, Mapping):
        for name in names:
            if word := _str(content.get(name)):
                return word
    return ""


def _str(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _short(text: str, most: int = SHORT) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _at(text: Text) -> str:
    return f"{text.place} {text.key}" if text.place != text.key else text.place
