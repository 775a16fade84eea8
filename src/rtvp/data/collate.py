"""From samples to a batch: the names that are asked about, their words, and the targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rtvp.data.text_sampling import TextSettings, batch_vocabulary, sample_prompts
from rtvp.data.training_sample import GENERIC_NAME, Sample
from rtvp.mmio.names import term
from rtvp.types import Batch, Target

_WORDS = 2  # a stream of chance of its own


class Collator:
    """Turns samples into a batch: chooses the names that are asked about, and their words.

    Args:
        settings: how many names, in which words.
        all_names: what other names are drawn from.
        descriptions: texts that describe a name.
        synonyms: other names of the same thing; one that is itself among ``all_names`` is not used.
    """

    def __init__(
        self,
        settings: TextSettings,
        all_names: Iterable[str],
        descriptions: Mapping[str, Sequence[str]],
        synonyms: Mapping[str, Sequence[str]],
    ) -> None:
        self.settings = settings
        self.all_names = tuple(sorted(set(all_names)))
        self.descriptions = dict(descriptions)
        own = {term(name) for name in (*self.all_names, GENERIC_NAME)}
        self.synonyms = {name: [t for t in texts if term(t) not in own] for name, texts in synonyms.items()}

    def needed(self, samples: Iterable[Sample]) -> frozenset[str]:
        """Names that a batch with these samples must ask about: those known of one of them, or shown."""
        names = {GENERIC_NAME}
        for sample in samples:
            names.update(sample.known or (), *sample.names)
        return frozenset(names)

    def __call__(self, step: int, samples: Sequence[Sample], needed: frozenset[str]) -> Batch:
        """The batch of one process.

        Args:
            step: number of the batch. Names and words are a function of (seed, step, ``needed``) alone, so
                they are the same in every process.
            samples: of this process, all of one size, all with features or none.
            needed: of the samples of all processes.
        """
        rng = np.random.default_rng((self.settings.seed, _WORDS, step))
        names = batch_vocabulary(rng, sorted(needed), self.all_names, self.settings.max_negatives)
        prompts = sample_prompts(rng, names, self.descriptions, self.synonyms, self.settings)
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
        annotated = [[s.known is None or name in s.known for name in names] for s in samples]
        return Batch(
            images.contiguous(),
            tuple(_target(sample, names) for sample in samples),
            prompts,
            torch.tensor(annotated, dtype=torch.bool),
            tuple(names),
            _stack_features(samples),
        )


def _target(sample: Sample, names: Sequence[str]) -> Target:
    column = {name: k for k, name in enumerate(names)}
    positives = torch.zeros(len(sample.names), len(names), dtype=torch.bool)
    for n, own in enumerate(sample.names):
        positives[n, [column[name] for name in own]] = True
    return Target(torch.from_numpy(sample.boxes_xyxy), positives)


def _stack_features(samples: Sequence[Sample]) -> tuple[Tensor, ...] | None:
    levels = [sample.features for sample in samples if sample.features is not None]
    if not levels:
        return None
    return tuple(torch.from_numpy(np.stack(maps)) for maps in zip(*levels, strict=True))
