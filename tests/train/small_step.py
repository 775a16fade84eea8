"""A detector and an expert small enough to train in a test, and a batch to train them on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtvp.config import DetectorConfig, LossWeights, MaskingConfig
from rtvp.models.detector import RTVPDetector
from rtvp.models.expert import Expert
from rtvp.models.image_encoder import ImageEncoder
from rtvp.train.step import ExpertStep, RTVPStep
from rtvp.types import Batch, Prompt, Target

SIZE, WIDTH = 96, 12
NAMES = ("crack", "defect", "dent", "scratch", "stain")
COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))


class SmallEncoder(ImageEncoder):
    """Four strided convolutions."""

    def __init__(self) -> None:
        super().__init__((8, 16, 32), (8, 12, 16), (127.0,) * 3, (64.0,) * 3)
        self.stem = nn.Conv2d(3, 8, 8, stride=4, padding=2)
        widths = (8, *self.channels)
        # Without a bias: a normalisation follows, and the gradient would be nothing but rounding.
        self.stages = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False) for a, b in pairwise(widths)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = [self.stem(self.normalise(images))]
        for stage in self.stages:
            maps.append(stage(F.relu(maps[-1])))
        return tuple(maps[1:])


def make_small_step(
    expert: bool = True,
    losses: LossWeights | None = None,
    masking: MaskingConfig | None = None,
    frozen: bool = False,
    shared: bool = False,
    classes: Sequence[str] = NAMES,
    **changes: Any,
) -> RTVPStep:
    """The configuration with ``changes``, with or without expert, encoders frozen or not."""
    torch.manual_seed(0)
    losses = losses or LossWeights()
    # With 4 bins a fresh head predicts boxes of two strides: every level has its box in the batch.
    small = {"text_width": WIDTH, "channels": 16, "distance_bins": 4}
    config = DetectorConfig.model_validate({**small, **changes})
    encoder = SmallEncoder().freeze() if frozen else SmallEncoder()
    detector = RTVPDetector(encoder, config)
    assistant = None
    if expert:
        own = encoder if shared else SmallEncoder()
        closed = Expert(
            own, len(classes), config.channels, config.strides, config.head_strides, config.distance_bins
        )
        assistant = ExpertStep(closed, classes, losses)
    return RTVPStep(detector, assistant, losses, masking or MaskingConfig())


def make_text() -> Tensor:
    """Embeddings of the five names."""
    return F.normalize(torch.randn(len(NAMES), WIDTH, generator=torch.Generator().manual_seed(1)), dim=-1)


def make_batch() -> Batch:
    """Two pictures with coloured rectangles of all sizes; what is not told of the second is left open."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(90, 120, (2, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    boxes = (
        torch.tensor([[8.0, 10, 24, 26], [40, 44, 74, 80]]),
        torch.tensor([[12.0, 12, 84, 84], [60, 4, 76, 20]]),
    )
    own = ((0, 3), (4, 0))  # columns of the names
    targets = []
    for b, each in enumerate(boxes):
        positives = torch.zeros(len(each), len(NAMES), dtype=torch.bool)
        positives[:, NAMES.index("defect")] = True
        for n, (x1, y1, x2, y2) in enumerate(each.int().tolist()):
            positives[n, own[b][n]] = True
            colour = torch.tensor(COLOURS[own[b][n] % 3], dtype=torch.uint8)
            images[b, :, y1:y2, x1:x2] = colour[:, None, None]
        targets.append(Target(each, positives))
    annotated = torch.ones(2, len(NAMES), dtype=torch.bool)
    annotated[1, 2:4] = False
    return Batch(images, tuple(targets), tuple(Prompt(name) for name in NAMES), annotated, NAMES)
