"""Samples of any depth to 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvp.depth import BLOCK_ROWS, scaled, to_8_bits, white_of


@pytest.mark.parametrize(
    ("brightest", "white"), [(0, 255), (255, 255), (256, 1023), (4095, 4095), (4096, 16383), (65535, 65535)]
)
def test_white_is_that_of_the_smallest_depth_that_holds_the_brightest(brightest: int, white: float) -> None:
    assert white_of(brightest) == white


@given(st.integers(1, 3 * BLOCK_ROWS), st.integers(0, 2**16 - 1))
def test_blocks_do_not_show(rows: int, brightest: int) -> None:
    samples = np.linspace(0, brightest, rows * 2).astype(np.uint16).reshape(rows, 2)
    expected = np.rint(samples / white_of(brightest) * 255)
    assert np.abs(to_8_bits(samples) - expected).max() <= 1


def test_what_lies_beyond_is_cut_off() -> None:
    np.testing.assert_array_equal(scaled(np.array([[-5, 0, 5, 10, 20]]), 0, 10), [[0, 0, 128, 255, 255]])
