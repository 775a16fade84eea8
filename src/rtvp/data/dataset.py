"""What is trained on: pictures by number, batches of them, and the names that they are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from rtvp.data.collate import Collator
from rtvp.data.cut_paste import CutOut, cut_out, paste
from rtvp.data.generated import GeneratedSamples
from rtvp.data.images import TILE_SCALE, fitting_scale, read_image
from rtvp.data.labelled import LabelledSet
from rtvp.data.mosaic import mosaic
from rtvp.data.training_sample import GENERIC_NAME, Sample
from rtvp.data.transforms import random_geometry, random_photometry, visible_boxes, warp
from rtvp.errors import RtvpError
from rtvp.mmio.schema import ImageRecord

__all__ = [
    "GENERIC_NAME",
    "Collator",
    "Sample",
    "SampleSettings",
    "TrainingBatches",
    "TrainingSamples",
]

_PICTURE, _SIZE = range(2)  # streams of chance that must not depend on each other
_GOOD_GENERATED = 0.3  # of the generated pictures, as the generator itself has it
_TILE_SCALE = 1.5  # of the pictures in a mosaic, relative to others: their fields shall be filled
_PASTED = (0.6, 0.25, 0.15)  # chance of one, two, three defects
_TILES_WITH_DEFECT = 0.75  # of the tiles of defective pictures, at least
_PASTE_TRIES = 6  # defects that are tried: not every one looks right everywhere


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """How pictures are drawn and changed.

    Attributes:
        max_size: largest side of the input that is asked for, px: images are kept no larger than it needs.
        samples_total: pictures of the whole run.
        synthetic_share: of the pictures, generated.
        balance: sets are drawn with a weight of (number of images) ** balance.
        scale_range: size of the picture relative to filling the input.
        turn_share: of the pictures, turned by quarter turns.
        good_share: least share of good pictures, in every batch.
        mosaic_share: of the real pictures that need not be good, made of four.
        mosaic_until: share of the run after which no mosaics are made.
        cut_paste_share: of the real pictures that need not be good, given defects of other scenes.
        painted_share: likewise, given generated defects.
        tile_share: of the real pictures that the input shows at less than half of their size, one part as
            `rtvp detect --tile auto` looks at it. Their files are read anew each time.
        attribute_words: whether generated defects go by phrases such as "thin dark scratch", too.
        box_margin: what boxes of generated defects leave around them, of the picture's longer side.
        seed: picture i is a function of (seed, i, its size) alone.
    """

    max_size: int
    samples_total: int
    synthetic_share: float = 0.15
    balance: float = 0.5
    scale_range: tuple[float, float] = (0.7, 1.4)
    turn_share: float = 0.2
    good_share: float = 0.0
    mosaic_share: float = 0.0
    mosaic_until: float = 0.9
    cut_paste_share: float = 0.0
    painted_share: float = 0.0
    tile_share: float = 0.0
    attribute_words: bool = True
    box_margin: float = 0.0
    seed: int = 0


class TrainingSamples:
    """Picture ``i`` of a run, for any i: deterministic, so that a resumed run sees what an unbroken one sees.

    Images are decoded once and kept in memory.

    Args:
        sets: labelled images; seen names only.
        settings: how pictures are drawn.
        excluded: unseen names. Generated pictures never show what goes by one of them or by a synonym.

    Raises:
        RtvpError: a set knows an excluded name, there is nothing to draw from, or no mask to cut defects out
            by where ``cut_paste_share`` asks for it.
    """

    def __init__(
        self,
        sets: Sequence[LabelledSet],
        settings: SampleSettings,
        excluded: frozenset[str] = frozenset(),
    ) -> None:
        self.sets = tuple(sets)
        self.settings = settings
        self.excluded = excluded
        self.generated = GeneratedSamples(excluded, settings.attribute_words, settings.box_margin)
        self._check()
        largest = int(settings.max_size * settings.scale_range[1])
        self.pixels = [[_read_small(record, largest) for record in own.images] for own in self.sets]
        self._good = [[i for i, r in enumerate(own.images) if not r.annotations] for own in self.sets]
        self._weights = _weights([len(own.images) for own in self.sets], settings.balance)
        self._good_weights = _weights([len(own) for own in self._good], settings.balance)
        self.cut_outs = self._cut_out() if settings.cut_paste_share else []

    @property
    def all_names(self) -> tuple[str, ...]:
        """Every name that a label or a generated defect may have, sorted; not the generic one."""
        # Names of generated defects are seen names only where such pictures are trained on.
        uses_generated = self.settings.synthetic_share or self.settings.painted_share
        generated = self.generated.names if uses_generated else frozenset[str]()
        return tuple(sorted(generated.union(*(own.vocabulary for own in self.sets))))

    def sample(self, index: int, size: int) -> Sample:
        """Picture ``index``, [size, size, 3], augmented."""
        settings = self.settings
        rng = np.random.default_rng((settings.seed, _PICTURE, index))
        # Turns of good pictures are spread evenly: any N pictures in a row hold floor(N * good_share).
        if int((index + 1) * settings.good_share) > int(index * settings.good_share):
            sample = self._good_one(rng, size)
        elif rng.random() < settings.synthetic_share:
            sample = self.generated.sample(rng, size, good=rng.random() < _GOOD_GENERATED)
        else:
            chosen = int(rng.choice(len(self.sets), p=self._weights))
            before_end = index < settings.mosaic_until * settings.samples_total
            if before_end and rng.random() < settings.mosaic_share:
                # Of one set: of several, little would be known of every part.
                sample = mosaic(rng, size, lambda side: self._real(rng, side, chosen, _TILE_SCALE))
            else:
                sample = self._real(rng, size, chosen)
        return replace(sample, image=random_photometry(rng, sample.image))

    def _good_one(self, rng: np.random.Generator, size: int) -> Sample:
        if not self._good_weights.any() or rng.random() < self.settings.synthetic_share:
            return self.generated.sample(rng, size, good=True)
        chosen = int(rng.choice(len(self.sets), p=self._good_weights))
        return self._warped(rng, size, self._labelled(chosen, int(rng.choice(self._good[chosen]))))

    def _real(self, rng: np.random.Generator, size: int, chosen: int, scale: float = 1.0) -> Sample:
        position = int(rng.integers(len(self.sets[chosen].images)))
        large = self._is_large(self.sets[chosen].images[position], size)
        if large and rng.random() < self.settings.tile_share:
            sample = self._tile(rng, size, chosen, position)
        else:
            sample = self._labelled(chosen, position)
        if rng.random() < self.settings.cut_paste_share:
            sample = self._pasted(rng, sample, chosen)
        if rng.random() < self.settings.painted_share:
            sample = self.generated.paint(rng, sample, self.sets[chosen].vocabulary)
        return self._warped(rng, size, sample, scale)

    def _labelled(self, chosen: int, position: int) -> Sample:
        """An image as it is kept, not square."""
        return self._with_labels(chosen, position, self.pixels[chosen][position])

    def _with_labels(self, chosen: int, position: int, image: NDArray[np.uint8]) -> Sample:
        """An image, in whatever size it was read, with its labels."""
        own = self.sets[chosen]
        record = own.images[position]
        boxes = np.array([a.box_xyxy for a in record.annotations], np.float32).reshape(-1, 4)
        height, width = image.shape[:2]
        boxes *= np.array([width / record.width, height / record.height] * 2, np.float32)
        names = tuple(frozenset({a.name, GENERIC_NAME}) for a in record.annotations)
        return Sample(image, boxes, names, own.vocabulary | {GENERIC_NAME} if names else None)

    def _is_large(self, record: ImageRecord, size: int) -> bool:
        """Whether a part of the picture may be drawn in its place."""
        return self.settings.tile_share > 0 and fitting_scale(record.width, record.height, size) < TILE_SCALE

    def _tile(self, rng: np.random.Generator, size: int, chosen: int, position: int) -> Sample:
        """A part of an image, not square; mostly one that shows a defect, if the image has any."""
        image = read_image(self.sets[chosen].images[position].path)
        whole = self._with_labels(chosen, position, image)
        boxes, limits = whole.boxes_xyxy, np.array(image.shape[1::-1])
        sides = np.minimum(round(size / TILE_SCALE), limits)
        corner = rng.uniform(0, limits - sides)
        if len(boxes) and rng.random() < _TILES_WITH_DEFECT:
            middle = boxes[rng.integers(len(boxes))].reshape(2, 2).mean(axis=0)
            corner = np.clip(middle - rng.uniform(0.1, 0.9, 2) * sides, 0, limits - sides)
        x, y = (int(at) for at in corner)
        width, height = (int(side) for side in sides)
        window = np.array([x, y, x + width, y + height], np.float32)
        visible, kept = visible_boxes(boxes, window)
        names = tuple(whole.names[i] for i in kept)
        part = image[y : y + height, x : x + width]
        return Sample(part, visible - window[[0, 1, 0, 1]], names, whole.known)

    def _pasted(self, rng: np.random.Generator, sample: Sample, chosen: int) -> Sample:
        scene = self.sets[chosen].scene
        others = [i for i, own in enumerate(self.sets) if own.scene != scene]
        weights = _weights([sum(map(len, self.cut_outs[i].values())) for i in others], self.settings.balance)
        if not weights.any():
            return sample
        donor = self.cut_outs[others[rng.choice(len(others), p=weights)]]  # one: of more, less would be known
        wanted = len(sample.names) + 1 + rng.choice(len(_PASTED), p=_PASTED)
        for _ in range(_PASTE_TRIES):
            alike = donor[sorted(donor)[rng.integers(len(donor))]]
            sample = paste(rng, sample, alike[rng.integers(len(alike))])
            if len(sample.names) == wanted:
                break
        return sample

    def _warped(self, rng: np.random.Generator, size: int, sample: Sample, scale: float = 1.0) -> Sample:
        height, width = sample.image.shape[:2]
        low, high = self.settings.scale_range
        scales = (low * scale, high * scale)
        matrix = random_geometry(rng, height, width, size, scales, self.settings.turn_share)
        warped = warp(sample.image, sample.boxes_xyxy, matrix, size)
        names = tuple(sample.names[i] for i in warped.kept)
        return Sample(warped.image, warped.boxes_xyxy, names, sample.known)

    def _cut_out(self) -> list[dict[str, list[CutOut]]]:
        """Per set and name, what can be pasted."""
        found: list[dict[str, list[CutOut]]] = []
        for own, images in zip(self.sets, self.pixels, strict=True):
            by_name: dict[str, list[CutOut]] = {}
            for record, image in zip(own.images, images, strict=True):
                for part in cut_out(record, image, own.vocabulary | {GENERIC_NAME}):
                    by_name.setdefault(part.name, []).append(part)
            found.append(by_name)
        if not any(found):
            raise RtvpError(
                "cut_paste_share: expected sets with masks of defects that occur on several kinds of "
                "product, found none: build the benchmark with masks, or set it to 0"
            )
        return found

    def _check(self) -> None:
        for own in self.sets:
            shown = own.vocabulary.union(a.name for record in own.images for a in record.annotations)
            if leaked := sorted(shown & self.excluded):
                raise RtvpError(
                    f"set {own.name}: expected seen names alone to train on, got {', '.join(leaked)}, "
                    "which may not be: take the split's training side"
                )
        if self.settings.synthetic_share < 1 and not any(own.images for own in self.sets):
            raise RtvpError("expected labelled images to train on, got none: check the sets and their sides")


class SampleSource(Protocol):
    """Where batches come from: `TrainingSamples`, or what stands for them."""

    def sample(self, index: int, size: int) -> Sample:
        """Picture ``index`` of a run, of side ``size``."""


class TrainingBatches(Dataset[list[Sample]]):
    """What one process sees of each batch: item i holds its share of batch i.

    Batch i is made of the samples i * batch_size and following, all of one size, whatever the number of
    processes.

    Args:
        samples: where they come from.
        batch_size: pictures a batch, of all processes together.
        sizes: sides of the input, px; one is drawn per batch.
        length: number of batches.
        rank: of this process; it gets the samples rank, rank + world, ... of each batch.
        world: number of processes.
        seed: the size of batch i is a function of (seed, i) alone.

    Raises:
        RtvpError: more processes than pictures a batch.
    """

    def __init__(
        self,
        samples: SampleSource,
        batch_size: int,
        sizes: Sequence[int],
        length: int,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
    ) -> None:
        if batch_size < world:
            raise RtvpError(f"batch_size: expected a picture for each of {world} processes, got {batch_size}")
        self.samples = samples
        self.batch_size = batch_size
        self.sizes = tuple(sizes)
        self.length = length
        self.seed = seed
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> list[Sample]:
        size = int(np.random.default_rng((self.seed, _SIZE, index)).choice(self.sizes))
        first = index * self.batch_size
        mine = range(first + self.rank, first + self.batch_size, self.world)
        return [self.samples.sample(position, size) for position in mine]


def _weights(counts: Sequence[int], balance: float) -> NDArray[np.float64]:
    weights = np.array([count**balance if count else 0.0 for count in counts])
    return weights / max(weights.sum(), 1e-9) if len(weights) else weights


def _read_small(record: ImageRecord, size: int) -> NDArray[np.uint8]:
    """No larger than it is ever drawn for inputs of ``size`` px."""
    image = read_image(record.path)
    height, width = image.shape[:2]
    scale = fitting_scale(width, height, size)
    if scale < 1:
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return image
