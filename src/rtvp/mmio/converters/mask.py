"""Mask images: a picture of the same name in which the defect's pixels are bright."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rtvp.mmio.collector import IMAGE_SUFFIXES, UNREADABLE_IMAGE, Collector
from rtvp.mmio.groups import GroupRule, split_class_number
from rtvp.mmio.schema import Box, Conversion

_MIN_AREA = 9  # px; smaller components are specks of the labelling tool


@dataclass(frozen=True, slots=True)
class MaskLayout:
    """Where images and masks lie and how they are read: the options of :func:`convert_mask`.

    Attributes:
        images: which files are images (glob below the root); masks among them are told apart by name.
        folders: start of the name of the images' folder, and what stands in its place for the masks
            (``images1`` -> ``masks1``, or ``test`` -> ``ground_truth`` as in MVTec AD); None: the mask lies
            beside the image.
        mask_suffix: what a mask's name has after the image's.
        mask_extension: of the mask files.
        threshold: a pixel is defective if its brightest colour channel is above it; alpha does not count,
            a palette's index does (0 for masks of 0 and 1).
        category: raw name of all defects, where ``category_from`` is ``option``.
        category_from: ``folder`` takes the name of the folder ``folder_level`` above the image, ``file_name``
            the class before the number (``cut_12``).
        folder_level: 1 is the folder that holds the image.
        good_folders: images below a folder of this name are good and need no mask.
        empty_mask: elsewhere, what an empty mask means: a good image, or one to leave out, as in a folder
            of defects it was only forgotten.
    """

    images: str = "**/images/*"
    folders: Sequence[str] | None = ("images", "masks")
    mask_suffix: str = ""
    mask_extension: str = ".png"
    threshold: int = 127
    category: str = "defect"
    category_from: Literal["option", "folder", "file_name"] = "option"
    folder_level: int = 1
    good_folders: Sequence[str] = ("good",)
    empty_mask: Literal["good", "skip"] = "good"

    def mask_path(self, root: Path, image: Path) -> Path:
        """Where the mask of ``image`` should lie."""
        parts = list(image.relative_to(root).parts[:-1])
        if self.folders is not None:
            image_folder, mask_folder = self.folders
            for index in range(len(parts) - 1, -1, -1):
                if parts[index].startswith(image_folder):
                    parts[index] = mask_folder + parts[index].removeprefix(image_folder)
                    break
        return root.joinpath(*parts, f"{image.stem}{self.mask_suffix}{self.mask_extension}")

    def is_good(self, root: Path, image: Path) -> bool:
        """Whether ``image`` lies below one of ``good_folders``."""
        return not set(self.good_folders).isdisjoint(image.relative_to(root).parts[:-1])

    def category_of(self, image: Path) -> str | None:
        """Raw category of the defects in ``image``; None if its file name does not say."""
        if self.category_from == "folder":
            return image.parents[self.folder_level - 1].name
        if self.category_from == "file_name":
            parts = split_class_number(image.stem)
            return parts[0] if parts else None
        return self.category


def convert_mask(
    root: Path,
    *,
    names: Mapping[str, str | None] | None = None,
    group_rule: GroupRule = "stem",
    **layout: Any,
) -> Conversion:
    """Read images with their masks; every 8-connected component of at least 9 pixels is one defect.

    Args:
        root: folder of the set.
        names: raw category name -> canonical name, None to drop it.
        group_rule: which images belong together.
        **layout: the attributes of :class:`MaskLayout`.

    Raises:
        RtvpError: ``root`` is no folder.
    """
    options = MaskLayout(**layout)
    collector = Collector(root, names, group_rule)
    found = collector.files(IMAGE_SUFFIXES, options.images)
    masks = {image: options.mask_path(root, image) for image in found}
    if options.folders is None:
        mask_files = set(masks.values())
        masks = {image: mask for image, mask in masks.items() if image not in mask_files}
    for image, mask in masks.items():
        if (size := collector.image_size(image)) is None:
            continue
        if options.is_good(root, image):
            collector.add(image, size, [])
        elif (category := options.category_of(image)) is None:
            collector.count("image skipped: its name has no class and number")
        elif (boxes := _mask_boxes(collector, mask, size, options.threshold)) is None:
            continue
        elif not boxes and options.empty_mask == "skip":
            collector.count("image skipped: empty mask")
        else:
            collector.add(image, size, [(category, box) for box in boxes])
    used = {*masks, *masks.values()}
    for folder in sorted({mask.parent for mask in masks.values()}):
        for path in folder.glob(f"*{options.mask_suffix}{options.mask_extension}"):
            if path not in used:
                collector.count("mask without image")
    return collector.conversion()


def _mask_boxes(collector: Collector, path: Path, size: tuple[int, int], threshold: int) -> list[Box] | None:
    """Boxes of a mask's components, empty for an empty mask; None, counted, if there is nothing to go by."""
    if not path.is_file():
        collector.count("image without mask")
        return None
    try:
        brightness = _read_brightness(path)
    except UNREADABLE_IMAGE:
        collector.count("mask does not open")
        return None
    mask = (brightness > threshold).astype(np.uint8)
    if (mask.shape[1], mask.shape[0]) != size:
        collector.count("mask scaled to the size of the image")
        mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes: list[Box] = []
    for x, y, width, height, area in statistics[1:].tolist():  # the first is the background
        if area < _MIN_AREA:
            collector.count("mask component under 9 pixels dropped")
        else:
            boxes.append((float(x), float(y), float(x + width), float(y + height)))
    if not boxes and brightness.any():
        collector.count("image skipped: mask without a usable component")
        return None
    return boxes


def _read_brightness(path: Path) -> NDArray[np.uint8]:
    """[H, W] the brightest colour channel of an image, or a palette's index."""
    with Image.open(path) as image:
        bands = image.getbands()
        pixels = np.asarray(image)
    if pixels.ndim == 2:
        return pixels
    return np.asarray(pixels[..., [band != "A" for band in bands]].max(axis=-1))
