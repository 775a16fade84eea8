"""From boxes to run lengths, whatever makes the masks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.predict.masks import View, Window, decode_mask, decode_masks, make_masks, pixel_window


def chequered(view: View) -> Iterator[np.ndarray]:
    """Every second pixel of each box."""
    for left, top, right, bottom in view.windows():
        y, x = np.mgrid[top:bottom, left:right]
        yield (x + y) % 2 == 0


def nothing(view: View) -> Iterator[np.ndarray]:
    for left, top, right, bottom in view.windows():
        yield np.zeros((bottom - top, right - left), np.bool_)


def view_of(*boxes: list[float], width: int = 20, height: int = 10) -> View:
    image = np.zeros((height, width, 3), np.uint8)
    return View(image, np.array(boxes, np.float32).reshape(-1, 4))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((2, 3, 5, 7), (2, 3, 5, 7)),
        ((2.1, 3.9, 4.2, 6.0), (2, 3, 5, 6)),
        ((4.2, 4.2, 4.4, 4.4), (4, 4, 5, 5)),
        ((4, 4, 4, 4), (4, 4, 5, 5)),
        ((20, 10, 20, 10), (19, 9, 20, 10)),
        ((-3, -3, 40, 40), (0, 0, 20, 10)),
    ],
)
def test_pixels_of_a_box(box: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert pixel_window(box, 20, 10) == Window(*expected)


coordinates = st.floats(-5, 45, allow_nan=False)


@given(st.tuples(coordinates, coordinates, coordinates, coordinates), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_every_box_has_a_pixel_of_the_image(box: tuple[float, ...], width: int, height: int) -> None:
    x1, x2 = sorted(box[:2])
    y1, y2 = sorted(box[2:])
    left, top, right, bottom = pixel_window((x1, y1, x2, y2), width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_masks_lie_where_their_boxes_do() -> None:
    view = view_of([2, 3, 7, 9], [0, 0, 20, 10], [19.5, 0, 20, 0.5])
    decoded = list(decode_masks(make_masks(chequered, view), 20, 10))
    y, x = np.mgrid[:10, :20]
    even = (x + y) % 2 == 0
    inside = (x >= 2) & (x < 7) & (y >= 3) & (y < 9)
    np.testing.assert_array_equal(decoded[0], even & inside)
    np.testing.assert_array_equal(decoded[1], even)
    # One odd pixel: nothing was found in it, so it is taken whole.
    assert np.argwhere(decoded[2]).tolist() == [[0, 19]]


def test_a_box_in_which_nothing_was_found_is_its_own_mask() -> None:
    (counts,) = make_masks(nothing, view_of([2, 3, 7, 9]))
    assert np.argwhere(decode_mask(counts, 20, 10)).min(axis=0).tolist() == [3, 2]
    assert decode_mask(counts, 20, 10).sum() == 5 * 6


def test_no_boxes_no_masks() -> None:
    assert make_masks(chequered, view_of()) == ()
