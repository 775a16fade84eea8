"""What can be measured: anything that finds named things in images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtvp.models.expert import Expert
from rtvp.models.text_encoder import EmbeddingCache, TextEncoder, embed_prompts
from rtvp.tiling import Tiling, look, look_closer
from rtvp.types import Detections, DetectorOutput, Prompt

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
        detector: in eval mode, on ``device``; images [B, 3, H, W] and text [K, D] to `DetectorOutput`.
        encoder: gives the text embeddings.
        size: side S of the network input, px.
        device: of the detector.
        name: for tables.
        cache: keeps text embeddings between runs.
        tiling: also look at parts of each image closer.
    """

    def __init__(
        self,
        detector: nn.Module,
        encoder: TextEncoder,
        size: int,
        device: torch.device | str = "cpu",
        name: str = "rtvp",
        cache: EmbeddingCache | None = None,
        tiling: Tiling | None = None,
    ) -> None:
        self.name = name
        self._tiling = tiling
        self._detector, self._encoder, self._size, self._device = detector, encoder, size, device
        self._cache = cache
        self._embedded: tuple[tuple[Prompt, ...], Tensor] | None = None

    def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
        """See `NamedDetector`."""
        text = self._embed(tuple(prompts))

        def forward(pixels: Tensor) -> DetectorOutput:
            found: DetectorOutput = self._detector(pixels, text)
            return found

        return _detect(images, self._size, self._device, forward, self._tiling)

    def _embed(self, prompts: tuple[Prompt, ...]) -> Tensor:
        # The prompts of one batch are nearly always those of the one before.
        if self._embedded is None or self._embedded[0] != prompts:
            text = embed_prompts(prompts, self._encoder, self._cache).to(self._device)
            self._embedded = (prompts, text)
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
        self,
        expert: Expert,
        classes: Sequence[str],
        size: int,
        device: torch.device | str = "cpu",
        name: str = "expert",
    ) -> None:
        self.name = name
        self._expert, self._size, self._device = expert, size, device
        self._column = {class_name: column for column, class_name in enumerate(classes)}

    def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
        """See `NamedDetector`."""
        known = [index for index, prompt in enumerate(prompts) if prompt.name in self._column]
        columns = [self._column[prompts[index].name] for index in known]

        def forward(pixels: Tensor) -> DetectorOutput:
            found: DetectorOutput = self._expert(pixels).detections
            return DetectorOutput(
                found.boxes_xyxy,
                found.logits[:, :, columns],
                found.distance_logits,
                found.anchor_points,
                found.anchor_strides,
            )

        found = _detect(images, self._size, self._device, forward)
        index_of = torch.tensor(known, dtype=torch.int64)
        return [Detections(each.boxes_xyxy, each.scores, index_of[each.labels]) for each in found]


@torch.inference_mode()
def _detect(
    images: Sequence[NDArray[np.uint8]],
    size: int,
    device: torch.device | str,
    forward: Callable[[Tensor], DetectorOutput],
    tiling: Tiling | None = None,
) -> list[Detections]:
    whole = look(images, forward, size, device, SCORE_FLOOR)
    if tiling is None:
        return whole
    return [
        look_closer(image, own, forward, size, tiling, device).found
        for image, own in zip(images, whole, strict=True)
    ]
