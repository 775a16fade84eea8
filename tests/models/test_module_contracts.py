"""What every module of the model promises: shapes at two sizes, finite numbers, gradients, determinism.

Image and text encoders have their own tables and tests.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rtvp.models
from rtvp.models.contrastive_head import ContrastiveClassifier, DetectionHead, LinearClassifier
from rtvp.models.cross_modal_attention import MaxSigmoidAttention
from rtvp.models.detector import RTVPDetector
from rtvp.models.expert import Expert
from rtvp.models.feature_pyramid import LateralFeaturePyramid, SimpleFeaturePyramid
from rtvp.models.good_parts import ComparingDetector, GoodParts
from rtvp.models.image_encoder import ImageEncoder
from rtvp.models.layers import Bottleneck, ConvBlock, SeparableConvBlock
from rtvp.models.masked_feature_reconstruction import FeatureDecoder, PyramidDecoder
from rtvp.models.neck import PathAggregationNeck, TextGuidedBlock
from rtvp.models.presence import PresenceHead
from rtvp.models.segment_anything.mask_decoder import MLP, MaskDecoder
from rtvp.models.segment_anything.prompt_encoder import PositionEncoding, PromptEncoder
from rtvp.models.segment_anything.segmenter import BoxSegmenter
from rtvp.models.segment_anything.two_way_transformer import (
    Attention,
    TokenMLP,
    TwoWayBlock,
    TwoWayTransformer,
)
from rtvp.models.visual_prompt.auxiliary_head import AuxiliaryBoxHead
from rtvp.models.visual_prompt.refiner import VisualPromptRefiner
from rtvp.models.visual_prompt.uncertainty import UncertaintyScorer

C, D, K = 8, 6, 3  # channels, text width, prompts
STRIDES = (8, 16, 32)
Shapes = list[tuple[int, ...]]


class Case(NamedTuple):
    """A module, what it is called with, and what comes out, for B images of H x W px."""

    make: Callable[[], nn.Module]
    inputs: Callable[[int, int, int], Sequence[object]]
    shapes: Callable[[int, int, int], Shapes]


def a_map(b: int, h: int, w: int) -> list[object]:
    return [torch.randn(b, C, h // 8, w // 8)]


def a_map_and_text(b: int, h: int, w: int) -> list[object]:
    return [*a_map(b, h, w), F.normalize(torch.randn(K, D), dim=-1)]


def levels(b: int, h: int, w: int) -> list[object]:
    return [tuple(torch.randn(b, C, h // s, w // s) for s in STRIDES)]


def levels_and_text(b: int, h: int, w: int) -> list[object]:
    return [*levels(b, h, w), F.normalize(torch.randn(K, D), dim=-1)]


def same_map(b: int, h: int, w: int) -> Shapes:
    return [(b, C, h // 8, w // 8)]


def same_levels(b: int, h: int, w: int) -> Shapes:
    return [(b, C, h // s, w // s) for s in STRIDES]


def one_map(channels: int) -> Callable[[int, int, int], Shapes]:
    return lambda b, h, w: [(b, channels, h // 8, w // 8)]


def cells(h: int, w: int) -> int:
    return sum((h // s) * (w // s) for s in STRIDES)


CASES = {
    ConvBlock: Case(lambda: ConvBlock(C, 5, 3), a_map, one_map(5)),
    SeparableConvBlock: Case(lambda: SeparableConvBlock(C, 5), a_map, one_map(5)),
    Bottleneck: Case(lambda: Bottleneck(C), a_map, same_map),
    LateralFeaturePyramid: Case(lambda: LateralFeaturePyramid([C] * 3, C), levels, same_levels),
    SimpleFeaturePyramid: Case(
        lambda: SimpleFeaturePyramid(C, 8, C, STRIDES), lambda b, h, w: [(a_map(b, h, w)[0],)], same_levels
    ),
    FeatureDecoder: Case(lambda: FeatureDecoder(C, 8), a_map, same_map),
    PyramidDecoder: Case(lambda: PyramidDecoder(3, C, 8), levels, same_levels),
    UncertaintyScorer: Case(
        lambda: UncertaintyScorer(C), a_map, lambda b, h, w: [(b, C, h // 8, w // 8), (b, 1, h // 8, w // 8)]
    ),
    VisualPromptRefiner: Case(
        lambda: VisualPromptRefiner(STRIDES, C, 32, 0.25, 1),
        levels,
        lambda b, h, w: [(b, c, h // s, w // s) for c in (C, 1, 1) for s in STRIDES],
    ),
    AuxiliaryBoxHead: Case(
        lambda: AuxiliaryBoxHead(STRIDES, C), levels, lambda b, h, w: [(b, cells(h, w), 4)]
    ),
    MaxSigmoidAttention: Case(lambda: MaxSigmoidAttention(C, D, 2), a_map_and_text, same_map),
    TextGuidedBlock: Case(lambda: TextGuidedBlock(C, C, D, 2), a_map_and_text, same_map),
    PathAggregationNeck: Case(lambda: PathAggregationNeck(3, C, D, 2), levels_and_text, same_levels),
    ContrastiveClassifier: Case(lambda: ContrastiveClassifier(C, D), a_map_and_text, one_map(K)),
    LinearClassifier: Case(lambda: LinearClassifier(C, 4), a_map_and_text, one_map(4)),
    DetectionHead: Case(
        lambda: DetectionHead(STRIDES, C, [ContrastiveClassifier(C, D) for _ in STRIDES], bins=4),
        levels_and_text,
        lambda b, h, w: [
            (b, cells(h, w), 4),
            (b, cells(h, w), K),
            (b, cells(h, w), 4, 4),
            (cells(h, w), 2),
            (cells(h, w),),
        ],
    ),
}

SEGMENT_ANYTHING = {BoxSegmenter, PromptEncoder, PositionEncoding, MaskDecoder, MLP}
SEGMENT_ANYTHING |= {TwoWayTransformer, TwoWayBlock, Attention, TokenMLP}
# With their image encoders, in test_detector and test_expert; against the reference, in test_segmenter;
# against the detector, in tests/export/test_graph; what has no weights that learn, in test_presence and
# test_good_parts.
TESTED_ELSEWHERE = {RTVPDetector, Expert, PresenceHead, GoodParts, ComparingDetector}
TESTED_ELSEWHERE |= SEGMENT_ANYTHING

ALL = pytest.mark.parametrize("module_type", CASES, ids=lambda module_type: module_type.__name__)


def flatten(output: object) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    assert isinstance(output, tuple)
    return [tensor for part in output for tensor in flatten(part)]


def make(
    module_type: type[nn.Module], batch: int, height: int, width: int
) -> tuple[nn.Module, Sequence[object]]:
    torch.manual_seed(0)
    case = CASES[module_type]
    return case.make(), case.inputs(batch, height, width)


def test_the_table_is_complete() -> None:
    defined = set()
    for info in pkgutil.walk_packages(rtvp.models.__path__, "rtvp.models."):
        for value in vars(importlib.import_module(info.name)).values():
            if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == info.name:
                defined.add(value)
    encoders = {c for c in defined if "_encoder." in c.__module__}
    assert ImageEncoder in encoders
    assert defined - encoders == set(CASES) | TESTED_ELSEWHERE


@ALL
@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160)])
def test_shapes_and_finite_numbers(module_type: type[nn.Module], height: int, width: int) -> None:
    module, inputs = make(module_type, 2, height, width)
    output = flatten(module(*inputs))
    assert [tuple(tensor.shape) for tensor in output] == CASES[module_type].shapes(2, height, width)
    assert all(tensor.isfinite().all() for tensor in output)


@ALL
def test_every_weight_learns(module_type: type[nn.Module]) -> None:
    module, inputs = make(module_type, 2, 64, 96)
    learned = [tensor for tensor in flatten(module.train()(*inputs)) if tensor.requires_grad]
    sum((tensor * torch.randn_like(tensor)).sum() for tensor in learned).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@ALL
def test_eval_is_deterministic_and_leaves_the_inputs_alone(module_type: type[nn.Module]) -> None:
    module, inputs = make(module_type, 2, 64, 96)
    module.eval()
    before = [tensor.clone() for tensor in flatten(tuple(inputs))]
    first, again = flatten(module(*inputs)), flatten(module(*inputs))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(flatten(tuple(inputs)), before, strict=True))


@ALL
def test_mixed_precision_is_finite(module_type: type[nn.Module]) -> None:
    module, inputs = make(module_type, 2, 64, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = flatten(module.train()(*inputs))
    assert all(tensor.isfinite().all() for tensor in output)
    sum(tensor.float().sum() for tensor in output if tensor.requires_grad).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
