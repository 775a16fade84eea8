"""Images and words to results."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rtvp.config import DetectorConfig
from rtvp.data.images import ImageSource, RGBArray, letterbox, same_shapes, to_batch, to_rgb
from rtvp.data.prompts import parse_prompts
from rtvp.errors import RtvpError
from rtvp.models.build import DEFAULT_THRESHOLD, load_detector, threshold_of
from rtvp.models.fold import fold_batch_norms
from rtvp.models.postprocess import postprocess
from rtvp.models.runtimes import RUNTIMES, encoder_of, is_exported, open_exported
from rtvp.models.text_encoder import EmbeddingCache, TextEncoder, embed_prompts, make_text_encoder
from rtvp.models.weights import find_checkpoint, weights_home
from rtvp.predict.calibration import Calibration
from rtvp.predict.prompt_map import prompt_maps
from rtvp.predict.result import ImageProblem, Result
from rtvp.tiling import Tiling, look_closer
from rtvp.types import Detections, DetectorOutput, Letterbox, Prompt

DEVICES = ("cpu", "cuda")
TORCH = "torch"  # the runtime of checkpoints


class Detector:
    """Finds what prompts name in images.

    Args:
        network: images [B, 3, S, S] (float RGB, 0..255) and text [K, D] to `DetectorOutput`.
        config: what the network was built from.
        text_encoder: makes the embeddings that the network was trained with.
        threshold: default score that a detection has to exceed, in [0, 1].
        name: of the model, for reports.
        device: ``cpu`` or ``cuda``.
        size: side of the network input, px, a multiple of 32; ``config.input_size`` if None.
        cache: keeps text embeddings between runs.

    Raises:
        RtvpError: a device, size or threshold that cannot be.
    """

    def __init__(
        self,
        network: nn.Module,
        config: DetectorConfig,
        text_encoder: TextEncoder,
        threshold: float = DEFAULT_THRESHOLD,
        name: str = "rtvp",
        device: str = "cpu",
        size: int | None = None,
        cache: EmbeddingCache | None = None,
    ) -> None:
        _check_device(device)
        self.size = config.input_size if size is None else size
        if self.size < 32 or self.size % 32:
            raise RtvpError(f"size: expected a positive multiple of 32, got {self.size}")
        if text_encoder.width != config.text_width:
            raise RtvpError(
                f"text encoder {text_encoder.name}: its embeddings are {text_encoder.width} wide, "
                f"the model expects {config.text_width}"
            )
        self.threshold = checked_threshold(threshold)
        # Channels last: a sixth faster on a CPU, the same numbers to rounding. The stubs lack the argument.
        self.network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.config, self.text_encoder, self.name = config, text_encoder, name
        self.device, self.cache = device, cache

    def detect(
        self,
        image: ImageSource,
        prompts: str | Sequence[str | Prompt],
        threshold: float | Calibration | None = None,
        explain: bool = False,
        tile: Tiling | int | str | None = None,
    ) -> Result:
        """Look for ``prompts`` in one image; the arguments are those of `detect_many`.

        Raises:
            RtvpError: the image cannot be read, or an argument is wrong.
        """
        (result,) = self.detect_many([image], prompts, threshold=threshold, explain=explain, tile=tile)
        if isinstance(result, ImageProblem):
            raise RtvpError(result.message)
        return result

    def detect_many(
        self,
        images: Iterable[ImageSource],
        prompts: str | Sequence[str | Prompt],
        batch: int = 1,
        threshold: float | Calibration | None = None,
        explain: bool = False,
        keep_images: bool = False,
        tile: Tiling | int | str | None = None,
    ) -> Iterator[Result | ImageProblem]:
        """Look for ``prompts`` in any number of images, ``batch`` of which are in memory at a time.

        Args:
            images: paths, Pillow pictures or arrays (see `rtvp.data.images.to_rgb`).
            prompts: names, or prompts with further texts; or one text as on the command line, such as
                ``"scratch, oil stain: dark smear | shiny patch"``.
            batch: images that go through the network together.
            threshold: score that a detection has to exceed, in [0, 1]; or what `rtvp calibrate` found for
                this model and these prompts; the model's own if None.
            explain: also give each result its ``prompt_map``.
            keep_images: also give a result its pixels if they can be read again from a file.
            tile: also look at parts of each image closer: ``auto``, as its size needs it; or the side of a
                tile in px of the image. Finds smaller defects, and takes as long as so many images.

        Returns:
            One entry an image, in order: its result, or why it could not be read.

        Raises:
            RtvpError: an argument is wrong; raised by the call itself, before any image is read.
        """
        wanted = _as_prompts(prompts)
        if batch < 1:
            raise RtvpError(f"batch: expected at least 1, got {batch}")
        if explain and not self.config.visual_prompt.enabled:
            raise RtvpError(f"model {self.name} has no visual prompt, so there is nothing to explain with")
        text = embed_prompts(wanted, self.text_encoder, self.cache).to(self.device)
        names = tuple(prompt.name for prompt in wanted)
        tiling = Tiling.of(tile)
        limits = self.limits(threshold, names, tiling)
        search = _Search(names, text, batch, limits, explain, keep_images, tiling)
        return self._stream(images, search)

    def limits(
        self, threshold: float | Calibration | None, names: Sequence[str], tiling: Tiling | None
    ) -> float | tuple[float, ...]:
        """The score to exceed: for all prompts, or one a prompt where they were calibrated.

        Raises:
            RtvpError: not a score, or a calibration of other prompts or another model.
        """
        if isinstance(threshold, Calibration):
            tile = None if tiling is None else tiling.label
            return threshold.for_names(names, self.name, self.size, tile)
        return self.threshold if threshold is None else checked_threshold(threshold)

    def _stream(self, images: Iterable[ImageSource], search: _Search) -> Iterator[Result | ImageProblem]:
        remaining = iter(images)
        while chunk := list(islice(remaining, search.batch)):
            read = [_read(image, self.size, search) for image in chunk]
            placed = [entry for entry in read if isinstance(entry, _Placed)]
            results: dict[int, Result] = {}
            for indices in same_shapes([image.pixels for image in placed]):
                found = self._detect_placed([placed[index] for index in indices], search)
                results.update(zip(indices, found, strict=True))
            in_order = (results[index] for index in range(len(placed)))
            for entry in read:
                yield entry if isinstance(entry, ImageProblem) else next(in_order)

    @torch.inference_mode()
    def _detect_placed(self, images: list[_Placed], search: _Search) -> list[Result]:
        letterboxes = [image.letterbox for image in images]
        pixels = to_batch([image.pixels for image in images], self.device)
        output = self._forward(pixels, search.text)
        # Threshold 0, because the verdict's score is that of the best detection, however low.
        found = postprocess(output, letterboxes, score_threshold=0.0)
        if search.tiling is not None:
            found = [
                self._look_closer(image, whole, search) for image, whole in zip(images, found, strict=True)
            ]
        shape = (pixels.shape[2], pixels.shape[3])
        maps = prompt_maps(output, letterboxes, shape) if search.explain else [None] * len(images)
        return [
            _to_result(image, search, detections, heat).above(search.threshold)
            for image, detections, heat in zip(images, found, maps, strict=True)
        ]

    def _look_closer(self, image: _Placed, whole: Detections, search: _Search) -> Detections:
        assert image.original is not None and search.tiling is not None

        def forward(pixels: Tensor) -> DetectorOutput:
            return self._forward(pixels, search.text)

        original, tiling = image.original, search.tiling
        return look_closer(original, whole, forward, self.size, tiling, self.device, search.batch)

    def _forward(self, pixels: Tensor, text: Tensor) -> DetectorOutput:
        try:
            output: DetectorOutput = self.network(pixels, text)
        except torch.OutOfMemoryError as error:
            raise RtvpError(
                "the GPU has too little memory: take a smaller batch or size, or the CPU"
            ) from error
        return output


def load(
    weights: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    size: int | None = None,
    runtime: str | None = None,
) -> Detector:
    """A ready detector, without network access.

    Args:
        weights: a checkpoint written by ``rtvp train``, an ``.onnx`` or ``.xml`` written by ``rtvp export``,
            or the name of a model that comes with the package: ``rtvp-lite0`` (also if None), or ``open``,
            trained on nothing that forbids commercial use.
        device: ``cpu`` or ``cuda``.
        size: side of the network input, px, a multiple of 32; the model's own if None.
        runtime: ``torch``, ``onnx`` or ``openvino``; what fits the file if None. A checkpoint is exported
            when a runtime is first asked for, and kept in the folder of the fetched weights.

    Raises:
        RtvpError: the file is missing or not one of RTVP, or an argument is wrong.
    """
    _check_device(device)
    if runtime not in (None, TORCH, *RUNTIMES):
        raise RtvpError(f"runtime: expected {', '.join((TORCH, *RUNTIMES))}, got {runtime!r:.80}")
    path = find_checkpoint(weights)
    if is_exported(path) or runtime not in (None, TORCH):
        return _load_exported(path, device, size, runtime)
    network, config, metadata = load_detector(path)
    fold_batch_norms(network)
    return Detector(
        network,
        config,
        make_text_encoder(config.text_encoder),
        threshold_of(metadata, path),
        name=metadata.get("name", path.stem),
        device=device,
        size=size,
        cache=EmbeddingCache(weights_home() / "embeddings"),
    )


def _load_exported(path: Path, device: str, size: int | None, runtime: str | None) -> Detector:
    if device != "cpu":
        raise RtvpError(f"device: exported models run on the cpu, got {device}: take the checkpoint")
    if not is_exported(path):
        from rtvp.export.checkpoint import cached_export  # an exported file runs without what exports it

        path = cached_export(path)
    network = open_exported(path, runtime)
    facts, encoder = network.facts, encoder_of(network.facts)
    # Rows of the identity are as wide as the vocabulary is long, and not worth keeping.
    config = facts.config.model_copy(update={"text_width": encoder.width})
    cache = None if facts.vocabulary else EmbeddingCache(weights_home() / "embeddings")
    return Detector(
        network, config, encoder, facts.threshold, facts.name, size=size or facts.input_size, cache=cache
    )


def checked_threshold(threshold: float) -> float:
    """``threshold`` itself, if it is a score.

    Raises:
        RtvpError: it is not a number from 0 to 1.
    """
    if not 0 <= threshold <= 1 or math.isnan(threshold):
        raise RtvpError(f"threshold: expected a number from 0 to 1, got {threshold}")
    return threshold


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for, and how; the fields are the arguments of `Detector.detect_many`."""

    names: tuple[str, ...]
    text: Tensor
    batch: int
    threshold: float | tuple[float, ...]
    explain: bool
    keep_images: bool
    tiling: Tiling | None


@dataclass(frozen=True, slots=True)
class _Placed:
    """An image as the network sees it: ``pixels`` [3, H, W] uint8."""

    path: Path | None
    pixels: Tensor
    letterbox: Letterbox
    original: RGBArray | None


def _read(image: ImageSource, size: int, search: _Search) -> _Placed | ImageProblem:
    path = Path(image) if isinstance(image, (str, os.PathLike)) else None
    try:
        original = to_rgb(image)
    except RtvpError as error:
        return ImageProblem(path, str(error))
    pixels, placement = letterbox(original, size)
    needed = search.keep_images or search.tiling is not None or path is None
    return _Placed(path, pixels, placement, original if needed else None)


def _to_result(image: _Placed, search: _Search, found: Detections, heat: np.ndarray | None) -> Result:
    # Pixels that can be read again are not kept unasked: a list of results would fill the memory.
    kept = image.original if search.keep_images or image.path is None else None
    return Result(
        image_path=image.path,
        width=image.letterbox.width,
        height=image.letterbox.height,
        names=search.names,
        boxes_xyxy=found.boxes_xyxy.numpy(),
        label_indices=found.labels.numpy(),
        scores=found.scores.numpy(),
        threshold=0.0,
        verdict_score=float(found.scores[0]) if len(found.scores) else 0.0,
        prompt_map=heat,
        image=kept,
    )


def _as_prompts(prompts: str | Sequence[str | Prompt]) -> tuple[Prompt, ...]:
    if isinstance(prompts, str):
        return parse_prompts(prompts)
    wanted = tuple(Prompt(prompt) if isinstance(prompt, str) else prompt for prompt in prompts)
    if not wanted:
        raise RtvpError("prompts: expected at least one such as 'scratch', got none")
    seen: set[str] = set()
    for prompt in wanted:
        if not prompt.name.strip() or any("\ud800" <= c <= "\udfff" for c in "".join(prompt.all_texts)):
            raise RtvpError(f"prompts: expected names such as 'scratch', got {prompt.name!r:.80}")
        if prompt.name in seen:
            raise RtvpError(f"prompts: {prompt.name!r:.80} is given twice; keep one")
        seen.add(prompt.name)
    return wanted


def _check_device(device: str) -> None:
    if device not in DEVICES:
        raise RtvpError(f"device: expected {' or '.join(DEVICES)}, got {device!r:.80}")
    if device == "cuda" and not torch.cuda.is_available():
        raise RtvpError("device: cuda was asked for, but torch finds no usable GPU here; use cpu")
