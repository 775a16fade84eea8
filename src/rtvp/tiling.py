"""Large images: parts of an image are looked at closer, beside the whole."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtvp.data.images import TILE_SCALE, Picture, Pixels, RGBArray, fitting_scale, letterbox, run_by_shape
from rtvp.errors import RtvpError
from rtvp.models.postprocess import postprocess
from rtvp.models.tile_merge import merge_tiles
from rtvp.types import Detections, Letterbox, Predictions

Batch: TypeAlias = NDArray[np.uint8]  # [B, 3, H, W] RGB

WORTH_IT = 1.5  # an automatic tile is seen at least this much larger than the whole, or there is none
SCORE_FLOOR = 0.01  # in tiles: there are many, and nobody ranks what lies below
PER_TILE = 100  # detections


@dataclass(frozen=True, slots=True)
class Tiling:
    """How images are cut into tiles.

    Attributes:
        side: of a tile, px of the image; None: as the image needs it, none where the whole shows enough.
        overlap: share of its side that a tile has in common with the next.
        at_most: tiles an image where ``side`` is None: they grow until there are so few.
        seconds: that the tiles of an image may take; those where the whole shows most come first, and what
            is not begun by then is left out. None: all of them, however long.

    Raises:
        RtvpError: a value that cannot be.
    """

    side: int | None = None
    overlap: float = 0.2
    at_most: int = 64
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 32:
            raise RtvpError(f"tile: expected a side of at least 32 px, got {self.side}")
        if not 0 <= self.overlap <= 0.5:
            raise RtvpError(f"tile overlap: expected a share from 0 to 0.5, got {self.overlap}")
        if self.at_most < 1:
            raise RtvpError(f"tiles an image: expected at least 1, got {self.at_most}")
        if self.seconds is not None and not self.seconds > 0:
            raise RtvpError(f"time for tiles: expected more than 0 seconds, got {self.seconds}")

    @classmethod
    def of(cls, tile: Tiling | int | str | None) -> Tiling | None:
        """``auto``, a side in px (also as text), or None for no tiles.

        Raises:
            RtvpError: anything else.
        """
        if tile is None or isinstance(tile, Tiling):
            return tile
        if tile == "auto":
            return cls()
        if isinstance(tile, str) and not tile.isdecimal():
            raise RtvpError(f"tile: expected auto, or a side in px such as 640, got {tile!r:.80}")
        return cls(int(tile))

    def windows(self, width: int, height: int, size: int) -> list[tuple[int, int, int, int]]:
        """The tiles of an image, row by row: xyxy in px, none if it is not worth it.

        Args:
            width: of the image, px.
            height: of the image, px.
            size: side of the network input of a square, px.
        """
        scale = fitting_scale(width, height, size)
        if self.side is not None:
            side = self.side
        elif scale >= TILE_SCALE:
            return []
        else:
            side = round(size / TILE_SCALE)
            while self._count(width, side) * self._count(height, side) > self.at_most:
                side = math.ceil(side * 1.05)
        # A side that was asked for is taken if it shows more at all.
        if size / side <= scale * (WORTH_IT if self.side is None else 1.0):
            return []
        rows, columns = (_cuts(length, side, self._count(length, side)) for length in (height, width))
        return [(left, top, right, bottom) for top, bottom in rows for left, right in columns]

    def _count(self, length: int, side: int) -> int:
        """Tiles along a side of the image."""
        return max(1, math.ceil((length - self.overlap * side) / ((1 - self.overlap) * side)))


def _cuts(length: int, side: int, count: int) -> list[tuple[int, int]]:
    """``count`` intervals of ``side``, evenly spaced over ``length``."""
    side = min(side, length)
    step = (length - side) / max(1, count - 1)
    return [(start, start + side) for start in (round(index * step) for index in range(count))]


class Closer(NamedTuple):
    """What whole and tiles of an image show, and how many of its tiles were looked at.

    Attributes:
        found: what all of them show, px of the image.
        looked_at: tiles that were.
        planned: tiles that cover the image; 0 where there is nothing to cut.
    """

    found: Detections
    looked_at: int
    planned: int


def look_closer(
    image: Picture,
    whole: Detections,
    forward: Callable[[Batch], Predictions],
    size: int,
    tiling: Tiling,
    batch: int = 1,
) -> Closer:
    """Detect in the tiles of an image and merge what they show with what the whole did.

    Args:
        image: [H, W, 3] uint8 RGB; of one on disk a batch of tiles is in memory.
        whole: what was found in the image as a whole, px of the image.
        forward: images [B, 3, h, w] to what the network says of them.
        size: side of the network input of a square, px; a tile is looked at as an image of its own.
        tiling: how the image is cut.
        batch: tiles that go through the network together.
    """
    height, width = image.shape[:2]
    windows = tiling.windows(width, height, size)
    if not windows:
        return Closer(whole, 0, 0)
    parts: list[Detections] = []
    end = math.inf if tiling.seconds is None else time.monotonic() + tiling.seconds
    in_order = windows if tiling.seconds is None else sorted(windows, key=partial(_promise, whole))
    remaining = iter(in_order)
    while time.monotonic() < end and (chunk := list(islice(remaining, batch))):
        tiles = [image[top:bottom, left:right] for left, top, right, bottom in chunk]
        found = look(tiles, forward, size, SCORE_FLOOR, PER_TILE)
        parts += [_shifted(own, *window[:2]) for own, window in zip(found, chunk, strict=True)]
    seen = np.array(in_order[: len(parts)], np.int64).reshape(-1, 4)
    return Closer(merge_tiles(whole, parts, seen, (height, width)), len(parts), len(windows))


def _promise(whole: Detections, window: tuple[int, int, int, int]) -> float:
    """The less, the sooner a tile is looked at: minus the best score of what the whole shows in it."""
    centres = (whole.boxes_xyxy[:, :2] + whole.boxes_xyxy[:, 2:]) / 2
    inside = ((centres >= window[:2]) & (centres <= window[2:])).all(axis=1)
    return -float(whole.scores[inside].max(initial=0.0))


def look(
    images: Sequence[RGBArray],
    forward: Callable[[Batch], Predictions],
    size: int,
    score_floor: float,
    max_detections: int = 300,
) -> list[Detections]:
    """The one way from pictures to detections: letterbox, network, postprocess.

    Args:
        images: [H, W, 3] uint8 RGB each, all in memory at once.
        forward: images [B, 3, h, w] to what the network says of them.
        size: side of the network input of a square, px.
        score_floor: what lies at or below it is dropped.
        max_detections: at most this many an image.
    """

    def run(placed: list[tuple[Pixels, Letterbox]]) -> list[Detections]:
        inputs, placements = zip(*placed, strict=True)
        return postprocess(forward(np.stack(inputs)), placements, score_floor, max_detections=max_detections)

    return run_by_shape([letterbox(image, size) for image in images], itemgetter(0), run)


def _shifted(found: Detections, left: int, top: int) -> Detections:
    offset = np.array([left, top, left, top], np.float32)
    return Detections(found.boxes_xyxy + offset, found.scores, found.labels)
