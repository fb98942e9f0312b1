"""Models that transformers itself defines, from a folder or the hub, without torchvision.

Weights are checked for completeness, tokenizers are read as their files say, processors work on PIL images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelsleuth.core.content import ensure_fetched
from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.precision import ensure_memory, place
from pixelsleuth.models.weights import ensure_finite, nested_folder, read_config

OUTSIDE = ("vision_tower", "visual", "multi_modal_projector", "lm_head")
"""Modules that keep bf16 under int8 and int4."""


def load_pretrained(name: str | Path, classes: Mapping[str, Any], title: str, dtype: torch.dtype) -> Any:
    """The model of a folder or a hub id, on the CPU in evaluation mode.

    Args:
        name: folder or hub id.
        classes: transformers' class for each `model_type` that config.json may state.
        title: what the model should be, for messages.
        dtype: of the weights.

    Raises:
        UsageError: no such folder or repository, another kind of model, or damaged.
    """
    folder = hub.resolve(str(name))
    kind = str(read_config(folder).get("model_type") or "nothing")
    if kind not in classes:
        raise UsageError(f"{name} is a checkpoint of {kind}, not of {title}.")
    model = _from_folder(classes[kind], folder, str(name), dtype=dtype)
    ensure_finite(model.state_dict().items(), str(name))
    return model.eval()


def load_model(folder: Path, name: str, *, device: str = "auto", precision: str = "auto") -> tuple[Any, str]:
    """The image-text model of `folder`, on its device in evaluation mode, and its precision.

    Raises:
        UsageError: weights are missing, damaged or of another shape; no such device; too little memory; NaN.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    where, kind, dtype = place(device, precision)
    read_config(folder)
    options: dict[str, Any] = {"dtype": dtype, "output_loading_info": True}
    if kind in ("int8", "int4"):
        options |= {"quantization_config": _compressed(kind), "device_map": {"": 0}}
    with _in_one_sentence(name), torch.device("meta"):  # the model as described: nothing is allocated
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        described = AutoModelForImageTextToText.from_config(config)
    ensure_memory(name, *_sizes(described), kind, where)
    model, report = _from_folder(AutoModelForImageTextToText, folder, name, **options)
    lacking = [*report["missing_keys"], *report.get("mismatched_keys", ())]
    if lacking:
        first = lacking[0] if isinstance(lacking[0], str) else lacking[0][0]
        raise UsageError(
            f"{name} lacks {len(lacking)} of the model's weights ({first}): copy or download it again."
        )
    ensure_finite(model.state_dict().items(), name)
    if where == "cuda" and kind not in ("int8", "int4"):
        model = model.to(where)
    return model.eval(), kind


def _from_folder(kind: Any, folder: Path, name: str, **options: Any) -> Any:
    """What `kind.from_pretrained` makes of a folder. Raises UsageError where it cannot."""
    ensure_fetched(folder)
    with _in_one_sentence(name):
        return kind.from_pretrained(folder, local_files_only=True, **options, **_nested(folder))


@contextmanager
def _in_one_sentence(name: str) -> Iterator[None]:
    """What transformers raises on a damaged checkpoint becomes a UsageError."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise UsageError(
            f"{name} cannot be loaded ({_first_line(error)}): copy or download it again."
        ) from error


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


class ScoreKeeper:
    """A logits processor that keeps the scores of some tokens at every step of a generation; it changes nothing."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)
        self._scores: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self.tokens:
            self._scores.append(scores[:, self.tokens].float())
        return scores

    def shares(self) -> list[list[list[float]]]:
        """Softmax over the tokens for each row and step, (N, steps, tokens); empty where no score was kept."""
        return torch.stack(self._scores, 1).softmax(-1).tolist() if self._scores else []


def stop_ids(model: Any, tokenizer: Any) -> tuple[list[int], int]:
    """The ids that end a generation, and the id that pads."""
    ends = model.generation_config.eos_token_id
    ends = list(ends) if isinstance(ends, list | tuple) else [ends or tokenizer.eos_token_id]
    pad = tokenizer.pad_token_id
    return ends, int(pad if pad is not None else ends[0])


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of tokenizer.json, else the one that transformers makes of the older files.

    transformers 5 rebuilds LLaMA's tokenizer with other defaults than those of published checkpoints, so the file is
    read as it is.
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
    """Processor of an image-text model. Qwen's is built without the video part, which needs torchvision.

    Raises:
        UsageError: the processor is missing, or of a kind that needs torchvision, which is not installed.
    """
    from transformers import AutoProcessor

    if str(read_config(folder).get("model_type", "")) in ("qwen2_vl", "qwen2_5_vl"):
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
    """Qwen2.5-VL's processor without its video part, which needs torchvision."""
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

    QwenPictures.__name__ = "Qwen2_5_VLProcessor"  # the class that a saved folder names
    return QwenPictures(image_processor, tokenizer, chat_template=chat_template or tokenizer.chat_template)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
