"""SAM's mask decoder: an embedded picture and embedded prompts to masks and their quality."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtvp.models.image_encoder.tiny_vit import LayerNorm2d
from rtvp.models.segment_anything.prompt_encoder import WIDTH
from rtvp.models.segment_anything.two_way_transformer import TwoWayTransformer

MASKS = 4  # the first for prompts that leave no doubt, three for whole, part and part of a part


class MaskDecoder(nn.Module):
    """Four masks a prompt; 4.1 M weights."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(WIDTH)
        self.iou_token = nn.Embedding(1, WIDTH)
        self.mask_tokens = nn.Embedding(MASKS, WIDTH)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(WIDTH, WIDTH // 4, kernel_size=2, stride=2),
            LayerNorm2d(WIDTH // 4),
            nn.GELU(),
            nn.ConvTranspose2d(WIDTH // 4, WIDTH // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(WIDTH, WIDTH, WIDTH, WIDTH // 8) for _ in range(MASKS)
        )
        self.iou_prediction_head = MLP(WIDTH, WIDTH, WIDTH, MASKS)

    def forward(
        self, picture: Tensor, positions: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All masks of N prompts in one picture.

        Args:
            picture: [1, 256, H, W] from the image encoder.
            positions: [1, 256, H, W] from `PromptEncoder.positions`.
            sparse: [N, T, 256] from the prompt encoder.
            dense: [N, 256, H, W] likewise.

        Returns:
            [N, 4, 4 * H, 4 * W] logits, [N, 4] estimates of their IoU with the truth.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])  # [5, 256]
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        tokens, mixed = self.transformer(tokens, picture + dense, positions)
        kernels = torch.stack(
            [mlp(tokens[:, 1 + index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )  # [N, 4, 32]
        masks = torch.einsum("nmc,nchw->nmhw", kernels, self.output_upscaling(mixed))
        return masks, self.iou_prediction_head(tokens[:, 0])


class MLP(nn.Module):
    """Linear layers with ReLU between them: [..., widths[0]] to [..., widths[-1]]."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        mapped: Tensor = last(x)
        return mapped
