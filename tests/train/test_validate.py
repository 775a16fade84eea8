from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from rtvp.config import TrainConfig
from rtvp.data.labelled import LabelledSet
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.train.data import RunData
from rtvp.train.validate import validate
from rtvp.types import DetectorOutput, Floats

CELL, SIZE = 32, 128
CHANNEL = {"red mark": 0, "green mark": 1}


class MarkEncoder:
    """The embedding of a name is the colour it speaks of."""

    name, version, width = "marks", "1", 3

    def encode(self, texts: Sequence[str]) -> Floats:
        return np.eye(3, dtype=np.float32)[[CHANNEL[text] for text in texts]]


class MarkDetector(nn.Module):
    """Finds the cells of 32 px that are of a prompt's colour."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.1))
        self.batches: list[int] = []

    def forward(self, images: Tensor, text: Tensor) -> DetectorOutput:
        self.batches.append(len(images))
        side = images.shape[-1] // CELL
        colours = F.avg_pool2d(images, CELL).flatten(2).transpose(1, 2)  # [B, A, 3]
        ys, xs = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        corner = torch.stack([xs, ys], dim=-1).view(-1, 2).float() * CELL
        boxes = torch.cat([corner, corner + CELL], dim=1).expand(len(images), -1, -1)
        empty = torch.zeros(len(images), side**2, 4, 2)
        return DetectorOutput(
            boxes, (colours @ text.T - 128) * self.gain, empty, corner, torch.full((side**2,), float(CELL))
        )


def write(path: Path, marks: dict[str, tuple[int, int]]) -> ImageRecord:
    """256 x 192 px, half that in the input: a mark of 64 px in the given column and row fills a cell."""
    pixels = np.zeros((192, 256, 3), np.uint8)
    annotations = []
    for name, (column, row) in marks.items():
        x, y = 64 * column, 64 * row
        pixels[y : y + 64, x : x + 64, CHANNEL.get(name, 2)] = 255
        annotations.append(Annotation(name, (x, y, x + 64, y + 64)))
    Image.fromarray(pixels).save(path)
    return ImageRecord(path, 256, 192, tuple(annotations), path.stem)


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    return [
        write(tmp_path / "0.png", {"red mark": (1, 0)}),
        write(tmp_path / "1.png", {"red mark": (2, 2), "green mark": (0, 1)}),
        write(tmp_path / "2.png", {}),
        write(tmp_path / "3.png", {"green mark": (3, 1), "blue mark": (0, 0)}),
        write(tmp_path / "4.png", {"red mark": (0, 0)}),
    ]


def run_data(
    validation: Sequence[LabelledSet],
    held_out: Sequence[LabelledSet] = (),
    seen: Sequence[str] = ("red mark",),
) -> RunData:
    trained = LabelledSet("trained", "", "", (), frozenset(seen))
    return RunData((trained,), tuple(validation), tuple(held_out), frozenset(), "")


def labelled(name: str, records: Sequence[ImageRecord], *names: str) -> LabelledSet:
    return LabelledSet(name, "marks", "", tuple(records), frozenset(names))


def run(data: RunData, encoder: MarkEncoder | None = None) -> tuple[dict[str, Any], float]:
    detector = {"input_size": SIZE, "text_width": 3}
    config = {
        "detector": detector,
        "data": {"sources": ["x"], "synthetic_share": 0.0},
        "training": {"steps": 1},
    }
    parsed = TrainConfig.model_validate(config)
    return validate(parsed, data, MarkDetector(), encoder or MarkEncoder())  # type: ignore[arg-type]


def test_a_detector_that_is_right_reaches_one(records: list[ImageRecord]) -> None:
    figures, threshold = run(run_data([labelled("marks", records, "green mark", "red mark")]))
    values = figures["validation"]["marks"]
    assert values["names"] == ["green mark", "red mark"] and values["images"] == 5
    assert figures["mean_validation_AP50"] == pytest.approx(1.0)
    assert figures["best_f1"]["f1"] == pytest.approx(1.0) and 0 < threshold < 1


def test_a_detector_that_sees_the_wrong_colour_reaches_nothing(records: list[ImageRecord]) -> None:
    class Swapped(MarkEncoder):
        def encode(self, texts: Sequence[str]) -> Floats:
            return np.roll(super().encode(texts), 1, axis=1)

    figures, _ = run(run_data([labelled("marks", records, "red mark")]), Swapped())
    assert figures["validation"]["marks"]["AP50"] == 0


def test_of_a_set_held_out_the_seen_names_are_asked_for(records: list[ImageRecord]) -> None:
    held_out = [
        labelled("other", records, "red mark", "green mark"),
        labelled("strange", records, "green mark"),
    ]
    figures, _ = run(run_data([labelled("marks", records[:1], "red mark")], held_out))
    assert list(figures["held_out"]) == ["other"]
    other = figures["held_out"]["other"]
    assert other["names"] == ["red mark"] and other["boxes"] == 3
    assert other["AP50"] == pytest.approx(1.0)


def test_a_set_without_boxes_has_no_figure(records: list[ImageRecord]) -> None:
    figures, _ = run(run_data([labelled("good", records[2:3], "red mark")]))
    assert figures["validation"]["good"]["AP50"] is None
    assert figures["mean_validation_AP50"] is None
