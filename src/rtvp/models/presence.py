"""Presence: whether an image shows what a prompt names at all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STATISTICS = 3


class PresenceHead(nn.Module):
    """How likely an image shows what a prompt names, from how far the best cell stands out of all others.

    The best contrastive logit alone is a poor judge: on one surface all cells score high, on another none. A
    weighted sum of it with the mean and the standard deviation of all cells tells more, and its four numbers
    carry over to products that they were not fitted on. They are fitted after training
    (`rtvp.train.fit_presence`), with good images and absent names weighing as much as the others; before,
    presence is the best logit. That presence is judged apart from place is the idea of SAM 3 (Carion et al.
    2025).

    ``forward`` takes logits [B, A, K] and gives presence logits [B, K].
    """

    weight: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor([1.0, 0.0, 0.0]))
        self.register_buffer("bias", torch.zeros(1))

    def forward(self, logits: Tensor) -> Tensor:
        """See the class."""
        return presence_statistics(logits) @ self.weight + self.bias


def presence_statistics(logits: Tensor) -> Tensor:
    """[B, A, K] -> [B, K, 3]: highest, mean and standard deviation over the cells."""
    logits = logits.float()
    mean = logits.mean(dim=1)
    deviation = (logits - mean[:, None]).square().mean(dim=1).sqrt()
    return torch.stack([logits.amax(dim=1), mean, deviation], dim=-1)
