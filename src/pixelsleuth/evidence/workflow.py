"""ComfyUI's graphs: which model, which prompt, and whether the picture was made anew or in place of a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MOST_NODES = 5_000
_MODELS = ("ckpt_name", "unet_name", "model_name", "base_ckpt_name", "model")
_TEXTS = (
    "text",
    "text_g",
    "clip_l",
    "t5xxl",
    "prompt",
    "positive",
    "text_positive",
    "populated_text",
    "string",
)
_INPAINTS = (
    "VAEEncodeForInpaint",
    "SetLatentNoiseMask",
    "InpaintModelConditioning",
    "InpaintCrop",
    "InpaintStitch",
)


@dataclass(frozen=True)
class Workflow:
    """What a graph says: `model` (file name), `prompt`, whether it loads a picture, whether it inpaints."""

    model: str
    prompt: str
    loads_picture: bool
    inpaints: bool


def read_workflow(content: Any) -> Workflow | None:
    """Return what a graph says: ComfyUI's `prompt` (numbered nodes with class_type) or `workflow` (a list of nodes).

    None where `content` is no graph. Source: the files that ComfyUI 0.3 writes.
    """
    if not isinstance(content, Mapping):
        return None
    nodes = _nodes(content)
    if not nodes:
        return None
    kinds = [kind for kind, _ in nodes.values()]
    return Workflow(
        model=next(_models(nodes), ""),
        prompt=_prompt(nodes),
        loads_picture=any(kind.startswith("LoadImage") for kind in kinds),
        inpaints=any(kind.startswith(_INPAINTS) for kind in kinds),
    )


Nodes = dict[str, tuple[str, dict[str, Any]]]


def _nodes(content: Mapping[str, Any]) -> Nodes:
    """By id: (class, inputs)."""
    listed = content.get("nodes")
    if isinstance(listed, list):
        return {
            str(node.get("id")): (str(node.get("type", "")), {"widgets": node.get("widgets_values")})
            for node in listed[:MOST_NODES]
            if isinstance(node, Mapping) and node.get("type")
        }
    nodes: Nodes = {}
    for name, node in list(content.items())[:MOST_NODES]:
        if isinstance(node, Mapping) and isinstance(node.get("class_type"), str):
            inputs = node.get("inputs")
            nodes[str(name)] = (node["class_type"], dict(inputs) if isinstance(inputs, Mapping) else {})
    return nodes


def _models(nodes: Nodes) -> Iterator[str]:
    for kind, inputs in nodes.values():
        if "oader" in kind or "heckpoint" in kind:
            for key in _MODELS:
                if isinstance(inputs.get(key), str):
                    yield inputs[key]
            widgets = inputs.get("widgets")
            if isinstance(widgets, list) and "heckpoint" in kind and widgets and isinstance(widgets[0], str):
                yield widgets[0]


def _prompt(nodes: Nodes) -> str:
    """The text that reaches a sampler's `positive`; else the longest text that is encoded."""
    for _, inputs in nodes.values():
        link = inputs.get("positive")
        if isinstance(link, list) and link and (text := _text_behind(nodes, str(link[0]))):
            return text
    texts = [text for kind, inputs in nodes.values() if "TextEncode" in kind for text in _texts(inputs)]
    return max(texts, key=len, default="")


def _text_behind(nodes: Nodes, start: str) -> str:
    """The first text on the way back from a node; graphs with loops end, too."""
    pending, visited = [start], set()
    while pending:
        name = pending.pop(0)
        if name in visited or name not in nodes:
            continue
        visited.add(name)
        inputs = nodes[name][1]
        text = next(_texts(inputs), "")
        if text:
            return text
        pending += [str(link[0]) for link in inputs.values() if isinstance(link, list) and link]
    return ""


def _texts(inputs: Mapping[str, Any]) -> Iterator[str]:
    for key in _TEXTS:
        if isinstance(inputs.get(key), str) and inputs[key].strip():
            yield inputs[key]
    widgets = inputs.get("widgets")
    if isinstance(widgets, list):
        yield from (value for value in widgets if isinstance(value, str) and value.strip())
