"""Image encoders, pictures to feature maps; ``IMAGE_ENCODERS`` lists them by their configuration name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rtvp.models.image_encoder.base import ImageEncoder
from rtvp.models.image_encoder.efficientnet_lite import EfficientNetLite, load_packaged_weights
from rtvp.models.image_encoder.tiny_vit import TinyViT, load_mobile_sam

IMAGE_ENCODERS: dict[str, Callable[[], ImageEncoder]] = {
    "mobile_sam": TinyViT,
    "efficientnet_lite0": partial(EfficientNetLite, "lite0"),
    "efficientnet_lite2": partial(EfficientNetLite, "lite2"),
}

__all__ = [
    "IMAGE_ENCODERS",
    "EfficientNetLite",
    "ImageEncoder",
    "TinyViT",
    "load_mobile_sam",
    "load_packaged_weights",
]
