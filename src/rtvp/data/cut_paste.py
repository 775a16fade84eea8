"""Real defects with masks, cut out of one picture and pasted into another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from rtvp.data.training_sample import GENERIC_NAME, Sample, known_of_all
from rtvp.mmio.rle import decode_counts, parse_counts
from rtvp.mmio.schema import ImageRecord
from rtvp.mmio.taxonomy import taxonomy

MIN_SIDE = 6  # px of a pasted defect's shorter side
MAX_SHARE = 0.4  # of the picture's sides
MAX_ENLARGED = 1.5  # more would look blurred
MIN_CONTRAST = 0.8  # mean of the defect against its surroundings, in deviations of their grey levels
MAX_GAIN = 2.0  # by which the brightness of the two surroundings may differ
MAX_ROUGHNESS = 2.0  # likewise the deviation of their grey levels: a smooth patch is no part of coarse cloth
SCALES = (0.6, 1.6)  # of the defect's size relative to its picture
MAX_CUT_OFF = 0.15  # of a defect's height and width, along the border of the picture that it is from
FEATHER = 1.2  # px, deviation of the blurred edge
TRIES = 10  # places that are looked at
ON_SURFACE = 0.95  # share of the defect that lies on the product
_NOISE = 6.0  # grey levels below which differences say nothing
_BACKGROUND = 30  # grey levels within which pixels are of the background's colour
_MARGIN = 0.25  # of the defect's sides, but 4 px at least: its surroundings, to match brightness by

Window = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class CutOut:
    """A defect and its surroundings.

    Attributes:
        name: of the defect.
        image: [h, w, 3] uint8 RGB.
        mask: [h, w] float32 in [0, 1]: how much of each pixel belongs to the defect.
        picture_side: longest side of the picture that it is from, px.
        known: names that are known of that picture.
    """

    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.float32]
    picture_side: int
    known: frozenset[str]


def cut_out(record: ImageRecord, image: NDArray[np.uint8], known: frozenset[str]) -> Iterator[CutOut]:
    """The defects of a picture that have a mask, are seen nearly whole, and keep their meaning elsewhere.

    Those are the ones that the taxonomy has in several super-categories: a split zipper is none on leather,
    nor is a damaged door.
    What the picture's border cuts off would end in a straight edge; of a thin crack's end nobody sees that.

    Args:
        record: the labels.
        image: [H, W, 3], of the size of the record or smaller.
        known: names that are known of the picture.
    """
    height, width = image.shape[:2]
    size = (record.width, record.height)
    for annotation in record.annotations:
        if annotation.mask is None or not _occurs_widely(annotation.name):
            continue
        whole = decode_counts(parse_counts(annotation.mask, size), size).astype(np.float32)
        mask = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        bounds = _bounds(mask)
        if bounds is not None and _cut_off(mask, bounds) <= MAX_CUT_OFF:
            window = _widened(bounds, height, width)
            side = max(height, width)
            yield CutOut(annotation.name, image[window].copy(), mask[window].copy(), side, known)


def paste(rng: np.random.Generator, sample: Sample, cut: CutOut) -> Sample:
    """``sample`` with a defect more: mirrored, turned, scaled, its brightness that of the new surroundings.

    It lies on no other defect. Unchanged where no place is found, or where it would hardly be seen.

    What is known afterwards is what is known of both pictures (`known_of_all`): nobody looked for the
    defect's name in this picture, or for this picture's names in the defect. The box itself has its name
    either way. A good picture knows all names, so only the defect's own picture limits what is known.
    """
    height, width = sample.image.shape[:2]
    factor = max(height, width) / cut.picture_side * float(np.exp(rng.uniform(*np.log(SCALES))))
    patch, mask = _transformed(rng, cut, min(factor, MAX_ENLARGED))
    bounds = _bounds(mask)
    if bounds is None or mask.shape[0] > height or mask.shape[1] > width:
        return sample
    y1, x1, y2, x2 = bounds
    if min(y2 - y1, x2 - x1) < MIN_SIDE or (y2 - y1) > MAX_SHARE * height or (x2 - x1) > MAX_SHARE * width:
        return sample
    shape, surface = mask >= 0.5, _surface(sample.image)
    spare = (height - mask.shape[0], width - mask.shape[1])
    for _ in range(TRIES):
        top, left = (int(start) for start in rng.integers(spare, endpoint=True))
        box = np.array([left + x1, top + y1, left + x2, top + y2], np.float32)
        window = (slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1]))
        if _touches(box, sample.boxes_xyxy) or surface[window][shape].mean() < ON_SURFACE:
            continue
        after = _blend(sample.image[window], patch, shape)
        if after is None:
            continue
        image = sample.image.copy()
        image[window] = after
        return replace(
            sample,
            image=image,
            boxes_xyxy=np.concatenate([sample.boxes_xyxy, box[None]]),
            names=(*sample.names, frozenset({cut.name, GENERIC_NAME})),
            known=known_of_all([sample.known, cut.known]),
        )
    return sample


def _occurs_widely(name: str) -> bool:
    return name in taxonomy().categories and len(taxonomy().super_categories_of(name)) > 1


def _bounds(mask: NDArray[np.float32]) -> tuple[int, int, int, int] | None:
    """Top, left, bottom and right (exclusive) of what is at least half covered; None if nothing is."""
    covered = mask >= 0.5
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    if not len(rows):
        return None
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _cut_off(mask: NDArray[np.float32], bounds: tuple[int, int, int, int]) -> float:
    """Pixels along the picture's border, as a share of the half perimeter."""
    covered = mask >= 0.5
    edges = (covered[:2], covered[-2:], covered[:, :2].T, covered[:, -2:].T)  # labels may end a pixel short
    y1, x1, y2, x2 = bounds
    return sum(int(edge.any(axis=0).sum()) for edge in edges) / (y2 - y1 + x2 - x1)


def _widened(bounds: tuple[int, int, int, int], height: int, width: int) -> Window:
    top, left, bottom, right = bounds
    y, x = (max(4, round(_MARGIN * side)) for side in (bottom - top, right - left))
    return slice(max(0, top - y), min(height, bottom + y)), slice(max(0, left - x), min(width, right + x))


def _transformed(
    rng: np.random.Generator, cut: CutOut, factor: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    height, width = cut.mask.shape
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    turns, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)
    patch, mask = (
        np.rot90(cv2.resize(array, size, interpolation=how), turns)[:, :: -1 if mirrored else 1]
        for array in (cut.image, cut.mask)
    )
    return np.ascontiguousarray(patch, np.uint8), np.ascontiguousarray(mask, np.float32)


def _touches(box: NDArray[np.float32], others: NDArray[np.float32]) -> bool:
    return bool(((box[:2] < others[:, 2:]) & (box[2:] > others[:, :2])).all(axis=1).any())


def _surface(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[H, W]: where the product is; everywhere, unless it is seen whole on a background of one colour."""
    border = np.concatenate([image[:2].reshape(-1, 3), image[-2:].reshape(-1, 3)])
    border = np.concatenate([border, image[:, :2].reshape(-1, 3), image[:, -2:].reshape(-1, 3)])
    background = np.median(border, axis=0)
    product = np.abs(image - background).max(axis=2) > _BACKGROUND
    if (np.abs(border - background).max(axis=1) > _BACKGROUND).mean() > 0.1 or product.mean() < 0.03:
        return np.ones(image.shape[:2], np.bool_)
    return cv2.morphologyEx(product.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)) > 0


def _blend(
    before: NDArray[np.uint8], patch: NDArray[np.uint8], shape: NDArray[np.bool_]
) -> NDArray[np.uint8] | None:
    """The defect over what was there, as bright as its surroundings; None where that would not look right."""
    # Full on the defect, falling softly outside of it, where the surroundings match.
    grown = cv2.dilate(shape.astype(np.float32), np.ones((3, 3), np.uint8))
    opacity = np.maximum(cv2.GaussianBlur(grown, (0, 0), FEATHER), shape)
    around = opacity < 0.05
    if not around.any():
        return None
    here, there = before[around], patch[around]
    gain = (np.median(here, axis=0) + _NOISE) / (np.median(there, axis=0) + _NOISE)
    rough_here, rough_there = here.std(axis=0).mean() + _NOISE, there.std(axis=0).mean() + _NOISE
    roughness = rough_here / rough_there
    if max(*gain, *1 / gain) > MAX_GAIN or max(roughness, 1 / roughness) > MAX_ROUGHNESS:
        return None
    mixed = (before + (patch * gain - before) * opacity[:, :, None]).round().clip(0, 255)
    contrast = np.abs(mixed[shape].mean(axis=0) - here.mean(axis=0)).max()
    return np.asarray(mixed, np.uint8) if contrast > MIN_CONTRAST * rough_here else None
