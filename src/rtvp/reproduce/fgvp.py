"""Fine-grained visual prompting (Yang et al. 2023): all but the segmented region is blurred."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rtvp.data.images import content_size
from rtvp.errors import RtvpError
from rtvp.measure import NamedDetector
from rtvp.mmio.rle import decode_counts, parse_counts
from rtvp.mmio.schema import ImageRecord
from rtvp.predict import Detector
from rtvp.reproduce.look import RGBArray, rtvp_network, uncertainty
from rtvp.types import Detections, Prompt

Mask: TypeAlias = NDArray[np.bool_]  # [H, W]
RegionFinder: TypeAlias = Callable[[RGBArray], Mask]

# The authors blur with a standard deviation of 100 px, on pictures whose longest side is about 640 px.
BLUR_SHARE = 100 / 640
WORKING_SIDE = 256  # px; so strong a blur leaves nothing that a smaller picture would not show
SMOOTHING_SHARE = 1 / 40  # of the input, about a cell of the middle level: no holes of one cell


class FineGrainedPrompting:
    """A detector that is shown each picture sharp where its region lies and blurred elsewhere.

    Args:
        detector: what looks at the blurred pictures; of the paper, a YOLO-World.
        regions: an image to what is segmented in it, such as `prompted_regions`.
    """

    def __init__(self, detector: NamedDetector, regions: RegionFinder) -> None:
        self.name = f"{detector.name} + FGVP"
        self.detector, self.regions = detector, regions

    def detect(self, images: Sequence[RGBArray], prompts: Sequence[Prompt]) -> list[Detections]:
        """Look for K prompts in each of B images, [H, W, 3] RGB."""
        return self.detector.detect([blur_outside(image, self.regions(image)) for image in images], prompts)


def blur_outside(image: RGBArray, region: Mask, share: float = BLUR_SHARE) -> RGBArray:
    """The blur reverse mask: ``image`` [H, W, 3] unchanged inside ``region`` [H, W], blurred outside.

    Args:
        image: uint8 RGB.
        region: true where the picture stays sharp. An empty one points at nothing: the picture stays whole.
        share: standard deviation of the Gaussian, as a share of the longest side.

    Raises:
        RtvpError: a region of another size.
    """
    height, width = image.shape[:2]
    if region.shape != (height, width):
        raise RtvpError(f"region: expected a mask of {height} x {width} px, got {list(region.shape)}")
    if not region.any():
        return image
    scale = min(1.0, WORKING_SIDE / max(height, width))
    small_size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, small_size, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), share * max(small_size))
    background = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(region[:, :, None], image, background).astype(np.uint8)


def prompted_regions(detector: Detector) -> RegionFinder:
    """The region that the uncertainty score M (Eq. 4) of ``detector`` points at: no words, no user's box.

    Mean of the levels, smoothed, cut in two by Otsu's threshold.

    Raises:
        RtvpError: the detector has no visual prompt; raised at the first image.
    """

    def find(image: RGBArray) -> Mask:
        scores, placement = uncertainty(detector, image)
        width, height = content_size(placement)
        finest = rtvp_network(detector).strides[0]
        shape = (scores[0].shape[0] * finest, scores[0].shape[1] * finest)
        heat = np.mean([_over_input(level, shape) for level in scores], axis=0)[:height, :width]
        heat = cv2.GaussianBlur(heat, (0, 0), SMOOTHING_SHARE * detector.size)
        grey = cv2.normalize(heat, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)  # type: ignore[call-overload]
        _, region = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        over = cv2.resize(region, (placement.width, placement.height), interpolation=cv2.INTER_NEAREST)
        return np.asarray(over, dtype=np.bool_)

    return find


def labelled_region(record: ImageRecord) -> Mask:
    """What the labels of an image mark: masks where they are known, else boxes. [H, W]."""
    region = np.zeros((record.height, record.width), dtype=np.bool_)
    for annotation in record.annotations:
        if annotation.mask is not None:
            size = (record.width, record.height)
            region |= decode_counts(parse_counts(annotation.mask, size), size).astype(np.bool_)
        else:
            x1, y1, x2, y2 = annotation.box_xyxy
            region[int(np.floor(y1)) : int(np.ceil(y2)), int(np.floor(x1)) : int(np.ceil(x2))] = True
    return region


def _over_input(level: Tensor, shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(level.float().cpu().numpy(), shape[::-1]), dtype=np.float32)
