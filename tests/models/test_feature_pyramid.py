from __future__ import annotations

from itertools import combinations

import pytest
import torch

from rtvp.errors import RtvpError
from rtvp.models.feature_pyramid import (
    LateralFeaturePyramid,
    SimpleFeaturePyramid,
    make_pyramid,
    with_contrast,
)
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


def test_contrast_is_what_brightness_and_gain_of_a_channel_do_not_change() -> None:
    maps = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    plain, contrast = with_contrast(maps).chunk(2, dim=1)
    assert torch.equal(plain, maps)
    assert torch.allclose(contrast.mean(dim=(2, 3)), torch.zeros(2, 3), atol=1e-5)
    assert torch.allclose(contrast.std(dim=(2, 3), correction=0), torch.ones(2, 3), atol=0.01)
    changed = with_contrast(maps * torch.tensor([1.0, 5.0, 9.0]).view(1, 3, 1, 1) + 4)[:, 3:]
    assert torch.allclose(changed, contrast, atol=0.02)
    flat = with_contrast(torch.full((1, 1, 4, 4), 7.0))
    assert torch.equal(flat[:, 1:], torch.zeros(1, 1, 4, 4))


def test_contrast_of_one_picture_does_not_depend_on_the_others() -> None:
    maps = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(with_contrast(maps)[1:2], with_contrast(maps[1:2]), atol=1e-6)


@pytest.mark.parametrize("strides", [(8, 16, 32), (4, 32)])
def test_pyramids_with_contrast(small_encoder: type[ImageEncoder], strides: tuple[int, ...]) -> None:
    encoder = small_encoder().eval()
    images = torch.rand(1, 3, 64, 96) * 255
    levels = make_pyramid(encoder, 5, strides, contrast=True).eval()(encoder(images))
    assert [tuple(level.shape) for level in levels] == [(1, 5, 64 // s, 96 // s) for s in strides]
    simple = SimpleFeaturePyramid(4, 16, 6, (8, 32), contrast=True).eval()
    assert [m.shape[2] for m in simple((torch.rand(1, 4, 4, 4),))] == [8, 2]
