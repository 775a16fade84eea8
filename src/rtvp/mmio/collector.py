"""What all converters share: find files under one folder, check boxes, count problems, gather records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath
from types import MappingProxyType

from PIL import ExifTags, Image

from rtvp.errors import RtvpError
from rtvp.mmio.groups import GroupRule, assign_groups
from rtvp.mmio.schema import Annotation, Box, Conversion, ImageRecord, clip_box, shorter_side

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

# What Pillow raises for files that are no image, are cut short, or are absurdly large.
UNREADABLE_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

_CLIP_TOLERANCE = 0.5  # px; labels are rounded, less than this is not worth a note
_MIN_SIDE = 1.0  # px; boxes thinner than this show nothing


class Collector:
    """Gathers the images of one set while a converter reads its labels.

    Args:
        root: the set's folder; nothing outside of it is read.
        names: raw category name -> canonical name, None to drop it (a class that is no defect); names that
            are not in it stay as they are.
        group_rule: which images belong together, see :mod:`rtvp.mmio.groups`.

    Raises:
        RtvpError: there is no such folder.
    """

    def __init__(self, root: Path, names: Mapping[str, str | None] | None, group_rule: GroupRule) -> None:
        if not root.is_dir():
            raise RtvpError(f"expected the folder of a data set at {root}, found none: check the path")
        self.root = root
        self._real_root = root.resolve()
        self._names = names or {}
        self._group_rule = group_rule
        self._problems: Counter[str] = Counter()
        self._images: dict[Path, tuple[tuple[int, int], tuple[Annotation, ...]]] = {}

    def count(self, problem: str) -> None:
        """Note one more occurrence of ``problem``."""
        self._problems[problem] += 1

    def files(self, suffixes: Iterable[str], pattern: str = "**/*") -> list[Path]:
        """Files under the root that match ``pattern`` and end in one of ``suffixes`` (lower case), sorted."""
        wanted = set(suffixes)
        found = (path for path in self.root.glob(pattern) if path.suffix.lower() in wanted and path.is_file())
        return sorted(path for path in found if self._is_inside(path))

    def locate(self, folder: Path, entry: str) -> Path | None:
        """The path that a label in ``folder`` means by ``entry``; None, counted, if it leaves the root."""
        path = folder / entry.strip().replace("\\", "/")
        if not PureWindowsPath(entry).drive and self._is_inside(path):
            return path
        self.count("label names a path outside the folder")
        return None

    def image_size(self, path: Path) -> tuple[int, int] | None:
        """Width and height of an image as shown, from its header; None, counted, if it does not open."""
        try:
            with Image.open(path) as image:
                width, height = image.size
                # getexif() would decode a PNG that carries no EXIF block.
                orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if "exif" in image.info else 1
        except UNREADABLE_IMAGE:
            self.count("image does not open")
            return None
        return (height, width) if orientation in {5, 6, 7, 8} else (width, height)

    def add(self, path: Path, size: tuple[int, int], boxes: Iterable[tuple[str, Box]]) -> None:
        """Keep an image of ``size`` (width, height) with its raw category names and boxes (xyxy, px).

        No boxes, or only boxes of dropped categories, make a good image. Where every box turns out
        unusable the image is left out: it is labelled as defective, but nothing says where.
        """
        if path in self._images:
            self.count("second label of an image ignored")
            return
        renamed = ((self._names.get(name, name), box) for name, box in boxes)
        defects = [(name, box) for name, box in renamed if name is not None]
        annotations = self._usable(defects, size)
        if defects and not annotations:
            self.count("image skipped: none of its boxes is usable")
            return
        self._images[path] = (size, annotations)

    def conversion(self) -> Conversion:
        """Everything gathered, sorted by path."""
        paths = sorted(self._images)
        groups = assign_groups(paths, self._group_rule)
        records = []
        for path in paths:
            (width, height), annotations = self._images[path]
            records.append(ImageRecord(path, width, height, annotations, groups[path]))
        return Conversion(tuple(records), MappingProxyType(dict(sorted(self._problems.items()))))

    def _usable(self, defects: list[tuple[str, Box]], size: tuple[int, int]) -> tuple[Annotation, ...]:
        kept: dict[Annotation, None] = {}  # a dict keeps the order of the labels
        for name, box in defects:
            clipped = clip_box(box, *size)
            if max(abs(a - b) for a, b in zip(box, clipped, strict=True)) > _CLIP_TOLERANCE:
                self.count("box clipped to the image")
            annotation = Annotation(name, clipped)
            if shorter_side(clipped) < _MIN_SIDE:
                self.count("degenerate box dropped")
            elif annotation in kept:
                self.count("duplicate box dropped")
            else:
                kept[annotation] = None
        return tuple(kept)

    def _is_inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self._real_root)
        except (OSError, ValueError):  # a name that no file can have
            return False
