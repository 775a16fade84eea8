"""Pasted defects: the box is the defect's, the surroundings the picture's, and not too much is claimed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtvp.data.cut_paste import SCALES, CutOut, cut_out, paste
from rtvp.data.training_sample import GENERIC_NAME, Sample
from rtvp.mmio.rle import encode_mask
from rtvp.mmio.schema import Annotation, ImageRecord

SIDE = 160
KNOWN = frozenset({"crack", "hole", GENERIC_NAME})


def ground(level: int, noise: float = 0.0, side: int = SIDE, seed: int = 0) -> NDArray[np.uint8]:
    grain = np.random.default_rng(seed).normal(0, noise, (side, side, 1))
    return np.clip(level + grain, 0, 255).astype(np.uint8).repeat(3, axis=2)


def make_cut(level: int = 120, depth: int = 70, name: str = "crack", noise: float = 0.0) -> CutOut:
    """A 24 x 12 defect that is darker than its surroundings by ``depth``, in a picture of SIDE px."""
    image = ground(level, noise, SIDE)[:28, :40].copy()
    mask = np.zeros((28, 40), np.float32)
    mask[8:20, 8:32] = 1
    image[mask > 0] = level - depth
    return CutOut(name, image, mask, SIDE, KNOWN)


def bare(image: NDArray[np.uint8], known: frozenset[str] | None = None) -> Sample:
    return Sample(image, np.zeros((0, 4), np.float32), (), known)


def pasted(target: Sample, cut: CutOut, count: int = 40) -> list[Sample]:
    """Those of ``count`` tries that found a place."""
    tried = [paste(np.random.default_rng(seed), target, cut) for seed in range(count)]
    return [sample for sample in tried if len(sample.names) > len(target.names)]


def make_record(mask: NDArray[np.uint8], name: str = "crack", with_mask: bool = True) -> ImageRecord:
    height, width = mask.shape
    y, x = np.nonzero(mask)
    box = (float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1))
    counts = encode_mask(mask) if with_mask else None
    return ImageRecord(Path("any.png"), width, height, (Annotation(name, box, counts),), "any")


def rectangle(y1: int, x1: int, y2: int, x2: int, shape: tuple[int, int] = (80, 120)) -> NDArray[np.uint8]:
    mask = np.zeros(shape, np.uint8)
    mask[y1:y2, x1:x2] = 1
    return mask


def test_a_defect_is_cut_out_with_its_surroundings() -> None:
    mask = rectangle(20, 40, 40, 80)
    image = mask[..., None].repeat(3, axis=2) * 100
    (cut,) = cut_out(make_record(mask), image, KNOWN)
    assert (cut.name, cut.picture_side, cut.known) == ("crack", 120, KNOWN)
    assert cut.image.shape == (30, 60, 3), "a quarter of its sides around it"
    assert np.array_equal(cut.image[..., 0] == 100, cut.mask == 1) and cut.mask.sum() == 20 * 40
    (small,) = cut_out(make_record(mask), image[::2, ::2], KNOWN)
    assert small.mask.sum() == 10 * 20 and small.picture_side == 60


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (make_record(rectangle(20, 40, 40, 80), with_mask=False), "no mask"),
        (make_record(rectangle(20, 40, 40, 80), "split teeth"), "of one kind of product"),
        (make_record(rectangle(20, 40, 40, 80), "no such category"), "not known where it occurs"),
        (make_record(rectangle(0, 40, 20, 80)), "cut off by the border"),
        (make_record(rectangle(60, 40, 79, 80)), "cut off, the label ends a pixel short"),
    ],
)
def test_what_would_not_be_itself_elsewhere_stays(record: ImageRecord, reason: str) -> None:
    assert not list(cut_out(record, np.zeros((80, 120, 3), np.uint8), KNOWN)), reason


def test_a_thin_crack_may_run_out_of_its_picture() -> None:
    assert list(cut_out(make_record(rectangle(40, 20, 44, 120)), np.zeros((80, 120, 3), np.uint8), KNOWN))


def test_the_box_is_that_of_the_pasted_pixels() -> None:
    target = bare(ground(120))
    results = pasted(target, make_cut())
    assert len(results) == 40
    turned = 0
    for sample in results:
        assert sample.names == (frozenset({"crack", GENERIC_NAME}),)
        (box,) = sample.boxes_xyxy.astype(int)
        y, x = np.nonzero(sample.image[..., 0] < 90)  # half of the depth
        # The soft edge lies outside of the defect, which is grown by a pixel.
        assert np.abs(box - [x.min(), y.min(), x.max() + 1, y.max() + 1]).max() <= 2
        long, short = sorted((box[2:] - box[:2]).tolist(), reverse=True)
        assert 24 * SCALES[0] - 2 <= long <= 24 * SCALES[1] + 2
        assert long / short == pytest.approx(2, abs=0.4)
        turned += bool(box[3] - box[1] > box[2] - box[0])
    assert 8 < turned < 32
    assert (target.image == 120).all(), "the picture itself is kept"


def test_brightness_is_that_of_the_new_surroundings() -> None:
    """The defect is at 50 in surroundings of 120: at about the same share of the new ones."""
    for level in (80, 150, 200):
        (sample, *_) = pasted(bare(ground(level)), make_cut())
        x1, y1, x2, y2 = sample.boxes_xyxy[0].astype(int)
        inner = sample.image[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2]
        assert inner.mean() == pytest.approx(50 / 120 * level, abs=6)
        outside = sample.image.astype(int).copy()
        outside[max(0, y1 - 6) : y2 + 6, max(0, x1 - 6) : x2 + 6] = level
        assert (outside == level).all()


def test_a_defect_never_lies_on_another() -> None:
    boxes = np.array([[0, 0, SIDE, 60], [0, 90, SIDE, SIDE]], np.float32)
    names = (frozenset({"hole", GENERIC_NAME}),) * 2
    results = pasted(Sample(ground(120), boxes, names, KNOWN), make_cut())
    assert results
    for sample in results:
        assert np.array_equal(sample.boxes_xyxy[:2], boxes)
        assert sample.boxes_xyxy[2, 1] >= 60 and sample.boxes_xyxy[2, 3] <= 90
    covered = Sample(ground(120), np.array([[0, 0, SIDE, SIDE]], np.float32), names[:1], KNOWN)
    assert not pasted(covered, make_cut())


@pytest.mark.parametrize(
    ("target", "cut", "reason"),
    [
        (ground(20), make_cut(120), "much darker than the defect's surroundings"),
        (ground(120), make_cut(depth=2), "hardly seen"),
        (ground(120, noise=60), make_cut(), "coarser than the defect's surroundings"),
        (ground(120, side=20), make_cut(), "smaller than any place for it"),
    ],
)
def test_nothing_is_pasted_where_it_would_not_look_right(
    target: NDArray[np.uint8], cut: CutOut, reason: str
) -> None:
    assert pasted(bare(ground(120)), make_cut()), "elsewhere it is"
    assert not pasted(bare(target), cut), reason


def test_defects_lie_on_the_product_and_not_beside_it() -> None:
    image = ground(200)
    image[40:120, 30:130] = 120
    results = pasted(bare(image), make_cut(), 60)
    assert len(results) > 10
    for sample in results:
        x1, y1, x2, y2 = sample.boxes_xyxy[0]
        assert x1 >= 28 and y1 >= 38 and x2 <= 132 and y2 <= 122


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, KNOWN),  # a good picture: only the defect's own picture leaves anything open
        (frozenset({"crack", "stain", GENERIC_NAME}), {"crack", GENERIC_NAME}),
        (frozenset({"stain", GENERIC_NAME}), {GENERIC_NAME}),
    ],
)
def test_known_is_what_both_pictures_know(known: frozenset[str] | None, expected: set[str]) -> None:
    (sample, *_) = pasted(bare(ground(120), known), make_cut())
    assert sample.known == expected
    assert "crack" in sample.names[0]
