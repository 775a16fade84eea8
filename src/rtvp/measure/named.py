"""What can be measured: anything that finds named things in images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rtvp.models.expert import Expert, ExpertOutput
from rtvp.models.network import Network
from rtvp.models.text_encoder import EmbeddingCache, TextEncoder, embed_prompts
from rtvp.models.torch_network import to_tensor
from rtvp.tiling import Batch, Tiling, look, look_closer
from rtvp.types import Detections, Floats, Predictions, Prompt

SCORE_FLOOR = 0.001  # average precision needs the low scores too


class NamedDetector(Protocol):
    """Finds what prompts name: ours, the baselines and the peers alike."""

    @property
    def name(self) -> str:
        """Of the detector, for tables."""
        ...

    def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
        """Look for ``prompts`` in ``images``.

        Args:
            images: [H, W, 3] uint8 RGB each, of any sizes.
            prompts: what labels of the result are indices into.

        Returns:
            One entry an image, down to scores of about 0.001, boxes in pixels of the original.
        """
        ...


class RtvpNamed:
    """The RTVP detector, and any other network that reads text embeddings.

    Args:
        network: what runs it.
        encoder: gives the text embeddings.
        size: side S of the network input, px.
        name: for tables.
        cache: keeps text embeddings between runs.
        tiling: also look at parts of each image closer.
    """

    def __init__(
        self,
        network: Network,
        encoder: TextEncoder,
        size: int,
        name: str = "rtvp",
        cache: EmbeddingCache | None = None,
        tiling: Tiling | None = None,
    ) -> None:
        self.name = name
        self._tiling = tiling
        self._network, self._encoder, self._size = network, encoder, size
        self._cache = cache
        self._embedded: tuple[tuple[Prompt, ...], Floats] | None = None

    def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
        """See `NamedDetector`."""
        forward = partial(self._network, text=self._embed(tuple(prompts)))
        whole = look(images, forward, self._size, SCORE_FLOOR)
        if self._tiling is None:
            return whole
        return [
            look_closer(image, own, forward, self._size, self._tiling).found
            for image, own in zip(images, whole, strict=True)
        ]

    def _embed(self, prompts: tuple[Prompt, ...]) -> Floats:
        # The prompts of one batch are nearly always those of the one before.
        if self._embedded is None or self._embedded[0] != prompts:
            self._embedded = (prompts, embed_prompts(prompts, self._encoder, self._cache))
        return self._embedded[1]


class ClosedNamed:
    """The closed-set expert as a detector of its own; of names that it was not trained on it finds nothing.

    Args:
        expert: in eval mode, on ``device``.
        classes: the name of each of its logits.
        size: side of the network input, px.
        device: of the expert.
        name: for tables.
    """

    def __init__(
        self, expert: Expert, classes: Sequence[str], size: int, device: str = "cpu", name: str = "expert"
    ) -> None:
        self.name = name
        self._expert, self._size, self._device = expert, size, device
        self._column = {class_name: column for column, class_name in enumerate(classes)}

    def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
        """See `NamedDetector`."""
        known = [index for index, prompt in enumerate(prompts) if prompt.name in self._column]
        columns = [self._column[prompts[index].name] for index in known]

        def forward(pixels: Batch) -> Predictions:
            with torch.inference_mode():
                output: ExpertOutput = self._expert(to_tensor(pixels, self._device))
            found = output.detections.predictions()
            return replace(found, logits=found.logits[:, :, columns])

        index_of = np.array(known, np.int64)
        return [
            replace(found, labels=index_of[found.labels])
            for found in look(images, forward, self._size, SCORE_FLOOR)
        ]
