"""Training batches: what they show, what they are asked about, and what is held to be known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rtvp.data.dataset import GENERIC_NAME, BatchSettings, TrainingBatches, TrainingSource
from rtvp.data.synthetic import DEFECT_NAMES, generate
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.types import Batch

COLOURS = {"crack": (250, 20, 20), "weld pore": (20, 250, 20), "dirty mark": (20, 20, 250)}
SETTINGS = BatchSettings(batch_size=4, sizes=(64,), synthetic_share=0.0, max_negatives=3, seed=5)
RARELY = 1e-9  # share of generated pictures: none is drawn, but their names are known
DESCRIPTIONS = {"crack": ("thin dark line",), "held-out rust": ("brown crust",)}


def write_record(
    path: Path, size: tuple[int, int], boxes: dict[str, tuple[int, int, int, int]]
) -> ImageRecord:
    """A black picture with a rectangle of the name's colour in each box."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    for name, (x1, y1, x2, y2) in boxes.items():
        pixels[y1:y2, x1:x2] = COLOURS[name]
    Image.fromarray(pixels).save(path)
    annotations = tuple(Annotation(name, tuple(map(float, box))) for name, box in boxes.items())
    return ImageRecord(path, width, height, annotations, path.stem)


@pytest.fixture
def welds(tmp_path: Path) -> TrainingSource:
    """Large pictures, each with a crack and a pore; ``spatter`` is annotated but never seen."""
    boxes = {"crack": (40, 30, 200, 90), "weld pore": (210, 100, 290, 190)}
    images = tuple(write_record(tmp_path / f"weld{i}.png", (320, 200), boxes) for i in range(3))
    return TrainingSource("welds", images, frozenset({"crack", "weld pore", "spatter"}))


@pytest.fixture
def garments(tmp_path: Path) -> TrainingSource:
    images = [
        write_record(tmp_path / f"garment{i}.png", (80, 100), {"dirty mark": (20, 20, 60, 80)})
        for i in range(12)
    ]
    return TrainingSource("garments", tuple(images), frozenset({"dirty mark"}))


@pytest.fixture
def good(tmp_path: Path) -> TrainingSource:
    """Pictures known to be good, of a source that annotates cracks."""
    images = tuple(write_record(tmp_path / f"good{i}.png", (90, 90), {}) for i in range(2))
    return TrainingSource("good", images, frozenset({"crack"}))


def make(*sources: TrainingSource, length: int = 1000, **changes: object) -> TrainingBatches:
    return TrainingBatches(sources, replace(SETTINGS, **changes), DESCRIPTIONS, length)  # type: ignore[arg-type]


def same(first: Batch, second: Batch) -> bool:
    return (
        torch.equal(first.images, second.images)
        and torch.equal(first.annotated, second.annotated)
        and first.prompts == second.prompts
        and all(
            torch.equal(a.boxes_xyxy, b.boxes_xyxy) and torch.equal(a.positives, b.positives)
            for a, b in zip(first.targets, second.targets, strict=True)
        )
    )


def names_of(batch: Batch) -> list[str]:
    return [prompt.name for prompt in batch.prompts]


def test_a_batch_is_a_function_of_its_number(welds: TrainingSource, garments: TrainingSource) -> None:
    batches = make(welds, garments, synthetic_share=0.3)
    forward = [batches[i] for i in (0, 1, 2)]
    backward = [make(welds, garments, synthetic_share=0.3)[i] for i in (2, 1, 0)][::-1]
    assert all(map(same, forward, backward))
    assert not same(forward[0], forward[1])
    assert not same(forward[0], make(welds, garments, synthetic_share=0.3, seed=6)[0])
    assert len(batches) == 1000


def test_shapes_and_types(welds: TrainingSource, good: TrainingSource) -> None:
    batch = make(welds, good)[0]
    names = names_of(batch)
    assert batch.images.shape == (4, 3, 64, 64) and batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous()
    assert batch.annotated.shape == (4, len(names)) and batch.annotated.dtype == torch.bool
    for target in batch.targets:
        assert target.boxes_xyxy.dtype == torch.float32 and target.positives.dtype == torch.bool
        assert target.positives.shape == (len(target.boxes_xyxy), len(names))
        assert (target.boxes_xyxy >= 0).all() and (target.boxes_xyxy <= 64).all()


def test_boxes_lie_on_what_was_painted(welds: TrainingSource) -> None:
    """Through shrinking, warp and photometry: the pixels in the box are of the name's colour."""
    batches = make(welds, scale_range=(0.8, 1.0))
    seen = 0
    for batch in (batches[i] for i in range(6)):
        names = names_of(batch)
        for image, target in zip(batch.images, batch.targets, strict=True):
            for box, positives in zip(
                target.boxes_xyxy.round().int().tolist(), target.positives, strict=True
            ):
                (name,) = {names[k] for k in positives.nonzero().flatten()} - {GENERIC_NAME}
                inner = image[:, box[1] + 1 : box[3] - 1, box[0] + 1 : box[2] - 1].float().mean(dim=(1, 2))
                if inner.max() - inner.min() > 30:  # not turned grey
                    assert inner.argmax() == int(np.argmax(COLOURS[name]))
                    seen += 1
    assert seen > 20


def test_boxes_follow_both_sides_of_a_shrunk_picture(tmp_path: Path) -> None:
    """1000 x 56 px become 64 x 4, not 64 x 3.58: the sides are rounded each on its own."""
    record = write_record(tmp_path / "strip.png", (1000, 56), {"crack": (0, 0, 1000, 56)})
    source = TrainingSource("strips", (record,), frozenset({"crack"}))
    batches = make(source, scale_range=(1.0, 1.0), batch_size=8)
    (pixels,) = batches.pixels[0]
    assert pixels.shape == (4, 64, 3)
    for target in batches[0].targets:
        sides = target.boxes_xyxy[0, 2:] - target.boxes_xyxy[0, :2]
        assert sides.sort().values.tolist() == pytest.approx([4, 64], abs=1e-3)


def test_names_of_boxes(welds: TrainingSource, garments: TrainingSource) -> None:
    """Each box has its own name and the generic one, and nothing else."""
    batches = make(welds, garments)
    for batch in (batches[i] for i in range(8)):
        names = names_of(batch)
        for target in batch.targets:
            for positives in target.positives:
                held = {names[k] for k in positives.nonzero().flatten()}
                assert len(held) == 2 and GENERIC_NAME in held and held & set(COLOURS)


def test_a_source_speaks_only_for_its_own_names(welds: TrainingSource, garments: TrainingSource) -> None:
    batches = make(welds, garments, scale_range=(0.8, 1.0))
    told = Counter[str]()
    for batch in (batches[i] for i in range(8)):
        names = names_of(batch)
        assert len(names) == len(set(names))
        for target, annotated in zip(batch.targets, batch.annotated, strict=True):
            known = {name for name, is_known in zip(names, annotated, strict=True) if is_known}
            own = {names[k] for k in target.positives.any(dim=0).nonzero().flatten()} - {GENERIC_NAME}
            if "dirty mark" in own:
                assert known == {GENERIC_NAME, "dirty mark"}
            else:
                assert known == {GENERIC_NAME, "crack", "weld pore", "spatter"}
            told.update(own)
    assert set(told) == set(COLOURS)


def test_good_pictures_are_without_every_name(good: TrainingSource, garments: TrainingSource) -> None:
    batch = make(good, synthetic_share=RARELY)[0]
    assert len(batch.prompts) == 1 + SETTINGS.max_negatives
    assert batch.annotated.all()
    assert all(len(target.boxes_xyxy) == 0 for target in batch.targets)
    mixed = make(good, garments, balance=0.0)[1]
    for target, annotated in zip(mixed.targets, mixed.annotated, strict=True):
        assert annotated.all() == (len(target.boxes_xyxy) == 0)


def test_a_picture_whose_boxes_were_cut_away_is_not_good(tmp_path: Path) -> None:
    record = write_record(tmp_path / "corner.png", (200, 200), {"crack": (0, 0, 20, 20)})
    source = TrainingSource("corner", (record,), frozenset({"crack"}))
    batches = make(source, scale_range=(3.0, 4.0), synthetic_share=RARELY)
    empty = [
        annotated
        for batch in (batches[i] for i in range(6))
        for target, annotated in zip(batch.targets, batch.annotated, strict=True)
        if len(target.boxes_xyxy) == 0
    ]
    assert empty
    assert not any(annotated.all() for annotated in empty)


def test_generated_pictures_carry_their_phrases() -> None:
    batches = make(synthetic_share=1.0, batch_size=6)
    phrased = 0
    for batch in (batches[i] for i in range(6)):
        names = names_of(batch)
        phrases = set(names) - set(DEFECT_NAMES) - {GENERIC_NAME}
        for target, annotated in zip(batch.targets, batch.annotated, strict=True):
            known = {name for name, is_known in zip(names, annotated, strict=True) if is_known}
            own: set[str] = set()
            for positives in target.positives:
                held = {names[k] for k in positives.nonzero().flatten()}
                (name,) = held & set(DEFECT_NAMES)
                assert GENERIC_NAME in held
                longest = max(held - {GENERIC_NAME}, key=len)
                # Whatever is a "thin dark scratch" is a "dark scratch" too, and nothing else.
                said = {phrase for phrase in phrases if set(phrase.split()) <= set(longest.split())}
                assert held - {name, GENERIC_NAME} <= said
                phrased += longest != name
                own |= held
            assert own <= known
            if len(target.boxes_xyxy):
                assert known == set(DEFECT_NAMES) | {GENERIC_NAME} | (own & phrases)
            else:
                assert known == set(names)
    assert phrased > 10


def test_generated_boxes_are_those_of_the_generator() -> None:
    """Nothing is warped: the generator makes pictures of the input's size."""
    batch = make(synthetic_share=1.0, batch_size=1)[0]
    rng = np.random.default_rng((SETTINGS.seed, 0))
    rng.choice((64,))
    rng.random()
    sample = generate(int(rng.integers(2**31)), 64, 64)
    assert batch.targets[0].boxes_xyxy.tolist() == [list(defect.box_xyxy) for defect in sample.defects]


def test_names_that_are_held_out_are_never_asked(welds: TrainingSource, garments: TrainingSource) -> None:
    """Neither as a name nor inside a description, though the glossary knows them."""
    seen = {*welds.vocabulary, *garments.vocabulary, *DEFECT_NAMES, GENERIC_NAME}
    batches = make(welds, garments, synthetic_share=0.2, max_negatives=100)
    for batch in (batches[i] for i in range(15)):
        texts = [text for prompt in batch.prompts for text in prompt.all_texts]
        assert not any("rust" in text and "held-out" in text for text in texts)
        assert "brown crust" not in texts
        for prompt in batch.prompts:
            assert prompt.name in seen or any(prompt.name.endswith(f" {name}") for name in DEFECT_NAMES)


def test_negatives_are_few_and_vary(garments: TrainingSource) -> None:
    batches = make(garments, synthetic_share=RARELY)
    others = [set(names_of(batches[i])) - {GENERIC_NAME, "dirty mark"} for i in range(12)]
    assert {len(names) for names in others} == {3}
    assert len(set().union(*others)) > 10
    without = make(garments, synthetic_share=RARELY, max_negatives=0)
    assert set(names_of(without[0])) == {GENERIC_NAME, "dirty mark"}


def test_without_generated_pictures_their_names_never_occur(garments: TrainingSource) -> None:
    batches = make(garments, synthetic_share=0.0, max_negatives=100)
    assert {name for i in range(5) for name in names_of(batches[i])} == {GENERIC_NAME, "dirty mark"}


def test_descriptions_come_with_their_name(welds: TrainingSource) -> None:
    batches = make(welds, batch_size=1)
    worded = {prompt for i in range(20) for prompt in batches[i].prompts if prompt.name == "crack"}
    assert {prompt.texts for prompt in worded} == {(), ("thin dark line",)}
    assert all(p.texts == () for i in range(5) for p in batches[i].prompts if p.name == "weld pore")


def test_sizes_are_drawn_from_the_list(garments: TrainingSource) -> None:
    batches = make(garments, sizes=(64, 96, 128), batch_size=1)
    drawn = Counter(tuple(batches[i].images.shape[2:]) for i in range(40))
    assert set(drawn) == {(64, 64), (96, 96), (128, 128)}


@pytest.mark.parametrize(("balance", "expected"), [(0.0, 0.5), (0.5, 1 / 3), (1.0, 0.2)])
def test_balance_weighs_sources(
    welds: TrainingSource, garments: TrainingSource, balance: float, expected: float
) -> None:
    """3 pictures of welds beside 12 of garments."""
    batches = make(welds, garments, balance=balance, batch_size=20, scale_range=(0.8, 1.0))
    from_welds = sum(
        "weld pore" in names_of(batch) and bool(annotated[names_of(batch).index("weld pore")])
        for batch in (batches[i] for i in range(10))
        for annotated in batch.annotated
    )
    assert from_welds / 200 == pytest.approx(expected, abs=0.1)


def test_share_of_generated_pictures(garments: TrainingSource) -> None:
    batches = make(garments, synthetic_share=0.4, batch_size=20)
    generated = sum(
        int(not annotated[names_of(batch).index("dirty mark")] or bool(annotated.all()))
        for batch in (batches[i] for i in range(4))
        for annotated in batch.annotated
    )
    assert generated / 80 == pytest.approx(0.4, abs=0.15)


def test_pictures_are_kept_no_larger_than_needed(welds: TrainingSource, garments: TrainingSource) -> None:
    batches = make(welds, garments, sizes=(32, 64), scale_range=(0.5, 1.5))
    assert {pixels.shape for pixels in batches.pixels[0]} == {(60, 96, 3)}
    assert {pixels.shape for pixels in batches.pixels[1]} == {(96, 77, 3)}
