"""COCO's run-length encoding: counts of 0s and 1s in turn, down the columns of the whole image.

What label files state is checked here in full before anything else sees it: the libraries' compiled readers
trust their input.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtvp.errors import RtvpError
from rtvp.mmio.schema import Box

_FAR = 4  # a vertex this many image sides away from the image is no slip of the hand


def encode_mask(mask: NDArray[np.uint8] | NDArray[np.bool_]) -> str:
    """Compressed counts of a mask [H, W] of 0 and 1."""
    height, width = mask.shape
    return encode_window(mask, 0, 0, (width, height))


def encode_window(
    window: NDArray[np.uint8] | NDArray[np.bool_], left: int, top: int, size: tuple[int, int]
) -> str:
    """Compressed counts of a mask of which only a part may be 1; no mask of the whole image is made.

    Args:
        window: [h, w] of 0 and 1, that part.
        left: column of the image in which it begins.
        top: row of the image in which it begins.
        size: width and height of the image.
    """
    width, height = size
    rows, columns = window.shape
    strip = np.zeros((columns, height), dtype=np.bool_)  # the columns that the window crosses, one a row
    strip[:, top : top + rows] = window.T
    edges = np.flatnonzero(np.diff(strip.ravel(), prepend=False, append=False)) + left * height
    counts = np.diff(edges, prepend=0, append=width * height)
    return encode_counts(counts if counts[-1] else counts[:-1])  # no run of nothing after the last pixel


def encode_counts(counts: NDArray[np.int64]) -> str:
    """Compressed form of counts."""
    return _compress(counts.tolist())


def encode_polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> str | None:
    """Compressed counts of the union of ``polygons``; None if they cover no pixel or lie absurdly far off.

    Args:
        polygons: x, y, x, y, ... in pixels; those of fewer than three points are left out.
        size: width and height of the image.
    """
    width, height = size
    whole = [list(map(float, polygon)) for polygon in polygons if len(polygon) >= 6]
    for polygon in whole:
        if not all(-_FAR * width <= x <= (_FAR + 1) * width for x in polygon[0::2]):
            return None
        if not all(-_FAR * height <= y <= (_FAR + 1) * height for y in polygon[1::2]):
            return None
    if not whole:
        return None
    library = _library()
    merged = library.merge(library.frPyObjects(whole, height, width))
    return str(merged["counts"].decode("ascii")) if float(library.area(merged)) > 0 else None


def parse_counts(counts: Any, size: tuple[int, int]) -> NDArray[np.int64]:
    """Counts of an image of ``size`` (width, height) from a list of numbers or COCO's compressed string.

    Raises:
        ValueError: they are no counts, or do not cover the image exactly; says what was expected.
    """
    values = _decompress(counts) if isinstance(counts, str) else counts
    if not isinstance(values, list) or not all(type(value) is int and value >= 0 for value in values):
        raise ValueError("expected run lengths: whole numbers from 0 on")
    if sum(values) != size[0] * size[1]:
        raise ValueError(f"expected run lengths that sum to {size[0]} x {size[1]} pixels, got {sum(values)}")
    return np.asarray(values, dtype=np.int64)


def decode_counts(counts: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Mask [H, W] of 0 and 1 from checked ``counts``."""
    values = np.arange(len(counts), dtype=np.uint8) % 2
    return np.asarray(np.repeat(values, counts).reshape(size).T, dtype=np.uint8)


def box_of_counts(counts: NDArray[np.int64], size: tuple[int, int]) -> Box | None:
    """Bounds of the pixels that are 1; None if there are none."""
    height = size[1]
    ends = np.cumsum(counts)
    starts = (ends - counts)[1::2]
    last = ends[1::2] - 1
    starts, last = starts[starts <= last], last[starts <= last]
    if not len(starts):
        return None
    left, right = starts // height, last // height
    # A run that goes on into the next column touches the bottom of its own and the top of that.
    top = np.where(left == right, starts % height, 0).min()
    bottom = np.where(left == right, last % height, height - 1).max()
    return (float(left.min()), float(top), float(right.max() + 1), float(bottom + 1))


def runs_to_mask(text: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Mask [H, W] from pairs of a start (from 1, down the columns) and a length, with spaces between.

    Raises:
        ValueError: they are no pairs, are not in order, or leave the image; says what was expected.
    """
    width, height = size
    try:
        runs = [int(value) for value in text.split()]
    except ValueError:
        raise ValueError(f"expected pairs of whole numbers, got {text[:60]!r}") from None
    if len(runs) % 2:
        raise ValueError("expected pairs of a start and a length, got an odd number of values")
    flat = np.zeros(width * height, dtype=np.uint8)
    pairs = list(zip(runs[0::2], runs[1::2], strict=True))
    for start, length in pairs:
        if start < 1 or length < 1 or start - 1 + length > flat.size:
            raise ValueError(f"expected runs inside 1 to {flat.size}, got {start} {length}")
        flat[start - 1 : start - 1 + length] = 1
    if any(start + length > after for (start, length), (after, _) in pairwise(pairs)):
        raise ValueError("expected runs in rising order that do not overlap")
    return np.asarray(flat.reshape(size).T, dtype=np.uint8)


def _compress(counts: Sequence[int]) -> str:
    """What `_decompress` reads: from the third on, each count as its difference from the last but one."""
    letters = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            code = value & 0x1F
            value >>= 5
            more = value != (-1 if code & 0x10 else 0)
            letters.append(chr((code | 0x20 if more else code) + 48))
    return "".join(letters)


def _decompress(text: str) -> list[int]:
    """Counts of a compressed string: groups of 5 bits with a sign, differences from the last but one."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 60:
            raise ValueError("expected COCO's compressed run lengths, got other text")
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("expected COCO's compressed run lengths, got a cut text")
    return counts


def _library() -> Any:
    try:
        from faster_coco_eval.core import mask  # only whoever keeps masks needs it
    except ImportError as error:
        raise RtvpError(
            "expected the package faster-coco-eval, which keeps masks, found none: "
            "pip install faster-coco-eval, or leave masks out"
        ) from error
    return mask
