"""Masks from Mobile-SAM's own decoder, where its weights are at hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rtvp.data.images import Picture, letterbox
from rtvp.models.image_encoder import TinyViT, load_mobile_sam
from rtvp.models.network import Network
from rtvp.models.segment_anything import BoxSegmenter, load_mobile_sam_decoder
from rtvp.models.torch_network import TorchNetwork, to_tensor
from rtvp.predict.masks import BoolArray, Embedded, View, Window

SIDE = 1024  # px, the longer side of a picture that SAM was trained with
BATCH = 16  # boxes that go through the decoder together
CELL = 4  # px of the input, of the decoder's answer


class SamMasks:
    """Mobile-SAM's masks of boxes, each helped by the best sampled point of the visual prompt in it.

    Args:
        weights: the official ``mobile_sam.pt``.
        device: ``cpu`` or ``cuda``.

    Raises:
        RtvpError: the file is missing, damaged, or not Mobile-SAM's.
    """

    name = "mobile_sam"
    asks_network = True

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self.weights, self.device = weights, device
        self.segmenter = BoxSegmenter().eval()
        load_mobile_sam_decoder(self.segmenter, weights)
        self.segmenter.to(device)

    @torch.inference_mode()
    def __call__(self, view: View) -> Iterator[BoolArray]:
        """See `MaskMaker`."""
        windows = view.windows()
        if not windows:
            return
        picture, placement = view.embedded or self.embed(view.image)
        boxes = torch.from_numpy(view.boxes_xyxy).to(self.device) * placement.scale
        points = best_points(view.prompt_map, windows)
        for part in _batches([point is not None for point in points]):
            helped = torch.tensor([point for point in points[part] if point is not None], device=self.device)
            logits = self.segmenter(
                picture, boxes[part], helped[:, None] * placement.scale if len(helped) else None
            )
            for window, each in zip(windows[part], logits.float().cpu().numpy(), strict=True):
                yield _inside(each, window, placement.scale) > 0

    def embed(self, image: Picture) -> Embedded:
        """The picture at the size that SAM was trained with, through its image encoder."""
        longer, shorter = max(image.shape[:2]), min(image.shape[:2])
        pixels, placement = letterbox(image, round(SIDE * (shorter / longer) ** 0.5))
        (picture,) = self._encoder(to_tensor(pixels[None], self.device))
        return Embedded(picture, placement)

    @cached_property
    def _encoder(self) -> TinyViT:
        """Read when it is first needed: never by a detector that has the same one."""
        encoder = TinyViT()
        load_mobile_sam(encoder, self.weights)
        return encoder.freeze().to(self.device)


@contextmanager
def embeddings(network: Network) -> Iterator[list[Tensor]]:
    """Collects what Mobile-SAM's encoder makes of each batch while ``network`` runs.

    Yields:
        A list that grows by [B, 256, H/16, W/16] with every batch; it stays empty if the network has another
        image encoder, or has trained it further, so that SAM's decoder would not understand it.
    """
    encoder = getattr(network.module, "image_encoder", None) if isinstance(network, TorchNetwork) else None
    seen: list[Tensor] = []
    if not (isinstance(encoder, TinyViT) and encoder.frozen):
        yield seen
        return
    handle = encoder.register_forward_hook(lambda _, __, maps: seen.append(maps[0].float()))
    try:
        yield seen
    finally:
        handle.remove()


def best_points(
    prompt_map: npt.NDArray[np.float32] | None, windows: list[Window]
) -> list[tuple[float, float] | None]:
    """In each box the highest of the sampled points (Eq. 6), (x, y) in px; None if nothing was sampled."""
    points: list[tuple[float, float] | None] = []
    for window in windows:
        part = None if prompt_map is None else prompt_map[window.slices]
        if part is None or part.max() <= 0:
            points.append(None)
        else:
            row, column = divmod(int(part.argmax()), part.shape[1])
            points.append((float(window.left + column), float(window.top + row)))
    return points


def _batches(helped: list[bool]) -> Iterator[slice]:
    """Boxes that go through the decoder together: with a point or without, as SAM knows no box in between."""
    start = 0
    for _, alike in groupby(helped):
        end = start + len(list(alike))
        yield from (slice(first, min(first + BATCH, end)) for first in range(start, end, BATCH))
        start = end


def _inside(logits: npt.NDArray[np.float32], window: Window, scale: float) -> npt.NDArray[np.float32]:
    """Bilinear at the middle of every pixel of ``window``: [4 h, 4 w] to [bottom - top, right - left].

    Only there: an answer for the whole of a large image, box by box, would fill the memory.
    """
    for axis, (start, end) in enumerate(((window.top, window.bottom), (window.left, window.right))):
        last = logits.shape[axis] - 1
        place = ((np.arange(start, end) + 0.5) * (scale / CELL) - 0.5).clip(0, last).astype(np.float32)
        low = place.astype(int).clip(max=max(0, last - 1))
        share = np.expand_dims(place - low, 1 - axis)
        below, above = logits.take(low, axis), logits.take(np.minimum(low + 1, last), axis)
        logits = below + (above - below) * share
    return logits
