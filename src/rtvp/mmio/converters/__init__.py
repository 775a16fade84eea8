"""One pure function per label layout: a folder in, a :class:`~rtvp.mmio.schema.Conversion` out.

A new layout is one new file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from rtvp.mmio.converters.deeppcb import convert_deeppcb
from rtvp.mmio.converters.mask import convert_mask
from rtvp.mmio.converters.voc import convert_voc
from rtvp.mmio.converters.yolo import convert_yolo
from rtvp.mmio.schema import Conversion

Converter = Callable[..., Conversion]  # (root, *, names, group_rule, and options of its own)

CONVERTERS: dict[str, Converter] = {
    "deeppcb": convert_deeppcb,
    "mask": convert_mask,
    "voc": convert_voc,
    "yolo": convert_yolo,
}
