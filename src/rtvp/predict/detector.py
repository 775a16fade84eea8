"""Images and words to results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from rtvp.config import DEFAULT_THRESHOLD, DetectorConfig
from rtvp.data.images import ImageSource, letterbox, open_picture, run_by_shape
from rtvp.errors import RtvpError
from rtvp.models.network import Network
from rtvp.models.postprocess import postprocess
from rtvp.models.text_encoder import EmbeddingCache, TextEncoder, embed_prompts
from rtvp.models.weights import KNOWN_WEIGHTS, find, weights_home
from rtvp.predict.calibration import Calibration, score_settings
from rtvp.predict.masks import MaskMaker
from rtvp.predict.prompt_map import prompt_maps
from rtvp.predict.result import ImageProblem, Result
from rtvp.predict.search import Placed, Search, as_prompts, read, to_result, with_masks
from rtvp.predict.surroundings import SurroundingsMasks
from rtvp.tiling import Closer, Tiling, look_closer
from rtvp.types import Detections, Floats, Prompt

if TYPE_CHECKING:
    from torch import Tensor

REFERENCE_IMAGES = 32  # of good parts, that are compared with


class Detector:
    """Finds what prompts name in images.

    Args:
        network: what runs it: a `TorchNetwork` or an `ExportedNetwork`.
        config: what the network was built from.
        text_encoder: makes the embeddings that the network was trained with.
        threshold: default score that a detection has to exceed, in [0, 1].
        name: of the model, for reports.
        size: side of the network input, px, a multiple of 32; ``config.input_size`` if None.
        cache: keeps text embeddings between runs.
        digest: of the weights and their precision, to tell one model from another.

    Raises:
        RtvpError: a size or threshold that cannot be.
    """

    def __init__(
        self,
        network: Network,
        config: DetectorConfig,
        text_encoder: TextEncoder,
        threshold: float = DEFAULT_THRESHOLD,
        name: str = "rtvp",
        size: int | None = None,
        cache: EmbeddingCache | None = None,
        digest: str = "",
    ) -> None:
        self.size = config.input_size if size is None else size
        if self.size < 32 or self.size % 32:
            raise RtvpError(f"size: expected a positive multiple of 32, got {self.size}")
        if text_encoder.width != config.text_width:
            raise RtvpError(
                f"text encoder {text_encoder.name}: its embeddings are {text_encoder.width} wide, "
                f"the model expects {config.text_width}"
            )
        self.threshold = checked_threshold(threshold)
        self.network, self.config, self.text_encoder = network, config, text_encoder
        self.name, self.cache, self.digest = name, cache, digest
        self._compared = False
        self._embedded: tuple[tuple[Prompt, ...], Floats] | None = None
        self._mask_maker: MaskMaker | None = None

    @property
    def device(self) -> str:
        """Where the network computes: ``cpu`` or ``cuda``."""
        return self.network.device

    def detect(
        self,
        image: ImageSource,
        prompts: str | Sequence[str | Prompt],
        threshold: float | Calibration | None = None,
        explain: bool = False,
        tile: Tiling | int | str | None = None,
        masks: bool | MaskMaker = False,
    ) -> Result:
        """Look for ``prompts`` in one image; the arguments are those of `detect_many`.

        Raises:
            RtvpError: the image cannot be read, or an argument is wrong.
        """
        (result,) = self.detect_many(
            [image], prompts, threshold=threshold, explain=explain, tile=tile, masks=masks
        )
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
        masks: bool | MaskMaker = False,
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
            masks: also give each detection a mask inside its box: True for what `mask_maker` finds best.

        Returns:
            One entry an image, in order: its result, or why it could not be read.

        Raises:
            RtvpError: an argument is wrong; raised by the call itself, before any image is read.
        """
        wanted = as_prompts(prompts)
        if batch < 1:
            raise RtvpError(f"batch: expected at least 1, got {batch}")
        if explain and not self.config.visual_prompt.enabled:
            raise RtvpError(f"model {self.name} has no visual prompt, so there is nothing to explain with")
        text = self._embed(wanted)
        names = tuple(prompt.name for prompt in wanted)
        tiling = Tiling.of(tile)
        if tiling is not None and self._compared:
            raise RtvpError(
                "tile: a part of an image cannot be compared with whole good parts: leave out one"
            )
        limits = self.limits(threshold, wanted, tiling)
        maker = self.mask_maker(masks)
        search = Search(names, text, batch, limits, explain, keep_images, tiling, maker)
        return self._stream(images, search)

    def compared_with(self, good: Sequence[ImageSource]) -> Detector:
        """This detector, with scores that rise where an image differs from good parts, and fall elsewhere.

        What good parts show as well, such as teeth, threads and print, is then less often taken for a defect.
        Its scores are others: calibrate it on other images than these.

        Args:
            good: images of good parts, taken as the images to be looked at are; 2 at least, 32 are enough.

        Raises:
            RtvpError: too few images, one that cannot be read, or a detector of an exported file.
        """
        from rtvp.models.good_parts import compare  # torch, which exported models go without

        some = good[:: max(1, math.ceil(len(good) / REFERENCE_IMAGES))]
        pixels = (letterbox(open_picture(image), self.size)[0] for image in some)
        other = copy(self)
        other.network, digest = compare(self.network, pixels)
        other.digest, other._compared = f"{self.digest}, compared with {digest}", True
        return other

    def mask_maker(self, masks: bool | MaskMaker = True) -> MaskMaker | None:
        """What makes masks: Mobile-SAM's decoder if its weights were fetched, else the picture alone.

        Args:
            masks: False for none; or a maker of masks, which is returned as it is.

        Raises:
            RtvpError: the weights are there but damaged.
        """
        if not isinstance(masks, bool):
            return masks
        if masks and self._mask_maker is None:
            weight = KNOWN_WEIGHTS["mobile_sam"]
            if (weights_home() / weight.filename).exists():
                from rtvp.predict.sam_masks import SamMasks  # torch, which exported models go without

                self._mask_maker = SamMasks(find(weight.name), self.device)
            else:
                self._mask_maker = SurroundingsMasks()
        return self._mask_maker if masks else None

    def limits(
        self, threshold: float | Calibration | None, prompts: Sequence[Prompt], tiling: Tiling | None
    ) -> float | tuple[float, ...]:
        """The score to exceed: for all prompts, or one a prompt where they were calibrated.

        Raises:
            RtvpError: not a score, or a calibration of other prompts or another model.
        """
        if isinstance(threshold, Calibration):
            return threshold.for_settings(self.settings(prompts, tiling))
        return self.threshold if threshold is None else checked_threshold(threshold)

    def settings(self, prompts: Sequence[Prompt], tiling: Tiling | None) -> dict[str, Any]:
        """What decides the scores, for JSON."""
        return score_settings(self.name, self.digest, self.size, prompts, tiling)

    def _embed(self, prompts: tuple[Prompt, ...]) -> Floats:
        # Who detects image by image asks for the same each time.
        if self._embedded is None or self._embedded[0] != prompts:
            self._embedded = prompts, embed_prompts(prompts, self.text_encoder, self.cache)
        return self._embedded[1]

    def _stream(self, images: Iterable[ImageSource], search: Search) -> Iterator[Result | ImageProblem]:
        remaining = iter(images)
        while chunk := list(islice(remaining, search.batch)):
            entries = [read(image, self.size, search) for image in chunk]
            placed = [entry for entry in entries if isinstance(entry, Placed)]
            run = partial(self._detect_placed, search=search)
            in_order = iter(run_by_shape(placed, attrgetter("pixels"), run))
            for entry in entries:
                yield entry if isinstance(entry, ImageProblem) else next(in_order)

    def _detect_placed(self, images: list[Placed], search: Search) -> list[Result]:
        letterboxes = [image.letterbox for image in images]
        pixels = np.stack([image.pixels for image in images])
        asks = search.maker is not None and search.maker.asks_network
        with self._embeddings() if asks else nullcontext([]) as embedded:
            predictions = self.network(pixels, search.text)
        # Threshold 0, because the verdict's score is that of the best detection, however low.
        wholes = postprocess(predictions, letterboxes, score_threshold=0.0)
        found = [self._look_closer(image, whole, search) for image, whole in zip(images, wholes, strict=True)]
        shape = (pixels.shape[2], pixels.shape[3])
        wanted = search.explain or (asks and self.config.visual_prompt.enabled)
        maps = prompt_maps(predictions, letterboxes, shape) if wanted else [None] * len(images)
        pictures = embedded[0][:, None] if embedded else [None] * len(images)
        return [
            with_masks(to_result(image, search, closer, heat), image, search, heat, picture)
            for image, closer, heat, picture in zip(images, found, maps, pictures, strict=True)
        ]

    def _look_closer(self, image: Placed, whole: Detections, search: Search) -> Closer:
        if search.tiling is None:
            return Closer(whole, 0, 0)
        assert image.original is not None
        forward = partial(self.network, text=search.text)
        return look_closer(image.original, whole, forward, self.size, search.tiling, search.batch)

    def _embeddings(self) -> AbstractContextManager[list[Tensor]]:
        from rtvp.predict.sam_masks import embeddings  # loaded by whoever asks

        return embeddings(self.network)


def checked_threshold(threshold: float) -> float:
    """``threshold`` itself, if it is a score.

    Raises:
        RtvpError: it is not a number from 0 to 1.
    """
    if not 0 <= threshold <= 1 or math.isnan(threshold):
        raise RtvpError(f"threshold: expected a number from 0 to 1, got {threshold}")
    return threshold
