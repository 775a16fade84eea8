"""Mask images: pictures in which the pixels of the defects are bright, or have the colour of their class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtvp.mmio.collector import UNREADABLE_IMAGE, Collector, reason_unreadable
from rtvp.mmio.converters.components import find_components, fit_mask
from rtvp.mmio.converters.mask_layout import MaskFile, MaskLayout
from rtvp.mmio.converters.mask_pixels import (
    masks_by_colour,
    masks_by_value,
    parse_classes,
    read_brightness,
    read_colours,
)
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.schema import Annotation, Conversion


def convert_mask(
    root: Path,
    *,
    masks: bool = False,
    names: Mapping[str, str | None] | None = None,
    group_rule: GroupRule = "stem",
    **layout: Any,
) -> Conversion:
    """Read images with their masks; every 8-connected component of at least ``min_area`` px is one defect.

    Args:
        root: folder of the set.
        masks: keep the pixels of the components.
        names: raw category name -> canonical name, None to drop it.
        group_rule: which images belong together.
        **layout: the attributes of :class:`~rtvp.mmio.converters.mask_layout.MaskLayout`.

    Raises:
        RtvpError: ``root`` is no folder, or the options contradict each other.
    """
    collector = Collector(root, names, group_rule)
    reader = _Reader(collector, MaskLayout(**layout), masks)
    pairs = reader.layout.pair(collector)
    for image, files in pairs.masks.items():
        if (size := collector.image_size(image)) is None:
            continue
        if reader.layout.is_good(root, image):
            collector.add(image, size, [])
        elif (defects := reader.defects(image, files, size)) is not None:
            collector.add(image, size, defects)
    for _ in pairs.orphans:
        collector.count("mask without image")
    return collector.conversion()


class _Reader:
    """Reads the masks of one set.

    Args:
        collector: of the set.
        layout: the options.
        masks: keep the pixels.
    """

    def __init__(self, collector: Collector, layout: MaskLayout, masks: bool) -> None:
        self.collector = collector
        self.layout = layout
        self._masks = masks
        self._by_value, self._by_colour = parse_classes(layout.classes or {})

    def defects(
        self, image: Path, files: Sequence[MaskFile], size: tuple[int, int]
    ) -> list[Annotation] | None:
        """All defects of an image; None, counted, if there is nothing to go by."""
        category = None
        if not self.layout.classes and not all(file.category for file in files):
            category = self.layout.category_of(self.collector.root, image)
            if category is None:
                self.collector.count("image skipped: its name has no class and number")
                return None
        if not files and self.layout.missing_mask == "skip":
            self.collector.count("image without mask")
            return None
        found: list[Annotation] = []
        marked = False
        for file in files:
            try:
                pixels = read_colours(file.path) if self._by_colour else read_brightness(file.path)
            except UNREADABLE_IMAGE as error:
                self.collector.report_broken("mask does not open", file.path, None, reason_unreadable(error))
                return None
            marked = marked or bool(pixels.any())
            components = self._components_in(file, fit_mask(self.collector, pixels, size), category)
            if components is None:
                return None
            found += components
        if not found and marked:
            self.collector.count("image skipped: mask without a usable component")
            return None
        if not found and files and self.layout.empty_mask == "skip":
            self.collector.count("image skipped: empty mask")
            return None
        return found

    def _components_in(
        self, file: MaskFile, pixels: NDArray[np.uint8], category: str | None
    ) -> list[Annotation] | None:
        """Defects in the pixels of one mask; None, reported, if they have a value that means nothing."""
        if self._by_colour:
            return self._components(masks_by_colour(pixels, self._by_colour))
        if self._by_value:
            by_name, unnamed = masks_by_value(pixels, self._by_value)
            if not unnamed:
                return self._components(by_name)
            what = f"expected the values {', '.join(map(str, self._by_value))} and 0, got {unnamed[0]}"
            self.collector.report_broken("image skipped: mask value without a name", file.path, None, what)
            return None
        name = file.category or category or ""
        found = self._components({name: (pixels > self.layout.threshold).astype(np.uint8)})
        if not found and self.layout.faint_threshold is not None:
            found = self._components({name: (pixels > self.layout.faint_threshold).astype(np.uint8)})
        return found

    def _components(self, by_name: Mapping[str, NDArray[np.uint8]]) -> list[Annotation]:
        return [
            component
            for name, mask in by_name.items()
            for component in find_components(self.collector, mask, name, self.layout.min_area, self._masks)
        ]
