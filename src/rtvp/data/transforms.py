"""Augmentation of training images, NumPy in and out: one warp for all geometry, then photometric changes."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rtvp.data.images import PAD_VALUE, fitting_scale

MIN_SIDE = 3.0  # px; smaller boxes after the warp are dropped
MIN_VISIBLE = 0.4  # share of a box that must remain in the picture

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]


class Warped(NamedTuple):
    """An image [S, S, 3], its boxes [M, 4] xyxy px, and which of the boxes that went in these are [M]."""

    image: Image
    boxes_xyxy: Boxes
    kept: NDArray[np.int64]


def random_geometry(
    rng: np.random.Generator,
    height: int,
    width: int,
    size: int,
    scale_range: tuple[float, float],
    turn_share: float = 1.0,
) -> NDArray[np.float32]:
    """A random 2x3 affine map from the original to a square of ``size`` px.

    Mirrored in half of the cases; turned by a random number of quarter turns in ``turn_share`` of them;
    scaled relative to the size at which it is detected in (`rtvp.data.images.letterbox`); and placed: along
    each side the picture lies anywhere in the square, or the square anywhere in the picture.
    """
    scale = fitting_scale(width, height, size) * float(
        np.exp(rng.uniform(np.log(scale_range[0]), np.log(scale_range[1])))
    )
    turn = _QUARTER_TURNS[rng.integers(4) if rng.random() < turn_share else 0]
    if rng.random() < 0.5:
        turn = turn @ np.array([[-1.0, 0.0], [0.0, 1.0]])
    linear = scale * turn
    corners = linear @ np.array([[0, width, width, 0], [0, 0, height, height]], dtype=np.float64)
    extent = corners.max(axis=1) - corners.min(axis=1)
    offset = rng.random(2) * (size - extent) - corners.min(axis=1)
    return np.concatenate([linear, offset[:, None]], axis=1).astype(np.float32)


_QUARTER_TURNS = [
    np.array(m, dtype=np.float64)
    for m in ([[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]])
]


def warp(image: Image, boxes_xyxy: Boxes, matrix: NDArray[np.float32], size: int) -> Warped:
    """Apply a 2x3 affine map to an image [H, W, 3] and its boxes [N, 4]; boxes mostly outside are dropped."""
    # Pixel centres lie at half-integers: cv2 maps integer coordinates to centres, so shift there and back.
    shift = matrix[:, :2] @ np.array([0.5, 0.5], dtype=np.float32) + matrix[:, 2] - 0.5
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.5:  # bilinear sampling would skip pixels: shrink by whole blocks first
        factor = int(1 / scale)
        height, width = image.shape[:2]
        small = (max(1, width // factor), max(1, height // factor))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
        step = np.array([width / small[0], height / small[1]], dtype=np.float32)
        linear = matrix[:, :2] * step
        shift = linear @ np.array([0.5, 0.5], dtype=np.float32) + matrix[:, 2] - 0.5
    else:
        linear = matrix[:, :2]
    warped = cv2.warpAffine(
        image,
        np.concatenate([linear, shift[:, None]], axis=1),
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(PAD_VALUE,) * 3,
    )
    moved, kept = warp_boxes(boxes_xyxy, matrix, size)
    return Warped(warped.astype(np.uint8, copy=False), moved, kept)


def warp_boxes(boxes_xyxy: Boxes, matrix: NDArray[np.float32], size: int) -> tuple[Boxes, NDArray[np.int64]]:
    """Bounds of the warped boxes, clipped to the square, and the indices of those that remain."""
    if len(boxes_xyxy) == 0:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    corners = boxes_xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) @ matrix[:, :2].T + matrix[:, 2]
    whole = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return visible_boxes(whole, np.array([0, 0, size, size], np.float32))


def visible_boxes(boxes_xyxy: Boxes, window_xyxy: NDArray[np.float32]) -> tuple[Boxes, NDArray[np.int64]]:
    """Boxes [N, 4] clipped to a window [4], and the indices of those that are seen well enough in it."""
    clipped = np.clip(boxes_xyxy, window_xyxy[[0, 1, 0, 1]], window_xyxy[[2, 3, 2, 3]])
    sides, all_sides = clipped[:, 2:] - clipped[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    visible = sides.prod(axis=1) / all_sides.prod(axis=1).clip(min=1e-6)
    kept = np.flatnonzero((visible >= MIN_VISIBLE) & (sides.min(axis=1, initial=np.inf) >= MIN_SIDE))
    return clipped[kept].astype(np.float32), kept


def random_photometry(rng: np.random.Generator, image: Image) -> Image:
    """Brightness, contrast and gamma in one table per channel; sometimes grey, blur or noise."""
    levels = np.linspace(0, 1, 256)
    gamma = np.exp(rng.uniform(-0.35, 0.35))
    contrast, brightness = rng.uniform(0.75, 1.25), rng.uniform(-0.12, 0.12)
    curve = ((levels**gamma) - 0.5) * contrast + 0.5 + brightness
    tint = rng.uniform(0.92, 1.08, size=3) if rng.random() < 0.5 else np.ones(3)
    table = (curve[:, None] * tint * 255).clip(0, 255).astype(np.uint8)  # [256, 3]
    changed = cv2.LUT(image, table.reshape(1, 256, 3))
    if rng.random() < 0.2:
        changed = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    chance = rng.random()
    if chance < 0.1:
        changed = cv2.GaussianBlur(changed, (3, 3), 0)
    elif chance < 0.2:
        grain = rng.integers(-12, 13, size=changed.shape[:2], dtype=np.int16)[:, :, None]
        changed = (changed.astype(np.int16) + grain).clip(0, 255)
    return changed.astype(np.uint8, copy=False)
