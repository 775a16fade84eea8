"""Pictures of any kind as the plain ones that people see."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from rtvp.depth import to_8_bits

_WHITE = (255, 255, 255, 255)


def plain_image(image: Image.Image) -> Image.Image:
    """A picture upright by its EXIF orientation, opaque over white, grey or RGB of 8 bits.

    Raises:
        One of ``UNREADABLE_IMAGE`` of the collector: it does not decode to its end.
    """
    shown = ImageOps.exif_transpose(image)
    if shown.mode[0] in "IF":
        return Image.fromarray(to_8_bits(np.asarray(shown)))
    if shown.has_transparency_data:
        picture = shown.convert("RGBA")
        shown = Image.alpha_composite(Image.new("RGBA", picture.size, _WHITE), picture)
    return shown.convert("L" if shown.mode in ("1", "L") else "RGB")
