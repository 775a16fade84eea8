"""Cut-outs of the defects of a class, to show to an image-text model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageOps

from rtvp.files import stays_below
from rtvp.mmio.categories import Crops, RawName
from rtvp.mmio.collector import UNREADABLE_IMAGE, open_image
from rtvp.mmio.schema import Box, Item, clip_box

CROPS = 16  # of a class
MARGIN = 0.25  # of the box's sides, added on each side: a defect shows by what is around it
LEAST_SIDE = 48.0  # px of a crop, where the image has them


def crop_defects(items: Iterable[Item], folders: Mapping[str, Path], count: int = CROPS) -> Crops:
    """What cuts out defects of a class of a set, one an image and no two of a group while others are left.

    Args:
        items: the images, with the classes as the sets name them; in any order.
        folders: set -> its folder.
        count: most cut-outs of a class.

    Returns:
        From a name to up to ``count`` RGB arrays, [H, W, 3]; always the same. Images that cannot be read are
        passed over.
    """
    shown: dict[tuple[str, str], list[tuple[Item, Box]]] = defaultdict(list)
    for item in sorted(items, key=lambda item: (item.sha256, item.key)):
        largest = {
            a.name: a.box_xyxy
            for a in sorted(item.annotations, key=lambda a: (_area(a.box_xyxy), a.box_xyxy))
        }
        for name, box in largest.items():
            shown[item.source, name].append((item, box))

    def cut(raw: RawName) -> list[NDArray[np.uint8]]:
        crops: list[NDArray[np.uint8]] = []
        for item, box in _one_of_each_group_first(shown.get((raw.source, raw.name), [])):
            if len(crops) == count:
                break
            crop = _cut_out(item, box, folders[item.source])
            if crop is not None:
                crops.append(crop)
        return crops

    return cut


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _one_of_each_group_first(shown: list[tuple[Item, Box]]) -> list[tuple[Item, Box]]:
    met: dict[str, int] = defaultdict(int)
    ranked = []
    for place, (item, box) in enumerate(shown):
        ranked.append((met[item.group], place, item, box))
        met[item.group] += 1
    return [(item, box) for _, _, item, box in sorted(ranked, key=lambda entry: entry[:2])]


def _cut_out(item: Item, box: Box, folder: Path) -> NDArray[np.uint8] | None:
    if not stays_below(item.file_name):
        return None
    x1, y1, x2, y2 = box
    wider = max((LEAST_SIDE - (x2 - x1)) / 2, MARGIN * (x2 - x1))
    higher = max((LEAST_SIDE - (y2 - y1)) / 2, MARGIN * (y2 - y1))
    try:
        with open_image(folder / item.file_name) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except UNREADABLE_IMAGE:
        return None
    left, top, right, bottom = clip_box(
        (x1 - wider, y1 - higher, x2 + wider, y2 + higher), upright.width, upright.height
    )
    area = (int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom)))
    return np.asarray(upright.crop(area), np.uint8) if area[0] < area[2] and area[1] < area[3] else None
