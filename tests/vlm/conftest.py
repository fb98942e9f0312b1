"""Fixtures of the vision-language models: tiny ones, saved to disk by `tests/fakes/tiny_vlm.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra vlm brings torch")
pytest.importorskip("transformers", reason="the extra vlm brings transformers")

from tiny_vlm import ANSWERS, make_llava, picture  # noqa: E402


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    make_llava(folder)
    return folder


@pytest.fixture(scope="session")
def taught_folder(llava_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny LLaVA after 60 steps on two kinds of pictures: it answers in FakeVLM's form."""
    from pixelsleuth.models.fakevlm.answers import QUESTION
    from pixelsleuth.models.fakevlm.engine import load_engine

    engine, _ = load_engine(str(llava_folder), device="cpu")
    pixels = [picture(kind, seed=seed) for seed in range(3) for kind in ANSWERS]
    texts = [ANSWERS[kind] for _ in range(3) for kind in ANSWERS]
    values = engine.pixel_values(pixels)
    prompt = engine.prompt_ids(QUESTION)
    rows = [prompt + engine.tokenizer(text, add_special_tokens=False)["input_ids"] + [2] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [3] * (longest - len(row)) for row in rows])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    labels[ids == 3] = -100
    optimizer = torch.optim.AdamW(engine.model.parameters(), lr=5e-3)
    engine.model.train()
    for _ in range(60):
        loss = engine.model(
            input_ids=ids, attention_mask=(ids != 3).long(), pixel_values=values, labels=labels
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("taught")
    engine.model.eval().save_pretrained(folder)
    engine.tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text((llava_folder / "preprocessor_config.json").read_text())
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four files: real, fake, real, fake."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for i, kind in enumerate(("real", "fake", "real", "fake")):
        paths.append(folder / f"{i}-{kind}.png")
        Image.fromarray(picture(kind, (64 + 8 * i, 48), 10 + i)).save(paths[-1])
    return paths
