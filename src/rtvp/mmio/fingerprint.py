"""What an image looks like, in about a kilobyte: enough to know blank images, and copies that were encoded
anew, scaled, mirrored or turned by quarters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rtvp.files import sha256_of
from rtvp.mmio.collector import UNREADABLE_IMAGE, open_image, shown_size
from rtvp.mmio.plain_image import plain_image

# Of a picture. Bit 2 of the place transposes it, then bit 0 mirrors it left to right and bit 1 top to bottom.
ORIENTATIONS = (
    "upright",
    "mirrored",
    "upside down, mirrored",
    "turned by 180 degrees",
    "transposed",
    "turned clockwise",
    "turned anticlockwise",
    "transposed, turned by 180 degrees",
)

THUMBNAIL_SIDE = 32  # px
DETAIL_SIDE = 32  # frequencies in each direction

_SIDE = 128  # px, of the square grey picture that everything is computed from
_LAYOUT = slice(0, 8)  # frequencies of the hashes
_DETAIL = slice(16, 16 + DETAIL_SIDE)  # texture that outlives half the size and a JPEG of low quality
_NOISE = 1.0  # a coefficient below it stems from rounding: its sign says nothing
_BIT_WEIGHTS = np.left_shift(np.uint64(1), np.arange(64, dtype=np.uint64))

Sample = TypeVar("Sample", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The content of an image file and what it looks like.

    Attributes:
        sha256: of the file's bytes, hexadecimal.
        readable: whether it decodes to its end; if not, the rest is 0 and empty.
        width: pixels, as the image is shown.
        height: likewise.
        contrast: brightest less darkest grey level, 0 to 255, once it is reduced towards 128 px a side.
        hashes: 64 bits for each of the eight orientations: the signs of its lowest frequencies, its layout.
        thumbnail: 32 x 32 grey levels, row by row; the picture squeezed into a square.
        detail: two planes of 32 x 32 bits: the signs of its middle frequencies, its texture, and which of
            them are strong enough for the sign to mean something.
    """

    sha256: str
    readable: bool
    width: int = 0
    height: int = 0
    contrast: int = 0
    hashes: tuple[int, ...] = ()
    thumbnail: bytes = b""
    detail: bytes = b""


def fingerprint(path: Path, sha256: str | None = None) -> Fingerprint:
    """Read an image file and describe it. A JPEG is decoded at a fraction of its size where that is enough.

    Args:
        path: of the image.
        sha256: of its bytes, if it is known already.

    Raises:
        OSError: the bytes of the file cannot be read.
    """
    sha256 = sha256 or sha256_of(path)
    try:
        width, height, grey = _read_grey(path)
    except UNREADABLE_IMAGE:
        return Fingerprint(sha256, readable=False)
    darkest, brightest = int(grey.min()), int(grey.max())
    square = Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(square, dtype=np.float32)
    cell = _SIDE // THUMBNAIL_SIDE
    means = pixels.reshape(THUMBNAIL_SIDE, cell, THUMBNAIL_SIDE, cell).mean(axis=(1, 3))
    frequencies = np.asarray(cv2.dct(pixels), dtype=np.float32)
    texture = frequencies[_DETAIL, _DETAIL]
    planes = np.stack([texture > 0, np.abs(texture) >= _NOISE])
    return Fingerprint(
        sha256,
        readable=True,
        width=width,
        height=height,
        contrast=brightest - darkest,
        hashes=_hashes(frequencies[_LAYOUT, _LAYOUT]),
        thumbnail=np.rint(means).astype(np.uint8).tobytes(),
        detail=np.packbits(planes).tobytes(),
    )


def oriented(pictures: NDArray[Sample], orientation: int) -> NDArray[Sample]:
    """Pictures in one of the eight orientations.

    Args:
        pictures: [..., H, W].
        orientation: place in ``ORIENTATIONS``.
    """
    if orientation & 4:
        pictures = pictures.swapaxes(-1, -2)
    if orientation & 1:
        pictures = pictures[..., ::-1]
    if orientation & 2:
        pictures = pictures[..., ::-1, :]
    return pictures


def _hashes(frequencies: NDArray[np.float32]) -> tuple[int, ...]:
    """The signs of [8, 8] frequencies for every orientation of the picture, without transforming it anew."""
    values = np.where(np.abs(frequencies) < _NOISE, 0, frequencies)
    values[0, 0] = 0  # the mean grey level, never negative
    odd = np.where(np.arange(len(values)) % 2, -1, 1)  # mirroring turns the sign of the odd frequencies
    hashes = []
    for orientation in range(len(ORIENTATIONS)):
        turned = values.T if orientation & 4 else values
        turned = turned * (odd if orientation & 1 else 1)
        turned = turned * (odd[:, None] if orientation & 2 else 1)
        hashes.append(int(_BIT_WEIGHTS[(turned > 0).ravel()].sum(dtype=np.uint64)))
    return tuple(hashes)


def _read_grey(path: Path) -> tuple[int, int, NDArray[np.uint8]]:
    """Width and height of an image as shown, and its grey levels, [H, W], possibly reduced."""
    with open_image(path) as image:
        width, height = shown_size(image)
        image.draft("L", (_SIDE, _SIDE))
        return width, height, np.asarray(plain_image(image).convert("L"))
