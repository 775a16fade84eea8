"""Pictures: boxes where they belong, texts inside, whatever the size and the script."""

from __future__ import annotations

import numpy as np
import pytest

from rtvp.predict.fonts import font_for
from rtvp.predict.render import (
    NOT_OK_COLOUR,
    OK_COLOUR,
    _Label,
    _places,
    draw_detections,
    draw_map,
    draw_outlines,
    prompt_colour,
)


def drawn(width: int, height: int, boxes: list[list[float]], captions: list[str] | None = None) -> np.ndarray:
    return draw_detections(
        np.full((height, width, 3), 90, dtype=np.uint8),
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.arange(len(boxes)),
        captions or [f"scratch 0.{i}" for i in range(len(boxes))],
        "NOT OK 0.93",
        ok=False,
    )


def test_box_lines_are_on_the_box_in_its_colour() -> None:
    image = drawn(400, 300, [[100, 150, 200, 250]])
    colour = prompt_colour(0)
    for x, y in ((150, 150), (150, 249), (100, 200), (199, 200)):
        assert tuple(image[y, x]) == colour
    assert tuple(image[200, 150]) == (90, 90, 90)  # the inside stays as it was
    assert tuple(image[200, 98]) == (90, 90, 90)


def test_outlines_run_along_the_masks_pixels_and_the_pictures_edge() -> None:
    image = np.full((60, 80, 3), 90, np.uint8)
    masks = np.zeros((2, 60, 80), np.bool_)
    masks[0, 10:20, 30:50] = True
    masks[1, 40:, :25] = True
    masks[1, 50:55, 10:15] = False  # a hole has an outline, too
    drawn_over = draw_outlines(image, masks, np.array([0, 1]))
    for mask, index, edge, inner in ((masks[0], 0, (10, 40), (15, 40)), (masks[1], 1, (59, 5), (45, 5))):
        assert tuple(drawn_over[edge]) == prompt_colour(index)
        assert tuple(drawn_over[inner]) == (90, 90, 90)
        changed = (drawn_over == prompt_colour(index)).all(axis=2)
        assert not (changed & ~mask).any() or index == 1
    assert tuple(drawn_over[52, 9]) == prompt_colour(1)
    assert (image == 90).all()


def test_a_box_as_large_as_the_picture_is_seen_on_all_sides() -> None:
    image = drawn(400, 300, [[0, 0, 400, 300]])
    assert (image[150, [0, -1]] == prompt_colour(0)).all()
    assert (image[-1, 200] == prompt_colour(0)).all()


def test_the_picture_given_is_not_drawn_on() -> None:
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    draw_detections(
        image, np.array([[0, 0, 50, 50]], np.float32), np.array([0]), ["dent"], "NOT OK", ok=False
    )
    assert image.max() == 0


def test_verdict_has_its_colour_and_avoids_the_boxes() -> None:
    image = drawn(400, 300, [[0, 0, 200, 300]])
    assert (image[:, 200:] == NOT_OK_COLOUR).all(axis=2).any()
    assert not (image[:, :190] == NOT_OK_COLOUR).all(axis=2).any()
    nothing = np.empty((0, 4), np.float32), np.empty(0, np.int64)
    good = draw_detections(np.zeros((300, 400, 3), np.uint8), *nothing, [], "OK 0.02", ok=True)
    assert (good == OK_COLOUR).all(axis=2).any()


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 3), (20, 20), (64, 64), (3000, 40), (2000, 1500)])
def test_any_size(size: tuple[int, int]) -> None:
    width, height = size
    corners = [[0, 0, width, height], [width - 1, height - 1, width, height], [0, 0, 0.4, 0.4]]
    image = drawn(width, height, corners)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (395, 0, 400, 5), (395, 295, 400, 300), (0, 0, 400, 300)])
def test_labels_stay_inside(box: tuple[int, int, int, int]) -> None:
    label = _Label("a rather long name of a defect 0.87", 14, 400, 300)
    assert label.fits
    for x1, y1, x2, y2 in _places(label, box, 400, 300):
        assert 0 <= x1 < x2 <= 400
        assert 0 <= y1 < y2 <= 300


def test_a_long_label_is_cut_and_a_tiny_picture_has_none() -> None:
    cut = _Label("word " * 100, 14, 200, 100)
    assert cut.fits
    assert cut.width <= 200
    assert cut.text.startswith("word")
    assert cut.text.endswith("…")
    assert not _Label("scratch", 14, 8, 8).fits


def test_labels_of_boxes_at_one_place_do_not_hide_each_other() -> None:
    box = [100, 100, 200, 200]
    image = drawn(400, 300, [box, box, box])
    areas = [(image == prompt_colour(index)).all(axis=2).sum() for index in range(3)]
    assert min(areas) > 300  # of a filled label; lines alone, hidden under the best box, would leave less


def test_colours_differ() -> None:
    colours = np.array([prompt_colour(index) for index in range(12)]).astype(int)
    distances = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 1000 * np.eye(12, dtype=int)
    assert distances.min() > 60
    assert prompt_colour(3) == prompt_colour(3)


@pytest.mark.parametrize(
    "text", ["Kratzer: Öl ß é", "царапина", "划痕", "傷 🤖", "\u200b", "שריטה", "a\nb\tc"]
)
def test_any_script_is_drawn(text: str) -> None:
    image = drawn(400, 300, [[50, 100, 150, 200]], [text])
    assert image.shape == (300, 400, 3)


def test_characters_of_no_font_become_question_marks() -> None:
    _, text = font_for("a\U0010fffdb", 20)
    assert text == "a?b"
    _, latin = font_for("é scratch 0.5", 20)
    assert latin == "é scratch 0.5"


def test_map_leaves_zero_alone_and_heats_the_rest() -> None:
    image = np.full((10, 10, 3), 90, dtype=np.uint8)
    heat = np.zeros((10, 10), dtype=np.float32)
    heat[5:] = 1
    painted = draw_map(image, heat)
    assert (painted[:5] == 90).all()
    assert (painted[5:].astype(int) - 90 > 40).any(axis=2).all()
