"""Where the masks of a set lie, and what their names say."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from rtvp.errors import RtvpError
from rtvp.mmio.collector import IMAGE_SUFFIXES, Collector
from rtvp.mmio.groups import split_class_number

_FIELDS = {
    "{folder}": r"(?P<folder>\.(?:/.+?)?)",
    "{stem}": r"(?P<stem>[^/]+?)",
    "{class}": r"(?P<category>[^/]+?)",
    "*": r"[^/]*?",
}


class MaskFile(NamedTuple):
    """A mask and the raw category that its path states, if it does."""

    path: Path
    category: str | None


@dataclass(slots=True)
class Pairs:
    """Images with their masks, none where there is no such file, and masks that belong to no image."""

    masks: dict[Path, list[MaskFile]] = field(default_factory=dict)
    orphans: list[Path] = field(default_factory=list)


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
        masks_at: in place of the last three, the path of the masks below the root, with ``{folder}`` and
            ``{stem}`` of the image, ``{class}`` for the raw category, and ``*`` for anything:
            ``{folder}/Label/{stem}_label.PNG``, ``masks/{class}/{stem}.png``. All masks of an image count.
        threshold: a pixel is defective if its brightest colour channel is above it; alpha does not count,
            a palette's index does (0 for masks of 0 and 1).
        faint_threshold: taken for a mask of which nothing usable is above ``threshold``.
        classes: raw categories by pixel value (grey or palette index; 0 is the background), or by colour
            (``#rrggbb``; every pixel belongs to the nearest of them and black), in place of the thresholds.
        category: raw name of all defects, where ``category_from`` is ``option``.
        category_from: ``folder`` takes the name of the folder ``folder_level`` above the image, ``file_name``
            the class before the number (``cut_12``), ``pattern`` the group in ``category_pattern``.
        category_pattern: regular expression with one group, searched in the image's path below the root.
        folder_level: 1 is the folder that holds the image.
        good_folders: images below a folder of this name are good and need no mask.
        empty_mask: elsewhere, what an empty mask means: a good image, or one to leave out, as in a folder
            of defects it was only forgotten.
        missing_mask: the same for an image that has no mask file.
        min_area: px; smaller components are specks of the labelling tool.
    """

    images: str | Sequence[str] = "**/images/*"
    folders: Sequence[str] | None = ("images", "masks")
    mask_suffix: str = ""
    mask_extension: str = ".png"
    masks_at: str | None = None
    threshold: int = 127
    faint_threshold: int | None = None
    classes: Mapping[int | str, str] | None = None
    category: str = "defect"
    category_from: Literal["option", "folder", "file_name", "pattern"] = "option"
    category_pattern: str = ""
    folder_level: int = 1
    good_folders: Sequence[str] = ("good",)
    empty_mask: Literal["good", "skip"] = "good"
    missing_mask: Literal["good", "skip"] = "skip"
    min_area: int = 9

    def is_good(self, root: Path, image: Path) -> bool:
        """Whether ``image`` lies below one of ``good_folders``."""
        return not set(self.good_folders).isdisjoint(image.relative_to(root).parts[:-1])

    def category_of(self, root: Path, image: Path) -> str | None:
        """Raw category of the defects in ``image``; None if its name does not say."""
        if self.category_from == "folder":
            return image.parents[self.folder_level - 1].name
        if self.category_from == "file_name":
            parts = split_class_number(image.stem)
            return parts[0] if parts else None
        if self.category_from == "pattern":
            match = re.search(self.category_pattern, image.relative_to(root).as_posix())
            return match[1] if match else None
        return self.category

    def pair(self, collector: Collector) -> Pairs:
        """All images of the set with their masks.

        Raises:
            RtvpError: ``masks_at`` does not say which image a mask belongs to.
        """
        found = collector.files(IMAGE_SUFFIXES, self.images)
        existing = collector.files(IMAGE_SUFFIXES)
        if self.masks_at is not None:
            return self._pair_by_template(collector.root, found, existing, self.masks_at)
        paths = {image: self._mask_path(collector.root, image) for image in found}
        if self.folders is None:
            mask_files = set(paths.values())
            paths = {image: mask for image, mask in paths.items() if image not in mask_files}
        known = set(existing)
        pairs = Pairs({i: [MaskFile(mask, None)] if mask in known else [] for i, mask in paths.items()})
        used, folders = {*paths, *paths.values()}, {mask.parent for mask in paths.values()}
        ending = f"{self.mask_suffix}{self.mask_extension}"
        pairs.orphans = [
            path
            for path in existing
            if path.parent in folders and path.name.endswith(ending) and path not in used
        ]
        return pairs

    def _mask_path(self, root: Path, image: Path) -> Path:
        """Where the mask of ``image`` should lie."""
        parts = list(image.relative_to(root).parts[:-1])
        if self.folders is not None:
            image_folder, mask_folder = self.folders
            for index in range(len(parts) - 1, -1, -1):
                if parts[index].startswith(image_folder):
                    parts[index] = mask_folder + parts[index].removeprefix(image_folder)
                    break
        return root.joinpath(*parts, f"{image.stem}{self.mask_suffix}{self.mask_extension}")

    @staticmethod
    def _pair_by_template(
        root: Path, found: Sequence[Path], existing: Sequence[Path], template: str
    ) -> Pairs:
        if template.count("{stem}") != 1:
            raise RtvpError(f"option masks_at: expected one {{stem}} in it, got {template!r}: add it")
        pieces = re.split(r"(\{\w+\}|\*)", template)
        start = "" if template.startswith("{folder}") else r"\./"
        pattern = re.compile(start + "".join(_FIELDS.get(piece, re.escape(piece)) for piece in pieces))
        by_image: dict[tuple[str | None, str], list[MaskFile]] = defaultdict(list)
        for path in existing:
            if match := pattern.fullmatch(f"./{path.relative_to(root).as_posix()}"):
                fields = match.groupdict()
                by_image[fields.get("folder"), fields["stem"]].append(MaskFile(path, fields.get("category")))
        mask_files = {mask.path for masks in by_image.values() for mask in masks}
        pairs = Pairs()
        for image in found:
            if image not in mask_files:
                folder = f"./{image.parent.relative_to(root).as_posix()}".removesuffix("/.")
                key = (folder if "{folder}" in template else None, image.stem)
                pairs.masks[image] = by_image.get(key, [])
        used = {mask.path for masks in pairs.masks.values() for mask in masks}
        pairs.orphans = sorted(mask_files - used)
        return pairs
