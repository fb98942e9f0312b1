"""Vision-language models of transformers, from a folder or the hub, without torchvision.

What SIDA's own layout needs stands in `models/sida`; this is for checkpoints that transformers itself defines: weights
checked for completeness, tokenizer as its file says, processors that work on PIL images.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from pixelsleuth.core.content import ensure_fetched, ensure_regular
from pixelsleuth.errors import UsageError
from pixelsleuth.models.precision import ensure_memory, place
from pixelsleuth.models.shards import nested_folder
from pixelsleuth.models.weights import ensure_finite, ensure_sane

OUTSIDE = ("vision_tower", "visual", "multi_modal_projector", "lm_head")
"""Modules that keep bf16 under int8 and int4."""


def config_of(folder: Path) -> dict[str, Any]:
    """The config.json of a checkpoint folder. Raises UsageError where there is none, or it is damaged."""
    path = folder / "config.json"
    ensure_regular(folder)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{folder} has no config.json: name the folder of a checkpoint.") from None
    except (OSError, ValueError):
        raise UsageError(f"{path} is damaged: copy or download the checkpoint again.") from None
    if not isinstance(config, dict):
        raise UsageError(f"{path} is damaged: copy or download the checkpoint again.")
    ensure_sane(config, str(path))
    return config


def described_parameters(kind: Any, folder: Path) -> Any:
    """A model of class `kind` as config.json describes it, without weights: nothing is allocated for it."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        return kind.from_config(config) if hasattr(kind, "from_config") else kind(config)


def load_model(folder: Path, name: str, *, device: str = "auto", precision: str = "auto") -> tuple[Any, str]:
    """The image-text model of `folder`, in evaluation mode and in its place, and the precision it got.

    Raises:
        UsageError: weights are missing, damaged or of another shape; no such device; too little memory; NaN.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText

    where, kind, dtype = place(device, precision)
    config_of(folder)
    ensure_fetched(folder)
    options: dict[str, Any] = {"dtype": dtype, "output_loading_info": True}
    if kind in ("int8", "int4"):
        options |= {"quantization_config": _compressed(kind), "device_map": {"": 0}}
    try:
        described = described_parameters(AutoModelForImageTextToText, folder)
        ensure_memory(name, *_sizes(described), kind, where)
        options |= _nested(folder)
        model, told = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise UsageError(
            f"{name} cannot be loaded ({_first_line(error)}): copy or download it again."
        ) from error
    lacking = [*told["missing_keys"], *told.get("mismatched_keys", ())]
    if lacking:
        first = lacking[0] if isinstance(lacking[0], str) else lacking[0][0]
        raise UsageError(
            f"{name} lacks {len(lacking)} of the model's weights ({first}): copy or download it again."
        )
    ensure_finite(model.state_dict().items(), name)
    if where == "cuda" and kind not in ("int8", "int4"):
        model = model.to(where)
    return model.eval(), kind


def _nested(folder: Path) -> dict[str, Any]:
    """Options for a folder whose weights lie in a folder of a weight file's name, as DeepSpeed leaves them."""
    inside = nested_folder(folder)
    if inside is None:
        return {}
    from transformers import AutoConfig, GenerationConfig

    ensure_fetched(inside)
    options = {"subfolder": inside.name, "config": AutoConfig.from_pretrained(folder, local_files_only=True)}
    if (folder / "generation_config.json").is_file():
        options["generation_config"] = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return options


def _compressed(kind: str) -> Any:
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(OUTSIDE))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=list(OUTSIDE),
    )


def _sizes(model: Any) -> tuple[int, int]:
    """Parameters, and those in the language model's layers, which int8 and int4 compress."""
    inside = sum(
        p.numel() for key, p in model.named_parameters() if ".layers." in key and "vision" not in key
    )
    return sum(p.numel() for p in model.parameters()), inside


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer as tokenizer.json says it, else as transformers makes it of the older files.

    transformers 5 rebuilds LLaMA's tokenizer with other defaults than those of published checkpoints; the file is read
    as it is instead.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    ensure_fetched(folder)
    kind = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
    try:
        return kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise UsageError(f"{folder} has no tokenizer that can be read ({_first_line(error)}).") from error


def load_image_processor(folder: Path) -> Any:
    """The image processor that works on PIL images. Raises UsageError where the folder names none."""
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        raise UsageError(
            f"{folder} has no image processor that can be read ({_first_line(error)})."
        ) from error


def load_processor(folder: Path) -> Any:
    """Processor of an image-text model. Qwen's is put together without the video part, which needs torchvision.

    Raises:
        UsageError: the processor is missing, or of a kind that needs torchvision, which is not installed.
    """
    from transformers import AutoProcessor

    if str(config_of(folder).get("model_type", "")) in ("qwen2_vl", "qwen2_5_vl"):
        return pictures_only(load_image_processor(folder), load_tokenizer(folder))
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except ImportError as error:
        lacking = "torchvision" if find_spec("torchvision") is None else _first_line(error)
        raise UsageError(
            f"The processor of {folder} needs {lacking}: install it beside torch, or use a Qwen2.5-VL."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder} has no processor that can be read ({_first_line(error)}).") from error
    if not hasattr(processor, "image_processor"):
        raise UsageError(f"{folder} has a tokenizer but no image processor: it is no image-text model.")
    return processor


def pictures_only(image_processor: Any, tokenizer: Any, chat_template: str | None = None) -> Any:
    """Qwen2.5-VL's processor for pictures and text alone: its video part cannot be made without torchvision."""
    from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
    from transformers.processing_utils import ProcessorMixin

    class QwenPictures(Qwen2_5_VLProcessor):
        def __init__(
            self,
            image_processor: Any = None,
            tokenizer: Any = None,
            chat_template: str | None = None,
            **_: Any,
        ) -> None:
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
            self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    QwenPictures.__name__ = "Qwen2_5_VLProcessor"  # what a saved folder tells transformers elsewhere
    return QwenPictures(image_processor, tokenizer, chat_template=chat_template or tokenizer.chat_template)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
