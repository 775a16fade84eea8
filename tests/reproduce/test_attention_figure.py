"""Figure 5: which images, which maps, how they are scored, what is drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from figure_sets import small_rtvp, squares
from PIL import Image

from rtvp.data.labelled import LabelledSet
from rtvp.errors import RtvpError
from rtvp.predict import Detector
from rtvp.reproduce import attention_figure as module
from rtvp.reproduce.attention_figure import Shown, attention_figure, attention_maps, choose_examples
from rtvp.reproduce.look import Look
from rtvp.types import Detections, Letterbox, Prompt

pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'rtvp[mmio]'")

EMPTY = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


class FixedDetector:
    """Finds two boxes in every image, of 0.9 and 0.2."""

    name = "fixed"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def detect(self, images: Sequence[np.ndarray], prompts: Sequence[Prompt]) -> list[Detections]:
        self.asked.append([prompt.name for prompt in prompts])
        boxes = np.array([[5, 5, 40, 40], [50, 0, 70, 30]], np.float32)
        return [Detections(boxes, np.array([0.9, 0.2], np.float32), np.array([0, 0])) for _ in images]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledSet]:
    folder = tmp_path_factory.mktemp("squares")
    good = squares(folder, "good", [], 4)
    return [squares(folder, "one", ["red"], 3, ["red", "dent"]), good, squares(folder, "two", ["blue"], 3)]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return small_rtvp()


def test_one_image_of_each_set_before_a_second(sets: list[LabelledSet]) -> None:
    def sources(count: int, seed: int = 0) -> list[str]:
        return [labelled.name for labelled, _ in choose_examples(sets, count, seed)]

    assert sources(2) == ["one", "two"]
    assert sources(4) == ["one", "one", "two", "two"]
    assert sources(100) == ["one"] * 3 + ["two"] * 3  # good images show nothing
    assert choose_examples(sets, 3) == choose_examples(sets, 3)
    firsts = {choose_examples(sets, 2, seed)[0][1].path.name for seed in range(8)}
    assert len(firsts) > 1
    with pytest.raises(RtvpError, match="expected images with labelled boxes, got none"):
        choose_examples(sets[1:2], 2)


def test_maps_are_scored_by_where_the_boxes_are(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of 192 x 128 px in an input of 96: 12 x 8 cells of 16 px; below them is padding."""
    bright = torch.full((12, 12), 0.2)
    bright[2:4, 3:6] = 0.9
    bright[8:] = 1.0  # the padding must not count
    seen = Look(Letterbox(192, 128, 0.5), (), (bright, bright[::2, ::2]), (bright, 1 - bright, bright), EMPTY)
    flat = torch.full((3, 3), 0.5)
    monkeypatch.setattr(
        module, "look", lambda *_: replace(seen, attention=(bright, (1 - bright)[::2, ::2], flat))
    )
    boxes = np.array([[48, 32, 96, 64]], dtype=np.float32)  # exactly the bright cells
    maps = attention_maps(detector, np.zeros((128, 192, 3), np.uint8), [Prompt("red")], boxes)
    score, fine, middle, coarse = maps.values()
    assert list(maps) == [
        "visual prompt: score M (Eq. 4)",
        *(f"text-visual attention (Eq. 7), stride {stride}" for stride in (8, 16, 32)),
    ]
    assert (fine.values.shape, fine.cell) == ((8, 12), 16.0)
    assert (middle.values.shape, middle.cell) == ((4, 6), 32.0)
    assert (coarse.values.shape, coarse.cell) == ((2, 3), 64.0)
    assert fine.auroc == 1.0
    assert middle.auroc < 0.5  # turns away from the box
    assert coarse.auroc == 0.5
    assert score.auroc > 0.9
    whole = attention_maps(
        detector, np.zeros((128, 192, 3), np.uint8), [Prompt("red")], np.array([[0, 0, 192, 128]], np.float32)
    )
    assert np.isnan(whole["visual prompt: score M (Eq. 4)"].auroc)


def test_what_a_detector_lacks_is_left_out(sets: list[LabelledSet]) -> None:
    image = np.asarray(Image.open(sets[0].images[0].path))
    box = np.array([[8, 8, 32, 32]], dtype=np.float32)
    no_text = small_rtvp(interaction={"enabled": False})
    assert list(attention_maps(no_text, image, [Prompt("red")], box)) == ["visual prompt: score M (Eq. 4)"]
    no_prompt = small_rtvp(visual_prompt={"enabled": False})
    titles = list(attention_maps(no_prompt, image, [Prompt("red")], box))
    assert titles == [f"text-visual attention (Eq. 7), stride {stride}" for stride in (8, 16, 32)]


def test_the_figure(
    sets: list[LabelledSet], detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = FixedDetector()
    drawn: list[list[str]] = []
    draw_boxes = module._draw_boxes

    def spy(axes: object, boxes: Sequence[module.NamedBox], colours: dict[str, str]) -> None:
        drawn.append([caption for _, _, caption in boxes])
        draw_boxes(axes, boxes, colours)

    monkeypatch.setattr(module, "_draw_boxes", spy)
    shown = [Shown("baseline", fixed, 0.5), Shown("peer", fixed, 0.1), Shown("strict", fixed, 0.95)]
    rows = attention_figure(detector, shown, sets, tmp_path / "figure5.png", count=2)
    assert fixed.asked == [["dent", "red"]] * 3 + [["blue"]] * 3  # the vocabulary of each set
    assert drawn[:4] == [["red"], ["dent 0.90"], ["dent 0.90", "dent 0.20"], []]
    assert [(row["source"], row["names"]) for row in rows] == [("one", ["red"]), ("two", ["blue"])]
    assert all(0 <= value <= 1 and len(row["auroc"]) == 4 for row in rows for value in row["auroc"].values())
    assert json.loads((tmp_path / "figure5.json").read_text()) == rows
    with Image.open(tmp_path / "figure5.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 8 * 200 > picture.height  # eight columns, two rows


def test_boxes_that_cover_everything_leave_no_score(
    sets: list[LabelledSet], detector: Detector, tmp_path: Path
) -> None:
    record = sets[0].images[0]
    whole = replace(record, annotations=(replace(record.annotations[0], box_xyxy=(0.0, 0.0, 120.0, 80.0)),))
    (row,) = attention_figure(detector, [], [replace(sets[0], images=(whole,))], tmp_path / "a.png")
    assert set(row["auroc"].values()) == {None}
