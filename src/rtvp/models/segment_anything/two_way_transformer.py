"""SAM's two-way transformer: prompts look at the picture, the picture looks at the prompts, twice."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

DEPTH, HEADS, HIDDEN = 2, 8, 2048
NARROWED = 2  # attention between tokens and picture works at a half of the width


class TwoWayTransformer(nn.Module):
    """[N, T, width] tokens and [N, width, H, W] picture to the same two, each having seen the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(width, first=index == 0) for index in range(DEPTH))
        self.final_attn_token_to_image = Attention(width, width // NARROWED)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, picture: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; ``positions`` [1, width, H, W] are added wherever cells are told apart."""
        shape = picture.shape
        cells = picture.flatten(2).transpose(1, 2)  # [N, H * W, width]
        places = positions.flatten(2).transpose(1, 2)  # [1, H * W, width]
        queries = tokens
        for layer in self.layers:
            queries, cells = layer(queries, cells, tokens, places)
        queries = queries + self.final_attn_token_to_image(queries + tokens, cells + places, cells)
        return self.norm_final_attn(queries), cells.transpose(1, 2).reshape(shape)


class TwoWayBlock(nn.Module):
    """Tokens among themselves, tokens to picture, an MLP on the tokens, picture to tokens.

    Args:
        width: of tokens and cells.
        first: whether it is the first block, whose tokens are still their own positions.
    """

    def __init__(self, width: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, width // NARROWED)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = TokenMLP(width)
        self.norm3 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, width // NARROWED)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, cells: Tensor, token_places: Tensor, cell_places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """[N, T, width], [N, H * W, width] and what tells their positions to the first two."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + token_places
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        seen = self.cross_attn_token_to_image(tokens + token_places, cells + cell_places, cells)
        tokens = self.norm2(tokens + seen)
        tokens = self.norm3(tokens + self.mlp(tokens))
        asked = self.cross_attn_image_to_token(cells + cell_places, tokens + token_places, tokens)
        return tokens, self.norm4(cells + asked)


class Attention(nn.Module):
    """Multi-head attention that works at ``inner`` of ``width`` channels."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[N, Q, width], [N, K, width], [N, K, width] to [N, Q, width]."""
        q, k, v = (
            projected.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # [N, heads, Q or K, inner / heads]
            for projected in (self.q_proj(query), self.k_proj(key), self.v_proj(value))
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return projected


class TokenMLP(nn.Module):
    """Two linear layers: [..., width] to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, HIDDEN)
        self.lin2 = nn.Linear(HIDDEN, width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        mapped: Tensor = self.lin2(F.relu(self.lin1(x)))
        return mapped
