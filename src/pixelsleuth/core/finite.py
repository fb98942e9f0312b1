"""Checks that the weights of an ONNX graph are finite, from the file itself: the light core has no ONNX library.

A graph with NaN runs, and layers may hide it (a rectifier gives 0), so its answers do not show it. Source: onnx.proto
(fields of ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto); Protocol Buffers, encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pixelsleuth.errors import UsageError

# Where tensors stand: model.graph.initializer, and model.graph.node.attribute.t (constants).
_GRAPH, _NODE, _INITIALIZER, _ATTRIBUTE, _TENSOR = 7, 1, 5, 5, 5
_FLOAT_DATA, _DOUBLE_DATA, _RAW_DATA, _TYPE, _NAME = 4, 10, 9, 2, 8
_KINDS = {1: "<f4", 10: "<f2", 11: "<f8"}
_BRAIN_FLOAT = 16


def ensure_finite_graph(path: Path) -> None:
    """Return where every floating weight of the graph is finite.

    Raises:
        UsageError: one is NaN or infinite, or the file is no ONNX graph.
    """
    try:
        with path.open("rb") as file:
            bad = next(_not_finite(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))), None)
    except (IndexError, ValueError):
        raise UsageError(f"{path} is damaged: export or convert the checkpoint again.") from None
    if bad is not None:
        raise UsageError(
            f"{path} holds weights that are NaN or infinite ({bad}): its training failed, or it is damaged; take "
            "another checkpoint."
        )


def _not_finite(model: memoryview) -> Iterator[str]:
    for graph in _inside(model, _GRAPH):
        tensors = list(_inside(graph, _INITIALIZER))
        for node in _inside(graph, _NODE):
            for attribute in _inside(node, _ATTRIBUTE):
                tensors += _inside(attribute, _TENSOR)
        for tensor in tensors:
            if not _is_finite(tensor):
                yield bytes(next(_inside(tensor, _NAME), memoryview(b"constant"))).decode("utf-8", "replace")


def _is_finite(tensor: memoryview) -> bool:
    kind = next((value for field, value in _fields(tensor) if field == _TYPE and isinstance(value, int)), 0)
    parts = [(_KINDS.get(kind), part) for part in _inside(tensor, _RAW_DATA)]
    parts += [("<f4", part) for part in _inside(tensor, _FLOAT_DATA)]
    parts += [("<f8", part) for part in _inside(tensor, _DOUBLE_DATA)]
    for letters, part in parts:
        if kind == _BRAIN_FLOAT and letters is None:
            values = (np.frombuffer(part, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif letters is None:
            continue
        else:
            values = np.frombuffer(part, letters)
        if not np.isfinite(values).all():
            return False
    return True


def _inside(message: memoryview, number: int) -> Iterator[memoryview]:
    """The contents of the fields of this number that have a length of their own."""
    return (value for field, value in _fields(message) if field == number and isinstance(value, memoryview))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _number(message, at)
            yield field, value
        elif wire == 2:
            size, at = _number(message, at)
            if at + size > len(message):
                raise ValueError("a field is longer than its message")
            yield field, message[at : at + size]
            at += size
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError("no such kind of field")


def _number(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number without an end")
