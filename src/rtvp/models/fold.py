"""The network as it is run, not trained: batch normalisation folded into the convolutions before it."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module) -> None:
    """Fold each `BatchNorm2d` into the `Conv2d` right before it, in place: the same outputs up to rounding.

    At evaluation the normalisation is a scale and a shift per channel, which the convolution can do itself,
    and a whole pass over the map is saved. What is right before is read off the order in which a module names
    its children, which in this package is the order in which it calls them.

    Args:
        network: in eval mode. It can no longer be trained, nor take the weights of a checkpoint.
    """
    for module in list(network.modules()):
        for (name, first), (next_name, second) in pairwise(list(module.named_children())):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, next_name, nn.Identity())
