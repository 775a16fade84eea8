"""One pure function per label layout: a folder in, a :class:`~rtvp.mmio.schema.Conversion` out.

A new layout is one new file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from rtvp.mmio.converters.box_list import convert_box_list
from rtvp.mmio.converters.coco import convert_coco
from rtvp.mmio.converters.deeppcb import convert_deeppcb
from rtvp.mmio.converters.labelme import convert_labelme
from rtvp.mmio.converters.manifest import convert_manifest
from rtvp.mmio.converters.mask import convert_mask
from rtvp.mmio.converters.rle_csv import convert_rle_csv
from rtvp.mmio.converters.voc import convert_voc
from rtvp.mmio.converters.yolo import convert_yolo
from rtvp.mmio.schema import Conversion

Converter = Callable[..., Conversion]  # (root, *, names, group_rule, and options of its own)

CONVERTERS: dict[str, Converter] = {
    "box_list": convert_box_list,
    "coco": convert_coco,
    "deeppcb": convert_deeppcb,
    "labelme": convert_labelme,
    "manifest": convert_manifest,
    "mask": convert_mask,
    "rle_csv": convert_rle_csv,
    "voc": convert_voc,
    "yolo": convert_yolo,
}

# The layouts that know the pixels of a defect: these converters take ``masks`` to keep them.
MASK_LAYOUTS = frozenset({"coco", "labelme", "manifest", "mask", "rle_csv", "yolo"})
