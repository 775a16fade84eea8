"""An instance mask a box: which of its pixels belong to what was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from rtvp.data.images import Picture
from rtvp.mmio.rle import decode_counts, encode_window, parse_counts
from rtvp.types import Letterbox

if TYPE_CHECKING:
    from torch import Tensor

BoolArray: TypeAlias = npt.NDArray[np.bool_]


class Window(NamedTuple):
    """Whole pixels of an image: left and top included, right and bottom not; at least one pixel."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Of an array [H, W, ...]."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


class Embedded(NamedTuple):
    """What Mobile-SAM's image encoder made of an image, [1, 256, h, w], and how it lay in the input."""

    picture: Tensor
    placement: Letterbox


@dataclass(frozen=True, slots=True)
class View:
    """What is known of an image whose boxes want masks.

    Attributes:
        image: [H, W, 3] uint8 RGB.
        boxes_xyxy: [N, 4] float32, px of the image.
        prompt_map: [H, W] float32 in [0, 1], what the visual prompt picked out; None where there is none.
        embedded: the image as the detector's own encoder saw it, if that is Mobile-SAM's.
    """

    image: Picture
    boxes_xyxy: npt.NDArray[np.float32]
    prompt_map: npt.NDArray[np.float32] | None = None
    embedded: Embedded | None = None

    def windows(self) -> list[Window]:
        """The pixels that each box touches."""
        height, width = self.image.shape[:2]
        return [pixel_window(box, width, height) for box in self.boxes_xyxy.tolist()]


class MaskMaker(Protocol):
    """A way from boxes to masks.

    Attributes:
        name: for reports.
        asks_network: whether it can use ``View.prompt_map`` and ``View.embedded``.
    """

    name: str
    asks_network: bool

    def __call__(self, view: View) -> Iterable[BoolArray]:
        """The mask inside the window of each box, [h, w] bool, in order."""
        ...


def pixel_window(box_xyxy: Sequence[float], width: int, height: int) -> Window:
    """The pixels that a box in an image of ``width`` x ``height`` touches."""
    x1, y1, x2, y2 = box_xyxy
    left, top = min(max(0, math.floor(x1)), width - 1), min(max(0, math.floor(y1)), height - 1)
    return Window(
        left, top, min(width, max(left + 1, math.ceil(x2))), min(height, max(top + 1, math.ceil(y2)))
    )


def make_masks(maker: Callable[[View], Iterable[BoolArray]], view: View) -> tuple[str, ...]:
    """The mask of each box as COCO's compressed run-length counts over the image.

    Args:
        maker: a `MaskMaker`, or any function that does what one does.
        view: the image and its boxes.

    Returns:
        N counts; where the maker found nothing in a box, the mask is all of it.
    """
    height, width = view.image.shape[:2]
    found = zip(view.windows(), maker(view), strict=True)
    return tuple(
        encode_window(mask if mask.any() else ~mask, window.left, window.top, (width, height))
        for window, mask in found
    )


def decode_mask(counts: str, width: int, height: int) -> BoolArray:
    """[height, width] bool from what `make_masks` gave."""
    size = (width, height)
    return decode_counts(parse_counts(counts, size), size).astype(np.bool_)


def decode_masks(counts: Iterable[str], width: int, height: int) -> Iterator[BoolArray]:
    """One after the other: a picture of many megapixels has room for one."""
    return (decode_mask(each, width, height) for each in counts)
