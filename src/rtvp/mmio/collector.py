"""What all converters share: find files under one folder, check boxes, count problems, gather records."""

from __future__ import annotations

import math
import re
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from types import MappingProxyType
from typing import Any

from PIL import ExifTags, Image, UnidentifiedImageError

from rtvp.errors import RtvpError
from rtvp.mmio.groups import GroupRule, assign_groups
from rtvp.mmio.schema import Annotation, Conversion, ImageRecord, clip_box, shorter_side

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

# What Pillow raises for files that are no image, are cut short, or are absurdly large; its readers of single
# formats take the fields of a malformed file as they are, and stumble in any of these ways.
UNREADABLE_IMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

MAX_PIXELS = 89_478_485  # Pillow's limit: what declares more is broken, or made to fill the memory

# Pillow tells a format by content; no file, whatever its name, shall reach its interpreter of PostScript.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

# Control characters, separators of lines, and the halves that Python puts for bytes that are not UTF-8.
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_CLIP_TOLERANCE = 0.5  # px; labels are rounded, less than this is not worth a note
_MIN_SIDE = 0.99  # px; boxes of less than a pixel show nothing, but one of a pixel may come out rounded
_MAX_BROKEN = 100  # lines kept; what they say is counted in full


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
        self._names = dict(names or {})
        self._group_rule = group_rule
        self._problems: Counter[str] = Counter()
        self._broken: list[str] = []
        self._unnamed: set[Path] = set()
        self._images: dict[Path, tuple[tuple[int, int], tuple[Annotation, ...]]] = {}

    def count(self, problem: str) -> None:
        """Note one more occurrence of ``problem``, which was worked around."""
        self._problems[problem] += 1

    def report_broken(self, problem: str, file: Path, line: int | None, what: str) -> None:
        """Note ``problem`` and list where a file is malformed or hostile.

        Args:
            problem: what is counted: the same words for every occurrence.
            file: the file, below the root.
            line: counted from 1; None for files without lines.
            what: what was expected and what came, for people.
        """
        self.count(problem)
        if len(self._broken) < _MAX_BROKEN:
            place = self.relative(file) + (f":{line}" if line is not None else "")
            self._broken.append(_as_line(f"{place}: {what}"))

    def relative(self, path: Path) -> str:
        """``path`` below the root, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def files(self, suffixes: Iterable[str] | None, patterns: str | Sequence[str] = "**/*") -> list[Path]:
        """Files under the root that match a glob and end in one of ``suffixes`` (lower case), sorted.

        Args:
            suffixes: None for any.
            patterns: one glob or several, below the root.
        """
        wanted = None if suffixes is None else set(suffixes)
        folders: dict[Path, bool] = {}
        found = set()
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            try:
                matches = list(self.root.glob(pattern))
            except (NotImplementedError, ValueError) as error:  # an absolute pattern, or an empty one
                raise RtvpError(
                    f"expected a glob below the folder {self.root}, got {pattern!r}: give a relative one"
                ) from error
            for path in matches:
                if (wanted is not None and path.suffix.lower() not in wanted) or not path.is_file():
                    continue
                if path.parent not in folders:
                    folders[path.parent] = self._is_inside(path.parent)
                if folders[path.parent] and (not path.is_symlink() or self._is_inside(path)):
                    found.add(path)
        unnamed = {path for path in found if _NO_TEXT.search(self.relative(path))}
        for path in sorted(unnamed - self._unnamed):
            what = "expected a file name in UTF-8 and without control characters"
            self.report_broken("file left out: its name is no text", path, None, what)
        self._unnamed |= unnamed
        return sorted(found - unnamed)

    def read_text(self, path: Path, encoding: str = "utf-8-sig") -> str | None:
        """A label file with its line ends made one kind; None, reported, if it is not in ``encoding``."""
        try:
            return path.read_text(encoding=encoding)
        except UnicodeDecodeError:
            data = path.read_bytes()
            try:
                data.decode(encoding)
            except UnicodeDecodeError as error:
                line = data.count(b"\n", 0, error.start) + 1
                named = "UTF-8" if encoding == "utf-8-sig" else encoding
                what = f"expected {named} text, got the byte 0x{data[error.start]:02x}"
                self.report_broken("label file does not parse", path, line, what)
        except OSError as error:
            what = f"expected a file that can be read: {error.strerror}"
            self.report_broken("label file does not parse", path, None, what)
        return None

    def locate(self, folder: Path, entry: str, label: Path, line: int | None) -> Path | None:
        """The path that ``entry`` means in ``folder``; None, reported, if it leaves the root.

        Args:
            folder: what the entry is relative to.
            entry: as the label file states it, with slashes of either kind.
            label: the file that states it.
            line: where.
        """
        path = folder / entry.strip().replace("\\", "/")
        if not PureWindowsPath(entry).drive and self._is_inside(path):
            return path
        what = f"expected a file inside the set's folder, got {entry[:80]!r}"
        self.report_broken("label names a path outside the folder", label, line, what)
        return None

    def image_size(self, path: Path) -> tuple[int, int] | None:
        """Width and height of an image as shown, from its header; None, reported, if it does not open."""
        try:
            with open_image(path) as image:
                return shown_size(image)
        except UNREADABLE_IMAGE as error:
            self.report_broken("image does not open", path, None, reason_unreadable(error))
            return None

    def accepts_declared_size(
        self, label: Path, line: int | None, declared: tuple[Any, Any], size: tuple[int, int]
    ) -> bool:
        """Whether a label's own width and height may be true; another size than the image's is only counted.

        Args:
            label: the file that declares it.
            line: where.
            declared: width and height; None, empty or 0 where it does not say.
            size: of the image.
        """
        if any(value in (None, "", 0, "0") for value in declared):
            return True
        try:
            width, height = (float(value) for value in declared)
        except (TypeError, ValueError, OverflowError):
            width = height = math.nan
        if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
            shown = " x ".join(str(value)[:20] for value in declared)
            what = f"expected the size of an image of at most {MAX_PIXELS} pixels, got {shown}"
            self.report_broken("image skipped: absurd declared size", label, line, what)
            return False
        if (width, height) != size:
            self.count("declared size is not that of the image")
        return True

    def add(self, path: Path, size: tuple[int, int], annotations: Iterable[Annotation]) -> None:
        """Keep an image of ``size`` (width, height) with its annotations under their raw names.

        No annotation, or only those of dropped categories, make a good image. Where every box turns out
        unusable the image is left out: it is labelled as defective, but nothing says where.
        """
        if path in self._images:
            self.count("second label of an image ignored")
            return
        renamed = ((self._canonical(item.name), item) for item in annotations)
        defects = [(name, item) for name, item in renamed if name is not None]
        usable = self._usable(defects, size)
        if defects and not usable:
            self.count("image skipped: none of its boxes is usable")
            return
        self._images[path] = (size, usable)

    def conversion(self) -> Conversion:
        """Everything gathered, sorted by path."""
        paths = sorted(self._images)
        groups = assign_groups(paths, self._group_rule)
        records = []
        for path in paths:
            (width, height), annotations = self._images[path]
            records.append(ImageRecord(path, width, height, annotations, groups[path]))
        problems = MappingProxyType(dict(sorted(self._problems.items())))
        return Conversion(tuple(records), problems, tuple(self._broken))

    def _canonical(self, raw: str) -> str | None:
        """The name to use for a raw one, None for a dropped class; what no text could hold is written out."""
        if raw not in self._names:
            self._names[raw] = _as_line(raw)
            if self._names[raw] != raw:
                self.count("category name with characters that are no text")
        return self._names[raw]

    def _usable(self, defects: list[tuple[str, Annotation]], size: tuple[int, int]) -> tuple[Annotation, ...]:
        kept: dict[tuple[str, Any], Annotation] = {}  # a dict keeps the order of the labels
        for name, item in defects:
            clipped = clip_box(item.box_xyxy, *size)
            if max(abs(a - b) for a, b in zip(item.box_xyxy, clipped, strict=True)) > _CLIP_TOLERANCE:
                self.count("box clipped to the image")
            if not shorter_side(clipped) >= _MIN_SIDE:  # not a number is not usable either
                self.count("degenerate box dropped")
            elif (name, clipped) in kept:
                self.count("duplicate box dropped")
            else:
                kept[name, clipped] = Annotation(name, clipped, item.mask)
        return tuple(kept.values())

    def _is_inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self._real_root)
        except (OSError, ValueError, RuntimeError):  # a name that no file can have, links in a circle
            return False


def open_image(path: Path) -> Image.Image:
    """Open an image of a plain raster format; one that declares over 89 million pixels is refused.

    Raises:
        One of :data:`UNREADABLE_IMAGE`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(path, formats=_FORMATS)


def exif_orientation(image: Image.Image) -> int:
    """How an image has to be turned to be shown: 1, not at all, to 8; above 4 its sides change places."""
    # getexif() would decode a PNG that carries no EXIF block.
    return image.getexif().get(ExifTags.Base.Orientation, 1) if "exif" in image.info else 1


def shown_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image as it is shown."""
    width, height = image.size
    return (height, width) if exif_orientation(image) in {5, 6, 7, 8} else (width, height)


def _as_line(text: str) -> str:
    """``text`` with line ends, control characters and halves of characters written out."""
    return _NO_TEXT.sub(lambda match: repr(match[0])[1:-1], text)


def reason_unreadable(error: BaseException) -> str:
    """Why an image does not open, without its path."""
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"expected an image of at most {MAX_PIXELS} pixels, its header declares more"
    if isinstance(error, UnidentifiedImageError):
        return "expected an image, got other content"
    reason = error.strerror if isinstance(error, OSError) else None
    return f"expected a whole image, got one that is damaged: {reason or error}"[:160]
