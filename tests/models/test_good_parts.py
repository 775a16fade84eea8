from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rtvp.config import DetectorConfig
from rtvp.errors import RtvpError
from rtvp.models.build import build_detector
from rtvp.models.detector import RTVPDetector
from rtvp.models.good_parts import WEIGHT, ComparingDetector, GoodParts, learn_good_parts, mean_inside
from rtvp.models.image_encoder.base import ImageEncoder


class Pixels(ImageEncoder):
    """Mean colours of blocks of 8 and of 16 px, and of 32 px, which are not compared."""

    def __init__(self, strides: tuple[int, ...] = (8, 16, 32)) -> None:
        super().__init__(strides, (3,) * len(strides), (0.0,) * 3, (1.0,) * 3)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.nn.functional.avg_pool2d(images, stride) for stride in self.strides)


def part(seed: int, size: int = 96) -> Tensor:
    """[1, 3, S, S]: a part with vertical stripes of 16 px, each a little other, under some noise."""
    generator = torch.Generator().manual_seed(seed)
    stripes = (torch.arange(size) // 16 % 2 * 120.0 + 60)[None, None, None].expand(1, 3, size, size)
    return stripes + torch.randn(1, 3, size, size, generator=generator) * 6


def scratched(seed: int) -> Tensor:
    image = part(seed)
    image[:, :, 32:48, 48:80] = 250.0
    return image


@pytest.fixture(scope="module")
def good() -> GoodParts:
    return learn_good_parts(Pixels(), [part(seed) for seed in range(6)])


def test_good_parts_lie_around_minus_one_and_defects_far_above(good: GoodParts) -> None:
    fresh = torch.cat([good(Pixels()(part(seed))) for seed in range(50, 60)])
    assert fresh.shape == (10, 6, 6) and good.stride == 16
    assert fresh.median() == pytest.approx(-1, abs=0.3)
    assert (fresh > 0).float().mean() < 0.1
    found = good(Pixels()(scratched(60)))[0]
    assert found.argmax() in (2 * 6 + 3, 2 * 6 + 4) and found.max() > 5


def test_where_on_the_part_something_lies_does_not_matter(good: GoodParts) -> None:
    moved = part(70).roll(32, dims=3)
    assert (good(Pixels()(moved)) > 0).float().mean() < 0.1


def test_the_same_good_parts_are_learnt_the_same(good: GoodParts) -> None:
    again = learn_good_parts(Pixels(), [part(seed) for seed in range(6)])
    other = learn_good_parts(Pixels(), [part(seed) for seed in range(1, 7)])
    assert again.digest == good.digest != other.digest
    maps = Pixels()(scratched(3))
    assert torch.equal(again(maps), good(maps))


def test_images_of_several_shapes_and_batches(good: GoodParts) -> None:
    mixed = learn_good_parts(Pixels(), [part(1), part(2)[..., :64], part(3)[:, :, :32]])
    both = torch.cat([part(5), scratched(5)])
    apart = torch.cat([mixed(Pixels()(image[None])) for image in both])
    # Distances come from matrix products, whose rounding depends on the shapes.
    torch.testing.assert_close(mixed(Pixels()(both)), apart, atol=0.02, rtol=0.01)


def test_good_images_that_are_all_the_same_still_leave_room_for_noise() -> None:
    same = learn_good_parts(Pixels(), [part(0)] * 3)
    found = same(Pixels()(scratched(0)))
    assert found.isfinite().all() and found.median() == pytest.approx(-1, abs=0.1) and found.max() > 5


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_are_said(count: int) -> None:
    with pytest.raises(RtvpError, match=f"expected at least 2 images, got {count}"):
        learn_good_parts(Pixels(), [part(seed) for seed in range(count)])


def test_an_encoder_of_other_strides_is_said() -> None:
    with pytest.raises(RtvpError, match=r"an encoder with stride 8 or 16, got \(32,\)"):
        learn_good_parts(Pixels((32,)), [part(0), part(1)])


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.lists(st.tuples(*[st.floats(-3, 8)] * 4), min_size=1, max_size=6),
    st.integers(0, 2**16),
)
def test_the_mean_inside_is_that_of_the_cells_a_box_touches(
    height: int, width: int, boxes: list[tuple[float, float, float, float]], seed: int
) -> None:
    maps = torch.randn(2, height, width, generator=torch.Generator().manual_seed(seed))
    given_boxes = torch.tensor(boxes)[None].expand(2, -1, -1)
    found = mean_inside(maps, given_boxes)
    for image in range(2):
        for index, box in enumerate(boxes):
            x1, x2 = (min(max(int(box[side]), 0), width - 1) for side in (0, 2))
            y1, y2 = (min(max(int(box[side]), 0), height - 1) for side in (1, 3))
            inside = maps[image, y1 : max(y1, y2) + 1, x1 : max(x1, x2) + 1]
            assert found[image, index] == pytest.approx(float(inside.mean()), abs=1e-5)


@pytest.fixture(scope="module", params=[False, True], ids=["no presence", "presence"])
def detector(request: pytest.FixtureRequest) -> RTVPDetector:
    torch.manual_seed(0)
    return build_detector(DetectorConfig(channels=16, input_size=96, presence=request.param)).eval()


@torch.inference_mode()
def test_logits_fall_by_what_is_usual_and_nothing_else_changes(detector: RTVPDetector) -> None:
    parts = learn_good_parts(detector.image_encoder, [part(seed) for seed in range(4)])
    images, text = (
        torch.cat([part(9), scratched(9)]),
        torch.nn.functional.normalize(torch.randn(3, 384), dim=1),
    )
    plain, found = detector(images, text), ComparingDetector(detector, parts)(images, text)
    assert torch.equal(found.boxes_xyxy, plain.boxes_xyxy)
    unusual = mean_inside(parts(detector.image_encoder(images)), plain.boxes_xyxy / 16)
    torch.testing.assert_close(found.logits, plain.logits + WEIGHT * unusual[..., None])
    assert (found.presence_logits is None) == (detector.presence is None)
    if detector.presence is not None:
        torch.testing.assert_close(found.presence_logits, detector.presence(found.logits))
