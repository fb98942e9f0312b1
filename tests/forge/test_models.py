"""The diffusers and transformers classes themselves, with tiny random weights that are saved and loaded again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("diffusers", reason="needs the extra forge")

from pixelsleuth.errors import UsageError
from pixelsleuth.forge.configuration import (
    ChoicesConfig,
    EditConfig,
    ForgeConfig,
    MasksConfig,
    OutputConfig,
    SynthesisConfig,
)
from pixelsleuth.forge.generators import REGISTRY, find_generator
from pixelsleuth.forge.pipeline import run_forge
from pixelsleuth.forge.stages import read_rows


def picture(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return cv2.resize(
        random.integers(0, 255, (8, 8, 3), dtype=np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC
    )


def test_inpainting_is_seeded_and_keeps_the_size(tiny_inpainter: Path) -> None:
    from pixelsleuth.forge.diffusion import inpaint

    config = EditConfig(method="inpaint", model=str(tiny_inpainter), steps=2, side=40, dilate=3)
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50] = 255
    made, given, record = inpaint(picture(), mask, "a cat", 5, config, "cpu")
    assert made.shape == (48, 64, 3)
    assert (given >= mask).all()
    assert given.sum() > mask.sum()
    assert record["worked_at"] == [40, 30]
    assert record["resampled"]
    assert np.array_equal(made, inpaint(picture(), mask, "a cat", 5, config, "cpu")[0])
    assert not np.array_equal(made, inpaint(picture(), mask, "a cat", 6, config, "cpu")[0])


def test_flux_fill_works_on_its_own_grid_and_says_what_it_does_not_take(tiny_flux_fill: Path) -> None:
    from pixelsleuth.forge.diffusion import diffusion_pipeline, grid_of, inpaint, round_trip

    config = EditConfig(
        method="inpaint", pipeline="FluxFillPipeline", model=str(tiny_flux_fill), steps=2, side=64
    )
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50] = 255
    made, _, record = inpaint(picture(), mask, "a cat", 5, config, "cpu")
    assert made.shape == (48, 64, 3)
    assert record["worked_at"] == [64, 48]
    # Two for the autoencoder, two for the transformer's patches.
    assert grid_of(diffusion_pipeline("FluxFillPipeline", str(tiny_flux_fill), None, "float32", "cpu")) == 4
    assert round_trip(picture(), config, "cpu").shape == (48, 64, 3)
    with pytest.raises(UsageError, match="FluxFillPipeline does not take negative_prompt"):
        inpaint(picture(), mask, "a cat", 5, dataclasses.replace(config, negative_prompt="bad"), "cpu")


def test_a_round_trip_changes_every_region_a_little(tiny_inpainter: Path) -> None:
    from pixelsleuth.forge.diffusion import round_trip

    made = round_trip(picture()[:47, :61], EditConfig(model=str(tiny_inpainter)), "cpu")
    assert made.shape == (47, 61, 3)
    assert (made != picture()[:47, :61]).mean() > 0.5


def test_inpainting_from_end_to_end_with_controls_and_synthesis(
    photos: Path, captions: Path, tiny_inpainter: Path, tiny_generator: Path, tmp_path: Path
) -> None:
    config = ForgeConfig(
        out=str(tmp_path / "run"), photographs=str(photos), captions=str(captions), limit=4, workers=1, device="cpu",
        masks=MasksConfig(method="shapes"), choices=ChoicesConfig(object_share=0.5),
        edit=EditConfig(method="inpaint", model=str(tiny_inpainter), steps=1, side=64, controls=True),
        synthesis=SynthesisConfig(
            method="diffusers", model=str(tiny_generator), pipeline="StableDiffusionPipeline", steps=1, side=64
        ),
        output=OutputConfig(balance=False),
    )  # fmt: skip
    counts = run_forge(config, say=lambda _: None, quiet=True)
    assert sum(n for name, n in counts.items() if name.endswith("/controls")) == 3
    rows = list(read_rows(tmp_path / "run" / "dataset" / "records.jsonl"))
    kinds = {row["label"] for row in rows}
    assert kinds == {"real", "tampered", "full_synthetic"}
    for row in rows:
        if row["label"] == "tampered":
            assert row["mode"] in ("object", "part")
            assert row["replacement"].lower() in row["prompt"].lower()
            assert row["changed_outside"] == 0.0
            assert row["paste_back"] == "hard"
            assert row["settings"]["num_inference_steps"] == 1
            assert row["object"] in row["description"]
        if row["label"] == "full_synthetic":
            assert row["prompt"] == row["caption"]
            assert (row["width"], row["height"]) == (64, 64)
    controls = (tmp_path / "run" / "dataset" / "controls.csv").read_text().splitlines()
    assert len(controls) == 4
    shares = [row["group"] for row in rows]
    assert len(set(shares)) == 3


def test_without_paste_back_the_whole_picture_passes_the_decoder(
    photos: Path, captions: Path, tiny_inpainter: Path, tmp_path: Path
) -> None:
    config = ForgeConfig(
        out=str(tmp_path / "run"), photographs=str(photos), captions=str(captions), limit=2, workers=1, device="cpu",
        edit=EditConfig(method="inpaint", model=str(tiny_inpainter), steps=1, side=64, paste_back="none"),
    )  # fmt: skip
    run_forge(config, say=lambda _: None, quiet=True)
    rows = [row for row in read_rows(tmp_path / "run" / "edits.jsonl") if "error" not in row]
    assert rows
    assert all(row["changed_outside"] > 0.5 for row in rows)


def grounding_dino(folder: Path) -> Path:
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
        GroundingDinoProcessor,
        SwinConfig,
    )

    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "dog", "cat", "a"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizer.from_pretrained(str(folder))
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=32, window_size=4, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2],
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
        ),
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=4, decoder_attention_heads=4, num_queries=20, num_feature_levels=4,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 96}
    GroundingDinoProcessor(GroundingDinoImageProcessorPil(size=size), tokenizer).save_pretrained(folder)
    return folder


def sam(folder: Path) -> Path:
    from transformers import SamConfig, SamImageProcessorPil, SamModel, SamProcessor

    config = SamConfig(
        vision_config={"hidden_size": 32, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
                       "image_size": 64, "patch_size": 16, "mlp_dim": 64, "global_attn_indexes": [1], "window_size": 2,
                       "num_pos_feats": 16},
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "patch_size": 16, "image_embedding_size": 4,
                               "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 64, "iou_head_hidden_dim": 32, "num_attention_heads": 4,
                             "iou_head_depth": 2},
    )  # fmt: skip
    SamModel(config).save_pretrained(folder)
    size = {"longest_edge": 64}
    processor = SamImageProcessorPil(
        size=size, pad_size={"height": 64, "width": 64}, mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16}
    )  # fmt: skip
    SamProcessor(processor).save_pretrained(folder)
    return folder


def sam2(folder: Path) -> Path:
    from transformers import Sam2Config, Sam2Model

    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 12, "num_attention_heads": 1, "image_size": [128, 128],
        "blocks_per_stage": [1, 2, 7, 2], "embed_dim_per_stage": [12, 24, 48, 96],
        "num_attention_heads_per_stage": [1, 2, 4, 8], "global_attention_blocks": [5, 7, 9],
    }  # fmt: skip
    config = Sam2Config(
        vision_config={"backbone_config": backbone, "backbone_channel_list": [96, 48, 24, 12], "fpn_hidden_size": 32,
                       "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]]},
        prompt_encoder_config={"hidden_size": 32, "image_size": 128, "patch_size": 16, "mask_input_channels": 8},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 64, "iou_head_hidden_dim": 32},
    )  # fmt: skip
    Sam2Model(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("make", [sam, sam2])
def test_a_name_becomes_boxes_and_a_mask(make: object, tmp_path: Path) -> None:
    import torch

    from pixelsleuth.forge.locating import grounded_mask

    torch.manual_seed(0)
    detector, segmenter = grounding_dino(tmp_path / "dino"), make(tmp_path / "sam")  # type: ignore[operator]
    config = MasksConfig(
        "grounded", str(detector), str(segmenter), box_threshold=0.0, text_threshold=0.0, boxes="union"
    )
    mask, record = grounded_mask(picture(), "Dog", config, "cpu")
    assert mask.shape == (48, 64)
    assert set(np.unique(mask)) <= {0, 255}
    assert len(record["boxes"]) == len(record["box_scores"]) > 1
    best = MasksConfig(
        "grounded", str(detector), str(segmenter), box_threshold=0.0, text_threshold=0.0, boxes="best"
    )
    assert len(grounded_mask(picture(), "Dog", best, "cpu")[1]["boxes"]) == 1


def test_no_box_is_a_rejection_with_the_threshold(tmp_path: Path) -> None:
    from pixelsleuth.errors import Rejected
    from pixelsleuth.forge.locating import grounded_mask

    config = MasksConfig("grounded", str(grounding_dino(tmp_path / "dino")), box_threshold=1.0)
    with pytest.raises(Rejected, match=r"No dog was found above the threshold 1\b"):
        grounded_mask(picture(), "dog", config, "cpu")


def test_models_that_cannot_be_loaded_are_told_in_one_sentence(tmp_path: Path) -> None:
    from pixelsleuth.forge.diffusion import diffusion_pipeline

    with pytest.raises(UsageError, match="is no pipeline of diffusers"):
        diffusion_pipeline("NoSuchPipeline", str(tmp_path), None, "float32", "cpu")
    with pytest.raises(UsageError, match="cannot be loaded"):
        diffusion_pipeline("StableDiffusionInpaintPipeline", str(tmp_path), None, "float32", "cpu")


def test_the_registry_holds_the_forty_methods_and_says_which_can_run() -> None:
    assert len(REGISTRY) == 40
    assert find_generator("FLUX.1-dev").steps == 28
    with pytest.raises(UsageError, match=r"did you mean SD-XL"):
        find_generator("SDXL")
    with pytest.raises(UsageError, match="only behind its maker"):
        find_generator("GPT-4o")
    assert json.dumps(sorted(REGISTRY))
