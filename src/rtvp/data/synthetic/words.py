"""Adjectives measured on the picture, so that they hold in it whatever was intended."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from rtvp.data.synthetic.fields import Array, luminance

TONE = 0.06  # the least difference of brightness, of 1, that is called dark or bright
HUES = (
    (0.035, "red"),
    (0.125, "orange"),
    (0.19, "yellow"),
    (0.45, "green"),
    (0.72, "blue"),
    (0.93, "purple"),
    (1.0, "red"),
)


def colour_word(rgb: NDArray[np.floating]) -> str | None:
    """The name of a clear colour, or None for greys."""
    hue, saturation, value = colorsys.rgb_to_hsv(*np.clip(rgb, 0, 1).tolist())
    if saturation < 0.35 or value < 0.12:
        return None
    name = next(name for limit, name in HUES if hue <= limit)
    if name == "yellow" and value < 0.5:
        return None  # olive has no everyday word
    return "brown" if name == "orange" and value < 0.6 else name


def _line(mask: NDArray[np.bool_], box: tuple[int, int], side: int) -> list[str]:
    """Length against the picture, thickness against length."""
    length = float(np.hypot(*box))
    thickness = float(mask.sum()) / length
    words = ["long"] if length > 0.35 * side else ["short"] if length < 0.12 * side else []
    if thickness < 0.05 * length and thickness < 0.02 * side:
        words.append("thin")
    elif thickness > 0.03 * side or thickness > 0.15 * length:
        words.append("wide")
    return words


def _outline(mask: NDArray[np.bool_]) -> list[str]:
    """Round where the mask fills its box as a disc would; elongated or irregular where far from that."""
    ys, xs = np.nonzero(mask)
    (_, (a, b), _) = cv2.minAreaRect(np.stack([xs, ys], 1).astype(np.float32))
    aspect = (max(a, b) + 1) / (min(a, b) + 1)
    height, width = mask.shape
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    ellipse = x * x + y * y <= 1.05
    agreement = float((mask & ellipse).sum() / (mask | ellipse).sum())
    if aspect < 1.25 and agreement > 0.82:
        return ["round"]
    if aspect > 2.2:
        return ["elongated"]
    return ["irregular"] if agreement < 0.68 else []


def describe(
    kinds: tuple[str, ...],
    mask: NDArray[np.bool_],
    before: Array,
    after: Array,
    side: int,
    grey: bool,
) -> tuple[str, ...]:
    """The adjectives of the wanted ``kinds`` that hold.

    Args:
        kinds: of `vocabulary.Word.adjectives`.
        mask: [h, w] the defect, cut to its box.
        before: [h, w, 3] the picture without it.
        after: [h, w, 3] the picture with it.
        side: shorter side of the whole picture, px.
        grey: whether the picture will have no colours.
    """
    height, width = mask.shape
    words: list[str] = []
    if "size" in kinds:
        largest = max(height, width)
        words += ["small"] if largest < 0.06 * side else ["large"] if largest > 0.3 * side else []
    if "line" in kinds:
        words += _line(mask, (height, width), side)
    if "shape" in kinds:
        words += _outline(mask)
    there = after[mask].mean(axis=0)
    colour = colour_word(there) if "colour" in kinds and not grey else None
    if colour and np.abs(_chroma(there) - _chroma(before[mask].mean(axis=0))).max() > 0.1:
        words.append(colour)
    elif "tone" in kinds:
        difference = float((luminance(after) - luminance(before))[mask].mean())
        words += ["dark"] if difference < -TONE else ["bright"] if difference > TONE else []
    return tuple(words)


def _chroma(rgb: NDArray[np.floating]) -> NDArray[np.floating]:
    """Share of each channel in the light."""
    return rgb / max(float(rgb.sum()), 1e-3)
