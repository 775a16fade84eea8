from __future__ import annotations

import math

import torch

from rtvp.models.contrastive_head import anchor_grid
from rtvp.models.visual_prompt.auxiliary_head import AuxiliaryBoxHead


def test_boxes_hold_their_cell_and_are_counted_level_by_level() -> None:
    torch.manual_seed(0)
    prompts = [torch.randn(2, 6, 4, 6) * 5, torch.randn(2, 6, 2, 3) * 5]
    boxes = AuxiliaryBoxHead((8, 16), 6)(prompts)
    assert boxes.shape == (2, 4 * 6 + 2 * 3, 4)
    points, _ = anchor_grid(prompts, (8, 16))
    assert (boxes[..., :2] < points).all()
    assert (boxes[..., 2:] > points).all()


def test_an_empty_prompt_says_nothing_of_the_place() -> None:
    """Where nothing was kept, distances come from the bias: here softplus(0) = log 2 strides."""
    head = AuxiliaryBoxHead((8,), 6)
    torch.nn.init.zeros_(head.predictors[0].bias)
    boxes = head([torch.zeros(1, 6, 2, 2)])
    distance = 8 * math.log(2)
    torch.testing.assert_close(
        boxes[0, 3], torch.tensor([12 - distance, 12 - distance, 12 + distance, 12 + distance])
    )


def test_gradient_reaches_the_prompt_of_the_supervised_cell() -> None:
    torch.manual_seed(0)
    prompt = torch.randn(1, 6, 3, 3, requires_grad=True)
    head = AuxiliaryBoxHead((8,), 6)
    head([prompt])[0, 4].square().sum().backward()  # the cell in the middle
    reached = prompt.grad.abs().amax(dim=(0, 1)) > 0
    assert reached.int().tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert all(p.grad.abs().max() > 0 for p in head.parameters())
