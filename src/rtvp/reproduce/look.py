"""One look of RTVP at one image, with what happens inside it: the raw material of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtvp.data.images import letterbox
from rtvp.errors import RtvpError
from rtvp.models.cross_modal_attention import MaxSigmoidAttention
from rtvp.models.detector import RTVPDetector
from rtvp.models.postprocess import postprocess
from rtvp.models.text_encoder import embed_prompts
from rtvp.models.torch_network import TorchNetwork, to_tensor
from rtvp.models.visual_prompt.refiner import RefinedPrompt, VisualPromptRefiner
from rtvp.predict import Detector
from rtvp.types import Detections, Letterbox, Prompt

RGBArray: TypeAlias = NDArray[np.uint8]  # [H, W, 3]


@dataclass(frozen=True, slots=True)
class Look:
    """What a detector made of one image. Maps cover the letterboxed input, finest level first.

    Attributes:
        letterbox: how the image was placed in the input.
        features: what enters the head, per head level [C, H/s, W/s].
        scores: uncertainty scores M (Eq. 4), per level [H/s, W/s]; empty without a visual prompt.
        attention: the weights of Eq. 7, mean over their heads, in the last block of each level of the neck,
            [H/s, W/s]; empty without text-visual interaction.
        detections: what was found, with every score.
    """

    letterbox: Letterbox
    features: tuple[Tensor, ...]
    scores: tuple[Tensor, ...]
    attention: tuple[Tensor, ...]
    detections: Detections


@torch.inference_mode()
def look(
    detector: Detector,
    image: RGBArray,
    prompts: Sequence[Prompt],
    given_boxes: NDArray[np.float32] | None = None,
) -> Look:
    """Detect in one image and keep what the network computed on the way.

    Args:
        detector: an RTVP detector, any of its parts off.
        image: [H, W, 3] uint8 RGB.
        prompts: what to look for.
        given_boxes: [N, 4] xyxy in pixels of the image; if given, they are the visual prompt in place of the
            refined one: F^R is kept in all cells that they touch, and nowhere else.

    Raises:
        RtvpError: boxes for a detector without a visual prompt.
    """
    network = rtvp_network(detector)
    pixels, placement = letterbox(image, detector.size)
    text = torch.from_numpy(embed_prompts(prompts, detector.text_encoder, detector.cache))
    features: list[Tensor] = []
    attention: list[Tensor] = []

    def keep_features(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        features.extend(level[0] for level in inputs[0])

    def keep_attention(module: nn.Module, inputs: tuple[Any, ...], _: Tensor) -> None:
        assert isinstance(module, MaxSigmoidAttention)
        attention.append(module.attention(*inputs)[0].mean(dim=0))

    def prompt_with_boxes(module: nn.Module, inputs: tuple[Any, ...], prompt: RefinedPrompt) -> RefinedPrompt:
        assert isinstance(module, VisualPromptRefiner) and given_boxes is not None
        return _prompt_of_boxes(module, inputs[0], prompt, given_boxes * placement.scale, network.strides)

    with ExitStack() as hooks:
        hooks.enter_context(network.head.register_forward_pre_hook(keep_features))
        for module in _last_attentions(network):
            hooks.enter_context(module.register_forward_hook(keep_attention))
        if given_boxes is not None:
            if network.refiner is None:
                raise RtvpError(f"model {detector.name} has no visual prompt that boxes could stand for")
            hooks.enter_context(network.refiner.register_forward_hook(prompt_with_boxes))
        output = network(to_tensor(pixels[None], detector.device), text.to(detector.device))
    (found,) = postprocess(output.predictions(), [placement], score_threshold=0.0)
    scores = tuple(level[0, 0] for level in output.prompt_scores)
    return Look(placement, tuple(features), scores, tuple(attention), found)


@torch.inference_mode()
def uncertainty(detector: Detector, image: RGBArray) -> tuple[tuple[Tensor, ...], Letterbox]:
    """The uncertainty scores M (Eq. 4) alone, per level [H/s, W/s], which need no text.

    Raises:
        RtvpError: a detector without a visual prompt.
    """
    network = rtvp_network(detector)
    if network.refiner is None:
        raise RtvpError(f"model {detector.name} has no visual prompt to take a region from")
    pixels, placement = letterbox(image, detector.size)
    coarse = network.adapt(network.encode(to_tensor(pixels[None], detector.device)))
    return tuple(level[0, 0] for level in network.refiner(coarse).scores), placement


def rtvp_network(detector: Detector) -> RTVPDetector:
    """The network of ``detector``, whose parts the figures look into.

    Raises:
        RtvpError: it is another kind of network.
    """
    network = detector.network
    module = network.module if isinstance(network, TorchNetwork) else network
    if not isinstance(module, RTVPDetector):
        kind = type(module).__name__
        raise RtvpError(f"model {detector.name}: expected an RTVP detector, got a {kind}")
    return module


def coverage(boxes_xyxy: Tensor, stride: int, height: int, width: int) -> Tensor:
    """How much of each cell lies in each box: [N, 4] in px of the input to [N, height, width] in [0, 1]."""
    edges_x, edges_y = torch.arange(width + 1.0) * stride, torch.arange(height + 1.0) * stride

    def share(low: Tensor, high: Tensor, edges: Tensor) -> Tensor:
        begin, end = torch.maximum(low[:, None], edges[:-1]), torch.minimum(high[:, None], edges[1:])
        return (end - begin).clamp(min=0) / stride

    x1, y1, x2, y2 = boxes_xyxy.float().cpu().unbind(dim=1)
    return share(y1, y2, edges_y)[:, :, None] * share(x1, x2, edges_x)[:, None, :]


def _last_attentions(network: RTVPDetector) -> list[MaxSigmoidAttention]:
    blocks = [*list(network.neck.top_down)[-1:], *network.neck.bottom_up]  # one a level, finest first
    attentions = [block.attention for block in blocks]
    return [module for module in attentions if isinstance(module, MaxSigmoidAttention)]


def _prompt_of_boxes(
    refiner: VisualPromptRefiner,
    coarse: Sequence[Tensor],
    refined: RefinedPrompt,
    boxes_xyxy: NDArray[np.float32],
    strides: Sequence[int],
) -> RefinedPrompt:
    """The prompt where the boxes (px of the input) say what is kept; F^R is activated as before."""
    boxes = torch.from_numpy(np.asarray(boxes_xyxy, dtype=np.float32)).view(-1, 4)
    prompts, masks = [], []
    for scorer, level, stride in zip(refiner.scorers, coarse, strides, strict=True):
        activated, _ = scorer(level)
        touched = (coverage(boxes, stride, *level.shape[2:]) > 0).any(dim=0)
        mask = touched[None, None].to(level)
        prompts.append(activated * mask)
        masks.append(mask)
    return RefinedPrompt(tuple(prompts), refined.scores, tuple(masks))
