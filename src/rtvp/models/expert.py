"""Training only: the expert, a closed-set CNN detector that knows industrial images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from rtvp.models.contrastive_head import DetectionHead, LinearClassifier
from rtvp.models.feature_pyramid import make_pyramid
from rtvp.models.image_encoder.base import ImageEncoder
from rtvp.models.neck import PathAggregationNeck
from rtvp.types import DetectorOutput


class ExpertOutput(NamedTuple):
    """The expert's multi-scale features F_j, one [B, C, H/s, W/s] a stride, and its detections."""

    features: tuple[Tensor, ...]
    detections: DetectorOutput


class Expert(nn.Module):
    """CNN encoder, pyramid, neck without text, and a head with one logit per seen class.

    Args:
        image_encoder: a CNN with its own weights, or the detector's encoder to share one forward pass.
        classes: number of seen classes.
        channels: channels of every level: those of the detector, so that features compare.
        strides: strides of the levels, px: those of the detector.
        head_strides: levels that the head predicts on.
        bins: bins of the distance distributions.
    """

    def __init__(
        self,
        image_encoder: ImageEncoder,
        classes: int,
        channels: int,
        strides: Sequence[int],
        head_strides: Sequence[int],
        bins: int,
    ) -> None:
        super().__init__()
        self.strides, self.head_strides = tuple(strides), tuple(head_strides)
        self.image_encoder = image_encoder
        self.pyramid = make_pyramid(image_encoder, channels, strides)
        self.neck = PathAggregationNeck(len(self.strides), channels, text_width=None)
        classifiers = [LinearClassifier(channels, classes) for _ in head_strides]
        self.head = DetectionHead(head_strides, channels, classifiers, bins)

    def forward(self, images: Tensor) -> ExpertOutput:
        """Images [B, 3, H, W], float RGB in 0..255, to features and closed-set detections."""
        return self.interpret(self.image_encoder(images))

    def interpret(self, maps: tuple[Tensor, ...]) -> ExpertOutput:
        """The encoder's maps to features and closed-set detections."""
        features = self.neck(self.pyramid(maps), None)
        on_head = [
            level for stride, level in zip(self.strides, features, strict=True) if stride in self.head_strides
        ]
        return ExpertOutput(features, DetectorOutput(*self.head(on_head, None)))
