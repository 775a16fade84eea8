"""Four pictures in one: pixels, boxes and knowledge must stay together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.data.mosaic import mosaic
from rtvp.data.training_sample import Sample
from rtvp.data.transforms import MIN_VISIBLE

SIZE = 120


class Tiles:
    """Tile t has grey level 20 + t and, from one quarter to three quarters of its side, a box of 200 + t."""

    def __init__(self, *known: frozenset[str] | None) -> None:
        self.known = known
        self.sides: list[int] = []

    def __call__(self, side: int) -> Sample:
        tile = len(self.sides)
        self.sides.append(side)
        image = np.full((side, side, 3), 20 + tile, np.uint8)
        low, high = side // 4, 3 * side // 4
        image[low:high, low:high] = 200 + tile
        box = np.array([[low, low, high, high]], np.float32)
        return Sample(image, box, (frozenset({f"name {tile}"}),), self.known[tile % len(self.known)])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_boxes_lie_on_their_pixels(seed: int) -> None:
    tiles = Tiles(frozenset({"a"}))
    sample = mosaic(np.random.default_rng(seed), SIZE, tiles)
    assert len(tiles.sides) == 4
    assert sample.image.shape == (SIZE, SIZE, 3) and sample.image.dtype == np.uint8
    assert sample.boxes_xyxy.dtype == np.float32 and len(sample.names) == len(sample.boxes_xyxy)
    shown = {int(next(iter(names)).split()[1]) for names in sample.names}
    for box, names in zip(sample.boxes_xyxy.astype(int), sample.names, strict=True):
        tile = int(next(iter(names)).split()[1])
        y, x = np.nonzero(sample.image[..., 0] == 200 + tile)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    for tile in set(range(4)) - shown:  # hardly seen
        side = 3 * tiles.sides[tile] // 4 - tiles.sides[tile] // 4
        assert (sample.image[..., 0] == 200 + tile).sum() < MIN_VISIBLE * side**2


def test_four_fields_fill_the_picture() -> None:
    corners = set()
    for seed in range(20):
        sample = mosaic(np.random.default_rng(seed), SIZE, Tiles(None))
        levels = sample.image[..., 0] % 180 - 20  # tile of each pixel
        assert set(np.unique(levels)) == {0, 1, 2, 3}
        crossing = int((levels[0] == 0).sum()), int((levels[:, 0] == 0).sum())
        x, y = crossing
        expected = np.repeat([0, 2], [y, SIZE - y])[:, None] + np.repeat([0, 1], [x, SIZE - x])
        assert (levels == expected).all()
        assert all(0.3 * SIZE < side < 0.7 * SIZE for side in crossing)
        corners.add(crossing)
    assert len(corners) > 10


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ((frozenset("ab"), frozenset("bc"), None, frozenset("b")), frozenset("b")),
        ((frozenset("a"), frozenset("b"), None, None), frozenset()),
        ((frozenset("ab"), None, None, None), frozenset("ab")),
        ((None, None, None, None), None),
    ],
)
def test_known_is_what_is_known_of_all_four(
    known: tuple[frozenset[str] | None, ...], expected: frozenset[str] | None
) -> None:
    sample = mosaic(np.random.default_rng(0), SIZE, Tiles(*known))
    assert sample.known == expected
    assert sample.names, "a box is positive for its name, even where others of the name are not known"
