"""Which of some texts a picture shows, by CLIP: evidence for matching class names to categories."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rtvp.models.clip_files import ClipFiles
from rtvp.models.text_encoder.clip import ClipText

BATCH = 32  # pictures encoded at once
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training pictures, RGB in 0..1
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


class ClipImageText:
    """Pictures against texts: softmax over the texts of CLIP's scaled cosines.

    Args:
        source: see `ClipFiles`; both halves of CLIP are needed.

    Raises:
        RtvpError: as `ClipFiles`.
    """

    def __init__(self, source: str) -> None:
        self._files = ClipFiles(source)
        self._text = ClipText(source)

    def __call__(self, crops: Sequence[NDArray[np.uint8]], texts: Sequence[str]) -> NDArray[np.float32]:
        """RGB pictures [H, W, 3] and texts to [crops, texts] in 0..1, each row of sum 1.

        Raises:
            RtvpError: the files cannot be had, are damaged, or lack a weight.
        """
        wanted = torch.from_numpy(self._text.encode(texts))  # [texts, width]
        batches = [self._encode(crops[i : i + BATCH]) for i in range(0, len(crops), BATCH)]
        if not batches:
            return np.zeros((0, len(texts)), np.float32)
        cosines = torch.cat(batches) @ wanted.T
        return (cosines * self._model.logit_scale.exp()).softmax(dim=1).numpy()  # type: ignore[no-any-return]

    def _encode(self, crops: Sequence[NDArray[np.uint8]]) -> Tensor:
        side = int(self._model.config.vision_config.image_size)
        pixels = torch.stack([_as_input(crop, side) for crop in crops])  # [N, 3, side, side]
        with torch.no_grad():
            pooled = self._model.vision_model(pixel_values=pixels).pooler_output
            return F.normalize(self._model.visual_projection(pooled), dim=-1)

    @cached_property
    def _model(self) -> Any:
        return self._files.load_model("CLIPModel")


def _as_input(crop: NDArray[np.uint8], side: int) -> Tensor:
    """As CLIP was trained: shorter side to ``side`` px, bicubic, the middle square, normalised."""
    picture = Image.fromarray(crop)
    scale = side / min(picture.size)
    width, height = (max(side, round(length * scale)) for length in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - side) // 2, (height - side) // 2
    square = np.asarray(picture.crop((left, top, left + side, top + side)), np.float32) / 255
    normal = (square - np.array(PIXEL_MEAN, np.float32)) / np.array(PIXEL_STD, np.float32)
    return torch.from_numpy(normal).permute(2, 0, 1)
