"""Zero-shot detectors of transformers with random weights, in the layout of the official ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel

# Ids that the models have built in: their attention does not cross full stops and question marks.
FIXED = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 1012: ".", 1029: "?"}
WORDS = ("crack", "tip", "oil", "stain", "scr", "##atch", "dark", "smear", "bolt", "3")
VOCABULARY = 1040
MAX_TEXT = 16  # tokens of a caption


def write_grounding_dino(folder: Path, kind: str = "grounding-dino") -> Path:
    """Grounding DINO, or MM Grounding DINO, whose parts have other names."""
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoProcessor,
        MMGroundingDinoConfig,
        MMGroundingDinoForObjectDetection,
        SwinConfig,
    )
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    entries = [FIXED.get(i, f"[unused{i}]") for i in range(VOCABULARY - len(WORDS))] + list(WORDS)
    tokenizer = BertTokenizer(vocab={entry: index for index, entry in enumerate(entries)})
    swin = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    bert = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    sizes: dict[str, Any] = {
        "backbone_config": swin, "text_config": bert, "num_queries": 9, "d_model": 32,
        "max_text_len": MAX_TEXT,
        "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    if kind == "grounding-dino":
        GroundingDinoForObjectDetection(GroundingDinoConfig(**sizes)).save_pretrained(folder)
    else:
        MMGroundingDinoForObjectDetection(MMGroundingDinoConfig(**sizes)).save_pretrained(folder)
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def write_owl(folder: Path, kind: str = "owlv2") -> Path:
    """OWLv2 or OWL-ViT."""
    from transformers import (
        CLIPTokenizerFast,
        Owlv2Config,
        Owlv2ForObjectDetection,
        Owlv2Processor,
        OwlViTConfig,
        OwlViTForObjectDetection,
        OwlViTProcessor,
    )
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
    from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

    folder.mkdir(exist_ok=True)
    characters = sorted(ByteLevel.alphabet())
    entries = [*characters, *(f"{c}</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({entry: i for i, entry in enumerate(entries)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    layers = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **layers,
        "vocab_size": len(entries),
        "bos_token_id": len(entries) - 2,
        "eos_token_id": len(entries) - 1,
    }
    vision = {**layers, "image_size": 32, "patch_size": 8}
    side = {"height": 32, "width": 32}
    torch.manual_seed(0)
    if kind == "owlv2":
        config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=32)
        Owlv2ForObjectDetection(config).save_pretrained(folder)
        Owlv2Processor(Owlv2ImageProcessorPil(size=side), tokenizer).save_pretrained(folder)
    else:
        owl = OwlViTConfig(text_config=text, vision_config=vision, projection_dim=32)
        OwlViTForObjectDetection(owl).save_pretrained(folder)
        OwlViTProcessor(OwlViTImageProcessorPil(size=side), tokenizer).save_pretrained(folder)
    return folder
