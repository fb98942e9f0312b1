"""Photographs, tiny diffusion and grounding models with random weights on disk, and a chat API that misbehaves."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # these tests ask no network, not even by mistake


def photograph(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """Something with structure and grain, (H, W, 3) uint8."""
    random = np.random.default_rng(seed)
    large = cv2.resize(
        random.normal(128, 60, (9, 12, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return (large + random.normal(0, 4, large.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs, one of them twice, one broken file, captions beside them."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(12):
        Image.fromarray(photograph(index)).save(folder / f"photo-{index:02}.jpg", quality=90)
    (folder / "twin.jpg").write_bytes((folder / "photo-00.jpg").read_bytes())
    (folder / "broken.jpg").write_bytes((folder / "photo-01.jpg").read_bytes()[:300])
    things = ["dog", "cat", "horse", "couch"]
    lines = [
        json.dumps({"image": f"photo-{i:02}.jpg", "caption": f"A {things[i % 4]} on the couch"})
        for i in range(12)
    ]
    (folder.parent / "captions.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def captions(photos: Path) -> Path:
    return photos.parent / "captions.jsonl"


def _clip_text(folder: Path) -> tuple[Any, Any]:
    """A tiny CLIP text encoder and a tokenizer over letters, built without any download."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz.,-", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz.,-")]
    vocabulary = {letter: i for i, letter in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(str(folder), model_max_length=24)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=24, bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=1,
    )  # fmt: skip
    return CLIPTextModel(config).eval(), tokenizer


def _diffusion_parts(folder: Path, channels: int) -> dict[str, Any]:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    torch.manual_seed(0)
    text, tokenizer = _clip_text(folder / "text")
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=16, in_channels=channels, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=[32, 64], in_channels=3, out_channels=3, latent_channels=4,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
    )  # fmt: skip
    return {
        "unet": unet, "vae": vae, "scheduler": DDIMScheduler(clip_sample=False), "text_encoder": text,
        "tokenizer": tokenizer, "safety_checker": None, "feature_extractor": None, "requires_safety_checker": False,
    }  # fmt: skip


@pytest.fixture(scope="session")
def tiny_inpainter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StableDiffusionInpaintPipeline with random weights, saved to disk."""
    pytest.importorskip("diffusers", reason="needs the extra forge")
    from diffusers import StableDiffusionInpaintPipeline

    folder = tmp_path_factory.mktemp("inpaint")
    StableDiffusionInpaintPipeline(**_diffusion_parts(folder, 9)).save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def tiny_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StableDiffusionPipeline with random weights, saved to disk."""
    pytest.importorskip("diffusers", reason="needs the extra forge")
    from diffusers import StableDiffusionPipeline

    folder = tmp_path_factory.mktemp("t2i")
    StableDiffusionPipeline(**_diffusion_parts(folder, 4)).save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def tiny_flux_fill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FluxFillPipeline with random weights: two text encoders, another grid than Stable Diffusion."""
    pytest.importorskip("diffusers", reason="needs the extra forge")
    import torch
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        FluxFillPipeline,
        FluxTransformer2DModel,
    )
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("flux")
    text, tokenizer = _clip_text(folder / "text")
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        *((c, -1.0) for c in "\u2581abcdefghijklmnopqrstuvwxyz"),
    ]
    letters = Tokenizer(models.Unigram(pieces, unk_id=2))
    letters.pre_tokenizer = pre_tokenizers.Metaspace()
    second = T5TokenizerFast(
        tokenizer_object=letters, eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        extra_ids=0, model_max_length=24,
    )  # fmt: skip
    t5 = T5Config(vocab_size=len(pieces), d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
    vae = AutoencoderKL(
        block_out_channels=[32, 64], in_channels=3, out_channels=3, latent_channels=4, shift_factor=0.06,
        scaling_factor=1.5,
        use_quant_conv=False, use_post_quant_conv=False,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
    )  # fmt: skip
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=48, out_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    FluxFillPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, text_encoder=text, tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(t5).eval(), tokenizer_2=second, transformer=transformer,
    ).save_pretrained(folder / "model")  # fmt: skip
    return folder / "model"


@dataclass
class ChatServer:
    """A local server of the chat API. `behave(body, number)` gives (status, text or bytes, headers, delay)."""

    url: str
    behave: Callable[[dict[str, Any], int], tuple[int, Any, dict[str, str], float]]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                server.bodies.append(body)
                server.headers.append(dict(self.headers))
                number = len(server.bodies) - 1
            status, answer, headers, delay = server.behave(body, number)
            time.sleep(delay)
            data = answer
            if not isinstance(answer, bytes):
                content = {"choices": [{"message": {"role": "assistant", "content": answer}}]}
                data = json.dumps(content | {"usage": {"prompt_tokens": 11, "completion_tokens": 5}}).encode()
            try:
                self.send_response(status)
                for key, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the client gave up waiting

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = ChatServer(f"http://127.0.0.1:{http.server_port}/v1", lambda *_: (200, "{}", {}, 0.0))
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    http.shutdown()
    http.server_close()
