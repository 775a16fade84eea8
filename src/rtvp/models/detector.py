"""The RTVP detector: what runs at inference, and nothing else."""

from __future__ import annotations

from operator import add

from torch import Tensor, nn

from rtvp.config import DetectorConfig
from rtvp.models.contrastive_head import ContrastiveClassifier, DetectionHead, HeadOutput
from rtvp.models.feature_pyramid import make_pyramid
from rtvp.models.image_encoder.base import ImageEncoder
from rtvp.models.masked_feature_reconstruction import PyramidDecoder
from rtvp.models.neck import PathAggregationNeck
from rtvp.models.presence import PresenceHead
from rtvp.models.visual_prompt.refiner import RefinedPrompt, VisualPromptRefiner
from rtvp.types import DetectorOutput


class RTVPDetector(nn.Module):
    """Images and text embeddings to boxes and contrastive logits (Figure 3 of the paper).

    Args:
        image_encoder: pictures to feature maps; usually frozen.
        config: widths, strides, and which of the paper's parts are present.

    ``forward`` takes images [B, 3, H, W] (float RGB in 0..255; H, W multiples of 32) and text embeddings
    [K, D] (L2-normalised, one a prompt).
    """

    def __init__(self, image_encoder: ImageEncoder, config: DetectorConfig) -> None:
        super().__init__()
        levels, channels, text_width = len(config.strides), config.channels, config.text_width
        self.channels, self.strides, self.head_strides = channels, config.strides, config.head_strides
        self.image_encoder = image_encoder
        self.pyramid = make_pyramid(image_encoder, channels, config.strides, config.contrast)
        adaptation, prompt, interaction = config.adaptation, config.visual_prompt, config.interaction
        self.decoder = (
            PyramidDecoder(levels, channels, adaptation.hidden_channels) if adaptation.enabled else None
        )
        self.refiner = (
            VisualPromptRefiner(config.strides, channels, prompt.patch_size, prompt.keep, prompt.rounds)
            if prompt.enabled
            else None
        )
        self.neck = PathAggregationNeck(
            levels, channels, text_width if interaction.enabled else None, interaction.heads
        )
        classifiers = [ContrastiveClassifier(channels, text_width) for _ in config.head_strides]
        self.head = DetectionHead(config.head_strides, channels, classifiers, config.distance_bins)
        self.presence = PresenceHead() if config.presence else None

    def forward(self, images: Tensor, text: Tensor) -> DetectorOutput:
        """See the class."""
        features = self.encode(images)
        coarse = self.adapt(features)
        return self.interpret(features, coarse, text)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images to the multi-scale features F_i, one [B, C, H/s, W/s] a stride."""
        return self.pyramid(self.image_encoder(images))  # type: ignore[no-any-return]

    def adapt(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """F_i, masked or not, to the coarse visual prompt F_i^R; without adaptation F_i itself."""
        return features if self.decoder is None else self.decoder(features)

    def interpret(
        self, features: tuple[Tensor, ...], coarse: tuple[Tensor, ...], text: Tensor
    ) -> DetectorOutput:
        """Image features, coarse visual prompt and text to predictions."""
        prompt = RefinedPrompt(coarse, (), ()) if self.refiner is None else self.refiner(coarse)
        has_prompt = self.decoder is not None or self.refiner is not None
        prompted = tuple(map(add, features, prompt.prompts)) if has_prompt else features
        fused = self.neck(prompted, text)
        on_head = [
            level for stride, level in zip(self.strides, fused, strict=True) if stride in self.head_strides
        ]
        head: HeadOutput = self.head(on_head, text)
        presence = None if self.presence is None else self.presence(head.logits)
        return DetectorOutput(*head, prompt.scores, prompt.masks, prompt.prompts, presence)
