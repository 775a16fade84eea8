"""A second look from further away, with networks whose answers are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from rtvp.second_look import LEAST, look_again
from rtvp.types import Detections, DetectorOutput

IMAGE = np.zeros((640, 640, 3), np.uint8)  # twice the first input
SIZE = 320


def found(*boxes: tuple[list[float], float, int]) -> Detections:
    return Detections(
        torch.tensor([box for box, _, _ in boxes]).reshape(-1, 4),
        torch.tensor([score for _, score, _ in boxes]),
        torch.tensor([label for _, _, label in boxes], dtype=torch.int64),
    )


def network(
    second: Detections, seen: list[tuple[int, ...]] | None = None
) -> Callable[[Tensor], DetectorOutput]:
    """Says that it finds ``second``, given in px of the image, wherever it looks."""

    def forward(pixels: Tensor) -> DetectorOutput:
        if seen is not None:
            seen.append(tuple(pixels.shape))
        count = max(1, len(second.scores))
        logits = torch.full((count, 2), -30.0)
        boxes = torch.zeros(count, 4)
        for index, (box, score, label) in enumerate(
            zip(second.boxes_xyxy, second.scores, second.labels, strict=True)
        ):
            boxes[index], logits[index, label] = box * (pixels.shape[3] / 640), score.logit()
        places = boxes[:, :2]
        return DetectorOutput(
            boxes[None], logits[None], torch.zeros(1, count, 4, 2), places, torch.ones(count)
        )

    return forward


def look(first: Detections, second: Detections) -> Detections:
    (result,) = look_again([IMAGE], [first], network(second), SIZE)
    return result


LARGE = [100.0, 100.0, 300.0, 300.0]  # 100 px in the first input
SMALL = [400.0, 400.0, 460.0, 460.0]  # 30 px


def test_it_looks_from_further_away() -> None:
    seen: list[tuple[int, ...]] = []
    look_again([IMAGE], [found()], network(found(), seen), SIZE)
    assert seen == [(1, 3, 192, 192)]


def test_both_have_a_say_on_large_ones() -> None:
    result = look(found((LARGE, 0.9, 0)), found((LARGE, 0.2, 0)))
    expected = (torch.tensor(0.9).logit() + torch.tensor(0.2).logit()) / 2
    torch.testing.assert_close(result.scores, expected.sigmoid()[None])
    torch.testing.assert_close(result.boxes_xyxy, torch.tensor([LARGE]))


def test_small_ones_are_left_to_the_first() -> None:
    for second in (found(), found((SMALL, 0.999, 0))):
        result = look(found((SMALL, 0.4, 0)), second)
        torch.testing.assert_close(result.scores, torch.tensor([0.4]))


def test_in_between_the_second_counts_in_part() -> None:
    side = 96.0  # 48 px: half way
    box = [0.0, 0.0, side, side]
    result = look(found((box, 0.8, 0)), found((box, 0.3, 0)))
    expected = (torch.tensor(0.8).logit() + 0.5 * torch.tensor(0.3).logit()) / 1.5
    torch.testing.assert_close(result.scores, expected.sigmoid()[None])


def test_what_one_of_them_does_not_see_falls() -> None:
    least = torch.tensor(LEAST).logit()
    for first, second in ((found((LARGE, 0.9, 1)), found()), (found(), found((LARGE, 0.9, 1)))):
        result = look(first, second)
        torch.testing.assert_close(result.scores, ((torch.tensor(0.9).logit() + least) / 2).sigmoid()[None])
        assert result.labels.tolist() == [1]
        torch.testing.assert_close(result.boxes_xyxy, torch.tensor([LARGE]))


def test_names_do_not_mix() -> None:
    result = look(found((LARGE, 0.9, 0)), found((LARGE, 0.9, 1)))
    assert sorted(result.labels.tolist()) == [0, 1]
    assert (result.scores < 0.1).all()


def test_boxes_beside_each_other_do_not_help_each_other() -> None:
    beside = [300.0, 100.0, 500.0, 300.0]
    result = look(found((LARGE, 0.9, 0)), found((beside, 0.9, 0)))
    assert len(result.scores) == 2
    assert (result.scores < 0.1).all()


@pytest.mark.parametrize("count", [0, 1, 400])
def test_best_first_and_not_too_many(count: int) -> None:
    rng = np.random.default_rng(count)

    def some() -> Detections:
        corner = torch.from_numpy(rng.uniform(0, 500, (count, 2))).float()
        size = torch.from_numpy(rng.uniform(20, 140, (count, 2))).float()
        scores = torch.from_numpy(rng.uniform(0.01, 0.99, count)).float().sort(descending=True).values
        labels = torch.from_numpy(rng.integers(0, 2, count))
        return Detections(torch.cat([corner, corner + size], 1), scores, labels)

    first, second = some(), some()
    result = look(first, second)
    assert len(result.scores) <= 300
    assert (result.scores.diff() <= 0).all()
    assert ((result.scores > 0) & (result.scores < 1)).all()
    assert len(result.scores) == len(result.labels) == len(result.boxes_xyxy)
