from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtvp.models.contrastive_head import (
    MAX_SCALE,
    ContrastiveClassifier,
    DetectionHead,
    LinearClassifier,
    anchor_grid,
)

CHANNELS, TEXT_WIDTH = 8, 6


def make_text(count: int) -> Tensor:
    return F.normalize(torch.randn(count, TEXT_WIDTH, generator=torch.Generator().manual_seed(1)), dim=-1)


def make_classifier() -> ContrastiveClassifier:
    torch.manual_seed(0)
    return ContrastiveClassifier(CHANNELS, TEXT_WIDTH)


def make_head(strides: tuple[int, ...] = (8, 16), bins: int = 4) -> DetectionHead:
    torch.manual_seed(0)
    classifiers = [ContrastiveClassifier(CHANNELS, TEXT_WIDTH) for _ in strides]
    return DetectionHead(strides, CHANNELS, classifiers, bins).eval()


def make_levels(strides: tuple[int, ...], height: int, width: int) -> list[Tensor]:
    torch.manual_seed(2)
    return [torch.randn(2, CHANNELS, height // s, width // s) for s in strides]


def test_anchor_grid_by_hand() -> None:
    points, strides = anchor_grid([torch.empty(1, 1, 2, 3), torch.empty(1, 1, 1, 1)], (8, 16))
    assert points.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8]]
    assert strides.tolist() == [8] * 6 + [16]
    assert points.dtype == strides.dtype == torch.float32


def test_logits_are_scaled_cosines() -> None:
    classifier, text = make_classifier(), make_text(3)
    nn.init.constant_(classifier.log_scale, math.log(7))
    nn.init.constant_(classifier.bias, -1.5)
    feature = torch.randn(2, CHANNELS, 3, 4)
    logits = classifier(feature, text)
    assert logits.shape == (2, 3, 3, 4)
    for b in range(2):
        for y in range(3):
            for x in range(4):
                weight, bias = classifier.project.weight[:, :, 0, 0], classifier.project.bias
                region = weight @ feature[b, :, y, x] + bias
                for k in range(3):
                    cosine = F.cosine_similarity(region, text[k], dim=0)
                    torch.testing.assert_close(logits[b, k, y, x], 7 * cosine - 1.5, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_logits_do_not_depend_on_the_norm_of_the_region(factor: float) -> None:
    classifier, text = make_classifier(), make_text(3)
    feature = torch.randn(1, CHANNELS, 3, 4)
    before = classifier(feature, text)
    with torch.no_grad():
        for parameter in classifier.project.parameters():
            parameter.mul_(factor)
    torch.testing.assert_close(classifier(feature, text), before, rtol=1e-4, atol=1e-4)


def test_an_empty_region_has_the_prior_and_a_finite_gradient() -> None:
    classifier = make_classifier()
    nn.init.zeros_(classifier.project.bias)
    feature = torch.zeros(1, CHANNELS, 2, 2, requires_grad=True)
    logits = classifier(feature, make_text(2))
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.01))
    logits.sum().backward()
    assert feature.grad.isfinite().all()


def test_scale_is_bounded() -> None:
    classifier = make_classifier()
    nn.init.constant_(classifier.log_scale, 20.0)
    nn.init.zeros_(classifier.bias)
    assert classifier(torch.randn(1, CHANNELS, 4, 4), make_text(9)).abs().max() <= MAX_SCALE * 1.001


def test_linear_classifier_reads_no_text_and_starts_at_the_prior() -> None:
    classifier = LinearClassifier(CHANNELS, 5)
    logits = classifier(torch.zeros(1, CHANNELS, 2, 3), None)
    assert logits.shape == (1, 5, 2, 3)
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.01))


@pytest.mark.parametrize("strides", [(8, 16, 32), (4, 8, 16, 32), (4,)])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96)])
@pytest.mark.parametrize("prompts", [1, 100])
def test_shapes(strides: tuple[int, ...], height: int, width: int, prompts: int) -> None:
    output = make_head(strides)(make_levels(strides, height, width), make_text(prompts))
    cells = sum((height // s) * (width // s) for s in strides)
    assert output.boxes_xyxy.shape == (2, cells, 4)
    assert output.logits.shape == (2, cells, prompts)
    assert output.distance_logits.shape == (2, cells, 4, 4)
    assert output.anchor_points.shape == (cells, 2)
    assert output.anchor_strides.shape == (cells,)


def test_boxes_by_hand() -> None:
    """Distances 0, 1, 2 strides and half way between 2 and 3, for left, top, right, bottom."""
    head = make_head()
    sides = torch.full((4, 4), -1e4)
    sides[0, 0] = sides[1, 1] = sides[2, 2] = sides[3, 2] = sides[3, 3] = 0
    for branch in head.box_branches:
        nn.init.zeros_(branch[-1].weight)
        branch[-1].bias.data = sides.flatten()
    boxes = head(make_levels((8, 16), 16, 32), make_text(1)).boxes_xyxy
    assert boxes[0, 0].tolist() == [4, 4 - 8, 4 + 16, 4 + 20]  # stride 8, first cell
    assert boxes[1, 6].tolist() == [20, 12 - 8, 20 + 16, 12 + 20]  # second row, third column
    assert boxes[0, 8].tolist() == [8, 8 - 16, 8 + 32, 8 + 40]  # stride 16, first cell


def test_a_fresh_head_predicts_boxes_of_a_few_strides() -> None:
    head = make_head((8,), bins=16)
    nn.init.zeros_(head.box_branches[0][-1].weight)
    box = head(make_levels((8,), 32, 32), make_text(1)).boxes_xyxy[0, 0]
    assert 3 < float(box[2] - box[0]) / 8 < 5


class CellNumber(nn.Module):
    """A classifier that tells where a cell lies: its row and column."""

    def forward(self, feature: Tensor, text: Tensor | None) -> Tensor:
        height, width = feature.shape[2:]
        grid = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
        return grid.float().expand(len(feature), -1, -1, -1)


def test_logits_are_in_the_order_of_the_anchor_points() -> None:
    head = DetectionHead((8, 16), CHANNELS, [CellNumber(), CellNumber()], bins=4).eval()
    output = head(make_levels((8, 16), 32, 48), None)
    column_row = output.anchor_points / output.anchor_strides[:, None] - 0.5
    assert torch.equal(output.logits[0], column_row.flip(1))


def test_prompts_do_not_influence_each_other() -> None:
    head, levels, text = make_head(), make_levels((8, 16), 32, 32), make_text(10)
    together = head(levels, text)
    torch.testing.assert_close(
        head(levels, text[3:5]).logits, together.logits[..., 3:5], rtol=1e-4, atol=1e-5
    )
    assert torch.equal(head(levels, text[3:5]).boxes_xyxy, together.boxes_xyxy)
