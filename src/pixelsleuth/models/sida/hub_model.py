"""`SidaForForensics`: SIDA with the methods that every transformers model has, around the model and the loader of here.

    model = SidaForForensics.from_pretrained("saberzl/SIDA-7B")
    model.save_pretrained("my-sida", licence="cc-by-4.0")
    model.push_to_hub("me/my-sida", private=True)

A saved folder holds our own layout (see `checkpoint`), so `check --model FOLDER` reads it, too, and a model card.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from pixelsleuth.core.outputs import whole_folder
from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.model_card import CARD, Told, as_path, model_card
from pixelsleuth.models.precision import place
from pixelsleuth.models.sida.checkpoint import MODEL_TYPE, load_large, remove_stale, save_large
from pixelsleuth.models.sida.detector import SidaDetector, fingerprint
from pixelsleuth.models.sida.hub_arguments import device_of, precision_of, refuse_unknown
from pixelsleuth.models.sida.inference import SidaEngine
from pixelsleuth.models.sida.large import LargeConfig, LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.sida.prompts import QUESTION, QUESTION_WHY

STALE = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json")
"""Weights of an earlier push, which a new one replaces."""


class SidaForensicsConfig(PreTrainedConfig):
    """config.json of our own layout for transformers' `AutoConfig`; the fields are `LargeConfig`'s."""

    model_type = MODEL_TYPE

    def __init__(self, **values: Any) -> None:
        names = {field.name for field in fields(LargeConfig)}
        for name in names & values.keys():
            setattr(self, name, values.pop(name))
        super().__init__(**values)

    @classmethod
    def of(cls, large: LargeConfig) -> SidaForensicsConfig:
        """The configuration of a model that stands."""
        return cls(**asdict(large))

    @property
    def large(self) -> LargeConfig:
        """The dimensions as our model takes them. Raises UsageError where the configuration is another model's."""
        kept = {
            field.name: getattr(self, field.name)
            for field in fields(LargeConfig)
            if hasattr(self, field.name)
        }
        try:
            return LargeConfig(**kept)
        except TypeError as error:
            raise UsageError(f"This configuration is not of a SIDA ({error}).") from None


@dataclass
class ForensicsOutput(ModelOutput):
    """`logits` (B, 3): real, full synthetic, tampered. `mask_logits`: for each picture (H, W), None where it was not
    judged tampered."""

    logits: Tensor | None = None
    mask_logits: tuple[Tensor | None, ...] | None = None


class SidaForForensics(PreTrainedModel):
    """SIDA, its processor, and the methods of a transformers model.

    Args:
        config: dimensions; weights are random until a checkpoint is loaded.
        large: the model, where it stands already.
        processor: prompts and pixels; without one the model cannot be run or saved.
    """

    config_class = SidaForensicsConfig
    base_model_prefix = "large"
    main_input_name = "pictures"
    _supports_sdpa = True

    def __init__(
        self,
        config: SidaForensicsConfig,
        large: LargeSida | None = None,
        processor: SidaProcessor | None = None,
        *,
        name: str = "sida",
        precision: str = "fp32",
    ) -> None:
        super().__init__(config)
        self.large = LargeSida(config.large) if large is None else large
        self.forensics_processor, self.title, self.precision = processor, name, precision
        self._detector: SidaDetector | None = None

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        dtype: torch.dtype | str | None = "auto",
        precision: str = "auto",
        device: str = "auto",
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        revision: str | None = None,
        token: str | bool | None = None,
        **others: Any,
    ) -> SidaForForensics:
        """The model of a folder or a hub id, in the published layout or our own, in evaluation mode.

        Args:
            name: folder or hub id.
            dtype: torch.float32, torch.bfloat16, their names, or "auto": fp32 on a CPU and bf16 on a GPU, as `check`.
            precision: the same under our names; "int8" and "int4" compress the language model (bitsandbytes, a GPU).
            device: "auto", "cpu" or "cuda"; transformers' `device_map` may name one of these as well.
            revision, token, cache_dir, force_download, local_files_only: as in transformers, for a hub id.

        Raises:
            UsageError: no such checkpoint, files are missing or damaged, an argument is not known. Weights in `.bin`
                files are read as tensors alone: a file that holds any other object is refused.
        """
        device, precision = device_of(device, others), precision_of(dtype, precision, others)
        refuse_unknown(others)
        fetching: dict[str, Any] = {"token": token, "cache_dir": cache_dir, "force_download": force_download}
        fetching |= {"local_files_only": local_files_only}
        folder = hub.resolve(os.fspath(name), revision=revision, **fetching)
        where, kind, kept_as = place(device, precision)
        large, processor = load_large(
            str(folder), dtype=kept_as, device=where, precision=kind, fetching=fetching
        )
        title = hub.short_name(os.fspath(name)) or "sida"
        model = cls(SidaForensicsConfig.of(large.config), large, processor, name=title, precision=kind)
        model.name_or_path = model.config.name_or_path = os.fspath(name)
        return model.eval()

    @property
    def detector(self) -> SidaDetector:
        """The model as a detector of this project (`check`, `check_many`), where its weights lie now.

        Raises UsageError for a model that was made from a configuration alone.
        """
        if self.forensics_processor is None:
            raise UsageError("This SIDA has no tokenizer: load it with SidaForForensics.from_pretrained.")
        made = self._detector
        here = next(self.large.sam.parameters())
        if made is None or (made.engine.device, made.engine.dtype) != (here.device, here.dtype):
            engine = SidaEngine(self.large, self.forensics_processor)
            self._detector = SidaDetector(
                engine,
                self.title,
                precision=self.precision,
                version=fingerprint(self.large, self.forensics_processor),
            )
        assert self._detector is not None
        return self._detector

    def forward(self, pictures: Sequence[np.ndarray], question: str | None = None) -> ForensicsOutput:
        """Classes and masks of pictures, (H, W, 3) uint8 RGB each; for use, not for training (`pixelsleuth train`)."""
        engine = self.detector.engine
        replies = engine.locate(pictures, question or (QUESTION_WHY if engine.describes else QUESTION))
        masks = tuple(None if reply.masks is None else reply.masks[-1] for reply in replies)
        return ForensicsOutput(torch.stack([reply.classes for reply in replies]), masks)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        is_main_process: bool = True,
        max_shard_size: int | str = "5GB",
        push_to_hub: bool = False,
        repo_id: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        metrics: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        **told: Any,
    ) -> None:
        """Write our own layout, safetensors only, with a model card; the folder is written whole or not at all.

        Args:
            metrics: a `metrics.json` of `pixelsleuth evaluate`, or its content; its figures go into the card.
            told: what else the card says, fields of `model_card.Told`: `licence`, `data`, `base`, `made`, `limits`.

        Raises:
            UsageError: the weights are compressed. OutputError: the folder holds other files.
        """
        if not is_main_process:
            return
        out = Path(save_directory)
        with whole_folder(out, kind="checkpoint", ours="config.json") as folder:
            self._write(folder, str(out), max_shard_size, metrics, {"name": out.name, **told})
            written = {path.name for path in folder.iterdir()}
        remove_stale(out, written)
        if push_to_hub:
            self.push_to_hub(repo_id or out.name, private=private, token=token, metrics=metrics, **told)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        commit_message: str = "Upload SIDA",
        max_shard_size: int | str = "5GB",
        metrics: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        replace_card: bool = False,
        **told: Any,
    ) -> str:
        """Upload what `save_pretrained` writes in one commit; return the commit's address.

        Weights of an earlier push are replaced. A model card that is there stays, unless `replace_card`: somebody may
        have written into it.

        Raises UsageError where the hub is offline (HF_HUB_OFFLINE), cannot be reached, or refuses.
        """
        from huggingface_hub import HfApi

        hub.ensure_online(repo_id)
        api = HfApi(token=token)
        with tempfile.TemporaryDirectory() as scratch, hub.in_one_sentence(repo_id, "uploaded"):
            folder = Path(scratch)
            whole = str(api.create_repo(repo_id, private=private, exist_ok=True).repo_id)
            told = {"name": whole.rpartition("/")[2], **told}
            self._write(folder, whole, max_shard_size, metrics, told)
            if not replace_card and api.file_exists(whole, CARD, revision=revision):
                (folder / CARD).unlink()
            commit = api.upload_folder(
                repo_id=whole, folder_path=folder, revision=revision, create_pr=create_pr,
                commit_message=commit_message, delete_patterns=list(STALE),
            )  # fmt: skip
        return str(commit.commit_url)

    def _write(
        self,
        folder: Path,
        place: str,
        max_shard_size: int | str,
        metrics: Mapping[str, Any] | str | os.PathLike[str] | None,
        told: Mapping[str, Any],
    ) -> None:
        detector = self.detector
        if self.precision in ("int8", "int4"):
            raise UsageError(
                f"A model compressed to {self.precision} is not saved: load it again in bf16 or fp32."
            )
        save_large(self.large, detector.engine.processor, folder, max_shard_size=max_shard_size)
        card = model_card(
            Told.of({"name": self.title, "base": as_path(str(self.name_or_path))} | dict(told)),
            facts_of(detector), metrics, place=as_path(place),
        )  # fmt: skip
        card.save(folder / CARD)


def facts_of(detector: SidaDetector) -> dict[str, str]:
    """What the model itself says, for its card: what it is and its dimensions."""
    model, processor = detector.engine.model, detector.engine.processor
    language = model.sida.language.config
    kinds = sorted({str(value.dtype).removeprefix("torch.") for value in model.parameters()})
    return {
        "Answers": "class (real, full synthetic, tampered), mask of a tampered picture"
        + (", explanation" if detector.engine.describes else ""),
        "Parameters": f"{sum(value.numel() for value in model.parameters()):,}",
        "Weights": ", ".join(kinds),
        "Language model": f"LLaMA, {language.num_hidden_layers} layers of width {language.hidden_size}, "
        f"{language.vocab_size:,} tokens",
        "Picture": f"CLIP at {processor.clip_side} pixels; SAM at {processor.sam_side} pixels for masks",
        "Version in verdicts": detector.version,
    }
