"""Pictures of any kind as the plain ones that people see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

_DEEP_BITS = (8, 10, 12, 14, 16, 32)  # of cameras; the white of a deeper image is that of the least that fits
_WHITE = (255, 255, 255, 255)


def plain_image(image: Image.Image) -> Image.Image:
    """A picture upright by its EXIF orientation, opaque over white, grey or RGB of 8 bits.

    Raises:
        One of ``UNREADABLE_IMAGE`` of the collector: it does not decode to its end.
    """
    shown = ImageOps.exif_transpose(image)
    if shown.mode[0] in "IF":
        return Image.fromarray(_to_8_bits(np.asarray(shown)))
    if shown.has_transparency_data:
        picture = shown.convert("RGBA")
        shown = Image.alpha_composite(Image.new("RGBA", picture.size, _WHITE), picture)
    return shown.convert("L" if shown.mode in ("1", "L") else "RGB")


def _to_8_bits(samples: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Samples of more than 8 bits, or of floating point, with their white scaled to 255."""
    values = np.nan_to_num(samples.astype(np.float32), posinf=0, neginf=0)
    brightest = float(values.max())
    if samples.dtype.kind == "f":
        white = 1.0 if brightest <= 1 else max(brightest, 255.0)
    else:
        white = next(2.0**bits - 1 for bits in _DEEP_BITS if brightest < 2**bits)
    return np.asarray((values * (255 / white)).clip(0, 255), dtype=np.uint8)
