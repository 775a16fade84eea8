"""SAM's prompt encoder: points, boxes and masks to embeddings (Kirillov et al., "Segment Anything", 2023).

The official names of the parameters are kept, so that the official file loads as it is. Sizes are not: the
embedded picture may have any, and need not be square.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rtvp.models.image_encoder.tiny_vit import LayerNorm2d

WIDTH = 256  # of all embeddings
STRIDE = 16  # of the embedded picture, px of the network input
NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = range(4)  # kinds of points, each with an embedding of its own
PADDING = -1
_MASK_CHANNELS = (4, 16)


class PromptEncoder(nn.Module):
    """Where to look, as embeddings; 6.2 k weights.

    N is the number of things to segment. Positions are px of the network input.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pe_layer = PositionEncoding(WIDTH)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, WIDTH) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, WIDTH)
        first, second = _MASK_CHANNELS
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, first, kernel_size=2, stride=2),
            LayerNorm2d(first),
            nn.GELU(),
            nn.Conv2d(first, second, kernel_size=2, stride=2),
            LayerNorm2d(second),
            nn.GELU(),
            nn.Conv2d(second, WIDTH, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, WIDTH)

    def forward(
        self,
        grid: tuple[int, int],
        boxes_xyxy: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embed what is given, at least one kind of prompt.

        Args:
            grid: height and width of the embedded picture, cells.
            boxes_xyxy: [N, 4] px.
            points: [N, P, 2] px, (x, y).
            labels: [N, P] 1 where a point lies on the thing, 0 where it does not, -1 where there is none.
            masks: [N, 1, 4 * height, 4 * width] logits of an earlier answer.

        Returns:
            [N, P + 2, 256] of points and corners, [N, 256, height, width] of the masks.
        """
        sparse: list[Tensor] = []
        if points is not None and labels is not None:
            if boxes_xyxy is None:  # without a box a point that is none follows, as in training
                points = torch.cat([points, torch.zeros_like(points[:, :1])], dim=1)
                labels = torch.cat([labels, torch.full_like(labels[:, :1], PADDING)], dim=1)
            sparse.append(self._embed(points, labels, grid))
        if boxes_xyxy is not None:
            corners = boxes_xyxy.reshape(-1, 2, 2)
            kinds = torch.tensor([TOP_LEFT, BOTTOM_RIGHT], device=corners.device).expand(len(corners), 2)
            sparse.append(self._embed(corners, kinds, grid))
        if masks is not None:
            dense: Tensor = self.mask_downscaling(masks)
        else:
            dense = self.no_mask_embed.weight.view(1, WIDTH, 1, 1).expand(len(sparse[0]), -1, *grid)
        return torch.cat(sparse, dim=1) if sparse else dense.new_zeros(len(dense), 0, WIDTH), dense

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """[1, 256, height, width]: where each cell of the embedded picture lies."""
        height, width = grid
        device = self.no_mask_embed.weight.device
        y = (torch.arange(height, device=device) + 0.5) / max(grid)
        x = (torch.arange(width, device=device) + 0.5) / max(grid)
        cells = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # [height, width, 2]
        encoded: Tensor = self.pe_layer(cells)
        return encoded.permute(2, 0, 1).unsqueeze(0)

    def _embed(self, points: Tensor, kinds: Tensor, grid: tuple[int, int]) -> Tensor:
        """[N, P, 2] px and [N, P] kinds to [N, P, 256]."""
        # SAM saw pictures at the top left of a square, the rest padding: positions are shares of its side.
        encoded = self.pe_layer((points + 0.5) / (max(grid) * STRIDE))
        table = torch.cat(list(self.point_embeddings.parameters()))  # [4, 256]
        none = (kinds == PADDING).unsqueeze(-1)
        return torch.where(none, self.not_a_point_embed.weight, encoded + table[kinds.clamp(min=0).long()])


class PositionEncoding(nn.Module):
    """Sine and cosine of random projections: [..., 2] in 0..1 to [..., width]."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # The official file holds the draw that the weights were trained with.
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, places: Tensor) -> Tensor:
        """See the class."""
        angles = 2 * math.pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
