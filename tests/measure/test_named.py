from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rtvp.measure.named import SCORE_FLOOR, ClosedNamed, NamedDetector, RtvpNamed
from rtvp.models.expert import ExpertOutput
from rtvp.predict import Detector
from rtvp.types import DetectorOutput, Prompt

RED_GREEN = (Prompt("red"), Prompt("green"))


@pytest.fixture
def named(colour_detector: Detector) -> RtvpNamed:
    return RtvpNamed(
        colour_detector.network, colour_detector.text_encoder, colour_detector.size, name="colours"
    )


class ColourExpert(nn.Module):
    """The network of known answers with a closed head: its logits are red, green and blue."""

    def __init__(self, network: Callable[..., DetectorOutput]) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> ExpertOutput:
        return ExpertOutput((), self.network(images, torch.zeros(3, 4)))


@pytest.fixture
def closed(colour_detector: Detector) -> ClosedNamed:
    expert = ColourExpert(colour_detector.network.module)
    return ClosedNamed(expert, ("red", "green", "blue"), colour_detector.size)  # type: ignore[arg-type]


def test_boxes_are_in_pixels_of_the_original(named: RtvpNamed, red_square: np.ndarray) -> None:
    found, empty = named.detect([red_square, np.zeros((90, 90, 3), np.uint8)], RED_GREEN)
    assert named.name == "colours"
    assert found.boxes_xyxy[0].tolist() == pytest.approx([128, 64, 192, 128])
    assert found.labels[0] == 0 and found.scores[0] > 0.99
    assert (found.scores > SCORE_FLOOR).all()
    assert len(empty.scores) == 0


def test_low_scores_are_there_too(named: RtvpNamed, red_square: np.ndarray) -> None:
    (found,) = named.detect([red_square // 4], RED_GREEN[:1])
    assert SCORE_FLOOR < found.scores[0] < 0.1


def test_it_finds_what_predict_finds(
    named: RtvpNamed, colour_detector: Detector, red_square: np.ndarray
) -> None:
    (found,) = named.detect([red_square], RED_GREEN)
    result = colour_detector.detect(red_square, RED_GREEN, threshold=SCORE_FLOOR)
    assert np.array_equal(found.boxes_xyxy, result.boxes_xyxy)
    assert np.array_equal(found.scores, result.scores)


def test_prompts_are_embedded_when_they_change(named: RtvpNamed, colour_detector: Detector) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    for prompts in (RED_GREEN, list(RED_GREEN), RED_GREEN[1:]):
        named.detect([image], prompts)
    assert colour_detector.text_encoder.calls == [("red", "green"), ("green",)]  # type: ignore[attr-defined]


def test_the_expert_answers_to_the_names_of_its_classes(closed: ClosedNamed, red_square: np.ndarray) -> None:
    green = np.roll(red_square, 1, axis=2)
    red, other = closed.detect([red_square, green], [Prompt("dent"), Prompt("green"), Prompt("red")])
    assert (red.labels[0], other.labels[0]) == (2, 1)
    assert other.boxes_xyxy[0].tolist() == pytest.approx([128, 64, 192, 128])


def test_the_expert_finds_nothing_of_names_that_it_does_not_know(
    closed: ClosedNamed, red_square: np.ndarray
) -> None:
    (found,) = closed.detect([red_square], [Prompt("dent")])
    assert found.boxes_xyxy.shape == (0, 4) and found.labels.dtype == np.int64


def test_both_are_named_detectors(named: RtvpNamed, closed: ClosedNamed) -> None:
    detectors: list[NamedDetector] = [named, closed]
    assert [each.name for each in detectors] == ["colours", "expert"]
