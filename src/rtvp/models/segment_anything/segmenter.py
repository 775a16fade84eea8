"""Boxes in an embedded picture to masks, and the official weights that can do so."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.models.image_encoder.checkpoint import load_exactly, read_state_dict
from rtvp.models.segment_anything.mask_decoder import MaskDecoder
from rtvp.models.segment_anything.prompt_encoder import POSITIVE, PromptEncoder

PARTS = ("prompt_encoder.", "mask_decoder.")


class BoxSegmenter(nn.Module):
    """SAM's prompt encoder and mask decoder, named as in the official file."""

    def __init__(self) -> None:
        super().__init__()
        self.prompt_encoder = PromptEncoder()
        self.mask_decoder = MaskDecoder()

    def forward(self, picture: Tensor, boxes_xyxy: Tensor, points: Tensor | None = None) -> Tensor:
        """The mask in each box.

        Args:
            picture: [1, 256, H, W] from Mobile-SAM's image encoder.
            boxes_xyxy: [N, 4] px of the network input.
            points: [N, P, 2] px, (x, y), that lie on what is meant.

        Returns:
            [N, 4 * H, 4 * W] logits, above 0 in the mask: a cell is 4 px of the network input.
        """
        grid = (picture.shape[2], picture.shape[3])
        labels = None if points is None else torch.full(points.shape[:2], POSITIVE, device=points.device)
        sparse, dense = self.prompt_encoder(grid, boxes_xyxy, points, labels)
        masks, _ = self.mask_decoder(picture, self.prompt_encoder.positions(grid), sparse, dense)
        first: Tensor = masks[:, 0]  # a box leaves no doubt
        return first


def load_mobile_sam_decoder(segmenter: BoxSegmenter, path: Path) -> None:
    """Fill ``segmenter`` from the official ``mobile_sam.pt``; a file that does not fit changes nothing.

    Raises:
        RtvpError: the file is missing, damaged, or not Mobile-SAM's.
    """
    tensors = {name: value for name, value in read_state_dict(path).items() if name.startswith(PARTS)}
    if not tensors:
        wanted = " and ".join(f"{part}*" for part in PARTS)
        raise RtvpError(
            f"{path}: expected Mobile-SAM's mobile_sam.pt with tensors named {wanted}, found none"
        )
    load_exactly(segmenter, tensors, path)
