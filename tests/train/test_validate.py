from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.train.validate import validate
from rtvp.types import DetectorOutput

CELL, SIZE = 32, 128
CHANNEL = {"red mark": 0, "green mark": 1}


class MarkEncoder:
    """The embedding of a name is the colour it speaks of."""

    name, version, width = "marks", "1", 3

    def encode(self, texts: Sequence[str]) -> Tensor:
        return F.one_hot(torch.tensor([CHANNEL[text] for text in texts]), 3).float()


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


def test_a_detector_that_is_right_reaches_one(records: list[ImageRecord]) -> None:
    """Boxes are brought back to the original picture; a batch need not be full."""
    detector = MarkDetector()
    names = {"marks": ("green mark", "red mark")}
    ((source, outcome),) = validate(
        detector,  # type: ignore[arg-type]
        MarkEncoder(),
        {"marks": records},
        names,
        SIZE,
        batch_size=2,
    )
    assert source == "marks"
    assert outcome.names == names["marks"]
    assert outcome.figures() == pytest.approx({"images": 5, "boxes": 5, "AP": 1.0, "AP50": 1.0, "AP75": 1.0})
    assert detector.batches == [2, 2, 1]
    assert detector.gain.grad is None


def test_names_that_are_not_asked_for_are_not_missed(records: list[ImageRecord]) -> None:
    sources = {"red": records, "green": records[1:3]}
    names = {"red": ("red mark",), "green": ("green mark",)}
    outcomes = dict(validate(MarkDetector(), MarkEncoder(), sources, names, SIZE))  # type: ignore[arg-type]
    assert {source: outcome.figures()["boxes"] for source, outcome in outcomes.items()} == {
        "red": 3,
        "green": 1,
    }
    assert {outcome.figures()["AP"] for outcome in outcomes.values()} == {1.0}


def test_a_detector_that_sees_the_wrong_colour_reaches_nothing(records: list[ImageRecord]) -> None:
    class Swapped(MarkEncoder):
        def encode(self, texts: Sequence[str]) -> Tensor:
            return super().encode(texts).roll(1, dims=1)

    names = {"marks": ("red mark",)}
    ((_, outcome),) = validate(MarkDetector(), Swapped(), {"marks": records}, names, SIZE)  # type: ignore[arg-type]
    assert outcome.figures()["AP50"] == 0


def test_a_source_without_boxes_has_no_figure(records: list[ImageRecord]) -> None:
    images = {"none": records[2:3], "empty": []}
    names = {"none": ("red mark",), "empty": ("red mark",)}
    outcomes = dict(validate(MarkDetector(), MarkEncoder(), images, names, SIZE))  # type: ignore[arg-type]
    figures = {source: outcome.figures() for source, outcome in outcomes.items()}
    assert figures["none"]["images"] == 1 and figures["none"]["AP"] != figures["none"]["AP"]
    assert figures["empty"]["images"] == 0 and figures["empty"]["AP50"] != figures["empty"]["AP50"]
