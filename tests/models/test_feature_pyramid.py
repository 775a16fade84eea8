from __future__ import annotations

from itertools import combinations

import pytest
import torch

from rtvp.errors import RtvpError
from rtvp.models.feature_pyramid import LateralFeaturePyramid, SimpleFeaturePyramid, make_pyramid
from rtvp.models.image_encoder import ImageEncoder

STRIDES = (4, 8, 16, 32)
SUBSETS = [subset for count in range(1, 5) for subset in combinations(STRIDES, count)]


@pytest.mark.parametrize("strides", SUBSETS)
def test_any_choice_of_strides_out_of_a_multi_scale_encoder(
    small_encoder: type[ImageEncoder], strides: tuple[int, ...]
) -> None:
    encoder = small_encoder()
    pyramid = make_pyramid(encoder, 5, strides).eval()
    levels = pyramid(encoder.eval()(torch.rand(2, 3, 64, 96) * 255))
    assert [tuple(level.shape) for level in levels] == [(2, 5, 64 // s, 96 // s) for s in strides]


def test_each_lateral_level_sees_the_map_of_its_stride_alone(small_encoder: type[ImageEncoder]) -> None:
    torch.manual_seed(0)
    encoder = small_encoder().eval()
    pyramid = make_pyramid(encoder, 5, (4, 16)).eval()
    maps = list(encoder(torch.rand(1, 3, 64, 64) * 255))
    before = pyramid(tuple(maps))
    maps[2] = maps[2] + 1  # stride 16
    after = pyramid(tuple(maps))
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_lateral_pyramid_takes_the_last_maps_unless_told() -> None:
    maps = tuple(torch.rand(1, width, 4, 4) for width in (2, 3, 4))
    assert [m.shape[1] for m in LateralFeaturePyramid([3, 4], 6)(maps)] == [6, 6]
    assert [m.shape[1] for m in LateralFeaturePyramid([2, 4], 6, maps=[0, 2])(maps)] == [6, 6]


def test_a_stride_that_the_encoder_lacks_is_an_error() -> None:
    encoder = ImageEncoder((8, 16), (4, 4), (0.0,) * 3, (1.0,) * 3)
    with pytest.raises(RtvpError, match=r"strides: the image encoder has \(8, 16\), got \(8, 32\)"):
        make_pyramid(encoder, 8, (8, 32))


@pytest.mark.parametrize("in_stride", [8, 16, 32])
def test_all_strides_out_of_one_map(in_stride: int) -> None:
    encoder = ImageEncoder((in_stride,), (6,), (0.0,) * 3, (1.0,) * 3)
    pyramid = make_pyramid(encoder, 5, STRIDES)
    assert isinstance(pyramid, SimpleFeaturePyramid)
    levels = pyramid((torch.rand(2, 6, 64 // in_stride, 96 // in_stride),))
    assert [tuple(level.shape) for level in levels] == [(2, 5, 64 // s, 96 // s) for s in STRIDES]
