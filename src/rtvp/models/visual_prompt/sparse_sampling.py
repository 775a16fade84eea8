"""Sparse sample selection: in every patch, the few cells whose score stands out (Eq. 6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_PATCH_CELLS = 2  # a patch of one cell has no cell above its own mean


def sparse_sampling_mask(scores: Tensor, patch: int, keep: float, rounds: int = 1) -> Tensor:
    """Eq. 6: in every patch, keep the top-k cells among those above the patch mean; repeat on what is left.

    Args:
        scores: [B, 1, H, W] uncertainty scores in (0, 1).
        patch: side of a patch, cells (at least 2).
        keep: k as a share of the patch's cells, in (0, 1]; at least one cell.
        rounds: how often the selection is made; each round sees only cells that no round before it kept.

    Returns:
        [B, 1, H, W] of 0 and 1, no gradient. A patch of equal scores keeps nothing: nothing stands out in it.
    """
    height, width = scores.shape[2:]
    pad_right, pad_bottom = -width % patch, -height % patch
    # A score below any sigmoid marks the padding, so that it is never kept and never counted in a mean.
    padded = F.pad(scores.detach().float(), (0, pad_right, 0, pad_bottom), value=-1.0)
    cells = F.pixel_unshuffle(padded, patch)  # [B, patch * patch, rows, columns]
    count = max(1, round(keep * patch * patch))
    kept = torch.zeros_like(cells)
    for _ in range(rounds):
        free = (cells >= 0) & (kept == 0)
        mean = (cells * free).sum(dim=1, keepdim=True) / free.sum(dim=1, keepdim=True).clamp(min=1)
        # The mean of equal scores may be rounded to below them: where nothing stands out, nothing is kept.
        lowest = cells.masked_fill(~free, 1.0).amin(dim=1, keepdim=True)
        candidate = cells.masked_fill(~free, -1.0)
        value, index = candidate.topk(count, dim=1)
        chosen = value > torch.maximum(mean, lowest)
        kept = kept.scatter_add(1, index, chosen.to(kept.dtype))
    return F.pixel_shuffle(kept, patch)[:, :, :height, :width].to(scores.dtype)
