from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtvp.mmio.rle import (
    box_of_counts,
    decode_counts,
    encode_counts,
    encode_mask,
    encode_polygons,
    encode_window,
    parse_counts,
    runs_to_mask,
)

coco_mask = pytest.importorskip("faster_coco_eval.core.mask", reason="faster-coco-eval is not installed")


@st.composite
def masks(draw: st.DrawFn) -> NDArray[np.uint8]:
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.02, 0.5, 0.97, 1.0]))
    return (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)


@given(masks())
@settings(max_examples=50, deadline=None)
def test_masks_survive_both_forms_and_agree_with_the_library(mask: NDArray[np.uint8]) -> None:
    height, width = mask.shape
    text = encode_mask(mask)
    counts = parse_counts(text, (width, height))
    assert np.array_equal(decode_counts(counts, (width, height)), mask)
    assert encode_counts(counts) == text
    assert text == coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    box = box_of_counts(counts, (width, height))
    if not mask.any():
        assert box is None
        return
    ys, xs = np.nonzero(mask)
    assert box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    x, y, box_width, box_height = coco_mask.toBbox({"size": [height, width], "counts": text})
    assert box == (x, y, x + box_width, y + box_height)


@given(masks(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_window_is_encoded_as_the_whole_image(window: NDArray[np.uint8], data: st.DataObject) -> None:
    left, top, right, bottom = (data.draw(st.integers(0, 5)) for _ in range(4))
    whole = np.pad(window, ((top, bottom), (left, right)))
    expected = coco_mask.encode(np.asfortranarray(whole))["counts"].decode()
    assert encode_window(window, left, top, (whole.shape[1], whole.shape[0])) == expected


def test_long_runs_are_encoded_as_by_the_library() -> None:
    mask = np.zeros((3000, 2000), np.uint8)
    mask[5:2990, 7:1500] = 1
    mask[100, 1900] = 1
    assert encode_mask(mask) == coco_mask.encode(np.asfortranarray(mask))["counts"].decode()


@given(masks())
@settings(max_examples=30, deadline=None)
def test_runs_of_starts_and_lengths_survive(mask: NDArray[np.uint8]) -> None:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]]).astype(np.int8)))
    starts, ends = edges[0::2], edges[1::2]
    pairs = zip(starts, ends, strict=True)
    runs = " ".join(f"{start + 1} {end - start}" for start, end in pairs)
    assert np.array_equal(runs_to_mask(runs, (mask.shape[1], mask.shape[0])), mask)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([3, 2, 1], None),
        ([0, 6], None),
        ([3, 2], "sum to 3 x 2 pixels, got 5"),
        ([3, 10**30], "sum to 3 x 2 pixels"),
        ([7, -1], "whole numbers"),
        ([3, 2.5, 0.5], "whole numbers"),
        ([3, True, 2], "whole numbers"),
        (["3", 3], "whole numbers"),
        (None, "whole numbers"),
        ({"a": 1}, "whole numbers"),
        ("", "sum to 3 x 2 pixels, got 0"),
        ("é", "compressed run lengths"),
        ("o" * 500, "compressed run lengths"),
        ("31o", "cut text"),
    ],
)
def test_counts_are_checked_before_anything_reads_them(counts: object, expected: str | None) -> None:
    if expected is None:
        assert parse_counts(counts, (3, 2)).sum() == 6
    else:
        with pytest.raises(ValueError, match=expected):
            parse_counts(counts, (3, 2))


@given(st.text(max_size=20))
@settings(max_examples=50, deadline=None)
def test_no_text_gets_past_the_check_that_does_not_cover_the_image(text: str) -> None:
    try:
        counts = parse_counts(text, (5, 4))
    except ValueError:
        return
    assert counts.sum() == 20 and (counts >= 0).all()


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ("1 2 4", "odd number"),
        ("0 2", "inside 1 to 6"),
        ("5 3", "inside 1 to 6"),
        ("5 0", "inside 1 to 6"),
        (f"1 {10**30}", "inside 1 to 6"),
        ("1 2.5", "whole numbers"),
        ("1 nan", "whole numbers"),
        ("3 2 1 2", "rising order"),
        ("1 3 2 2", "rising order"),
    ],
)
def test_runs_are_checked(runs: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        runs_to_mask(runs, (3, 2))


def test_polygons_of_several_parts_make_one_mask() -> None:
    squares = [[2.0, 3.0, 6.0, 3.0, 6.0, 9.0, 2.0, 9.0], [20.0, 1.0, 29.0, 1.0, 29.0, 5.0, 20.0, 5.0]]
    text = encode_polygons(squares, (30, 10))
    assert text is not None
    mask = decode_counts(parse_counts(text, (30, 10)), (30, 10))
    expected = np.zeros((10, 30), np.uint8)
    expected[3:9, 2:6] = 1
    expected[1:5, 20:29] = 1
    assert np.array_equal(mask, expected)
    assert cv2.connectedComponents(mask, connectivity=8)[0] == 3


@pytest.mark.parametrize(
    "polygons",
    [
        [],
        [[1.0, 1.0, 5.0, 5.0]],  # two points: the library would read a box
        [[1.0, 1.0, 1e12, 1.0, 5.0, 1e12]],
        [[-1e12, 1.0, 5.0, 1.0, 5.0, 5.0]],
        [[200.0, 1.0, 220.0, 1.0, 220.0, 9.0]],
    ],
)
def test_polygons_without_an_area_in_the_image_or_absurdly_far_off(polygons: list[list[float]]) -> None:
    assert encode_polygons(polygons, (100, 10)) is None
