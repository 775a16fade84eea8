"""Reads mask images: which pixels are defective, and of which class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtvp.errors import RtvpError
from rtvp.mmio.collector import open_image

Colour = tuple[int, int, int]

_HEX = re.compile(r"#?([0-9a-fA-F]{6})")
_BLACK: Colour = (0, 0, 0)


def read_brightness(path: Path) -> NDArray[np.uint8]:
    """[H, W] the brightest colour channel of an image, or a palette's index.

    Alpha does not count; a picture of bits is 0 and 255, and more than 8 bits are cut to 255.

    Raises:
        One of :data:`~rtvp.mmio.collector.UNREADABLE_IMAGE`.
    """
    with open_image(path) as image:
        bands = image.getbands()
        pixels = np.asarray(image)
    if pixels.ndim == 3:
        pixels = pixels[..., [band not in "Aa" for band in bands]].max(axis=-1)
    if pixels.dtype == np.bool_:
        pixels = pixels * 255
    return np.asarray(np.clip(pixels, 0, 255), dtype=np.uint8)


def read_colours(path: Path) -> NDArray[np.uint8]:
    """[H, W, 3] the red, green and blue of an image; alpha does not count, as black is the background.

    Raises:
        One of :data:`~rtvp.mmio.collector.UNREADABLE_IMAGE`.
    """
    with open_image(path) as image:
        image.info.pop("transparency", None)
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


def parse_colour(text: str) -> Colour:
    """Red, green and blue of ``#rrggbb``.

    Raises:
        ValueError: it is no such text.
    """
    match = _HEX.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a colour as #rrggbb, got {text[:40]!r}")
    red, green, blue = bytes.fromhex(match[1])
    return red, green, blue


def parse_classes(classes: Mapping[int | str, str]) -> tuple[dict[int, str], dict[Colour, str]]:
    """Class names by pixel value, and by colour; one of the two is empty.

    Raises:
        RtvpError: neither all keys are whole numbers, nor all are colours.
    """
    by_value = {key: name for key, name in classes.items() if isinstance(key, int)}
    if len(by_value) == len(classes):
        return by_value, {}
    try:
        return {}, {parse_colour(str(key)): name for key, name in classes.items()}
    except ValueError as error:
        raise RtvpError(
            f"option classes: {error}: give either pixel values or colours, not both, as its keys"
        ) from error


def masks_by_value(
    values: NDArray[np.uint8], classes: Mapping[int, str]
) -> tuple[dict[str, NDArray[np.uint8]], list[int]]:
    """A mask of 0 and 1 for each class that is there, and the values other than 0 that are no class."""
    present = np.unique(values).tolist()
    masks: dict[str, NDArray[np.uint8]] = {}
    for value, name in classes.items():
        if value in present:
            mask = (values == value).astype(np.uint8)
            masks[name] = masks[name] | mask if name in masks else mask
    return masks, [value for value in present if value and value not in classes]


def masks_by_colour(
    pixels: NDArray[np.uint8], classes: Mapping[Colour, str], tolerance: int | None = None
) -> dict[str, NDArray[np.uint8]]:
    """A mask of 0 and 1 for each class that is there.

    Args:
        pixels: [H, W, 3] red, green and blue.
        classes: names by colour.
        tolerance: how far each channel may be from the class's; None: every pixel belongs to what it is
            nearest to, one of the colours or the black background, as edges may be blended.
    """
    masks: dict[str, NDArray[np.uint8]] = {}
    if tolerance is not None:
        for colour, name in classes.items():
            far = np.abs(pixels.astype(np.int16) - np.asarray(colour, np.int16)).max(axis=-1) > tolerance
            if not far.all():
                masks[name] = masks.get(name, np.uint8(0)) | (~far).astype(np.uint8)
        return masks
    nearest = np.zeros(pixels.shape[:2], dtype=np.int64)
    best = _squared_distance(pixels, _BLACK)
    for index, colour in enumerate(classes, start=1):
        distance = _squared_distance(pixels, colour)
        closer = distance < best
        nearest[closer] = index
        best[closer] = distance[closer]
    for index, name in enumerate(classes.values(), start=1):
        mask = (nearest == index).astype(np.uint8)
        if mask.any():
            masks[name] = masks.get(name, np.uint8(0)) | mask
    return masks


def _squared_distance(pixels: NDArray[np.uint8], colour: Colour) -> NDArray[np.int32]:
    difference = pixels.astype(np.int32) - np.asarray(colour, np.int32)
    return np.asarray((difference * difference).sum(axis=-1), dtype=np.int32)
