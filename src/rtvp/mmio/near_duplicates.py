"""Finds images that show the same picture, among many, without comparing all of them with each other.

Three looks, each dearer than the one before. The layout: hashes of 64 bits that differ in ``HASH_DISTANCE``
at most, found through an index. The texture: the share of its bits that agree, of those that mean something
in both images. The brightness: the mean difference of the thumbnails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtvp.mmio.fingerprint import DETAIL_SIDE, ORIENTATIONS, THUMBNAIL_SIDE, Fingerprint, oriented

# Measured on 3,915 images of 21 public sets, over all pairs: of 191 that show the same picture in the same
# light (by texture and brightness) 190 differ in 4 bits or less.
HASH_DISTANCE = 5

NEIGHBOURS = 32  # images of like layout that one is compared with, at most, in each place of the index
MEAN_DIFFERENCE = 8.0  # grey levels; what differs more in brightness is another exposure

_KNOWN_BITS = 128  # of the texture; with less, agreement is chance
_PARTS = HASH_DISTANCE + 2  # of a hash, so that at least two are equal in any pair that is looked for
_BLOCK = 2048  # pairs that are looked at together, to bound the memory
_SUM_BITS = 18  # hold the sum of the grey levels of a thumbnail
_ONES = np.array([value.bit_count() for value in range(256)], dtype=np.uint8)


class NearPair(NamedTuple):
    """Two images that show the same picture.

    Attributes:
        one: place of the first.
        other: place of the second, behind it.
        orientation: that the second has to be brought into to look like the first.
        texture: share of the bits of the texture that agree.
        mean: difference of the thumbnails, grey levels.
        largest: of these differences.
    """

    one: int
    other: int
    orientation: int
    texture: float
    mean: float
    largest: int


def find_near_pairs(fingerprints: Sequence[Fingerprint], texture: float) -> tuple[tuple[NearPair, ...], int]:
    """All pairs whose texture agrees to the share ``texture`` at least.

    Args:
        fingerprints: of readable images.
        texture: from 0 to 1.

    Returns:
        The pairs in order, each in its best orientation; and how many images lie in so dense a crowd of like
        ones that they were not compared with all of it.
    """
    if len(fingerprints) < 2:
        return (), 0
    candidates, crowded = _candidates(fingerprints)
    best: dict[tuple[int, int], NearPair] = {}
    for orientation in range(len(ORIENTATIONS)):
        pairs = candidates[candidates[:, 2] == orientation]
        for start in range(0, len(pairs), _BLOCK):
            block = pairs[start : start + _BLOCK]
            shares = _texture(fingerprints, block, orientation)
            near = shares >= texture
            for pair in _measured(fingerprints, block[near], orientation, shares[near]):
                known = best.setdefault((pair.one, pair.other), pair)
                if (pair.mean, pair.orientation) < (known.mean, known.orientation):
                    best[pair.one, pair.other] = pair
    return tuple(best[key] for key in sorted(best)), crowded


def _candidates(fingerprints: Sequence[Fingerprint]) -> tuple[NDArray[np.int64], int]:
    """[pairs, 3] places of two images and the orientation of the second, sorted; and the crowded images."""
    hashes = np.array([known.hashes for known in fingerprints], dtype=np.uint64)  # [images, orientations]
    sums = np.array([sum(known.thumbnail) for known in fingerprints], dtype=np.int64)
    crowded = np.zeros(len(hashes), dtype=bool)
    found = [np.empty((0, 3), dtype=np.int64)]
    for one, other in combinations(_parts(), 2):
        # Equal in two parts, then ordered by brightness: the likes of an image lie in one short stretch.
        keys = ((_bits(hashes, one) << len(other)) | _bits(hashes, other)) << _SUM_BITS
        order = np.argsort(keys[:, 0] + sums, kind="stable")
        index = (keys[:, 0] + sums)[order]
        for orientation in range(len(ORIENTATIONS)):
            for pairs in _neighbours(index, order, keys[:, orientation], sums, crowded):
                near = pairs[_distance(hashes, pairs, orientation) <= HASH_DISTANCE]
                found.append(np.column_stack([near, np.full(len(near), orientation)]))
    return np.unique(np.concatenate(found), axis=0), int(crowded.sum())


def _parts() -> list[range]:
    """Which bits make up each part of a hash."""
    bounds = [64 * part // _PARTS for part in range(_PARTS + 1)]
    return [range(low, high) for low, high in pairwise(bounds)]


def _bits(hashes: NDArray[np.uint64], part: range) -> NDArray[np.int64]:
    mask = np.uint64((1 << len(part)) - 1)
    return np.asarray(hashes >> np.uint64(part.start) & mask, dtype=np.int64)


def _neighbours(
    index: NDArray[np.int64],
    order: NDArray[np.int64],
    keys: NDArray[np.int64],
    sums: NDArray[np.int64],
    crowded: NDArray[np.bool_],
) -> Iterator[NDArray[np.int64]]:
    """[pairs, 2] places of the likes of all images, which ask with ``keys``, and of these, behind them."""
    reach = int(MEAN_DIFFERENCE * THUMBNAIL_SIDE**2)
    low = np.searchsorted(index, keys + np.maximum(sums - reach, 0), "left")
    high = np.searchsorted(index, keys + np.minimum(sums + reach, (1 << _SUM_BITS) - 1), "right")
    dense = high - low > NEIGHBOURS
    crowded |= dense
    middle = np.searchsorted(index, keys + sums, "left") - NEIGHBOURS // 2
    low = np.where(dense, np.clip(middle, low, high - NEIGHBOURS), low)
    counts = np.minimum(high - low, NEIGHBOURS)
    for start in range(0, len(keys), _BLOCK):
        asking = np.arange(start, min(start + _BLOCK, len(keys)))
        count = counts[asking]
        offsets = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        pairs = np.column_stack([order[np.repeat(low[asking], count) + offsets], np.repeat(asking, count)])
        yield pairs[pairs[:, 0] < pairs[:, 1]]


def _distance(hashes: NDArray[np.uint64], pairs: NDArray[np.int64], orientation: int) -> NDArray[np.int64]:
    """In how many bits the hashes of each pair differ, the second image being oriented."""
    differing = hashes[pairs[:, 0], 0] ^ hashes[pairs[:, 1], orientation]
    return np.asarray(_ONES[differing.view(np.uint8).reshape(-1, 8)].sum(axis=1), dtype=np.int64)


def _texture(
    fingerprints: Sequence[Fingerprint], pairs: NDArray[np.int64], orientation: int
) -> NDArray[np.float64]:
    """The share of the bits that agree, of those known of both images; 0 where too few are."""
    first, second = (_planes(fingerprints, pairs[:, column]) for column in (0, 1))
    if orientation & 4:
        second = second.swapaxes(-1, -2)
    odd = np.arange(DETAIL_SIDE) % 2 == 1  # mirroring turns the signs of the odd frequencies
    turned = (odd & bool(orientation & 1)) ^ (odd & bool(orientation & 2))[:, None]
    known = first[:, 1] & second[:, 1]
    agreeing = known & (first[:, 0] == (second[:, 0] ^ turned))
    counts = known.sum(axis=(1, 2))
    shares: NDArray[np.float64] = agreeing.sum(axis=(1, 2)) / np.maximum(counts, 1)
    return np.where(counts >= _KNOWN_BITS, shares, 0.0)


def _planes(fingerprints: Sequence[Fingerprint], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[images, 2, frequencies, frequencies] the signs of the texture, and which of them are known."""
    packed = np.frombuffer(b"".join(fingerprints[place].detail for place in places), dtype=np.uint8)
    return np.unpackbits(packed).reshape(-1, 2, DETAIL_SIDE, DETAIL_SIDE).astype(bool)


def _measured(
    fingerprints: Sequence[Fingerprint],
    pairs: NDArray[np.int64],
    orientation: int,
    shares: NDArray[np.float64],
) -> Iterator[NearPair]:
    """The pairs that are alike in brightness, with how much their thumbnails differ."""
    first, second = (_thumbnails(fingerprints, pairs[:, column]) for column in (0, 1))
    differences = np.abs(first - oriented(second, orientation))
    means, largest = differences.mean(axis=(1, 2)), differences.max(axis=(1, 2))
    for (one, other, _), share, mean, most in zip(pairs, shares, means, largest, strict=True):
        if mean <= MEAN_DIFFERENCE:
            yield NearPair(int(one), int(other), orientation, float(share), float(mean), int(most))


def _thumbnails(fingerprints: Sequence[Fingerprint], places: NDArray[np.int64]) -> NDArray[np.int16]:
    """[images, side, side] grey levels."""
    levels = np.frombuffer(b"".join(fingerprints[place].thumbnail for place in places), dtype=np.uint8)
    return levels.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE).astype(np.int16)
