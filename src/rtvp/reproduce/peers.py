"""Zero-shot detectors of other people, asked the same questions: one adapter for those of transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rtvp.errors import RtvpError
from rtvp.measure.named import SCORE_FLOOR
from rtvp.types import Detections, Prompt

MAX_DETECTIONS = 300  # an image
FILES = "config.json, model.safetensors, preprocessor_config.json and the tokenizer's files"


class Peer:
    """A zero-shot detector of transformers, as a `NamedDetector`.

    Every query box is scored against every prompt: the best score of the prompt's texts. No box suppresses
    another, as these models are trained to give each object one box. One image goes through the model at a
    time, so that what is found in it does not hang on the images beside it.

    Args:
        model: of ``AutoModelForZeroShotObjectDetection``, one of ``FAMILIES``.
        processor: the model's own: it prepares images and texts, and scales boxes back.
        name: for reports.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, model: Any, processor: Any, name: str, device: str = "cpu") -> None:
        self.model, self.processor = model.to(device).eval(), processor
        self.name, self.device = name, device
        self.family = FAMILIES[model.config.model_type]

    @torch.inference_mode()
    def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
        """Look for K prompts in each of B images, [H, W, 3] RGB."""
        questions = list(self.family.ask(self.model, self.processor, prompts))
        return [self._detect_one(image, questions) for image in images]

    def _detect_one(self, image: NDArray[np.uint8], questions: Sequence[Question]) -> Detections:
        height, width = image.shape[:2]
        pixels = self.processor.image_processor(Image.fromarray(image), return_tensors="pt").to(self.device)
        boxes, scores, labels = [], [], []
        for question in questions:
            texts = {key: value.to(self.device) for key, value in question.inputs.items()}
            output = self.model(**pixels, **texts)
            # Below every score: all boxes come back, in the order of the queries.
            (found,) = self.processor.post_process_grounded_object_detection(
                output, threshold=-1.0, target_sizes=[(height, width)], **self.family.no_phrases
            )
            by_prompt = question.score(output.logits[0].sigmoid().float().cpu())  # [queries, K of these]
            boxes.append(found["boxes"].float().cpu().repeat_interleave(by_prompt.shape[1], dim=0))
            scores.append(by_prompt.flatten())
            labels.append(torch.tensor(question.prompts).repeat(len(by_prompt)))
        return _best(torch.cat(boxes), torch.cat(scores), torch.cat(labels), width, height)


@dataclass(frozen=True, slots=True)
class Question:
    """What goes into the model beside the image, and how its answer is read.

    Attributes:
        inputs: the texts, for the model.
        prompts: index of each of the k prompts that are asked for.
        score: probabilities [queries, columns of the model] to scores [queries, k].
    """

    inputs: Mapping[str, Tensor]
    prompts: tuple[int, ...]
    score: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Family:
    """How models of one kind are asked.

    Attributes:
        ask: model, processor and prompts to questions, each of which is one pass of an image.
        no_phrases: keeps the processor from reading phrases out of its answer, which nobody asks for.
    """

    ask: Callable[[Any, Any, Sequence[Prompt]], Iterator[Question]]
    no_phrases: Mapping[str, float]


def load_peer(name: str, device: str = "cpu", online: bool = False) -> Peer:
    """A peer by its name on the Hugging Face hub, or from a local folder.

    Args:
        name: such as ``IDEA-Research/grounding-dino-tiny``, or the path of a folder with the same files.
        device: ``cpu`` or ``cuda``.
        online: whether it may be downloaded; else the folder or the hub's cache has to have it.

    Raises:
        RtvpError: a file is missing or damaged, weights are missing, or it is a model of another kind.
    """
    from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoProcessor

    local = {"local_files_only": not online}
    try:
        kind = AutoConfig.from_pretrained(name, **local).model_type
        if kind not in FAMILIES:
            raise RtvpError(f"peer {name}: expected a model of type {', '.join(FAMILIES)}, got {kind!r}")
        processor = AutoProcessor.from_pretrained(name, **local)  # type: ignore[no-untyped-call]
        model, report = AutoModelForZeroShotObjectDetection.from_pretrained(
            name, use_safetensors=True, output_loading_info=True, **local
        )
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        raise RtvpError(_not_loaded(name, error, online)) from error
    if missing := sorted(report["missing_keys"]):
        raise RtvpError(
            f"peer {name}: {len(missing)} weights are missing, first {missing[0]}: fetch it again"
        )
    # A tokenizer without its files loads as one that knows no word.
    if len(processor.tokenizer) < model.config.text_config.vocab_size:
        raise RtvpError(
            f"peer {name}: expected a tokenizer of {model.config.text_config.vocab_size} entries, got "
            f"{len(processor.tokenizer)}: fetch the tokenizer's files again"
        )
    return Peer(model, processor, Path(name).name, device)


def _not_loaded(name: str, error: Exception, online: bool) -> str:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if Path(name).is_dir():
        return f"peer {name}: expected {FILES} in this folder: {reason}"
    hint = "check its name and the network" if online else "download it first, or give a folder"
    return f"peer {name}: expected {FILES} in the hub's cache; {hint}: {reason}"


def _best(boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, width: int, height: int) -> Detections:
    """The best of N boxes, cut to the image."""
    limit = torch.tensor([width, height] * 2, dtype=torch.float32)
    inside = boxes_xyxy.clamp(min=torch.zeros(4), max=limit)
    solid = ((inside[:, 2:] > inside[:, :2]).all(dim=1)) & (scores > SCORE_FLOOR)
    inside, scores, labels = inside[solid], scores[solid], labels[solid]
    order = scores.argsort(descending=True, stable=True)[:MAX_DETECTIONS]
    return Detections(inside[order].numpy(), scores[order].numpy(), labels[order].numpy())


def _best_text(by_text: Tensor, counts: list[int]) -> Tensor:
    """[queries, texts] to [queries, K]: the best of the texts of each of K prompts."""
    parts = torch.split(by_text, counts, dim=1)
    return torch.stack([part.amax(dim=1) for part in parts], dim=1)


def _ask_by_text(model: Any, processor: Any, prompts: Sequence[Prompt]) -> Iterator[Question]:
    """OWL-ViT, OWLv2: one column a text; all of them in one pass."""
    texts = [text for prompt in prompts for text in prompt.all_texts]
    counts = [len(prompt.all_texts) for prompt in prompts]
    length = model.config.text_config.max_position_embeddings
    inputs = processor.tokenizer(
        texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )

    def score(probabilities: Tensor) -> Tensor:
        return _best_text(probabilities, counts)

    yield Question(
        {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]},
        tuple(range(len(prompts))),
        score,
    )


def _ask_by_caption(model: Any, processor: Any, prompts: Sequence[Prompt]) -> Iterator[Question]:
    """Grounding DINO: texts joined into a caption, one column a token of it.

    The score of a text is the mean over the tokens of its span, as in the model's own COCO evaluation. Where
    the prompts do not fit into one caption, several are asked, no prompt divided among them.
    """
    limit = model.config.max_text_len
    for chosen in _portions(processor.tokenizer, prompts, limit):
        caption, spans = _caption([prompts[index] for index in chosen])
        inputs = processor.tokenizer(
            caption,
            truncation=True,
            max_length=limit,
            return_offsets_mapping=True,
            return_token_type_ids=True,
            return_tensors="pt",
        )
        shares = _token_shares(inputs.pop("offset_mapping")[0], [s for own in spans for s in own])
        counts = [len(own) for own in spans]

        def score(probabilities: Tensor, shares: Tensor = shares, counts: list[int] = counts) -> Tensor:
            by_text = probabilities[:, : shares.shape[1]] @ shares.T  # [queries, texts]
            return _best_text(by_text, counts)

        yield Question(dict(inputs), chosen, score)


def _portions(tokenizer: Any, prompts: Sequence[Prompt], limit: int) -> Iterator[tuple[int, ...]]:
    """Indices of prompts, portion by portion, whose captions have at most ``limit`` tokens."""
    portion: list[int] = []
    used = 0
    for index, prompt in enumerate(prompts):
        length = len(tokenizer(_caption([prompt])[0], add_special_tokens=False)["input_ids"])
        if portion and used + length > limit - 2:  # a token before and one behind
            yield tuple(portion)
            portion, used = [], 0
        portion.append(index)
        used += length
    yield tuple(portion)


def _caption(prompts: Sequence[Prompt]) -> tuple[str, list[list[tuple[int, int]]]]:
    """``crack. oil stain.`` and, prompt by prompt, where each of its texts begins and ends in it."""
    caption, spans = "", []
    for prompt in prompts:
        own = []
        for text in prompt.all_texts:
            # Full stops and question marks part the phrases: the model's attention does not cross them.
            phrase = " ".join(text.lower().replace(".", " ").replace("?", " ").split())
            own.append((len(caption), len(caption) + len(phrase)))
            caption += f"{phrase}. "
        spans.append(own)
    return caption.rstrip(), spans


def _token_shares(offsets: Tensor, spans: Sequence[tuple[int, int]]) -> Tensor:
    """[texts, tokens]: 1 / n at the n tokens [tokens, 2] (begin, end) that lie in a span, else 0."""
    begin, end = torch.tensor(spans)[:, :, None].unbind(dim=1)  # [texts, 1]
    inside = (offsets[:, 0] >= begin) & (offsets[:, 1] <= end) & (offsets[:, 1] > offsets[:, 0])
    return inside.float() / inside.sum(dim=1, keepdim=True).clamp(min=1)


CAPTIONED = Family(_ask_by_caption, {"text_threshold": 1.0})
BY_TEXT = Family(_ask_by_text, {})
# OmDet-Turbo is missing: transformers' part for it asks for torchvision.
FAMILIES: Mapping[str, Family] = {
    "grounding-dino": CAPTIONED,
    "mm-grounding-dino": CAPTIONED,
    "owlv2": BY_TEXT,
    "owlvit": BY_TEXT,
}
