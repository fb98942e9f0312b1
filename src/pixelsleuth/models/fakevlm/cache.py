"""Keys and values of a generation, written in place.

transformers' own cache copies everything it holds at every token. For a prompt of about 600 tokens and a batch of
eight, that copy costs about as much as the widest matrix of a small model; here there is room for the next tokens.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 128


class RoomyLayer(DynamicLayer):
    """A layer's keys and values (N, heads, T, d): the front of a buffer that has room for ROOM tokens more."""

    keys: Tensor
    values: Tensor
    _keys: Tensor | None = None
    _values: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Put the states of new tokens behind those that are held, and return all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        end = held + key_states.shape[-2]
        self._keys = _placed(self._keys, self.keys, held, key_states)
        self._values = _placed(self._values, self.values, held, value_states)
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]
        return self.keys, self.values


def roomy_cache() -> Cache:
    """An empty cache for `generate(past_key_values=...)`; one generation each."""
    return Cache(layer_class_to_replicate=RoomyLayer)


def _placed(buffer: Tensor | None, held: Tensor, length: int, new: Tensor) -> Tensor:
    """The buffer with `new` behind the first `length` tokens: a new one where there is none, it is full, or what is
    held no longer lies in it (rows were chosen, for one)."""
    end = length + new.shape[-2]
    lies_there = buffer is not None and held.data_ptr() == buffer.data_ptr() and len(held) == len(buffer)
    if buffer is None or not (lies_there or not length) or end > buffer.shape[-2] or len(new) != len(buffer):
        n, heads, _, width = new.shape
        buffer = new.new_empty(n, heads, end + ROOM, width)
        if length:
            buffer[:, :, :length] = held
    buffer[:, :, length:end] = new
    return buffer
