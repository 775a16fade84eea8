"""Masks without further weights: a pixel belongs to the defect if it looks unlike what surrounds the box.

The log odds of a pixel are a sum of three terms: how far it is from the middle of the box, how unlike the
surroundings it looks, and how unlike them what stands out most in the box looks: beside a strong contrast a
weak one says little. ``benchmarks/masks.py --fit`` fits their weights on public sets with masks. Of all masks
that such odds can give, the one of the largest expected IoU is taken: where the picture says nothing, the
middle of the box.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from rtvp.data.images import Picture, RGBArray
from rtvp.predict.masks import BoolArray, View, Window

PLACE, UNLIKENESS, STRONGEST, BIAS = -2.02, 0.91, -0.52, 1.34  # of the log odds
SIDE = 96  # px: a square box is scaled to it where it is larger; others to as many pixels
MARGIN = 0.25  # of the box's sides, 4 px at least: what surrounds it
SAMPLES = 200  # pixels of the surroundings
STRONG = 0.9  # quantile
NEAREST = 3  # a pixel is compared with the sample that is next to its so many nearest
BLUR = 1.0  # px, deviation
TEXTURE_WEIGHT, COARSE_WEIGHT = 8.0, 0.5  # against the colours, in grey levels

Floats = npt.NDArray[np.float32]


class SurroundingsMasks:
    """Masks from the picture alone; see the module."""

    name = "surroundings"
    asks_network = False

    def __call__(self, view: View) -> Iterator[BoolArray]:
        """See `MaskMaker`."""
        return (mask_of_box(view.image, window) for window in view.windows())


def mask_of_box(image: Picture, window: Window) -> BoolArray:
    """[h, w] bool inside ``window`` of the image."""
    small, inner, scale, crop = scaled_crop(image, window)
    place, unlike, strongest, inside = terms(small, inner, scale)
    odds = np.asarray(PLACE * place + UNLIKENESS * unlike + STRONGEST * strongest + BIAS)
    margin = odds - best_threshold(odds[inside])
    if scale < 1:
        # As bytes: a box may have a hundred megapixels. 128 is the threshold, below it is no mask.
        levels = (np.floor(margin * 32).clip(-128, 127) + 128).astype(np.uint8)
        size = (crop.right - crop.left, crop.bottom - crop.top)
        return np.asarray(cv2.resize(levels, size, interpolation=cv2.INTER_LINEAR)[inner.slices] >= 128)
    return np.asarray(margin[inner.slices] >= 0)


def scaled_crop(image: Picture, window: Window) -> tuple[RGBArray, Window, float, Window]:
    """The box and its surroundings, with a bounded number of pixels.

    Returns:
        [h, w, 3] the scaled crop; where the box lies in the crop, and the scale, as `terms` takes them; where
        the crop lies in the image.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = window
    x, y = (max(4, round(MARGIN * side)) for side in (right - left, bottom - top))
    crop = Window(max(0, left - x), max(0, top - y), min(width, right + x), min(height, bottom + y))
    inner = Window(left - crop.left, top - crop.top, right - crop.left, bottom - crop.top)
    scale = min(1.0, SIDE / ((right - left) * (bottom - top)) ** 0.5)
    small = image[crop.slices]
    if scale < 1:
        size = (max(1, round(scale * small.shape[1])), max(1, round(scale * small.shape[0])))
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small, inner, scale, crop


def terms(small: RGBArray, inner: Window, scale: float) -> tuple[Floats, Floats, float, BoolArray]:
    """The terms of the log odds, of every pixel of a scaled crop.

    Args:
        small: [h, w, 3] uint8 RGB, a box and its surroundings.
        inner: where the box lies in the crop before it was scaled.
        scale: by which it was scaled.

    Returns:
        [h, w] squared distance to the middle, 1 on the ellipse that touches the box's sides; [h, w] how
        unlike the surroundings, in deviations of theirs from their mean; the same of what stands out most in
        the box; [h, w] whether a pixel is in the box.
    """
    height, width = small.shape[:2]
    left, top, right, bottom = (edge * scale for edge in inner)
    x, y = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
    across, down = (2 * x - left - right) / (right - left), (2 * y - top - bottom) / (bottom - top)
    inside = (abs(across) <= 1) & (abs(down) <= 1)
    if not inside.any():  # thinner than a pixel of the crop
        inside = (across**2 == (across**2).min()) & (down**2 == (down**2).min())
    around = ~inside if not inside.all() else inside
    distance = np.log1p(_distance_to(_looks(small), around))
    known = distance[around]
    unlike = np.asarray((distance - known.mean()) / (known.std() + 0.1), np.float32)
    strongest = float(np.quantile(unlike[inside], STRONG))
    return np.asarray(across**2 + down**2, np.float32), unlike, strongest, inside


def best_threshold(odds: npt.NDArray[np.floating]) -> float:
    """The log odds from which on pixels are to be taken so that the expected IoU is largest.

    With probabilities p and the k most probable pixels taken, the expected intersection is the sum of theirs,
    and the expected union k plus the sum of the others.
    """
    ordered = -np.sort(-odds, axis=None)
    chances = np.cumsum(1 / (1 + np.exp(-ordered.astype(np.float64))))
    taken = np.arange(1, len(ordered) + 1)
    return float(ordered[np.argmax(chances / (taken + chances[-1] - chances))])


def _looks(crop: RGBArray) -> Floats:
    """[h, w, 7] what a pixel looks like: its colour, its texture, the colour around it."""
    colour = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB).astype(np.float32)
    grey = colour[:, :, 0]
    detail = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 2))
    texture = np.log1p(cv2.GaussianBlur(detail, (0, 0), 2))[:, :, None]
    fine, coarse = cv2.GaussianBlur(colour, (0, 0), 0.8), cv2.GaussianBlur(colour, (0, 0), 3)
    return np.concatenate([fine, TEXTURE_WEIGHT * texture, COARSE_WEIGHT * coarse], axis=2)


def _distance_to(looks: Floats, around: BoolArray) -> Floats:
    """[h, w] how far each pixel's looks are from the nearest of the surroundings."""
    flat, known = looks.reshape(-1, looks.shape[2]), looks[around]
    samples = known[np.linspace(0, len(known) - 1, min(SAMPLES, len(known))).round().astype(int)]
    squared = (flat**2).sum(1)[:, None] + (samples**2).sum(1) - 2 * flat @ samples.T
    squared.partition(min(NEAREST, len(samples) - 1), axis=1)
    nearest = squared[:, min(NEAREST, len(samples) - 1)]
    distance = np.sqrt(nearest.clip(min=0)).reshape(around.shape)
    return np.asarray(cv2.GaussianBlur(distance, (0, 0), BLUR), np.float32)  # a single pixel is noise
