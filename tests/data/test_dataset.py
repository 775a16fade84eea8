"""What is trained on: what pictures show, how they come in batches, and what never reaches training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rtvp.data.dataset import GENERIC_NAME, Sample, SampleSettings, TrainingBatches, TrainingSamples
from rtvp.data.generated import GeneratedSamples, _says_less
from rtvp.data.labelled import LabelledSet
from rtvp.data.synthetic import DEFECT_NAMES
from rtvp.errors import RtvpError
from rtvp.mmio.rle import encode_mask
from rtvp.mmio.schema import Annotation, ImageRecord

SIZE = 64
SETTINGS = SampleSettings(max_size=SIZE, samples_total=1000, synthetic_share=0.0, seed=5)
COLOURS = {
    "crack": (250, 20, 20),
    "weld pore": (20, 250, 20),
    "dirty mark": (20, 20, 250),
    "hole": (30, 30, 30),
}


def write_record(
    path: Path,
    size: tuple[int, int],
    boxes: dict[str, tuple[int, int, int, int]],
    ground: int = 0,
    masks: bool = False,
) -> ImageRecord:
    """A picture of one grey with a rectangle of the name's colour in each box."""
    width, height = size
    pixels = np.full((height, width, 3), ground, np.uint8)
    annotations = []
    for name, box in boxes.items():
        window = slice(box[1], box[3]), slice(box[0], box[2])
        pixels[window] = COLOURS[name]
        mask = np.zeros((height, width), np.uint8)
        mask[window] = 1
        counts = encode_mask(mask) if masks else None
        annotations.append(Annotation(name, tuple(map(float, box)), counts))
    Image.fromarray(pixels).save(path)
    return ImageRecord(path, width, height, tuple(annotations), path.stem)


def make_set(name: str, images: Iterable[ImageRecord], vocabulary: Iterable[str]) -> LabelledSet:
    return LabelledSet(name, f"scene of {name}", "", tuple(images), frozenset(vocabulary))


@pytest.fixture
def welds(tmp_path: Path) -> LabelledSet:
    """Large pictures, each with a crack and a pore; ``spatter`` is annotated but never seen."""
    boxes = {"crack": (40, 30, 200, 90), "weld pore": (210, 100, 290, 190)}
    images = [write_record(tmp_path / f"weld{i}.png", (320, 200), boxes) for i in range(3)]
    return make_set("welds", images, {"crack", "weld pore", "spatter"})


@pytest.fixture
def garments(tmp_path: Path) -> LabelledSet:
    boxes = {"dirty mark": (20, 20, 60, 80)}
    images = [write_record(tmp_path / f"garment{i}.png", (80, 100), boxes) for i in range(12)]
    return make_set("garments", images, {"dirty mark"})


@pytest.fixture
def good(tmp_path: Path) -> LabelledSet:
    """Pictures known to be good, of a set that annotates cracks."""
    images = [write_record(tmp_path / f"good{i}.png", (90, 90), {}, ground=150) for i in range(2)]
    return make_set("good", images, {"crack"})


@pytest.fixture
def leather(tmp_path: Path) -> LabelledSet:
    """Holes with masks, which can be pasted; ``cut`` is annotated but never seen."""
    images = [
        write_record(tmp_path / f"hide{i}.png", (90, 90), {"hole": (40, 40, 54, 58)}, 140, masks=True)
        for i in range(2)
    ]
    return make_set("leather", images, {"hole", "cut"})


def make(*sets: LabelledSet, excluded: Iterable[str] = (), **changes: Any) -> TrainingSamples:
    return TrainingSamples(sets, replace(SETTINGS, **changes), frozenset(excluded))


def draw(samples: TrainingSamples, count: int, size: int = SIZE) -> list[Sample]:
    return [samples.sample(index, size) for index in range(count)]


def same(first: Sample, second: Sample) -> bool:
    return (
        np.array_equal(first.image, second.image)
        and np.array_equal(first.boxes_xyxy, second.boxes_xyxy)
        and (first.names, first.known) == (second.names, second.known)
    )


def own_names(sample: Sample) -> set[str]:
    return set().union(*sample.names) - {GENERIC_NAME}


EVERYTHING = {
    "synthetic_share": 0.2,
    "good_share": 0.2,
    "mosaic_share": 0.5,
    "cut_paste_share": 0.5,
    "turn_share": 0.5,
}


def test_a_picture_is_a_function_of_seed_number_and_size(
    welds: LabelledSet, good: LabelledSet, leather: LabelledSet
) -> None:
    forward = draw(make(welds, good, leather, **EVERYTHING), 24)
    samples = make(welds, good, leather, **EVERYTHING)
    backward = [samples.sample(index, SIZE) for index in range(23, -1, -1)][::-1]
    assert all(map(same, forward, backward))
    other = make(welds, good, leather, **EVERYTHING, seed=6)
    assert not any(same(sample, other.sample(i, SIZE)) for i, sample in enumerate(forward))


def test_shapes_and_types(welds: LabelledSet, good: LabelledSet, leather: LabelledSet) -> None:
    for sample in draw(make(welds, good, leather, **EVERYTHING), 30, 96):
        assert sample.image.shape == (96, 96, 3) and sample.image.dtype == np.uint8
        assert sample.boxes_xyxy.shape == (len(sample.names), 4) and sample.boxes_xyxy.dtype == np.float32
        assert (sample.boxes_xyxy >= 0).all() and (sample.boxes_xyxy <= 96).all()
        assert (sample.boxes_xyxy[:, 2:] > sample.boxes_xyxy[:, :2]).all()


@pytest.mark.parametrize("mosaic_share", [0.0, 1.0])
def test_boxes_lie_on_what_was_painted(welds: LabelledSet, mosaic_share: float) -> None:
    """Through shrinking, warp, mosaic and photometry: the pixels in the box are of the name's colour."""
    samples = make(welds, scale_range=(0.8, 1.0), mosaic_share=mosaic_share)
    seen = 0
    for sample in draw(samples, 24, 96):
        for box, names in zip(sample.boxes_xyxy.round().astype(int), sample.names, strict=True):
            (name,) = names - {GENERIC_NAME}
            inner = sample.image[box[1] + 1 : box[3] - 1, box[0] + 1 : box[2] - 1].mean(axis=(0, 1))
            if np.ptp(inner) > 30:  # not turned grey
                assert inner.argmax() == int(np.argmax(COLOURS[name]))
                seen += 1
    assert seen > 20


def test_boxes_follow_both_sides_of_a_shrunk_picture(tmp_path: Path) -> None:
    """1000 x 56 px become 128 x 7, not 128 x 7.17: the sides are rounded each on its own."""
    record = write_record(tmp_path / "strip.png", (1000, 56), {"crack": (0, 0, 1000, 56)})
    samples = make(make_set("strips", [record], {"crack"}), scale_range=(1.0, 1.0))
    assert samples.pixels[0][0].shape == (7, 128, 3)
    for sample in draw(samples, 8):
        sides = sample.boxes_xyxy[0, 2:] - sample.boxes_xyxy[0, :2]
        assert sorted(sides.tolist()) == pytest.approx([7, 64], abs=1e-3)


@pytest.mark.parametrize("mosaic_share", [0.0, 1.0])
def test_a_set_speaks_only_for_its_own_names(
    welds: LabelledSet, garments: LabelledSet, mosaic_share: float
) -> None:
    """Each box has its own name and the generic one; mosaics are of one set, so none of its names is lost."""
    told = Counter[str]()
    for sample in draw(make(welds, garments, mosaic_share=mosaic_share), 40):
        assert all(len(names) == 2 and GENERIC_NAME in names for names in sample.names)
        own = own_names(sample)
        told.update(own)
        if own:
            vocabulary = garments.vocabulary if "dirty mark" in own else welds.vocabulary
            assert own <= vocabulary and sample.known == vocabulary | {GENERIC_NAME}
    assert set(told) == {"crack", "weld pore", "dirty mark"}


def test_good_pictures_know_every_name(good: LabelledSet) -> None:
    for sample in draw(make(good, mosaic_share=0.5), 10):
        assert sample.known is None and not sample.names


def test_a_picture_whose_boxes_were_cut_away_is_not_good(tmp_path: Path) -> None:
    record = write_record(tmp_path / "corner.png", (200, 200), {"crack": (0, 0, 20, 20)})
    samples = make(make_set("corner", [record], {"crack"}), scale_range=(3.0, 4.0))
    empty = [sample for sample in draw(samples, 30) if not sample.names]
    assert empty
    assert all(sample.known == {"crack", GENERIC_NAME} for sample in empty)


@pytest.mark.parametrize(("balance", "expected"), [(0.0, 0.5), (0.5, 1 / 3), (1.0, 0.2)])
def test_balance_weighs_sets(
    welds: LabelledSet, garments: LabelledSet, balance: float, expected: float
) -> None:
    """3 pictures of welds beside 12 of garments."""
    drawn = draw(make(welds, garments, balance=balance), 200, 32)
    from_welds = sum("weld pore" in (sample.known or ()) for sample in drawn)
    assert from_welds / 200 == pytest.approx(expected, abs=0.1)


def test_share_of_generated_pictures(garments: LabelledSet) -> None:
    samples = make(garments, synthetic_share=0.4)
    drawn = draw(samples, 80)
    generated = [sample for sample in drawn if sample.known is None or "scratch" in sample.known]
    assert len(generated) / 80 == pytest.approx(0.4, abs=0.15)
    assert samples.all_names == tuple(sorted({*DEFECT_NAMES, "dirty mark"}))


def test_without_generated_pictures_their_names_are_not_trained(welds: LabelledSet) -> None:
    assert make(welds).all_names == ("crack", "spatter", "weld pore")


def test_every_run_of_pictures_has_its_share_of_good_ones(garments: LabelledSet, good: LabelledSet) -> None:
    samples = make(garments, good, good_share=0.3, balance=1.0, mosaic_share=1.0)
    are_good = [sample.known is None and not sample.names for sample in draw(samples, 60)]
    for first in range(50):
        assert sum(are_good[first : first + 10]) >= 3
    assert sum(are_good) < 30


def test_good_pictures_are_generated_where_none_is_real(garments: LabelledSet) -> None:
    samples = make(garments, good_share=0.5)
    assert [sample.known is None for sample in draw(samples, 8)] == [False, True] * 4
    assert samples.all_names == ("dirty mark",), "good pictures bring no names"


def test_mosaics_end_before_the_run(welds: LabelledSet) -> None:
    """Four pictures have up to eight boxes, one has up to two."""
    samples = make(welds, mosaic_share=1.0, mosaic_until=0.5, samples_total=40, scale_range=(0.8, 0.9))
    counts = [len(sample.names) for sample in draw(samples, 40, 96)]
    assert min(counts[:20]) > 2
    assert max(counts[20:]) <= 2


def test_defects_are_pasted_into_other_scenes(
    welds: LabelledSet, good: LabelledSet, leather: LabelledSet
) -> None:
    samples = make(good, leather, cut_paste_share=1.0, scale_range=(1.0, 1.0), balance=0.0)
    drawn = draw(samples, 60)
    of_good = [s for s in drawn if s.names and s.known == leather.vocabulary | {GENERIC_NAME}]
    assert any(own_names(sample) == {"hole"} for sample in of_good)
    assert all(own_names(sample) <= {"hole"} for sample in drawn)
    # Leather itself is the only donor, and never its own: one picture has one hole.
    only = draw(make(leather, cut_paste_share=1.0), 20)
    assert max(len(sample.names) for sample in only) == 1


def test_defects_are_painted_beside_the_real_ones(welds: LabelledSet) -> None:
    # So small that nothing is cropped away.
    settings = replace(SETTINGS, max_size=192, painted_share=1.0, scale_range=(0.6, 0.6), turn_share=0.0)
    samples = TrainingSamples([welds], settings)
    plain = TrainingSamples([welds], replace(settings, painted_share=0.0))
    assert set(DEFECT_NAMES) <= set(samples.all_names)
    painted = 0
    for index in range(8):
        own = samples.sample(index, 192)
        real = [names for names in own.names if names & {"crack", "weld pore"} == names - {GENERIC_NAME}]
        others = [names for names in own.names if names not in real]
        painted += len(others)
        assert own.known is not None and welds.vocabulary < own.known
        assert all(names <= own.known and GENERIC_NAME in names and len(names) > 1 for names in own.names)
        assert all(names & set(DEFECT_NAMES) for names in others)
        assert not own.known & set(DEFECT_NAMES) - welds.vocabulary - frozenset().union(*others, frozenset())
    assert painted > 8
    assert all(plain.sample(i, 192).known == welds.vocabulary | {GENERIC_NAME} for i in range(8))


def test_a_painted_good_picture_is_no_longer_good(good: LabelledSet) -> None:
    samples = TrainingSamples([good], replace(SETTINGS, max_size=192, painted_share=1.0))
    for index in range(6):
        own = samples.sample(index, 192)
        assert own.known is not None and good.vocabulary | set(DEFECT_NAMES) <= own.known


def test_no_excluded_defect_is_painted(welds: LabelledSet) -> None:
    excluded = frozenset(DEFECT_NAMES[:-3]) - welds.vocabulary
    settings = replace(SETTINGS, max_size=128, painted_share=1.0)
    samples = TrainingSamples([welds], settings, excluded)
    for index in range(10):
        shown = frozenset().union(*samples.sample(index, 128).names, frozenset())
        assert not shown & excluded


@pytest.fixture
def planks(tmp_path: Path) -> LabelledSet:
    """Pictures of 600 x 400 px with one pore of 24 x 16 px, one without any, and a small one."""
    records = [
        write_record(tmp_path / f"plank{i}.png", (600, 400), {"weld pore": (x, y, x + 24, y + 16)}, ground=90)
        for i, (x, y) in enumerate([(10, 10), (300, 200), (570, 380)])
    ]
    records.append(write_record(tmp_path / "good.png", (600, 400), {}, ground=90))
    records.append(
        write_record(tmp_path / "small.png", (100, 80), {"weld pore": (40, 40, 64, 56)}, ground=90)
    )
    return make_set("planks", records, {"weld pore", "hole"})


def test_large_pictures_are_seen_in_parts(planks: LabelledSet) -> None:
    settings = replace(SETTINGS, scale_range=(1.0, 1.0), turn_share=0.0)
    whole = TrainingSamples([replace(planks, images=planks.images[:3])], settings)
    parts = TrainingSamples([replace(planks, images=planks.images[:3])], replace(settings, tile_share=1.0))
    widths = [box[2] - box[0] for i in range(40) for box in whole.sample(i, SIZE).boxes_xyxy]
    assert max(widths, default=0) < 6  # 24 of 600 px, in 64
    drawn = draw(parts, 40)
    found = [(sample, box) for sample in drawn for box in sample.boxes_xyxy]
    assert len(found) > 20
    assert np.median([box[2] - box[0] for _, box in found]) == pytest.approx(24 * 0.5, rel=0.2)
    for sample, (x1, y1, x2, y2) in found:
        at = sample.image[int((y1 + y2) / 2), int((x1 + x2) / 2), 1]
        assert at > np.median(sample.image[..., 1]) + 25  # the pore is where its box is
    # What a part of a defective picture does not show is known not to be there, but for other names.
    empty = [sample for sample in drawn if not sample.names]
    assert empty and all(sample.known == planks.vocabulary | {GENERIC_NAME} for sample in empty)


def test_a_part_of_a_good_picture_is_good_and_small_ones_stay_whole(planks: LabelledSet) -> None:
    settings = replace(SETTINGS, tile_share=1.0)
    good = TrainingSamples([replace(planks, images=planks.images[3:4])], settings)
    assert all(sample.known is None and not sample.names for sample in draw(good, 5))
    only = replace(planks, images=planks.images[4:])
    small, plain = TrainingSamples([only], settings), TrainingSamples([only], SETTINGS)
    for index in range(5):
        assert np.array_equal(small.sample(index, SIZE).image, plain.sample(index, SIZE).image)


def test_pasting_needs_masks(welds: LabelledSet) -> None:
    with pytest.raises(RtvpError, match=r"cut_paste_share: expected sets with masks .* found none"):
        make(welds, cut_paste_share=0.1)


def test_excluded_names_are_refused_in_labels_and_vocabularies(
    welds: LabelledSet, garments: LabelledSet
) -> None:
    with pytest.raises(RtvpError, match="set welds: expected seen names alone to train on, got spatter"):
        make(garments, welds, excluded={"spatter"})
    narrowed = replace(welds, vocabulary=frozenset({"weld pore"}))
    with pytest.raises(RtvpError, match=r"set welds: .* got crack"):
        make(narrowed, excluded={"crack"})


def test_boxes_of_generated_defects_leave_a_margin() -> None:
    tight, loose = GeneratedSamples(), GeneratedSamples(margin=0.01)
    moved = 0
    for seed in range(20):
        ours = tight.sample(np.random.default_rng(seed), 200, good=False)
        theirs = loose.sample(np.random.default_rng(seed), 200, good=False)
        assert np.array_equal(ours.image, theirs.image) and ours.names == theirs.names
        grown = ours.boxes_xyxy + np.array([-2, -2, 2, 2], np.float32)
        assert np.array_equal(theirs.boxes_xyxy, grown.clip(0, 200))
        moved += len(grown)
    assert moved > 20


def test_generated_defects_of_excluded_names_are_never_shown_or_named(garments: LabelledSet) -> None:
    samples = make(garments, excluded={"stain", "pin hole"}, synthetic_share=1.0)
    assert set(DEFECT_NAMES) - set(samples.all_names) == {"stain", "oil stain", "pinhole"}
    texts = set().union(*((s.known or frozenset()) | own_names(s) for s in draw(samples, 40)))
    assert texts and not [text for text in texts if "stain" in text or "pinhole" in text]


def test_pictures_are_kept_no_larger_than_needed(welds: LabelledSet, garments: LabelledSet) -> None:
    samples = make(welds, garments, scale_range=(0.5, 1.5))
    assert {pixels.shape for pixels in samples.pixels[0]} == {(76, 121, 3)}
    assert {pixels.shape for pixels in samples.pixels[1]} == {(100, 80, 3)}


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(RtvpError, match="expected labelled images to train on, got none"):
        make()
    assert make(synthetic_share=1.0).sample(0, 32).image.shape == (32, 32, 3)


class Numbered:
    """Samples that are told by their number and size."""

    def sample(self, index: int, size: int) -> Sample:
        number = np.full((size, size, 3), index, np.uint8)
        return Sample(number, np.zeros((0, 4), np.float32), (), None)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_batches_are_the_same_for_any_number_of_processes(world: int) -> None:
    sizes = (32, 64, 96)
    parts = [
        TrainingBatches(Numbered(), 5, sizes, 40, rank=rank, world=world, seed=3) for rank in range(world)
    ]
    whole = TrainingBatches(Numbered(), 5, sizes, 40, seed=3)
    assert len(parts[0]) == 40
    drawn = set()
    for step in range(40):
        shares = [part[step] for part in parts]
        numbers = sorted(int(sample.image[0, 0, 0]) for share in shares for sample in share)
        assert numbers == list(range(5 * step, 5 * step + 5))
        (side,) = {sample.image.shape[0] for share in shares for sample in share}
        assert side == whole[step][0].image.shape[0]
        drawn.add(side)
    assert drawn == set(sizes)


def test_every_process_needs_a_picture() -> None:
    with pytest.raises(RtvpError, match="batch_size: expected a picture for each of 4 processes, got 3"):
        TrainingBatches(Numbered(), 3, (32,), 1, rank=0, world=4)


def test_a_generated_defect_goes_by_every_name_that_says_less() -> None:
    assert _says_less("stain", "dark oil stain") and _says_less("dark stain", "dark oil stain")
    assert not _says_less("oil stain", "dark stain")
    assert not _says_less("hole", "missing hole") and _says_less("missing hole", "small missing hole")
    generated, rng = GeneratedSamples(), np.random.default_rng(0)
    shown = [names for _ in range(150) for names in generated.sample(rng, 96, good=False).names]
    assert all("stain" in names for names in shown if "oil stain" in names)
    assert all("hole" not in names for names in shown if "missing hole" in names)
    assert any("oil stain" in names for names in shown)
