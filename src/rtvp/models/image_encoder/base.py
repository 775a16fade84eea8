"""What every image encoder is to the rest of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rtvp.errors import RtvpError

if TYPE_CHECKING:
    from typing_extensions import Self


class ImageEncoder(nn.Module):
    """Pictures to feature maps.

    ``forward`` takes images [B, 3, H, W], float RGB in 0..255, H and W multiples of 32, and returns one map
    [B, channels[i], H / strides[i], W / strides[i]] per entry of ``strides`` (rising). Normalisation belongs
    to the encoder, so that every caller and every export uses the constants its weights were trained with.

    Args:
        strides: stride of each returned map, px.
        channels: channels of each returned map.
        pixel_mean: mean per RGB channel, in 0..255.
        pixel_std: standard deviation per RGB channel, in 0..255.

    Attributes:
        frozen: whether ``freeze`` was called.
        learns_beyond: stride, px, of the coarsest map that stays as it is where ``thaw_beyond`` was called.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        strides: Sequence[int],
        channels: Sequence[int],
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.channels = tuple(channels)
        self.frozen = False
        self.learns_beyond: int | None = None
        # Constants, not weights: kept out of the state dict so that official files load strictly.
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] float RGB in 0..255 to zero mean and unit deviation."""
        return (images - self.pixel_mean) / self.pixel_std

    def freeze(self) -> Self:
        """Stop learning for good: no gradients, no autograd graph, and batch statistics stay as they are.

        Returns:
            The encoder itself, in eval mode, where it stays when a parent module is put in training mode.
        """
        self.frozen = True
        return self.requires_grad_(False).eval()

    def thaw_beyond(self, stride: int) -> Self:
        """Let the late blocks of a frozen encoder learn: those that work on maps coarser than ``stride`` px.

        Batch statistics stay as they are, and the encoder in eval mode: small batches would spoil them.

        Raises:
            RtvpError: the encoder has no map of this stride, or none of its blocks lie behind one.
        """
        blocks = self.blocks_beyond(stride)
        if not blocks:
            known = ", ".join(map(str, self.strides))
            raise RtvpError(
                f"{type(self).__name__}: expected a stride out of {known} that blocks follow, got {stride}"
            )
        for block in blocks:
            block.requires_grad_(True)
        self.learns_beyond = stride
        return self

    @property
    def fixed_strides(self) -> tuple[int, ...]:
        """Strides of the maps that training leaves as they are."""
        if not self.frozen:
            return ()
        if self.learns_beyond is None:
            return self.strides
        return self.strides[: self.strides.index(self.learns_beyond) + 1]

    def finish(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """All maps, given the fixed ones: of ``maps``, an entry a stride, those that learn are made anew."""
        return tuple(maps)

    def blocks_beyond(self, stride: int) -> Sequence[nn.Module]:
        """The blocks behind the map of ``stride`` px, in order; none where an encoder cannot be cut so."""
        return ()

    def train(self, mode: bool = True) -> Self:
        """As ``nn.Module.train``; a frozen encoder stays in eval mode."""
        return super().train(mode and not self.frozen)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        raise NotImplementedError
