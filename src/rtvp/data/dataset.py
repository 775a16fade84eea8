"""Training batches: real images by source, generated ones, and the names they are asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from rtvp.data.images import read_image
from rtvp.data.synthetic import DEFECT_NAMES, generate
from rtvp.data.text_sampling import batch_vocabulary, sample_texts
from rtvp.data.transforms import random_geometry, random_photometry, warp
from rtvp.mmio.schema import ImageRecord
from rtvp.types import Batch, Prompt, Target

GENERIC_NAME = "defect"


@dataclass(frozen=True, slots=True)
class TrainingSource:
    """Images of one scene.

    ``vocabulary`` holds the names that its labels annotate, whether or not an image shows them.
    """

    name: str
    images: tuple[ImageRecord, ...]
    vocabulary: frozenset[str]


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How batches are drawn.

    Attributes:
        batch_size: images a batch.
        sizes: sides of the input, px; one is drawn per batch.
        synthetic_share: share of generated images.
        balance: sources are drawn with a weight of (number of images) ** balance.
        scale_range: size of the picture relative to filling the input.
        turn_share: share of the pictures that are turned by quarter turns.
        max_negatives: names a batch holds beyond those its images annotate.
        seed: batch i is a function of (seed, i) alone.
    """

    batch_size: int
    sizes: tuple[int, ...]
    synthetic_share: float = 0.15
    balance: float = 0.5
    scale_range: tuple[float, float] = (0.7, 1.4)
    turn_share: float = 0.2
    max_negatives: int = 16
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Sample:
    image: NDArray[np.uint8]  # [S, S, 3]
    boxes_xyxy: NDArray[np.float32]  # [N, 4]
    names: tuple[frozenset[str], ...]  # of each box
    known: frozenset[str] | None  # names annotated in this image; None: all (nothing is wrong in it)


class TrainingBatches(Dataset[Batch]):
    """Batch ``i`` of a run, for any i: deterministic, so that a resumed run sees what an unbroken one sees.

    Images are decoded once, kept in memory no larger than the largest input needs.

    Args:
        sources: real images; seen classes only.
        settings: how batches are drawn.
        descriptions: texts that describe a name.
        length: number of batches.
    """

    def __init__(
        self,
        sources: Sequence[TrainingSource],
        settings: BatchSettings,
        descriptions: Mapping[str, Sequence[str]],
        length: int,
    ) -> None:
        self.sources = tuple(sources)
        self.settings = settings
        self.descriptions = dict(descriptions)
        self.length = length
        weights = np.array([len(source.images) ** settings.balance for source in sources])
        self.weights = weights / weights.sum()
        longest = int(max(settings.sizes) * settings.scale_range[1])
        self.pixels = [[_read_small(record, longest) for record in source.images] for source in sources]
        # Names of generated defects are seen names only where such pictures are trained on.
        generated = frozenset(DEFECT_NAMES) if settings.synthetic_share else frozenset()
        self.all_names = sorted(generated.union(*(source.vocabulary for source in sources)))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Batch:
        settings = self.settings
        rng = np.random.default_rng((settings.seed, index))
        size = int(rng.choice(settings.sizes))
        samples = [
            self._synthetic(rng, size) if rng.random() < settings.synthetic_share else self._real(rng, size)
            for _ in range(settings.batch_size)
        ]
        return self._collate(rng, samples)

    def _real(self, rng: np.random.Generator, size: int) -> _Sample:
        chosen = int(rng.choice(len(self.sources), p=self.weights))
        source = self.sources[chosen]
        position = int(rng.integers(len(source.images)))
        record, image = source.images[position], self.pixels[chosen][position]
        boxes = np.array([a.box_xyxy for a in record.annotations], np.float32).reshape(-1, 4)
        height, width = image.shape[:2]
        boxes *= np.array([width / record.width, height / record.height] * 2, np.float32)
        matrix = random_geometry(
            rng, height, width, size, self.settings.scale_range, self.settings.turn_share
        )
        warped = warp(image, boxes, matrix, size)
        names = tuple(frozenset({record.annotations[i].name, GENERIC_NAME}) for i in warped.kept)
        known = None if not record.annotations else source.vocabulary | {GENERIC_NAME}
        return _Sample(random_photometry(rng, warped.image), warped.boxes_xyxy, names, known)

    def _synthetic(self, rng: np.random.Generator, size: int) -> _Sample:
        sample = generate(int(rng.integers(2**31)), size, size)
        boxes = np.array([d.box_xyxy for d in sample.defects], np.float32).reshape(-1, 4)
        phrases = frozenset(d.phrase for d in sample.defects)
        names = tuple(
            frozenset({d.name, GENERIC_NAME}) | {p for p in phrases if _says_less(p, d.phrase)}
            for d in sample.defects
        )
        known = frozenset(DEFECT_NAMES) | phrases | {GENERIC_NAME} if sample.defects else None
        return _Sample(random_photometry(rng, sample.image), boxes, names, known)

    def _collate(self, rng: np.random.Generator, samples: Sequence[_Sample]) -> Batch:
        needed = {GENERIC_NAME}.union(*(sample.known or () for sample in samples))
        vocabulary = batch_vocabulary(rng, sorted(needed), self.all_names, self.settings.max_negatives)
        column = {name: k for k, name in enumerate(vocabulary)}
        targets, annotated = [], np.zeros((len(samples), len(vocabulary)), bool)
        for b, sample in enumerate(samples):
            positives = np.zeros((len(sample.names), len(vocabulary)), bool)
            for n, names in enumerate(sample.names):
                positives[n, [column[name] for name in names]] = True
            targets.append(Target(torch.from_numpy(sample.boxes_xyxy), torch.from_numpy(positives)))
            annotated[b] = True if sample.known is None else [name in sample.known for name in vocabulary]
        prompts: list[Prompt] = [sample_texts(rng, name, self.descriptions) for name in vocabulary]
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
        return Batch(images.contiguous(), tuple(targets), tuple(prompts), torch.from_numpy(annotated))


def _says_less(phrase: str, other: str) -> bool:
    """Whether whatever is ``other`` is ``phrase`` too: a "thin dark scratch" is a "dark scratch"."""
    return set(phrase.split()) <= set(other.split())


def _read_small(record: ImageRecord, longest: int) -> NDArray[np.uint8]:
    image = read_image(record.path)
    scale = longest / max(image.shape[:2])
    if scale < 1:
        height, width = image.shape[:2]
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return image
