"""What every label layout is read into. Boxes are xyxy, pixels of the original image, x2 and y2 exclusive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One defect in one image.

    Attributes:
        name: category name.
        box_xyxy: left, top, right, bottom in pixels of the original image; right and bottom are edges, so a
            box that covers a whole image of width W ends at x2 = W.
        mask: its pixels as COCO's compressed run-length counts over the whole image; None where only the box
            is known, or masks were not asked for.
    """

    name: str
    box_xyxy: Box
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image and all its known defects; no annotation means that the image is known to be good.

    Attributes:
        path: the image file.
        width: pixels, as the image is shown (after its EXIF orientation).
        height: likewise.
        annotations: its defects, inside the image.
        group: images of one group show the same thing (copies, exposures, frames): never split them up.
    """

    path: Path
    width: int
    height: int
    annotations: tuple[Annotation, ...]
    group: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """A set of images, sorted by path, and what was met while reading it.

    Attributes:
        images: sorted by path.
        problems: how often each problem was met; all of them were worked around.
        broken: label files that are malformed or hostile, one line each: "file:line: what is wrong".
    """

    images: tuple[ImageRecord, ...]
    problems: Mapping[str, int]
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """An image of the benchmark, told by its content and not by where its folder lies.

    Attributes:
        source: name of the set it comes from.
        file_name: relative to the folder of the set, with forward slashes.
        width: pixels, as the image is shown.
        height: likewise.
        sha256: of the file's bytes, hexadecimal.
        group: of the source, as "source/group"; images of one group never part.
        annotations: its defects; none: it is known to be good.
    """

    source: str
    file_name: str
    width: int
    height: int
    sha256: str
    group: str
    annotations: tuple[Annotation, ...]

    @property
    def key(self) -> str:
        """What names the image in manifests: "source/file_name"."""
        return f"{self.source}/{self.file_name}"


def clip_box(box: Box, width: int, height: int) -> Box:
    """``box`` cut to an image of ``width`` x ``height`` pixels; a box outside of it keeps no area."""
    x1, y1, x2, y2 = box
    return (
        min(max(x1, 0.0), float(width)),
        min(max(y1, 0.0), float(height)),
        min(max(x2, 0.0), float(width)),
        min(max(y2, 0.0), float(height)),
    )


def shorter_side(box: Box) -> float:
    """The shorter side of ``box`` in pixels; negative where its corners are swapped."""
    x1, y1, x2, y2 = box
    return min(x2 - x1, y2 - y1)
