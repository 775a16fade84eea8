from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.data.images import fitting_scale
from rtvp.errors import RtvpError
from rtvp.measure import RtvpNamed
from rtvp.predict import Detector
from rtvp.tiling import WORTH_IT, Batch, Tiling, look_closer
from rtvp.types import Detections, Predictions, Prompt

RED = (Prompt("red"),)


def one_box(*box_xyxy: float) -> Detections:
    return Detections(np.array([box_xyxy], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(32, 9000), st.integers(32, 9000), st.sampled_from([None, 100, 640, 2000]), st.floats(0, 0.5)
)
def test_tiles_cover_the_image_and_overlap(width: int, height: int, side: int | None, overlap: float) -> None:
    tiling = Tiling(side, overlap)
    windows = np.array(tiling.windows(width, height, 384)).reshape(-1, 4)
    if not len(windows):
        scale = fitting_scale(width, height, 384)
        assert scale >= 384 / side if side else WORTH_IT * scale > 384 / 768
        return
    assert windows.min() >= 0 and (windows[:, [2, 3]] <= [width, height]).all()
    for axis, length in ((0, width), (1, height)):
        starts, ends = np.unique(windows[:, axis]), np.unique(windows[:, axis + 2])
        sides = windows[:, axis + 2] - windows[:, axis]
        assert len(set(sides.tolist())) == 1  # one shape of tile: one batch
        assert starts[0] == 0 and ends[-1] == length
        if len(starts) > 1:
            assert (ends[:-1] - starts[1:] >= np.floor(overlap * sides[0]) - 1).all()
    if side is None:
        assert len(windows) <= tiling.at_most


def test_no_tiles_where_the_whole_shows_enough() -> None:
    assert Tiling().windows(700, 700, 384) == []
    assert Tiling(640).windows(640, 640, 640) == []
    assert len(Tiling(600).windows(640, 640, 640)) == 4
    assert len(Tiling().windows(8000, 6000, 384)) > 30


@pytest.mark.parametrize("tile", ["auto", "640", 640])
def test_tile_in_words_and_numbers(tile: str | int) -> None:
    found = Tiling.of(tile)
    assert found is not None and found.side == (None if tile == "auto" else 640)
    assert Tiling.of(None) is None and Tiling.of(found) is found


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        ("big", "tile: expected auto, or a side in px such as 640, got 'big'"),
        ("-5", "got '-5'"),
        (8, "tile: expected a side of at least 32 px, got 8"),
    ],
)
def test_wrong_tiles_are_told(tile: str | int, message: str) -> None:
    with pytest.raises(RtvpError, match=message):
        Tiling.of(tile)
    with pytest.raises(RtvpError, match=r"overlap: expected a share from 0 to 0\.5, got 0\.9"):
        Tiling(640, overlap=0.9)
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(RtvpError, match="time for tiles: expected more than 0 seconds"):
            Tiling(640, seconds=seconds)


@pytest.fixture
def large() -> np.ndarray:
    """2048 x 2048 px with red squares of 32 px: in the whole input of 256 px, 4 px, an eighth of a cell."""
    image = np.zeros((2048, 2048, 3), np.uint8)
    for x, y in ((256, 512), (1024, 1024), (1984, 32), (1600, 1600)):
        image[y : y + 32, x : x + 32, 0] = 255
    return image


def test_small_defects_are_found_in_tiles_alone(colour_detector: Detector, large: np.ndarray) -> None:
    assert len(colour_detector.detect(large, "red").scores) == 0
    # Tiles of 256 px are looked at as they are: one cell shows one square.
    found = colour_detector.detect(large, "red", tile=Tiling(256, overlap=0.125))
    assert sorted(map(tuple, found.boxes_xyxy.tolist())) == [
        (256, 512, 288, 544),
        (1024, 1024, 1056, 1056),
        (1600, 1600, 1632, 1632),
        (1984, 32, 2016, 64),
    ]
    assert found.verdict == "NOT OK"


def test_batches_of_tiles_change_nothing(colour_detector: Detector, large: np.ndarray) -> None:
    one, seven = (
        next(iter(colour_detector.detect_many([large], "red", batch=batch, threshold=0.1, tile=300)))
        for batch in (1, 7)
    )
    np.testing.assert_array_equal(one.boxes_xyxy, seven.boxes_xyxy)
    np.testing.assert_array_equal(one.scores, seven.scores)


def test_what_is_measured_is_what_is_detected(colour_detector: Detector, large: np.ndarray) -> None:
    tiling = Tiling(256, overlap=0.125)
    named = RtvpNamed(
        colour_detector.network, colour_detector.text_encoder, colour_detector.size, tiling=tiling
    )
    small = large[:300, :300]
    measured = named.detect([large, small], RED)
    for image, own in zip((large, small), measured, strict=True):
        result = colour_detector.detect(image, RED, threshold=0.02, tile=tiling)
        above = own.scores > 0.02
        np.testing.assert_array_equal(own.boxes_xyxy[above], result.boxes_xyxy)


def test_an_image_that_needs_no_tiles_is_looked_at_once(large: np.ndarray) -> None:
    def never(_: Batch) -> Predictions:
        raise AssertionError

    whole = one_box(0, 0, 1, 1)
    assert look_closer(large[:200, :200], whole, never, 256, Tiling()) == (whole, 0, 0)


def test_the_time_for_tiles_goes_to_those_that_promise_most(
    colour_detector: Detector, large: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count()
    monkeypatch.setattr("rtvp.tiling.time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    large[700:1200, 1400:1900, 0] = 255  # the whole shows this one alone
    whole = colour_detector.detect(large, "red")
    assert whole.tiles == (0, 0)
    hurried = colour_detector.detect(large, "red", tile=Tiling(256, overlap=0.125, seconds=4.5))
    looked_at, planned = hurried.tiles
    assert looked_at == 4 and planned == 81  # the clock is read before each
    everything = colour_detector.detect(large, "red", tile=Tiling(256, overlap=0.125, seconds=1e6))
    assert everything.tiles == (planned, planned)
    slow = colour_detector.detect(large, "red", tile=Tiling(256, overlap=0.125))
    assert sorted(everything.boxes_xyxy.tolist()) == sorted(slow.boxes_xyxy.tolist())
    assert hurried.to_dict()["tiles"] == {"looked_at": 4, "planned": 81}
    assert "tiles" not in whole.to_dict()


def test_tiles_where_the_whole_shows_most_come_first(large: np.ndarray) -> None:
    seen: list[float] = []

    def forward(pixels: Batch) -> Predictions:
        seen.append(float(pixels[0, 0].mean()))
        return Predictions(np.zeros((1, 0, 4), np.float32), np.zeros((1, 0, 1), np.float32))

    whole = one_box(1100, 1100, 1200, 1200)
    large[1024:, 1024:] = 200
    closer = look_closer(large, whole, forward, 256, Tiling(1024, overlap=0.0, seconds=60))
    assert closer.looked_at == closer.planned == 4
    assert seen[0] == max(seen) and seen[0] > 100
