"""How far a figure would stray on other images of the same kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rtvp.evaluate.matching import Floats

BOUNDS = (2.5, 97.5)  # percentiles: a 95 % interval


def resamples(groups: Sequence[str], count: int, seed: int) -> Iterator[Floats]:
    """Draw as many groups as there are, with replacement.

    Args:
        groups: [I] of each image; images of one group come and go together, "" stands alone.
        count: of the resamples.
        seed: of the draws.

    Yields:
        [I] how often each image was drawn.
    """
    keys = [group or index for index, group in enumerate(groups)]
    place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    group_of = np.array([place[key] for key in keys], dtype=np.int64)
    rng = np.random.default_rng(seed)
    for _ in range(count):
        drawn = np.bincount(rng.integers(len(place), size=len(place)), minlength=len(place))
        yield drawn[group_of].astype(float)


def intervals_of(samples: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Percentile interval of each figure; resamples in which it could not be measured do not count.

    Args:
        samples: figures of each resample, all with the same keys.
    """
    intervals = {}
    for key in samples[0] if samples else ():
        values = np.array([sample[key] for sample in samples])
        known = values[~np.isnan(values)]
        low, high = np.percentile(known, BOUNDS) if len(known) else (np.nan, np.nan)
        intervals[key] = (float(low), float(high))
    return intervals
