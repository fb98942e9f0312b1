"""The compact SIDA: the same modules at a laptop's size, with the forensic encoder.

A checkpoint is a folder with `config.json` and `model.safetensors`.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from pixelsleuth.compact.grammar import VOCABULARY
from pixelsleuth.core.content import ensure_fetched
from pixelsleuth.errors import UsageError
from pixelsleuth.models.architecture import Answer, Sida, SidaConfig
from pixelsleuth.models.compact.forensic import ForensicConfig, ForensicEncoder
from pixelsleuth.models.compact.text import CLS_AT, PREFIX
from pixelsleuth.models.modules import Fusion
from pixelsleuth.models.weights import ensure_finite, ensure_room, ensure_sane

LANGUAGE = {
    "vocab_size": len(VOCABULARY), "hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 256, "attn_implementation": "sdpa",
}  # fmt: skip


class CompactSida(nn.Module):
    """`encoder` and `sida`; inputs as theirs."""

    prefix: Tensor

    def __init__(self, encoder: ForensicEncoder | None = None, config: SidaConfig | None = None) -> None:
        super().__init__()
        self.encoder = encoder or ForensicEncoder()
        self.sida = Sida(config or compact_config(self.encoder.config))
        self.register_buffer("prefix", torch.tensor(PREFIX), persistent=False)

    def answer(self, tokens: Tensor, dense: Tensor, ids: Tensor, seg_at: Tensor) -> Answer:
        """Teacher-forced answer on encoded pictures; ids (B, T) follow the picture."""
        return self.sida(tokens, dense, self.prefix, ids, CLS_AT, seg_at)


def compact_config(dims: ForensicConfig, fusion: Fusion = "tokens") -> SidaConfig:
    """The dimensions behind an encoder."""
    return SidaConfig(token=dims.token, out=dims.dense, heads=4, fusion=fusion, language=LANGUAGE)


def save_compact(model: CompactSida, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "pixelsleuth_compact", "encoder": dataclasses.asdict(model.encoder.config)}
    config |= {"sida": dataclasses.asdict(model.sida.config), "vocabulary": VOCABULARY}
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    save_file(model.state_dict(), folder / "model.safetensors")


def load_compact(folder: Path) -> CompactSida:
    """Read what `save_compact` wrote; strict.

    Raises:
        UsageError: the folder is not such a checkpoint, or its vocabulary is not this version's; NaN.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / "config.json"
    if not path.is_file() or not (folder / "model.safetensors").is_file():
        raise UsageError(
            f"{folder} holds no compact checkpoint: name a folder with config.json and model.safetensors."
        )
    ensure_fetched(folder)
    try:
        config = json.loads(path.read_text())
        if config.get("vocabulary") != VOCABULARY:
            raise UsageError(
                f"{folder} was trained with another vocabulary: train it again with this version."
            )
        ensure_sane(config, str(path))
        tensors = load_file(folder / "model.safetensors")
        dimensions = ForensicConfig(**config["encoder"]), SidaConfig(**config["sida"])
        with torch.device("meta"):  # nothing is allocated before the file is known to hold as much
            described = CompactSida(ForensicEncoder(dimensions[0]), dimensions[1])
        ensure_room(sum(p.numel() for p in described.parameters()), str(folder))
        described.load_state_dict(tensors, strict=True, assign=True)  # says what does not fit
        model = CompactSida(ForensicEncoder(dimensions[0]), dimensions[1])
        model.load_state_dict(tensors, strict=True)
        ensure_finite(tensors.items(), str(folder))
    except RuntimeError as error:
        raise UsageError(f"{folder} does not fit this model: {' '.join(str(error).split())}") from None
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise UsageError(
            f"{folder} holds no whole checkpoint of this version ({error}): copy or train it again."
        ) from error
    return model.eval()
