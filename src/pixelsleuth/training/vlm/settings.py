"""Settings that the vision-language recipes share, and sections whose keys belong to a library.

A section such as `training`, `sft`, `grpo` or `lora` holds fields of a dataclass of transformers, TRL or peft under the
names that the library gives them. They are handed over as they are; what is no field is refused.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pixelsleuth.core.names import nearest
from pixelsleuth.core.settings import Natural, fill
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import UsageError
from pixelsleuth.training.recipe import ensure_new
from pixelsleuth.training.vlm.training_examples import read_samples

T = TypeVar("T")
RENAMED = {
    "steps": "max_steps", "epochs": "num_train_epochs", "batch": "per_device_train_batch_size",
    "accumulate": "gradient_accumulation_steps", "warmup": "warmup_steps", "schedule": "lr_scheduler_type",
    "clip": "max_grad_norm", "save_every": "save_steps", "group": "num_generations", "reuse": "num_iterations",
    "pictures_a_step": "per_device_train_batch_size", "loss": "loss_type", "vllm": "vllm_server_base_url",
    "rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", "targets": "target_modules",
}  # fmt: skip
"""Keys of earlier recipes, and the library's names for them."""
PLAIN = (int, float, bool, int | None, float | None, bool | None)
"""Types of a library's fields that are checked here; the library checks the others."""


@dataclass(frozen=True)
class VlmSettings:
    """What FakeVLM and So-Fake-R1 have in common."""

    kind: str = ""
    """Names this recipe."""
    data: str = ""
    """A folder, a manifest, or hf:owner/name."""
    out: str = ""
    """The folder to write."""
    reader: str | None = None
    """Read the data as this data set; null: by its layout."""
    split: str | None = None
    """Only this part of the data."""
    allow_outside: bool = False
    """Also read paths that lead out of the data's folder."""
    pictures: Natural = 0
    """How many are used, as many of each class as there are; 0: all."""
    equalise: bool = True
    """One JPEG pass for every picture; false: the files as they are."""
    seed: int = 0
    """Seed of everything that is drawn."""
    lora: dict[str, Any] | None = None
    """Fields of peft's LoraConfig; null trains all weights."""

    def begin(self, *, resume: bool) -> Path:
        """Make the folder `out`. Raises UsageError: data or out are not named, or out holds a training."""
        for name in ("data", "out"):
            if not getattr(self, name):
                raise UsageError(f"The recipe names no {name}: add {name}=... to the command.")
        return ensure_new(Path(self.out), resume=resume)

    def samples(self) -> list[Sample]:
        """The samples of the data. Raises UsageError where there are none."""
        return read_samples(
            self.data, reader=self.reader, split=self.split, most=self.pictures, seed=self.seed,
            allow_outside=self.allow_outside,
        )  # fmt: skip

    def as_yaml(self) -> str:
        """All settings, for `--dry-run`."""
        import yaml

        return str(yaml.safe_dump(dataclasses.asdict(self), sort_keys=False)).rstrip()


@dataclass(frozen=True)
class FakeVlmSettings(VlmSettings):
    """A whole training of FakeVLM."""

    kind: str = "fakevlm"
    """Names this recipe."""
    start: str = "llava-hf/llava-1.5-7b-hf"
    """A LLaVA-1.5: a folder or a hub id."""
    prompt: Literal["roles", "raw"] = "roles"
    """The frame of the question: `roles` as published for training, `raw` as `check` asks."""
    vision: bool = True
    """Train the vision tower, too."""
    training: dict[str, Any] | None = None
    """Fields of transformers' TrainingArguments."""


@dataclass(frozen=True)
class PolicySize:
    """The size of a random policy: fields of the two parts of transformers' Qwen2_5_VLConfig, over `SIZE`."""

    text_config: dict[str, Any] = field(default_factory=dict)
    """Fields of the language model."""
    vision_config: dict[str, Any] = field(default_factory=dict)
    """Fields of the vision tower."""


@dataclass(frozen=True)
class SoFakeR1Settings(VlmSettings):
    """A whole training of So-Fake-R1: a cold start, then reinforcement."""

    kind: str = "so_fake_r1"
    """Names this recipe."""
    start: str = "Qwen/Qwen2.5-VL-7B-Instruct"
    """A Qwen2.5-VL: a folder or a hub id; `random`: a small policy."""
    random: PolicySize | None = None
    segmenter: str | None = None
    """A SAM that turns boxes into masks, kept with the model; null: none."""
    sft: dict[str, Any] | None = None
    """The cold start: fields of transformers' TrainingArguments; null skips it."""
    sft_pictures: Natural = 0
    """Its pictures, the first so many; 0: all."""
    grpo: dict[str, Any] | None = None
    """The reinforcement: fields of TRL's GRPOConfig, `show_every` and `rewards`; null skips it."""
    grpo_pictures: Natural = 0
    """Its pictures, the first so many; 0: all."""


def library_settings(
    kind: type[T], section: Mapping[str, Any] | None, where: str, *, preset: Mapping[str, Any] = {},
    fixed: Mapping[str, Any] = {},
) -> T:  # fmt: skip
    """A library's dataclass out of a recipe's section: its values over `preset`, `fixed` over both.

    Raises:
        UsageError: a key that is no field of it or is fixed, or a value that the library refuses.
    """
    section = section or {}
    try:
        hints = typing.get_type_hints(kind)
    except NameError:  # types that are imported for type checkers alone
        hints = {}
    known = [entry.name for entry in dataclasses.fields(typing.cast(Any, kind)) if entry.name not in fixed]
    for key in section:
        if key not in known:
            close = RENAMED.get(key) if RENAMED.get(key) in known else nearest(str(key), known)
            hint = f"did you mean {where}.{close}?" if close else f"it may be any field of {kind.__name__}."
            raise UsageError(f"There is no setting {where}.{key}; {hint}")
    fields = [(key, hints[key] if hints.get(key) in PLAIN else Any, None) for key in section]
    values = vars(fill(dataclasses.make_dataclass(kind.__name__, fields), section, f"{where}."))
    try:
        return kind(**{**preset, **values, **fixed})
    except Exception as error:  # each library has errors of its own
        raise UsageError(f"{where} cannot be used ({' '.join(str(error).split())}): correct it.") from None
